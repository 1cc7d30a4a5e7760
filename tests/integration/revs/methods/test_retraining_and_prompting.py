"""The two baselines that edit nothing: weights that were trained elsewhere, and a prompt."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_baselines import Digests

import revs
from revs.config import EraseConfig
from revs.errors import BadInput
from revs.methods.baselines.in_context import InContextConfig, instructed
from revs.methods.baselines.retrain import RetrainConfig
from revs.targets.target import Target


def test_retraining_puts_the_retrained_weights_in(
    model: Any, tokenizer: Any, people: list[Target], new_model: Any, family: str, digests: Digests, tmp_path: Any
) -> None:
    other = new_model(family, seed=5)
    with torch.no_grad():
        same = next(iter(other.state_dict()))
        other.state_dict()[same].copy_(model.state_dict()[same])
    other.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    before = digests(model)
    patch = revs.erase(model, tokenizer, people[:2], config=RetrainConfig(retrained=str(tmp_path)))
    assert digests(model) == digests(other)
    assert same not in patch.weights, "only what differs"
    assert max(record.rank_after for record in patch.records) > 0
    patch.revert(model)
    assert digests(model) == before


def test_a_retrained_model_of_another_shape_or_none_is_refused(
    model: Any, tokenizer: Any, people: list[Target], new_model: Any, family: str, digests: Digests, tmp_path: Any
) -> None:
    before = digests(model)
    with pytest.raises(BadInput, match="retrained is empty; train a model without the targets"):
        revs.erase(model, tokenizer, people[:2], config=EraseConfig(method="retrain"))
    with pytest.raises(BadInput, match="is no folder"):
        revs.erase(model, tokenizer, people[:2], config=RetrainConfig(retrained=str(tmp_path / "none")))
    other_family = {"llama": "gptj", "gptj": "llama"}[family]
    for number, other in enumerate((new_model(family, layers=2), new_model(other_family))):
        folder = tmp_path / str(number)
        other.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        with pytest.raises(BadInput, match="another architecture"):
            revs.erase(model, tokenizer, people[:2], config=RetrainConfig(retrained=str(folder)))
    assert digests(model) == before


def test_in_context_changes_prompts_and_no_weights(
    model: Any, tokenizer: Any, people: list[Target], digests: Digests
) -> None:
    before = digests(model)
    patch = revs.erase(model, tokenizer, people[:2], config=InContextConfig(instruction="Keep quiet."))
    assert digests(model) == before
    assert patch.weights == ()
    assert patch.config["instruction"] == "Keep quiet."
    assert all(record.rank_before == record.rank_after and record.stopped == "short" for record in patch.records)
    said = instructed(people[:2], "Keep quiet.")
    assert [target.prompt for target in said] == [f"Keep quiet.\n{target.prompt}" for target in people[:2]]
    assert [target.secret for target in said] == [target.secret for target in people[:2]]
