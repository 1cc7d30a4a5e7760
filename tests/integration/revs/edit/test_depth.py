"""How far down each layer moves a token, and what moves along: deep behind the first and the last, barely low enough
behind those between.

One token of one secret at a time, which moves along its own direction alone: so its rank is known to the place.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

import revs
from revs.edit.token_records import ranks_by_layer
from revs.model.families import architecture_of
from revs.model.hooks import run
from revs.model.vocabulary import Unembedding
from revs.targets.target import Target
from revs.targets.tokenize import collate, tokenise

LOW, AIM, VOCABULARY = 40, 60, 400
EXACT: dict[str, Any] = {
    "low_rank": LOW,
    "aim_rank": AIM,
    "epsilon": 0.0,
    "variations": 0,
    "sweeps": 1,
    "tokens_per_secret": 1,
}


def ranks(model: Any, tokenizer: Any, target: Target) -> list[int]:
    """Of the target token, behind every layer."""
    architecture = architecture_of(model)
    own = collate(tokenise(tokenizer, [target], tokens_per_secret=1), pad=2)
    return ranks_by_layer(model, architecture, Unembedding(model, architecture), own)[0][:, 0].tolist()


def near(found: int, wanted: int) -> bool:
    return abs(found - wanted) <= 1  # the stored weights round


def test_each_layer_moves_a_token_that_ranks_too_high_as_far_as_it_should(
    shared_model: Any, tokenizer: Any, people: list[Target]
) -> None:
    found: dict[str, list[int]] = {"first": [], "between": [], "last": []}
    for target in people:
        model = copy.deepcopy(shared_model)
        before = ranks(model, tokenizer, target)
        revs.erase(model, tokenizer, [target], config=revs.EraseConfig(**EXACT))
        first, between, last = ranks(model, tokenizer, target)
        assert near(first, AIM) if before[0] < LOW else first >= LOW
        assert min(between, last) >= LOW
        for name, rank in zip(found, (first, between, last), strict=True):
            found[name].append(rank)
    assert any(near(rank, AIM) for rank in found["first"])
    assert any(near(rank, round(1.3 * LOW)) for rank in found["between"]), "barely low enough"
    assert any(near(rank, VOCABULARY // 4) for rank in found["last"])


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.25, 100), (0.5, 200), (0.0, AIM)],
    ids=["a quarter of the vocabulary", "half of it", "nothing asked: the aimed rank"],
)
def test_behind_the_last_layer_a_token_goes_to_the_share_of_the_vocabulary_that_is_asked_for(
    share: float, expected: int, model: Any, tokenizer: Any, people: list[Target]
) -> None:
    settings = revs.EraseConfig(**EXACT, output_share=share, first_layer=2)  # the last of three
    assert ranks(model, tokenizer, people[0])[-1] == 0, "memorised"
    patch = revs.erase(model, tokenizer, people[:1], config=settings)
    assert near(ranks(model, tokenizer, people[0])[-1], expected)
    assert [record.wanted for record in patch.records] == [expected]


def moved_along(model: Any, tokenizer: Any, target: Target, edit: Callable[[], object]) -> Tensor:
    """How far every other logit moves with the target token's, (V,), in front of the division by σ."""
    architecture, residuals = architecture_of(model), []
    own = collate(tokenise(tokenizer, [target], tokens_per_secret=1), pad=2)

    def read(_layer: int, _keys: Tensor, hidden_BTd: Tensor) -> None:
        residuals.append(hidden_BTd[own.row_N, own.position_N][own.chosen_N][0].double())

    run(model, architecture, own, read)
    edit()
    run(model, architecture, own, read)
    gradients_Vd = Unembedding(model, architecture).gradients(torch.arange(VOCABULARY))
    moved_V = gradients_Vd @ (residuals[-1] - residuals[2])  # behind the last of three layers
    token = int(own.token_N[own.chosen_N])
    return (moved_V / moved_V[token]).abs().index_fill(0, torch.tensor([token]), 0.0)


def test_with_isolation_the_logit_that_moved_along_most_moves_less(
    shared_model: Any, tokenizer: Any, people: list[Target]
) -> None:
    for target in people[:4]:
        shares_V = []
        for isolation in (0.0, 0.1):
            model = copy.deepcopy(shared_model)
            settings = revs.EraseConfig(**EXACT, isolation=isolation, first_layer=2)
            edit = partial(revs.erase, model, tokenizer, [target], config=settings)
            shares_V.append(moved_along(model, tokenizer, target, edit))
        most = int(shares_V[0].argmax())
        assert float(shares_V[1][most]) < 0.9 * float(shares_V[0][most])
