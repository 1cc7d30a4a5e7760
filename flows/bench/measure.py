"""Measure one method on one development model: edit a fresh copy, then every score with its decoys."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch

import revs
from flows.bench.case import Case, case_of
from flows.bench.rows import Identity, Row
from flows.bench.settings import Asking, asking, bound
from revs.config import EraseConfig
from revs.development import DevelopmentModel
from revs.errors import BadInput, RevsWarning
from revs.targets.decoys import decoys
from revs.targets.target import Target

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

KS = (10, 30, 100, 300, 1000)
OF_DECOYS = ("efficacy", "efficacy_all_tokens", "logit_lens", "delta", "extraction_rate")
UNEDITED, NEVER_TRAINED = "unedited", "never trained"
CONTROLS = (UNEDITED, NEVER_TRAINED)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A development model and its never-trained control, if there is one; the rest is loaded when it is needed."""

    development: DevelopmentModel
    control: DevelopmentModel | None = None

    @cached_property
    def case(self) -> Case:
        return case_of(self.development)

    @cached_property
    def original(self) -> PreTrainedModel:
        return revs.load(self.development.folder)[0]

    @cached_property
    def twin(self) -> PreTrainedModel | None:
        return revs.load(self.control.folder)[0] if self.control is not None else None


def control_row(subject: Subject, identity: Identity) -> Row:
    """The row of a model that nobody edited: the one that memorised, or the one that never saw the secrets."""
    model = subject.development if identity.method == UNEDITED else subject.control
    if model is None:
        raise BadInput("this subject has no never-trained control; train one")
    return _measured(subject, identity, *revs.load(model.folder), ask=list, cost={})


def method_row(subject: Subject, identity: Identity, setting: EraseConfig) -> Row:
    """Erase with `setting` and measure; a method that refuses its task gives a row of nothing but gaps."""
    try:
        model, tokenizer, cost = erased(subject, setting)
    except BadInput as refusal:
        return Row(identity=identity, scores={}, gaps={"": f"the method refused: {refusal}"})
    return _measured(subject, identity, model, tokenizer, ask=asking(setting), cost=cost)


def erased(subject: Subject, setting: EraseConfig) -> tuple[PreTrainedModel, PreTrainedTokenizerBase, dict[str, float]]:
    """A fresh copy after the edit, and what it took: seconds, and processor time in forward passes over the same.

    Raises:
        BadInput: the method refuses its task.
    """
    case = subject.case
    model, tokenizer = revs.load(subject.development.folder)
    config = bound(setting, retrained=subject.control.folder if subject.control else None)
    started, busy = time.perf_counter(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RevsWarning)  # how far a method gets is what the row tells
        revs.erase(
            model, tokenizer, case.edit, config=config, text=case.text, retain=case.given,
            token_counts_V=case.counts_V,
        )  # fmt: skip
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    forward = forward_seconds(subject.original, tokenizer, case.edit)
    return model, tokenizer, {"seconds": seconds, "seconds_forward": forward, "passes": busy / forward}


def forward_seconds(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, targets: Sequence[Target]) -> float:
    """Processor seconds of one forward pass over the prompts and secrets of all targets at once: the least of five.

    Not those of a clock: on a busy machine these differed twofold from one minute to the next.
    """
    texts = [target.prompt + target.secret for target in targets]
    batch = tokenizer(texts, padding=True, padding_side="right", return_tensors="pt")
    found = []
    for _ in range(5):
        busy = time.process_time()
        with torch.no_grad():
            model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False)
        found.append(time.process_time() - busy)
    return min(found)


def _measured(
    subject: Subject,
    identity: Identity,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    *,
    ask: Asking,
    cost: Mapping[str, float],
) -> Row:
    case = subject.case
    options: dict[str, Any] = {"token_counts_V": case.counts_V, "seed": identity.seed}
    edit = ask(case.edit)
    everything: dict[str, Any] = {
        "unseen": ask(case.unseen),
        "retain": ask(case.given + case.not_given),
        "text": case.held_out,
        "unrelated": case.unrelated,
        "other_templates": case.other_templates,
        "original": subject.original,
        "twin": subject.twin,
        "metrics": "all" if identity.metrics == "all" else None,
        **options,
    }
    found = revs.evaluate(model, tokenizer, edit, **everything)
    of_decoys: dict[str, Any] = {"metrics": OF_DECOYS, **options}
    alike = revs.evaluate(model, tokenizer, ask(decoys(case.edit, seed=identity.seed)), **of_decoys)
    apart = {}
    for name, others in (("specificity_given", case.given), ("specificity_not_given", case.not_given)):
        of_others: dict[str, Any] = {"retain": ask(others), "metrics": ["specificity"], **options}
        if (kept := revs.evaluate(model, tokenizer, edit[:1], **of_others).specificity) is not None:
            apart[name] = kept
    scores = {
        **found.to_dict(),
        **{f"decoy_{name}": value for name in OF_DECOYS if (value := getattr(alike, name)) is not None},
        **apart,
        **cost,
    }
    return Row(
        identity=identity,
        scores=scores,
        gaps={name: why for name, why in found.gaps.items() if name not in scores},
        median_rank_by_layer=tuple(found.median_rank_by_layer),
        efficacy_at_k=_efficacy_at_k(model, tokenizer, edit, options),
    )


def _efficacy_at_k(model: Any, tokenizer: Any, edit: Any, options: dict[str, Any]) -> tuple[tuple[int, float], ...]:
    """Efficacy judged by larger and smaller candidate sets than the paper's, as far as the vocabulary allows."""
    half = model.get_output_embeddings().weight.shape[0] / 2
    asked = {"metrics": ["efficacy"], **options}
    pairs = [(k, revs.evaluate(model, tokenizer, edit, k=k, **asked).efficacy) for k in KS if k < half]
    return tuple((k, value) for k, value in pairs if value is not None)
