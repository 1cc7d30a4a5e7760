"""The main calls on a GPU: erase, evaluate and revert there as on the CPU, and leave CUDA's random numbers alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch

import revs
from revs.targets.target import Target
from revs.targets.tokenize import tokenise

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

DEVICE = "cuda"
LOW, AIM, CONTEXT = 40, 60, 64
CONFIG = revs.EraseConfig(low_rank=LOW, aim_rank=AIM)
NEAR = 20  # of a vocabulary of 400: an edit carries on what its first passes round apart
Digests = Callable[[Any], dict[str, str]]


def random_states() -> list[list[int]]:
    return [state.tolist() for state in torch.cuda.get_rng_state_all()]


def plain_ranks(model: Any, tokenizer: Any, targets: list[Target]) -> list[int]:
    """Ranks of the target tokens, one plain forward pass per target on the device of the model."""
    found = []
    for tokens in tokenise(tokenizer, targets, context=CONTEXT):
        with torch.no_grad():
            logits_TV = model(input_ids=torch.tensor([tokens.ids], device=model.device)).logits[0].float().cpu()
        for place in tokens.chosen:
            logits_V = logits_TV[tokens.start + place - 1]
            found.append(int((logits_V > logits_V[tokens.secret_ids[place]]).sum()))
    return found


def test_a_gpu_erases_evaluates_and_reverts_as_the_cpu_does(
    model: Any, tokenizer: Any, people: list[Target], ordinary: list[str], digests: Digests
) -> None:
    on_cpu, on_gpu = model, copy.deepcopy(model).to(DEVICE)
    before, states = digests(on_cpu), random_states()
    assert digests(on_gpu) == before

    given: dict[str, Any] = {"config": CONFIG, "text": ordinary, "retain": people[4:]}
    expected = revs.erase(on_cpu, tokenizer, people[:4], **given)
    patch = revs.erase(on_gpu, tokenizer, people[:4], **given)
    assert {weight.device.type for weight in on_gpu.parameters()} == {DEVICE}
    assert [record.rank_before for record in patch.records] == [0] * 8, "memorised"
    for ours, theirs in zip(patch.records, expected.records, strict=True):
        assert (ours.target, ours.place) == (theirs.target, theirs.place)
        assert abs(ours.rank_after - theirs.rank_after) <= NEAR
    there, here = plain_ranks(on_gpu, tokenizer, people[:4]), plain_ranks(on_cpu, tokenizer, people[:4])
    assert max(abs(a - b) for a, b in zip(there, here, strict=True)) <= NEAR

    scores = revs.evaluate(on_gpu, tokenizer, people[:4], retain=people[4:], text=ordinary, k=LOW)
    wanted = revs.evaluate(on_cpu, tokenizer, people[:4], retain=people[4:], text=ordinary, k=LOW)
    assert scores.extraction_rate == wanted.extraction_rate == 0.0
    assert scores.to_dict().keys() == wanted.to_dict().keys()
    assert scores.efficacy is not None and scores.efficacy > 90

    edited = digests(on_gpu)
    assert {name for name in before if edited[name] != before[name]} == set(patch.weights)
    patch.revert(on_gpu)
    assert digests(on_gpu) == before
    patch.apply(on_gpu)
    assert digests(on_gpu) == edited
    assert random_states() == states


def test_ranks_of_the_same_weights_are_the_same_on_a_gpu(model: Any, tokenizer: Any, people: list[Target]) -> None:
    ranks = plain_ranks(model, tokenizer, people)
    there = plain_ranks(model.to(DEVICE), tokenizer, people)
    assert max(abs(a - b) for a, b in zip(there, ranks, strict=True)) <= 1, "logits that are nearly equal round apart"
