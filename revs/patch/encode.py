"""The exact change of one weight, kept small: a prediction from low-rank integer factors, and what it misses.

With D the product of the factors, R rounding to the weight's dtype, and ord the integer of a float
(`revs.patch.integers`):

    after  = ord⁻¹(ord R(before + D) + e),        e: the corrections
    before = ord⁻¹(ord R(after − D) + g − e),     g: the differences

The factors are rounded integers, so D is the same number on every machine, and so is each side: bit for bit, whatever
the corrections are. Within one binade both predictions move by the same number of units, so g is zero but where the
edit changed the exponent, and e is small where the factors are good. Without factors D is zero, e is the whole change
in units in the last place and g is zero: the dense form. Of both, the smaller is kept.

One weight of 4096 × 14336 in bfloat16 with a random update of relative size 1% (tests/benchmarks/patch_size.py): 3.9
MB at rank 64, 12.7 MB at rank 400, 34.4 MB in the dense form, against 235 MB for both sides; 0.12, 0.41 and 1.10 GB for
32. Several sweeps round several times, which no sum of factors tells: six of rank 64 take 18.5 MB.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from revs.errors import BadInput, OperationFailed
from revs.model.digest import tensor_digest
from revs.patch.factors import IntegerFactors, balanced, decomposed, rounding_noise, to_integers, unit_in_the_last_place
from revs.patch.integers import from_ordinals, ordinals, pack, unpack

Factors = tuple[Tensor, Tensor]  # left (d, r), right (r, m)

_CHUNK = 2**22  # entries that are worked on at a time
_SAMPLE = 64  # rows on which the precision of the factors is chosen
_FINENESS = (1, 3, 5, 7, 9, 12)  # error of D tried, as a power of 1/2 of a typical unit in the last place
_DECOMPOSED = 512  # without factors, a change whose smaller side is at most this is decomposed
_ROUNDED = (torch.float32, torch.bfloat16, torch.float16)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WeightChange:
    """How one weight changed; both directions are exact and checked.

    Attributes:
        shape, dtype: of the weight; as a matrix its rows are the first axis.
        base, edited: digests of the weight before and after.
        rank, exponent: of the factors; rank 0: none.
        left, right: the packed factors; corrections, differences: e and g, packed by `rows` rows.
        correction_bytes, difference_bytes: lengths of the packed parts.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype
    base: str
    edited: str
    rows: int
    rank: int = 0
    exponent: int = 0
    correction_bytes: tuple[int, ...] = ()
    difference_bytes: tuple[int, ...] = ()
    left: UInt8[Tensor, " a"] = field(repr=False)
    right: UInt8[Tensor, " b"] = field(repr=False)
    corrections: UInt8[Tensor, " c"] = field(repr=False)
    differences: UInt8[Tensor, " e"] = field(repr=False)

    @property
    def changed(self) -> bool:
        return self.base != self.edited

    @property
    def nbytes(self) -> int:
        """Bytes of the four tensors."""
        return sum(len(part) for part in (self.left, self.right, self.corrections, self.differences))

    def factors(self) -> IntegerFactors | None:
        """The factors of the prediction D; None in the dense form."""
        if not self.rank:
            return None
        d, m = _matrix_shape(self.shape)
        return IntegerFactors(unpack(self.left, (d, self.rank)), unpack(self.right, (self.rank, m)), self.exponent)

    def typical_correction(self) -> int:
        """The median size of the corrections, in units in the last place: how far the factors alone are off."""
        parts = [correction.abs().flatten() for _, correction, _ in self._parts(*_matrix_shape(self.shape))]
        return int(torch.cat(parts).median()) if parts else 0

    def exchange(self, name: str, held: Tensor, verb: str) -> Tensor:
        """The other side of `held`, on the CPU: after for "apply", before for "revert"; `held` is only read.

        Raises:
            BadInput: `held` is not this side, to the bit.
            OperationFailed: what was reconstructed is not the other side: a damaged patch, or a machine that drops
                subnormal numbers.
        """
        present, wanted = (self.base, self.edited) if verb == "apply" else (self.edited, self.base)
        if tuple(held.shape) != self.shape or held.dtype != self.dtype:
            raise no_such_weight(name, self, verb)
        held = held.detach().cpu()
        found = tensor_digest(held)
        if found != present:
            raise BadInput(
                f"cannot {verb} this patch: the model's {name} has digest {found[:19]}…, the patch "
                f"expects {present[:19]}…; use the model it was made on"
            )
        if not self.changed:
            return held
        result = self._moved(held, 1 if verb == "apply" else -1)
        if tensor_digest(result) != wanted:
            raise OperationFailed(
                f"cannot {verb} this patch: what it gives for {name} has another digest than was recorded; nothing "
                "was changed: take an unchanged copy of the patch"
            )
        return result

    def _moved(self, held: Tensor, sign: int) -> Tensor:
        held_dm = held.reshape(_matrix_shape(self.shape))
        factors, moved_dm = self.factors(), torch.empty_like(held_dm)
        for start, correction, difference in self._parts(len(held_dm), held_dm.shape[1]):
            part = held_dm[start : start + self.rows]
            missing = correction if sign > 0 else difference - correction
            predicted = _predicted(part, factors, start, sign)
            moved_dm[start : start + self.rows] = from_ordinals(predicted + missing, self.dtype)
        return moved_dm.reshape(self.shape)

    def _parts(self, d: int, m: int) -> Iterator[tuple[int, Tensor, Tensor]]:
        corrections = torch.split(self.corrections, list(self.correction_bytes))
        differences = torch.split(self.differences, list(self.difference_bytes))
        for start, correction, difference in zip(range(0, d, self.rows), corrections, differences, strict=True):
            shape = (min(self.rows, d - start), m)
            yield start, unpack(correction, shape), unpack(difference, shape)


