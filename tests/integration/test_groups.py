"""Targets in groups and in later sweeps: what was settled stays settled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

import revs
from revs import joint_edit
from revs.architectures import architecture_of
from revs.moments import Moments, key_moments
from revs.records import ranks_by_layer
from revs.targets import Target, collate, tokenise
from revs.unembedding import Unembedding

LOW, AIM = 40, 60


def config(**settings: Any) -> revs.EraseConfig:
    return revs.EraseConfig(**{"low_rank": LOW, "aim_rank": AIM, **settings})


@pytest.mark.parametrize("size", [1, 2, 3])
def test_groups_of_any_size_bring_every_token_down_and_record_each_target_once(
    size: int, model: Any, tokenizer: Any, people: list[Target], ordinary: list[str],
    digests: Callable[[Any], dict[str, str]],
) -> None:  # fmt: skip
    before = digests(model)
    patch = revs.erase(model, tokenizer, people[:4], config=config(targets_at_once=size, sweeps=6), text=ordinary)
    assert [record.target for record in patch.records] == [0, 0, 1, 1, 2, 2, 3, 3]
    own = collate(tokenise(tokenizer, people[:4]), pad=2)
    architecture = architecture_of(model)
    ranks_LN, _ = ranks_by_layer(model, architecture, Unembedding(model, architecture), own)
    assert (
        max(abs(record.rank_after - int(rank)) for record, rank in zip(patch.records, ranks_LN[-1], strict=True)) <= 1
    )
    assert sum(record.rank_after >= LOW for record in patch.records) >= 7
    patch.revert(model)
    assert digests(model) == before


def test_a_later_sweep_moves_only_the_targets_that_are_still_too_high(
    model: Any, tokenizer: Any, people: list[Target], ordinary: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    swept: list[list[int]] = []
    too_high: list[list[int]] = []
    make, read = joint_edit.JointEdit._batch, joint_edit.JointEdit.read

    def noting(self: joint_edit.JointEdit) -> Any:
        swept.append(list(self._swept))
        return make(self)

    def reading(self: joint_edit.JointEdit) -> bool:
        answer = read(self)
        low_N = (self._ranks_Ln < LOW).any(0)
        too_high.append([n for n in range(6) if bool(low_N[self.own.target_N[self.own.chosen_N] == n].any())])
        return answer

    monkeypatch.setattr(joint_edit.JointEdit, "_batch", noting)
    monkeypatch.setattr(joint_edit.JointEdit, "read", reading)
    patch = revs.erase(model, tokenizer, people[:6], config=config(epsilon=0.3, sweeps=8), text=ordinary)
    assert swept[0] == swept[1] == [0, 1, 2, 3, 4, 5], "once to know the tokens, once for the first sweep"
    assert swept[2:] == too_high[1 : patch.sweeps]
    assert len(swept) == patch.sweeps + 1 > 2
    assert min(map(len, swept)) < 6


def test_what_was_edited_before_enters_the_moments_like_a_retained_record(
    model: Any, tokenizer: Any, people: list[Target], ordinary: list[str]
) -> None:
    architecture = architecture_of(model)
    first, second = (collate(tokenise(tokenizer, some), pad=2) for some in (people[:3], people[3:5]))
    settings = config(retain_weight=0.7)
    moments = Moments.gathered(model, architecture, tokenizer, ordinary, [], settings)
    alone = [moments.of(layer).clone() for layer in range(3)]
    moments.protect(first)
    moments.protect(second)
    both = key_moments(model, architecture, [first, second], only_secrets=True)
    for layer in range(3):
        torch.testing.assert_close(moments.of(layer), alone[layer] + 0.7 * both[layer], rtol=1e-4, atol=1e-6)
