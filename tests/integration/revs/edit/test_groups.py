"""Targets in groups and in later sweeps: what was settled stays settled."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import revs
import revs.edit.moments
from revs.edit import sweep as joint_edit
from revs.edit.moments import Moments
from revs.edit.token_records import ranks_by_layer
from revs.model.families import architecture_of
from revs.model.quantize import rounded_copy
from revs.model.vocabulary import Unembedding
from revs.targets.target import Target
from revs.targets.tokenize import collate, tokenise

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
    patch = revs.erase(model, tokenizer, people[:6], config=config(epsilon=0.1, sweeps=8), text=ordinary)
    assert swept[0] == swept[1] == [0, 1, 2, 3, 4, 5], "once to know the tokens, once for the first sweep"
    assert swept[2:] == too_high[1 : patch.sweeps]
    assert len(swept) == patch.sweeps + 1 > 2
    assert min(map(len, swept)) < 6


def test_what_was_edited_before_enters_the_moments_like_a_retained_record(
    model: Any, tokenizer: Any, people: list[Target], ordinary: list[str]
) -> None:
    architecture = architecture_of(model)
    draw = torch.Generator().manual_seed(0)
    moments = Moments.gathered(model, architecture, tokenizer, ordinary, [], config(retain_weight=0.7))
    alone = [moments.of(layer).clone() for layer in range(3)]
    first, again, second = (
        [torch.randn(n, len(alone[layer]), generator=draw) for layer in range(3)] for n in (4, 4, 6)
    )
    moments.protect(0, first)
    moments.protect(1, second)
    moments.protect(0, again)
    for layer in range(3):
        keys_nm = torch.cat([again[layer], second[layer]])
        expected_mm = alone[layer] + 0.7 * keys_nm.T @ keys_nm / 10
        torch.testing.assert_close(moments.of(layer), expected_mm, rtol=1e-4, atol=1e-5)


def test_moments_that_do_not_fit_wait_on_disk_and_are_the_same(
    model: Any, tokenizer: Any, people: list[Target], ordinary: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    architecture = architecture_of(model)
    retain = tokenise(tokenizer, people)

    def gathered() -> Moments:
        return Moments.gathered(model, architecture, tokenizer, ordinary, retain, config())

    held = gathered()
    monkeypatch.setattr(revs.edit.moments, "HELD", 1)
    spilled = gathered()
    assert held._folder is None and spilled._folder is not None and not spilled._held
    folder = Path(spilled._folder.name)
    assert len(list(folder.iterdir())) == 3
    for layer in range(3):
        torch.testing.assert_close(spilled.of(layer), held.of(layer))
    spilled.close()
    assert not folder.exists()


def test_without_text_and_retained_records_the_moments_are_the_identity(model: Any, tokenizer: Any) -> None:
    moments = Moments.gathered(model, architecture_of(model), tokenizer, (), [], config())
    assert torch.equal(moments.of(1), torch.eye(len(moments.of(1))))


@pytest.mark.parametrize("to", ["bfloat16", "int8", "int4"])
def test_a_rounding_that_must_be_survived_is_tried_and_its_ranks_are_recorded(
    to: str, model: Any, tokenizer: Any, people: list[Target], ordinary: list[str]
) -> None:
    settings = config(survive=(to,), sweeps=12)
    patch = revs.erase(model, tokenizer, people[:3], config=settings, text=ordinary, retain=people[3:])
    copied = rounded_copy(model, to)
    own = collate(tokenise(tokenizer, people[:3]), pad=2)
    architecture = architecture_of(model)
    ranks_LN, _ = ranks_by_layer(copied, architecture, Unembedding(copied, architecture), own)
    assert [record.rank_rounded for record in patch.records] == ranks_LN[-1].tolist()
    assert {record.stopped for record in patch.records} == {"reached"}
    assert int(ranks_LN.min()) >= LOW


def test_what_rounding_brings_back_is_moved_further(
    model: Any, tokenizer: Any, people: list[Target], ordinary: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a rounding that undoes half of the edit, the ranks asked for without it are not enough."""
    before = {name: weight.detach().clone() for name, weight in model.named_parameters()}

    def half_undone(edited: Any, _to: str) -> Any:
        other = copy.deepcopy(edited)
        with torch.no_grad():
            for name, weight in other.named_parameters():
                weight.copy_(0.2 * before[name] + 0.8 * weight)
        return other

    plain = copy.deepcopy(model)
    options: dict[str, Any] = {"text": ordinary, "retain": people[3:]}
    revs.erase(plain, tokenizer, people[:2], config=config(sweeps=10), **options)
    own = collate(tokenise(tokenizer, people[:2]), pad=2)
    half = half_undone(plain, "")
    architecture = architecture_of(half)
    without = ranks_by_layer(half, architecture, Unembedding(half, architecture), own)[0][-1].tolist()

    monkeypatch.setattr(joint_edit, "rounded_copy", half_undone)
    patch = revs.erase(model, tokenizer, people[:2], config=config(survive=("int4",), sweeps=10), **options)
    assert all(record.rank_rounded is not None for record in patch.records)
    assert sum(record.rank_rounded or 0 for record in patch.records) > sum(without)
    assert sum(record.rank_after for record in patch.records) > 1.2 * AIM * len(patch.records)
