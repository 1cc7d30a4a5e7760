"""No forward pass is larger than asked for, whatever the number and the length of what is read."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from torch import Tensor

import revs
from revs.evaluation.perplexity import perplexity
from revs.targets.target import Target

LOW, AIM = 40, 60
BUDGET = "revs.model.batch.TOKENS_AT_ONCE"


@contextmanager
def sizes(model: Any) -> Iterator[list[tuple[int, int]]]:
    """(rows, tokens) of every pass, as the embeddings see it."""
    found: list[tuple[int, int]] = []

    def note(_module: Any, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        if inputs[0].ndim == 2:
            found.append((inputs[0].shape[0], inputs[0].numel()))

    handle = model.get_input_embeddings().register_forward_hook(note)
    try:
        yield found
    finally:
        handle.remove()


def config(**settings: Any) -> revs.EraseConfig:
    return revs.EraseConfig(**{"low_rank": LOW, "aim_rank": AIM, **settings})


KINDS: list[tuple[str, dict[str, Any]]] = [
    ("the joint edit", {}),
    ("in groups of targets", {"targets_at_once": 3}),
    ("with a rounding to survive", {"survive": ("int8",), "sweeps": 2}),
    ("neurons", {"method": "revs-neurons"}),
    ("what fine-tuning reads", {"method": "ft-l"}),
]


@pytest.mark.parametrize(("what", "settings"), KINDS, ids=[row[0] for row in KINDS])
@pytest.mark.parametrize("rows", [1, 4])
def test_no_pass_of_an_edit_has_more_rows_than_batch_size(
    rows: int, what: str, settings: dict[str, Any], trained_models: dict[str, Any], tokenizer: Any,
    people: list[Target], ordinary: list[str],
) -> None:  # fmt: skip
    model = copy.deepcopy(trained_models["llama"])
    with sizes(model) as seen:
        revs.erase(
            model, tokenizer, people[:6], config=config(batch_size=rows, **settings), text=ordinary, retain=people[6:]
        )
    assert max(size for size, _ in seen) == rows


@pytest.mark.parametrize("method", ["revs", "revs-neurons"])
def test_long_prompts_are_bounded_by_their_tokens(
    method: str, trained_models: dict[str, Any], tokenizer: Any, people: list[Target], ordinary: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(BUDGET, 150)
    model = copy.deepcopy(trained_models["llama"])
    long = [Target(prompt=" ".join([person.prompt] * 2), secret=person.secret) for person in people[:4]]
    with sizes(model) as seen:
        revs.erase(
            model, tokenizer, long, config=config(method=method), text=[" ".join(ordinary)] * 3, retain=people[4:]
        )
        revs.evaluate(model, tokenizer, long, retain=people[4:], text=ordinary * 4, k=LOW)
        perplexity(model, tokenizer, ordinary * 9)
    assert 75 < max(tokens for _, tokens in seen) <= 150


def test_the_largest_pass_of_an_edit_does_not_grow_with_its_targets(
    new_model: Callable[..., Any], tokenizer: Any, people: list[Target], ordinary: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(BUDGET, 400)
    peaks = []
    for count in (4, 16, 64):
        model = new_model("llama")
        many = [Target(prompt=f"File {n}. {people[n % 8].prompt}", secret=people[n % 8].secret) for n in range(count)]
        with sizes(model) as seen:
            revs.erase(model, tokenizer, many, config=config(sweeps=1), text=ordinary)
        peaks.append(max(tokens for _, tokens in seen))
    assert max(peaks) <= 400
    assert min(peaks) > 300, "and it is used"
