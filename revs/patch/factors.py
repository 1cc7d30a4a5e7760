"""Low-rank matrices: summed over sweeps, balanced by their singular values, and rounded to small integers.

A product of integers that stays below 2⁵³ is exact in float64, in whatever order a machine sums it. So a change that is
kept as (integers @ integers)·2^exponent is the same number everywhere, and what rounding it into a weight gives is too.

One step for both factors and all components is the cheapest for a given error of the product: a component that is
smaller than the step vanishes, one a little larger costs few bits.

Legend: d rows, m columns, r rank, N target tokens, T distinct ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

_EXACT = 2**53  # below it, float64 holds every integer
_PARALLEL = 1e-6  # relative


@dataclass(frozen=True, slots=True)
class IntegerFactors:
    """(left @ right)·2^exponent, exact in float64."""

    left_dr: Int64[Tensor, "d r"]
    right_rm: Int64[Tensor, "r m"]
    exponent: int

    def rows(self, start: int, stop: int) -> Float[Tensor, "rows m"]:
        """Rows `start` to `stop` of the matrix, in float64."""
        return (self.left_dr[start:stop].double() @ self.right_rm.double()) * 2.0**self.exponent


def balanced(
    left_dr: Float[Tensor, "d r"], right_rm: Float[Tensor, "r m"]
) -> tuple[Float[Tensor, "d k"], Float[Tensor, "k m"]]:
    """Factors of the same product, in float64 on the CPU, each with √σ of every component: nothing cancels in them."""
    left_q, left_r = torch.linalg.qr(left_dr.detach().cpu().double())
    right_q, right_r = torch.linalg.qr(right_rm.detach().cpu().double().T)
    u, sigma, vh = torch.linalg.svd(left_r @ right_r.T)
    root = sigma.sqrt()
    k = len(root)
    return (left_q @ u[:, :k]) * root, root[:, None] * (vh[:k] @ right_q.T)


def decomposed(matrix_dm: Float[Tensor, "d m"], smallest: float) -> tuple[Float[Tensor, "d k"], Float[Tensor, "k m"]]:
    """The balanced factors of a matrix, of its singular values above `smallest`."""
    u, sigma, vh = torch.linalg.svd(matrix_dm.detach().cpu().double(), full_matrices=False)
    k = int((sigma > smallest).sum())
    root = sigma[:k].sqrt()
    return u[:, :k] * root, root[:, None] * vh[:k]


def rounding_noise(unit: float, d: int, m: int) -> float:
    """A bound of the spectral norm of what rounding adds to a (d, m) matrix, `unit` being a typical unit in the last
    place: independent errors of a few roundings have at most about this.
    """
    return unit * (math.sqrt(d) + math.sqrt(m)) / 2


def unit_in_the_last_place(*sides: Float[Tensor, "_ _"]) -> float:
    """ULP at the larger RMS of the given tensors, which are of one dtype."""
    size = max(float(side.double().square().mean().sqrt()) for side in sides)
    return size * torch.finfo(sides[0].dtype).eps


def to_integers(left_dr: Float[Tensor, "d r"], right_rm: Float[Tensor, "r m"], error: float) -> IntegerFactors | None:
    """Balanced factors as integers, with about that root mean square error of the product's entries.

    None if nothing is left of them, or if the product would not be exact.
    """
    (d, _), (_, m) = left_dr.shape, right_rm.shape
    # Errors are uniform within a step; √(sum of σ) is the Frobenius norm of each factor.
    spread = float(left_dr.norm()) * math.sqrt((1 / d + 1 / m) / 12)
    if not (math.isfinite(spread) and spread > 0 and error > 0):
        return None
    power = math.floor(math.log2(error / spread))
    step = 2.0**power
    largest = float(left_dr.abs().max()) / step, float(right_rm.abs().max()) / step
    if not 2 * power > -1000 or (largest[0] + 1) * (largest[1] + 1) * left_dr.shape[1] >= _EXACT:
        return None
    left, right = (left_dr / step).round().long(), (right_rm / step).round().long()
    kept = left.any(dim=0) & right.any(dim=1)
    if not kept.any():
        return None
    return IntegerFactors(left[:, kept].contiguous(), right[kept].contiguous(), 2 * power)


class TokenSum:
    """A sum of updates left @ right; those whose left columns of one token are parallel share a component per token.

    So are the updates of `revs.edit.solver` where each row moves along q of its token, in every layer and every sweep:
    the sum has as many components as there are distinct tokens. Any other update is kept with a component per row.
    """

    def __init__(self, tokens_N: Int[Tensor, " N"], directions_Nd: Float[Tensor, "N d"]) -> None:
        """`directions_Nd`: the direction of each token; its length does not matter. All tokens that `add` may name."""
        self._tokens_T, place_N = torch.unique(tokens_N, return_inverse=True)
        unit_Nd = torch.nn.functional.normalize(directions_Nd.double(), dim=1)
        self._unit_Td = unit_Nd.new_zeros(len(self._tokens_T), directions_Nd.shape[1])
        self._unit_Td[place_N.to(unit_Nd.device)] = unit_Nd  # equal rows: whichever is written last
        self._parts: dict[int, list[tuple[Tensor, Tensor]]] = {}  # by layer: places of tokens, their rows
        self._others: dict[int, list[tuple[Tensor, Tensor]]] = {}

    def add(
        self, layer: int, tokens_N: Int[Tensor, " N"], left_dN: Float[Tensor, "d N"], right_Nm: Float[Tensor, "N m"]
    ) -> None:
        """Add an update to the sum of a layer; row n of `right_Nm` moves along the direction of token n."""
        place_N = torch.searchsorted(self._tokens_T, tokens_N).to(left_dN.device)
        unit_Nd = self._unit_Td.to(left_dN.device)[place_N]
        length_N = (left_dN.T * unit_Nd).sum(1)
        if float((left_dN.T - length_N[:, None] * unit_Nd).norm()) > _PARALLEL * float(left_dN.norm()):
            used_N = left_dN.any(dim=0)
            self._others.setdefault(layer, []).append((left_dN[:, used_N].cpu(), right_Nm[used_N].cpu()))
            return
        used_T, row_N = torch.unique(place_N, return_inverse=True)
        part_Um = right_Nm.new_zeros(len(used_T), right_Nm.shape[1])
        part_Um.index_add_(0, row_N, length_N[:, None] * right_Nm)
        moved_U = part_Um.any(dim=1)
        self._parts.setdefault(layer, []).append((used_T[moved_U].cpu(), part_Um[moved_U].cpu()))

    def factors(self, layer: int) -> tuple[Float[Tensor, "d r"], Float[Tensor, "r m"]] | None:
        """The sum of a layer, in float64 on the CPU; None if nothing was added."""
        parts = [*self._others.get(layer, [])]
        if layer in self._parts:
            used_X = torch.cat([used_U for used_U, _ in self._parts[layer]])
            part_Xm = torch.cat([part_Um for _, part_Um in self._parts[layer]])
            used_T, row_X = torch.unique(used_X, return_inverse=True)
            right_Tm = part_Xm.new_zeros(len(used_T), part_Xm.shape[1]).index_add_(0, row_X, part_Xm)
            parts.append((self._unit_Td[used_T.to(self._unit_Td.device)].T.cpu(), right_Tm))
        if not parts:
            return None
        return torch.cat([left for left, _ in parts], dim=1), torch.cat([right for _, right in parts])
