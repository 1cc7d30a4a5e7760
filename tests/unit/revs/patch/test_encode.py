"""Laws of the small exact form of a change: both sides come back to the bit, whatever the weights and the factors."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from revs.errors import BadInput, OperationFailed
from revs.model.digest import tensor_digest
from revs.patch import factors as lowrank
from revs.patch.encode import WeightChange, change_of
from revs.patch.integers import from_ordinals, ordinals, pack, unpack

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
BITS = {torch.float32: torch.int32, torch.bfloat16: torch.int16, torch.float16: torch.int16}


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def low_rank_change(
    d: int, m: int, rank: int, dtype: torch.dtype, *, seed: int = 0, relative: float = 0.01, sweeps: int = 1
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    """Random weights, the same after updates of that relative size, and the factors of the updates' sum."""
    draw = generator(seed)
    before = (torch.randn(d, m, generator=draw) * 0.02).to(dtype)
    left = torch.randn(d, rank, generator=draw, dtype=torch.float64)
    rights, after = [], before
    for _ in range(sweeps):
        right = torch.randn(rank, m, generator=draw, dtype=torch.float64)
        right *= relative * float(before.double().norm()) / float((left @ right).norm())
        after = (after.double() + left @ right).to(dtype)
        rights.append(right)
    return before, after, (left, torch.stack(rights).sum(0))


def special_values(dtype: torch.dtype) -> list[float]:
    info = torch.finfo(dtype)
    subnormal = info.smallest_normal / 4
    return [0.0, -0.0, info.tiny, -info.tiny, subnormal, -subnormal, info.max, info.min, 1.0, -1.0, info.eps]


@st.composite
def changes(draw: st.DrawFn) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor] | None]:
    """Before, after and maybe factors: right ones, slightly wrong ones or nonsense."""
    dtype = draw(st.sampled_from(DTYPES))
    d, m = draw(st.integers(1, 24)), draw(st.integers(1, 40))
    rank = draw(st.integers(1, 4))
    relative = draw(st.sampled_from([1e-6, 0.01, 0.5, 1e4]))
    seed = draw(st.integers(0, 2**20))
    before, after, factors = low_rank_change(
        d, m, rank, dtype, seed=seed, relative=relative, sweeps=draw(st.integers(1, 3))
    )
    after = after.clamp(-torch.finfo(dtype).max, torch.finfo(dtype).max)
    special = torch.tensor(special_values(dtype)).to(dtype)
    for side in (before, after):
        places = torch.randint(d * m, (draw(st.integers(0, 12)),), generator=generator(seed + 1))
        side.view(-1)[places] = special[torch.randint(len(special), (len(places),), generator=generator(seed + 2))]
    kind = draw(st.sampled_from(["right", "wrong", "nonsense", "none"]))
    if kind == "none":
        return before, after, None
    left, right = factors
    return before, after, (left, right * {"right": 1.0, "wrong": 1.01, "nonsense": -1e3}[kind])


def assert_exact(change: WeightChange, before: Tensor, after: Tensor) -> None:
    held = before.clone()
    assert tensor_digest(change.exchange("w", held, "apply")) == tensor_digest(after)
    assert tensor_digest(change.exchange("w", after, "revert")) == tensor_digest(before)
    assert tensor_digest(held) == tensor_digest(before), "what is held is only read"


@settings(max_examples=150, deadline=None)
@given(changes())
def test_both_sides_come_back_to_the_bit(case: tuple[Tensor, Tensor, tuple[Tensor, Tensor] | None]) -> None:
    before, after, factors = case
    assert_exact(change_of(before, after, factors), before, after)


@settings(max_examples=60, deadline=None)
@given(changes())
def test_it_is_never_larger_than_the_dense_form_and_that_never_much_larger_than_one_side(
    case: tuple[Tensor, Tensor, tuple[Tensor, Tensor] | None],
) -> None:
    before, after, factors = case
    whole = sum(len(pack(part)) for part in (ordinals(after) - ordinals(before),))
    chosen = change_of(before, after, factors)
    assert chosen.nbytes <= whole
    if before.shape[0] == 1:  # nothing to factor
        assert chosen.rank <= 1
    # At most one bit more than the dtype's for the sign, so one byte plane, and deflate's own few bytes.
    assert chosen.nbytes <= before.numel() * (before.element_size() + 1) + 64


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("sweeps", [1, 4])
def test_a_low_rank_change_of_a_large_weight_is_kept_as_factors_and_is_small(dtype: torch.dtype, sweeps: int) -> None:
    before, after, factors = low_rank_change(512, 1536, 8, dtype, sweeps=sweeps)
    change, dense = change_of(before, after, factors), change_of(before, after, (factors[0] * 0, factors[1]))
    assert change.rank == 8
    assert dense.rank == 0
    assert change.nbytes < dense.nbytes * (0.25 if sweeps == 1 else 0.7)
    assert_exact(change, before, after)
    assert_exact(dense, before, after)