def no_such_weight(name: str, change: WeightChange, verb: str) -> BadInput:
    """The refusal of a model that lacks a weight, or has it in another shape or dtype."""
    return BadInput(
        f"cannot {verb} this patch: the model has no weight {name} of shape {change.shape} "
        f"and {change.dtype}; use the model it was made on"
    )


def change_of(before: Tensor, after: Tensor, factors: Factors | None = None) -> WeightChange:
    """The change from `before` to `after`: same shape, same floating dtype.

    Args:
        before: on any device; moved to the CPU, and read there in chunks.
        after: the same.
        factors: left (d, r) and right (r, m) whose product is about after − before, if known. They decide about the
            size only. Without them the low-rank form is tried on small weights.
    """
    before, after = before.detach().cpu(), after.detach().cpu()
    shape = _matrix_shape(tuple(before.shape))
    before_dm, after_dm = before.reshape(shape), after.reshape(shape)
    digests = tensor_digest(before), tensor_digest(after)
    if digests[0] == digests[1]:
        nothing = torch.empty(0, dtype=torch.uint8)
        return WeightChange(
            shape=tuple(before.shape), dtype=before.dtype, base=digests[0], edited=digests[1], rows=1,
            left=nothing, right=nothing, corrections=nothing, differences=nothing,
        )  # fmt: skip
    dense = _encoded(before, after, digests, None)
    chosen, size = _best_factors(before_dm, after_dm, factors)
    if chosen is None or size >= dense.nbytes:
        return dense
    low_rank = _encoded(before, after, digests, chosen)
    return min(dense, low_rank, key=lambda change: change.nbytes)


def check_factors(shape: tuple[int, ...], factors: Factors) -> None:
    """Refuse factors whose product is no matrix of a weight's shape.

    Raises:
        BadInput: they are not left (d, r) and right (r, m).
    """
    (d, m), (left_dr, right_rm) = _matrix_shape(shape), factors
    if (len(left_dr), left_dr.shape[1], right_rm.shape[1]) != (d, len(right_rm), m):
        raise BadInput(
            f"factors of shapes {tuple(left_dr.shape)} and {tuple(right_rm.shape)} are not those of a weight of "
            f"shape {(d, m)}; give left (d, r) and right (r, m)"
        )


