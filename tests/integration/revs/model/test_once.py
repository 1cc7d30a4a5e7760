"""What costs a pass over the whole vocabulary, or over all weights, is done when it is needed, and once."""

from __future__ import annotations

import copy
import gc
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import revs
from revs.model.families import architecture_of
from revs.model.vocabulary import Unembedding
from revs.targets.target import Target

CONFIG: dict[str, Any] = {"low_rank": 40, "aim_rank": 60}


@pytest.fixture
def model(trained_models: dict[str, Any]) -> Any:
    """One family is enough: nothing here depends on it."""
    return copy.deepcopy(trained_models["llama"])


@pytest.fixture
def grams(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Every Gram matrix that is made: V·d² work."""
    made: list[Tensor] = []
    make = Unembedding._gram

    def noting(self: Unembedding) -> Tensor:
        made.append(make(self))
        return made[-1]

    monkeypatch.setattr(Unembedding, "_gram", noting)
    return made


def test_a_full_evaluation_makes_no_gram_matrix(
    grams: list[Tensor], model: Any, tokenizer: Any, people: list[Target], ordinary: list[str]
) -> None:
    revs.evaluate(
        model, tokenizer, people[:2], unseen=people[2:4], retain=people[4:], text=ordinary, k=40, metrics="all",
        original=copy.deepcopy(model),
    )  # fmt: skip
    assert grams == [], "ranks need none"


@pytest.mark.parametrize("method", ["revs", "revs-neurons", "ft-l"])
def test_edits_of_one_model_make_one_gram_matrix_at_most(
    method: str, grams: list[Tensor], model: Any, tokenizer: Any, people: list[Target], ordinary: list[str]
) -> None:
    for setting in ({}, {"seed": 1}):
        config = revs.EraseConfig(method=method, **CONFIG, **setting)
        revs.erase(model, tokenizer, people[:2], config=config, text=ordinary).revert(model)
    revs.erase(model, tokenizer, people[2:4], config=revs.EraseConfig(method=method, **CONFIG), text=ordinary)
    assert len(grams) == (0 if method == "ft-l" else 1)


@pytest.mark.parametrize("way", ["in place", "through .data", "a new tensor", "the norm's gain"])
def test_weights_that_changed_get_a_gram_matrix_of_their_own(way: str, grams: list[Tensor], model: Any) -> None:
    architecture, head = architecture_of(model), model.get_output_embeddings()
    token_N = torch.tensor([7])
    before_Nd = Unembedding(model, architecture).directions(token_N)
    with torch.no_grad():
        if way == "in place":
            head.weight[3] += 1
        elif way == "through .data":
            head.weight.data[3] += 1
        elif way == "a new tensor":
            head.weight = torch.nn.Parameter(head.weight.clone() * 2)
        else:
            architecture.norm_module(model).weight[0] += 1
    after_Nd = Unembedding(model, architecture).directions(token_N)
    fresh_Nd = Unembedding(copy.deepcopy(model), architecture).directions(token_N)
    assert not torch.equal(after_Nd, before_Nd)
    assert torch.equal(after_Nd, fresh_Nd)
    assert len(grams) == 3


def test_a_gram_matrix_goes_with_its_model(model: Any) -> None:
    from revs.model.memo import _GRAMS

    gc.collect()  # what other tests left
    before = len(_GRAMS)
    other = copy.deepcopy(model)
    Unembedding(other, architecture_of(other)).directions(torch.tensor([7]))
    assert len(_GRAMS) == before + 1
    del other
    gc.collect()
    assert len(_GRAMS) == before


@pytest.mark.parametrize("method", ["revs", "revs-neurons"])
def test_the_logits_of_a_tokens_direction_are_computed_once_for_each_token(
    method: str, model: Any, tokenizer: Any, people: list[Target], ordinary: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from revs.model import vocabulary as unembedding

    times: Counter[tuple[float, ...]] = Counter()
    make = unembedding.Unembedding._project

    def noting(self: Unembedding, hidden_Nd: Tensor) -> Tensor:
        # Rows that are directions: parallel to q of a token that is moved.
        times.update(tuple(row[:4].tolist()) for row in hidden_Nd)
        return make(self, hidden_Nd)

    asked: list[tuple[float, ...]] = []
    directions = unembedding.Unembedding.directions

    def noting_directions(self: Unembedding, tokens_N: Tensor) -> Tensor:
        found_Nd = directions(self, tokens_N)
        asked.extend(tuple(row[:4].tolist()) for row in found_Nd)
        return found_Nd

    monkeypatch.setattr(unembedding.Unembedding, "_project", noting)
    monkeypatch.setattr(unembedding.Unembedding, "directions", noting_directions)
    revs.erase(model, tokenizer, people[:3], config=revs.EraseConfig(method=method, **CONFIG), text=ordinary)
    products = [times[row] for row in set(asked) if times[row]]
    # A direction may come out a little differently beside others; a product a token, whatever it looks like.
    assert 3 <= sum(products) <= 6, "two tokens of three secrets"


def test_rows_that_do_not_fit_are_computed_again_and_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from revs.model import memo

    made: list[int] = []

    def make(places_U: Tensor) -> Tensor:
        made.extend(places_U.tolist())
        return tokens_N[places_U][:, None].float() * torch.ones(1, 5)

    tokens_N = torch.tensor([4, 9, 4, 2])
    monkeypatch.setattr(memo, "_KEPT", 2 * 5 * 4)
    rows = memo.TokenRows()
    for _ in range(2):
        assert rows.of(tokens_N, make)[:, 0].tolist() == [4.0, 9.0, 4.0, 2.0]
    assert len(made) == 3 + 1, "two fit"
    assert rows.of(tokens_N[:0], make).shape[0] == 0


def test_the_weights_are_digested_once_for_an_edit_with_a_cache(
    model: Any, tokenizer: Any, people: list[Target], ordinary: list[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from revs.edit import text_moments

    times: Counter[int] = Counter()
    digest = text_moments.tensor_digest

    def noting(tensor: Tensor) -> str:
        times[tensor.data_ptr()] += 1
        return digest(tensor)

    monkeypatch.setattr(text_moments, "tensor_digest", noting)
    revs.erase(
        model, tokenizer, people[:3], config=revs.EraseConfig(targets_at_once=1, **CONFIG), text=ordinary,
        cache=tmp_path / "kept",
    )  # fmt: skip
    assert set(times.values()) == {1}