def test_without_factors_a_small_weight_is_decomposed() -> None:
    before, after, factors = low_rank_change(256, 1024, 2, torch.bfloat16)
    found, dense = change_of(before, after), change_of(before, after, (factors[0] * 0, factors[1]))
    assert (found.rank, dense.rank) == (2, 0), "what rounding adds is no component"
    assert found.nbytes < dense.nbytes / 2
    assert_exact(found, before, after)


def test_chunks_of_rows_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    from revs.patch import encode as compact

    before, after, factors = low_rank_change(300, 700, 3, torch.bfloat16)
    monkeypatch.setattr(compact, "_CHUNK", 7000)  # 30 chunks of 10 rows
    change = change_of(before, after, factors)
    assert (change.rows, len(change.correction_bytes), change.rank) == (10, 30, 3)
    assert_exact(change, before, after)


def test_the_product_does_not_hang_on_the_order_of_summation() -> None:
    _, _, (left, right) = low_rank_change(64, 96, 40, torch.float32)
    factors = lowrank.to_integers(*lowrank.balanced(left, right), 1e-9)
    assert factors is not None
    whole = factors.rows(0, 64)
    order = torch.randperm(factors.left_dr.shape[1], generator=generator(1))
    shuffled = lowrank.IntegerFactors(factors.left_dr[:, order], factors.right_rm[order], factors.exponent)
    assert torch.equal(shuffled.rows(0, 64), whole)
    slow = (factors.left_dr @ factors.right_rm).double() * 2.0**factors.exponent  # int64: no rounding at all
    assert torch.equal(slow, whole)
    torch.testing.assert_close(whole, left @ right, rtol=0, atol=2e-8)


def test_factors_too_fine_for_an_exact_product_are_not_used() -> None:
    left, right = lowrank.balanced(torch.ones(4, 1), torch.ones(1, 4))
    assert lowrank.to_integers(left, right, 1e-20) is None
    assert lowrank.to_integers(left, right, 1e3) is None, "nothing is left of them"
    assert lowrank.to_integers(left * 0, right * 0, 1e-3) is None


def drop_one_correction(change: WeightChange) -> WeightChange:
    shape = (change.rows, change.shape[1])
    missing = unpack(change.corrections, shape)
    where = missing.flatten().nonzero()[0]
    missing.view(-1)[where] = 0
    packed = pack(missing)
    return replace(change, corrections=packed, correction_bytes=(len(packed),))


@pytest.mark.parametrize("rank", [0, 3])
def test_one_dropped_correction_is_found_before_anything_is_used(rank: int) -> None:
    before, after, (left, right) = low_rank_change(200, 300, 3, torch.bfloat16)
    change = change_of(before, after, (left * (rank > 0), right))
    assert change.rank == rank
    change = replace(change, rows=200)
    planted = drop_one_correction(change)
    for held, verb in ((before, "apply"), (after, "revert")):
        with pytest.raises(OperationFailed, match=r"another digest than was recorded; nothing was changed"):
            planted.exchange("w", held, verb)


def test_values_that_are_not_finite_are_kept_bit_for_bit_too() -> None:
    before = torch.tensor([[1.0, float("nan"), float("inf")], [0.0, -0.0, -float("inf")]])
    after = torch.tensor([[float("nan"), 2.0, 1.0], [-0.0, 0.0, float("inf")]])
    after.view(torch.int32)[0, 0] += 5  # another NaN
    for dtype in DTYPES:
        old, new = before.to(dtype), after.to(dtype)
        assert_exact(change_of(old, new, (torch.ones(2, 1), torch.ones(1, 3))), old, new)