def _matrix_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """(d, m): rows are the first axis of a weight with several, else there is one row."""
    count = torch.Size(shape).numel()
    return (shape[0], count // shape[0]) if len(shape) > 1 and count else (1, count)


def _predicted(
    part_Rm: Float[Tensor, "R m"], factors: IntegerFactors | None, start: int, sign: int
) -> Int64[Tensor, "R m"]:
    """Ordinals of the rounded part ± D, the same on every machine."""
    if factors is None:
        return ordinals(part_Rm)
    sum_Rm = part_Rm.double() + sign * factors.rows(start, start + len(part_Rm))
    # By way of float32, in every dtype: so that no library's choice of a shorter way decides about a tie.
    return ordinals(sum_Rm.float().to(part_Rm.dtype))


def _missing(
    before_Rm: Tensor, after_Rm: Tensor, factors: IntegerFactors | None, start: int
) -> tuple[Int64[Tensor, "R m"], Int64[Tensor, "R m"]]:
    """The corrections e and the differences g of some rows."""
    correction = ordinals(after_Rm) - _predicted(before_Rm, factors, start, 1)
    return correction, correction + ordinals(before_Rm) - _predicted(after_Rm, factors, start, -1)


def _encoded(before: Tensor, after: Tensor, digests: tuple[str, str], factors: IntegerFactors | None) -> WeightChange:
    (d, m), shape = _matrix_shape(tuple(before.shape)), tuple(before.shape)
    before_dm, after_dm, rows = before.reshape(d, m), after.reshape(d, m), max(1, _CHUNK // max(m, 1))
    corrections, differences = [], []
    for start in range(0, d, rows):
        stop = start + rows
        correction, difference = _missing(before_dm[start:stop], after_dm[start:stop], factors, start)
        corrections.append(pack(correction))
        differences.append(pack(difference))
    nothing = torch.zeros(1, 0, dtype=torch.int64)
    return WeightChange(
        shape=shape,
        dtype=before.dtype,
        base=digests[0],
        edited=digests[1],
        rows=rows,
        rank=0 if factors is None else factors.left_dr.shape[1],
        exponent=0 if factors is None else factors.exponent,
        correction_bytes=tuple(map(len, corrections)),
        difference_bytes=tuple(map(len, differences)),
        left=pack(nothing if factors is None else factors.left_dr),
        right=pack(nothing if factors is None else factors.right_rm),
        corrections=torch.cat(corrections),
        differences=torch.cat(differences),
    )


def _best_factors(before_dm: Tensor, after_dm: Tensor, factors: Factors | None) -> tuple[IntegerFactors | None, float]:
    """The integer factors that give the smallest form, and about how many bytes that is, judged on some rows."""
    if before_dm.dtype not in _ROUNDED or not (before_dm.isfinite().all() and after_dm.isfinite().all()):
        return None, inf
    d = len(before_dm)
    rows = torch.linspace(0, d - 1, min(d, _SAMPLE)).round().long()
    before_Rm, after_Rm = before_dm[rows], after_dm[rows]
    unit = unit_in_the_last_place(before_Rm, after_Rm)
    pair = _float_factors(before_dm, after_dm, factors, unit)
    best, best_size = None, inf
    if pair is None:
        return None, inf
    for fineness in _FINENESS:
        tried = to_integers(*pair, unit * 2.0**-fineness)
        if tried is None:
            continue
        sampled = IntegerFactors(tried.left_dr[rows], tried.right_rm, tried.exponent)
        missing = sum(len(pack(part)) for part in _missing(before_Rm, after_Rm, sampled, 0))
        size = len(pack(tried.left_dr)) + len(pack(tried.right_rm)) + missing * d / len(rows)
        if size > best_size:
            break  # the finer ones are larger still
        best, best_size = tried, size
    return best, best_size


def _float_factors(before_dm: Tensor, after_dm: Tensor, factors: Factors | None, unit: float) -> Factors | None:
    """Balanced factors of about after − before; None where there are none, or none that are cheap to have."""
    d, m = before_dm.shape
    try:
        if factors is None:
            if not 1 < min(d, m) <= _DECOMPOSED:
                return None
            pair = decomposed(after_dm.double() - before_dm.double(), rounding_noise(unit, d, m))
            return pair if pair[0].numel() else None
        check_factors((d, m), factors)
        left_dr, right_rm = factors
        known = left_dr.numel() > 0 and bool(left_dr.isfinite().all() and right_rm.isfinite().all())
        return balanced(left_dr, right_rm) if known else None
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]  # public, but missing in torch's stub
        return None  # no convergence: the dense form needs none
