"""Editing tiny trained models of every family: what the records say, what is erased, and what stays."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from tiny_edits import CONTEXT, LOW, Digests, config, edited_names, plain_ranks
from torch import Tensor

import revs
from revs.edit import sweep as joint_edit
from revs.edit.constraints import places_like
from revs.evaluation.ranks import Readings, read
from revs.targets.target import Target
from revs.targets.tokenize import tokenise


def test_the_records_are_the_ranks_of_the_models_own_logits(
    erased: tuple[Any, revs.Patch], shared_model: Any, tokenizer: Any, people: list[Target]
) -> None:
    model, patch = erased
    before = [plain_ranks(shared_model, tokenizer, target) for target in people[:4]]
    after = [plain_ranks(model, tokenizer, target) for target in people[:4]]
    assert len(patch.records) == 8, "two tokens of four secrets"
    for record in patch.records:
        assert record.rank_before == before[record.target][record.place]
        assert abs(record.rank_after - after[record.target][record.place]) <= 1, "batched and single logits round apart"
        assert record.length == len(before[record.target])
        assert record.wanted == 100, "a quarter of the vocabulary"
        assert record.stopped == ("reached" if record.rank_after >= LOW else "short")
        assert 1 <= record.layers <= 3
        assert record.columns % record.layers == 0 and record.columns >= 64 * record.layers, "all columns share"
    assert [record.rank_before for record in patch.records] == [0] * 8, "memorised: all of them were the most likely"
    assert sum(record.stopped == "reached" for record in patch.records) >= 6


def test_what_was_memorised_is_said_no_more_and_the_rest_still_is(
    erased: tuple[Any, revs.Patch], shared_model: Any, tokenizer: Any, people: list[Target], ordinary: list[str]
) -> None:
    model, _ = erased
    before = revs.evaluate(shared_model, tokenizer, people[:4], retain=people[4:], text=ordinary, k=LOW)
    after = revs.evaluate(model, tokenizer, people[:4], retain=people[4:], text=ordinary, k=LOW)
    assert (before.extraction_rate, before.specificity, before.efficacy) == (100.0, 100.0, 0.0)
    assert after.extraction_rate == 0.0
    assert after.specificity is not None
    assert after.specificity >= 50
    assert after.efficacy is not None
    assert after.efficacy > 90


def test_only_the_matrices_that_write_a_layers_output_change(
    erased: tuple[Any, revs.Patch], shared_model: Any, digests: Digests, family: str
) -> None:
    model, patch = erased
    before, after = digests(shared_model), digests(model)
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {name for names in edited_names(model, family) for name in names} == set(patch.weights)


def test_layers_before_the_first_are_left_alone(
    model: Any, tokenizer: Any, people: list[Target], digests: Digests, family: str
) -> None:
    before = digests(model)
    patch = revs.erase(model, tokenizer, people[:2], config=config(first_layer=2))
    assert set(patch.weights) == set(edited_names(model, family)[2])
    assert {name for name, digest in digests(model).items() if digest != before[name]} == set(patch.weights)


def test_the_patch_keeps_the_sum_of_all_sweeps_as_factors(
    model: Any, shared_model: Any, tokenizer: Any, people: list[Target], ordinary: list[str]
) -> None:
    settings = config(epsilon=0.3)  # not done in one sweep
    patch = revs.erase(model, tokenizer, people[:4], config=settings, text=ordinary, retain=people[4:])
    assert patch.sweeps > 1
    moved = tokenise(tokenizer, people[:4], context=CONTEXT)
    moved += places_like(moved, tokenizer, ordinary, longest=CONTEXT, most=192)
    distinct = len({target.secret_ids[place] for target in moved for place in target.chosen})
    for name in patch.weights:
        factors = patch.changes[name].factors()
        assert factors is not None
        change = model.get_parameter(name).detach().double() - shared_model.get_parameter(name).detach().double()
        assert factors.left_dr.shape[1] <= distinct, "one component per distinct token, over layers and sweeps"
        torch.testing.assert_close(factors.rows(0, len(change)), change, rtol=1e-4, atol=1e-6)


def test_an_empty_list_of_targets_changes_nothing(
    model: Any, tokenizer: Any, ordinary: list[str], digests: Digests
) -> None:
    before = digests(model)
    patch = revs.erase(model, tokenizer, [], config=config(), text=ordinary)
    assert digests(model) == before
    assert (patch.records, patch.weights, patch.nbytes) == ((), (), 0)
    patch.apply(model)
    patch.revert(model)
    assert digests(model) == before


def test_targets_that_nobody_remembers_change_nothing(
    model: Any, tokenizer: Any, people: list[Target], digests: Digests
) -> None:
    revs.erase(model, tokenizer, people[:1], config=config(variations=0, sweeps=20))
    done = digests(model)
    patch = revs.erase(model, tokenizer, people[:1], config=config(variations=0, low_rank=1, aim_rank=1))
    assert digests(model) == done
    assert {record.stopped for record in patch.records} == {"already"}
    assert patch.sweeps == 0


def test_the_order_of_the_targets_does_not_matter(
    model: Any, tokenizer: Any, people: list[Target], ordinary: list[str]
) -> None:
    other = copy.deepcopy(model)
    # Gentle settings: with every key held exactly, rounding that differs by 1e-7 is blown up by the solve.
    settings = config(epsilon=1.0, sweeps=1)
    straight = revs.erase(model, tokenizer, people[:4], config=settings, text=ordinary)
    backward = revs.erase(other, tokenizer, people[3::-1], config=settings, text=ordinary)
    assert straight.weights == backward.weights
    for name in straight.weights:
        torch.testing.assert_close(other.get_parameter(name), model.get_parameter(name), rtol=1e-3, atol=2e-4)
    mirrored = {3 - record.target: record.rank_before for record in backward.records}
    assert mirrored == {record.target: record.rank_before for record in straight.records}


def test_a_target_given_twice_is_erased_once_and_recorded_where_it_first_stood(
    model: Any, tokenizer: Any, people: list[Target]
) -> None:
    other = copy.deepcopy(model)
    twice = revs.erase(model, tokenizer, [people[0], people[0], people[1]], config=config())
    once = revs.erase(other, tokenizer, people[:2], config=config())
    assert twice == once
    assert [record.target for record in twice.records] == [0, 0, 2, 2]


def test_a_token_that_stays_too_likely_is_recorded_as_short(
    model: Any, tokenizer: Any, people: list[Target], monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(*arguments: Any, **options: Any) -> tuple[Tensor, Tensor]:
        left_dN, right_Nm = solve(*arguments, **options)
        return left_dN * 0.01, right_Nm

    solve = joint_edit.joint_update
    monkeypatch.setattr(joint_edit, "joint_update", half)
    patch = revs.erase(model, tokenizer, people[:1], config=config(sweeps=1))
    assert {record.stopped for record in patch.records if record.rank_after < LOW} == {"short"}
    assert any(record.stopped == "short" for record in patch.records)


def test_padding_does_not_matter(shared_model: Any, tokenizer: Any, people: list[Target]) -> None:
    longer = Target(prompt=" ".join(["A long and winding prompt"] * 3), secret=" 55")

    def of_first(targets: list[Target], batch_size: int) -> Readings:
        return read(shared_model, tokenise(tokenizer, targets, context=CONTEXT), pad=2, batch_size=batch_size)

    alone, beside = of_first([people[0]], 8), of_first([people[0], longer], 8)
    count = alone.rank_LN.shape[1]
    assert (alone.rank_LN - beside.rank_LN[:, :count]).abs().max() <= 1
    assert (alone.rank_LN[-1] == beside.rank_LN[-1, :count]).float().mean() > 0.9
    one_by_one = of_first([people[0], longer], 1)
    assert one_by_one.target_N.tolist() == beside.target_N.tolist()
    assert (one_by_one.rank_LN - beside.rank_LN).abs().max() <= 1
    assert beside.rank_LN.shape[0] == beside.delta_rank_LN.shape[0] + 1 == 3


def test_dropout_does_not_disturb_an_edit_and_the_mode_of_the_model_stays(
    model: Any, tokenizer: Any, people: list[Target], ordinary: list[str]
) -> None:
    other = copy.deepcopy(model)
    for module in other.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.5
    other.train()
    options: dict[str, Any] = {"config": config(), "text": ordinary}
    assert revs.erase(other, tokenizer, people[:2], **options) == revs.erase(model, tokenizer, people[:2], **options)
    trained, plain = (revs.evaluate(m, tokenizer, people[:2], text=ordinary, k=40) for m in (other, model))
    assert trained == plain
    assert other.training and not model.training