@pytest.mark.parametrize("shape", [(), (5,), (0, 3), (3, 0), (2, 3, 4)], ids=str)
@pytest.mark.parametrize("dtype", [*DTYPES, torch.float64], ids=str)
def test_any_shape_and_float64_will_do(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    before = torch.randn(shape, generator=generator(0), dtype=torch.float64).to(dtype)
    after = before * 1.5
    assert_exact(change_of(before, after), before, after)


def test_an_unchanged_weight_takes_no_bytes_and_still_refuses_another() -> None:
    weight = torch.randn(8, 8, generator=generator(0))
    change = change_of(weight, weight.clone())
    assert (change.nbytes, change.changed) == (0, False)
    with pytest.raises(BadInput, match="use the model it was made on"):
        change.exchange("w", weight + 1, "apply")


@pytest.mark.parametrize("wrong", [((3, 2), (2, 5)), ((4, 2), (2, 4)), ((4, 2), (3, 5))], ids=str)
def test_factors_of_another_shape_are_refused(wrong: tuple[tuple[int, int], tuple[int, int]]) -> None:
    weight = torch.zeros(4, 5)
    with pytest.raises(BadInput, match=r"give left \(d, r\) and right \(r, m\)"):
        change_of(weight, weight + 1, (torch.ones(wrong[0]), torch.ones(wrong[1])))


@given(st.lists(st.one_of(st.integers(-3, 3), st.integers(-(2**63), 2**63 - 1)), max_size=40))
def test_packing_loses_nothing(values: list[int]) -> None:
    integers = torch.tensor(values, dtype=torch.int64)
    assert unpack(pack(integers), (len(values),)).tolist() == values


def test_zeros_are_packed_as_nothing_and_few_bits_as_few_bytes() -> None:
    assert len(pack(torch.zeros(1000, dtype=torch.int64))) == 0
    sparse = torch.zeros(80_000, dtype=torch.int64)
    sparse[::50] = -1
    assert len(pack(sparse)) < 80_000 / 16


def cut(packed: Tensor) -> Tensor:
    return packed[:-3]


@pytest.mark.parametrize(
    ("damage", "shape"),
    [(cut, (50,)), (lambda packed: packed.flip(0), (50,)), (lambda packed: packed, (49,)), (lambda packed: packed, ())],
    ids=["cut", "turned round", "another count", "one number"],
)
def test_damaged_packs_are_refused(damage: Any, shape: tuple[int, ...]) -> None:
    with pytest.raises(BadInput, match="take an unchanged copy"):
        unpack(damage(pack(torch.arange(50))), shape)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_ordinals_count_units_in_the_last_place(dtype: torch.dtype) -> None:
    every = torch.arange(-(2**15), 2**15, dtype=torch.int32)
    every = every.to(torch.int16) if dtype != torch.float32 else every * 65_521
    values = every.view(dtype)
    numbers = ordinals(values)
    assert torch.equal(from_ordinals(numbers, dtype).view(BITS[dtype]), every)
    assert len(numbers.unique()) == len(every)
    finite = values.isfinite()
    in_order = values[finite][numbers[finite].argsort()].double()
    assert bool((in_order.diff() >= 0).all())
    one = torch.ones((), dtype=dtype)
    assert ordinals(torch.nextafter(one, one * 2)) - ordinals(one) == 1
    assert ordinals(torch.tensor([-0.0, 0.0], dtype=dtype)).tolist() == [-1, 0]


def test_a_sum_of_updates_has_one_component_per_distinct_token() -> None:
    draw = generator(3)
    tokens = torch.tensor([7, 2, 7, 9, 2])
    directions = torch.randn(10, 6, generator=draw)[tokens]
    sums = lowrank.TokenSum(tokens, directions)
    assert sums.factors(0) is None
    total = torch.zeros(6, 8, dtype=torch.float64)
    for _ in range(3):
        steps, right = torch.randn(5, generator=draw).double(), torch.randn(5, 8, generator=draw).double()
        left = (steps[:, None] * directions).T
        sums.add(0, tokens, left, right)
        total += left @ right
    found = sums.factors(0)
    assert found is not None
    assert found[0].shape == (6, 3)
    torch.testing.assert_close(found[0] @ found[1], total)
    left, right = torch.randn(6, 5, generator=draw).double(), torch.randn(5, 8, generator=draw).double()
    left[:, 1] = 0
    for layer, components in ((0, 3 + 4), (1, 4)):  # not along the tokens' directions: a component per moved row
        sums.add(layer, tokens, left, right)
        found = sums.factors(layer)
        assert found is not None
        assert found[0].shape == (6, components)
        torch.testing.assert_close(found[0] @ found[1], (0 if layer else total) + left @ right)
