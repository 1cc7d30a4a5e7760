"""The baselines' settings and what is asked of them, on the scale of models of 32 dimensions; no tests here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import revs
from revs.config import EraseConfig
from revs.methods.baselines.defences import HeadProjectionConfig, MaxEntropyConfig
from revs.methods.baselines.ft_l import FtLConfig
from revs.methods.baselines.gradient import GradientAscentConfig, GradientDifferenceConfig
from revs.methods.baselines.in_context import InContextConfig
from revs.methods.baselines.memit import MemitConfig
from revs.methods.baselines.npo import NpoConfig, NpoKlConfig
from revs.methods.baselines.rmu import RmuConfig
from revs.model.batch import Batch
from revs.targets.target import Target
from revs.targets.tokenize import collate, tokenise

Digests = Callable[[Any], dict[str, str]]

# On the scale of models of 32 dimensions; steps for a test's time.
TINY: dict[str, EraseConfig] = {
    "ft-l": FtLConfig(steps=4, learning_rate=5e-3, radius=0.02),
    "memit": MemitConfig(steps=8, moment_weight=0.01, clamp=3.0, layers=(0, 1, 2)),
    "max-entropy": MaxEntropyConfig(steps=4, learning_rate=5e-3, radius=0.05),
    "head-projection": HeadProjectionConfig(steps=4, learning_rate=5e-3, radius=0.05, candidates=50),
    "npo": NpoConfig(steps=4, learning_rate=3e-3),
    "npo-kl": NpoKlConfig(steps=4, learning_rate=3e-3),
    "rmu": RmuConfig(steps=8, learning_rate=1.5e-2, steering=40.0, alpha=0.1),
    "gradient-ascent": GradientAscentConfig(steps=4, learning_rate=1e-3),
    "gradient-difference": GradientDifferenceConfig(steps=4, learning_rate=1e-3),
    "in-context": InContextConfig(),
}
EDITING = [key for key in TINY if key != "in-context"]
ON_FF2 = ("ft-l", "memit", "max-entropy", "head-projection", "rmu")


def erased(
    model: Any, tokenizer: Any, people: list[Target], config: EraseConfig, text: list[str], **more: Any
) -> revs.Patch:
    return revs.erase(model, tokenizer, people[:3], config=config, text=text, retain=people[5:], **more)


def batch_of(model: Any, tokenizer: Any, targets: list[Target]) -> Batch:
    return collate(tokenise(tokenizer, targets, context=64), pad=tokenizer.pad_token_id)


def mean_log_p(model: Any, tokenizer: Any, targets: list[Target]) -> float:
    """Of the target tokens, one plain forward pass per token."""
    found = []
    for target in tokenise(tokenizer, targets, context=64):
        for place in target.chosen:
            ids = torch.tensor([target.ids[: target.start + place]])
            with torch.no_grad():
                log_p_V = model(input_ids=ids).logits[0, -1].float().log_softmax(-1)
            found.append(float(log_p_V[target.secret_ids[place]]))
    return sum(found) / len(found)


def ff2_names(model: Any) -> set[str]:
    return {name for name in model.state_dict() if name.endswith(("mlp.down_proj.weight", "mlp.fc_out.weight"))}


def job_of(
    monkeypatch: pytest.MonkeyPatch, module: Any, model: Any, tokenizer: Any, people: list[Target], key: str,
    text: list[str],
) -> dict[str, Any]:  # fmt: skip
    """What the method hands to the optimiser, which then does nothing."""
    caught: dict[str, Any] = {}

    def tune(job: Any, loss: Any, *, keep: Any = (), radius: Any = None) -> None:
        caught.update(job=job, keep=keep)
        caught["loss"] = float(loss(job.batch(job.forget), job.batch(keep) if keep else None).detach())

    monkeypatch.setattr(module, "tune", tune)
    erased(model, tokenizer, people, TINY[key], text)
    return caught
