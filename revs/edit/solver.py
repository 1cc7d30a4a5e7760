"""The joint edit of one layer: one regularised least-squares solve over all keys of a batch.

Of all changes ΔW that move the logit of every target token far enough at its own key, take the one that moves all
logits least at the keys of ordinary text: minimise E‖U(g∘ΔW k)‖² subject to

    lower_i ≤ u_iᵀ(g∘ΔW k_i) ≤ upper_i        for every key k_i and its token's row u_i of the unembedding.

Each key constrains one logit, not the whole hidden vector: two tokens that are demoted at one key do not disturb each
other, and a token demoted under several prompts shares one movement. With C = E[k kᵀ] and q_i as in
`revs.model.vocabulary`, the solution is

    ΔW = Σ_i λ_i q_i (C⁻¹k_i)ᵀ,     A_ij = (u_iᵀ(g∘q_j)) · (k_iᵀC⁻¹k_j),

with multipliers λ that are zero wherever neither bound is met (the conditions of Karush, Kuhn and Tucker), so keys
whose token is where it belongs cost nothing. εI is added to A, as in ridge regression: with ε = 0 every bound is kept
exactly; a larger ε lets similar keys share, which carries over to contexts that were not edited. C is weighed as in
ROME (Meng et al. 2022).

Legend: N keys, m width of the key, d hidden.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from revs.errors import BadInput

_FULL_EXCHANGES = 4  # that may fail to help before rows are exchanged one by one
_EXCHANGES_PER_ROW = 10
_SLACK = 1e-9  # of a bound's size
_KEPT = 1e-4  # of a bound's size: what rounding may cost an answer where the matrix is nearly singular


def joint_update(
    keys_Nm: Float[Tensor, "N m"],
    directions_Nd: Float[Tensor, "N d"],
    logits_NN: Float[Tensor, "N N"],
    lower_N: Float[Tensor, " N"],
    upper_N: Float[Tensor, " N"],
    moment_mm: Float[Tensor, "m m"],
    *,
    epsilon: float | Float[Tensor, " N"],
    ridge: float,
) -> tuple[Float[Tensor, "d N"], Float[Tensor, "N m"]]:
    """The low-rank factors (left, right) of ΔW = left @ right, in float64.

    Multiply them in float64: of nearly equal keys the factors are large and cancel in the product.

    Args:
        keys_Nm: inputs of the edited matrix at the edited positions.
        directions_Nd: q of each key's token.
        logits_NN: entry (i, j) is the change of token i's logit by a step of 1 along q_j; symmetric.
        lower_N: bound of the change of each token's logit at its own key; −∞ for none.
        upper_N: the same from above; at least `lower_N`; ∞ for none.
        moment_mm: C, second moment of the keys over text to be left alone.
        epsilon: relative to the mean diagonal of A; one for all keys, or one for each.
        ridge: added to C's diagonal, relative to its mean.
    """
    moment_mm = moment_mm.to(torch.float64, copy=True)  # no more copies than needed: C is large
    moment_mm.diagonal().add_(ridge * moment_mm.diagonal().mean().clamp_min(1e-12))
    factor_mm = torch.linalg.cholesky(moment_mm)
    del moment_mm
    half_mN = torch.linalg.solve_triangular(factor_mm, keys_Nm.double().T, upper=False)
    gram_NN = (half_mN.T @ half_mN) * logits_NN.double()  # K C⁻¹ Kᵀ, then the logits
    # A little is added even at ε = 0: equal keys of one token would make A singular.
    epsilon_N = torch.as_tensor(epsilon, dtype=gram_NN.dtype, device=gram_NN.device).clamp_min(1e-9)
    gram_NN.diagonal().add_(epsilon_N * gram_NN.diagonal().mean().clamp_min(1e-12))
    multipliers_N = bounded_multipliers(gram_NN, lower_N.double(), upper_N.double())
    held = multipliers_N.nonzero().flatten()  # C⁻¹ Kᵀ of the others is not needed
    right_Nm = torch.zeros(keys_Nm.shape, dtype=gram_NN.dtype, device=gram_NN.device)
    right_Nm[held] = torch.linalg.solve_triangular(factor_mm.T, half_mN[:, held], upper=True).T
    return (multipliers_N[:, None] * directions_Nd.double()).T, right_Nm


def bounded_multipliers(
    gram_NN: Float[Tensor, "N N"], lower_N: Float[Tensor, " N"], upper_N: Float[Tensor, " N"]
) -> Float[Tensor, " N"]:
    """λ such that y = Aλ keeps lower ≤ y ≤ upper, and λ_i is ≤ 0 only at the upper and ≥ 0 only at the lower bound.

    Block principal pivoting (Júdice and Pires 1994): guess which bounds hold with equality, solve, exchange all rows
    that contradict the guess. Where that stops helping, an active-set method goes on from there, one row at a time: it
    is slower, and every exchange brings it nearer.

    Raises:
        BadInput: no such λ was found, as it happens where bounds contradict each other and A is nearly singular.
    """
    solve = _Multipliers(gram_NN, lower_N, upper_N)
    multipliers_N, ended = solve.by_blocks()
    if not ended:
        multipliers_N, ended = solve.one_by_one(multipliers_N)
    if not ended or not solve.within(multipliers_N, _KEPT):
        raise BadInput(
            f"the bounds of {len(lower_N)} keys of one layer cannot all be kept at once: their solve did not converge; "
            "raise epsilon, or erase fewer targets at once"
        )
    return multipliers_N


class _Multipliers:
    """The solve of `bounded_multipliers`; a side is −1 where the upper bound holds, 1 where the lower one does."""

    def __init__(self, gram_NN: Tensor, lower_N: Tensor, upper_N: Tensor) -> None:
        self.gram_NN, self.lower_N, self.upper_N = gram_NN, lower_N, upper_N
        sizes_N = (bound_N.abs().nan_to_num(posinf=0.0) for bound_N in (lower_N, upper_N))
        self.size_N = 1e-12 + torch.maximum(*sizes_N)

    def by_blocks(self) -> tuple[Tensor, bool]:
        """Exchange all contradictions at once while that helps; whether none is left."""
        side_N = torch.zeros(len(self.lower_N), dtype=torch.int8, device=self.gram_NN.device)
        fewest, chances = len(self.lower_N) + 1, _FULL_EXCHANGES
        while True:
            multipliers_N = self._held_at(side_N)
            wanted_N = self._violated(side_N, multipliers_N)
            wrong = ((wanted_N != 0) | (side_N * multipliers_N < 0)).nonzero().flatten()
            if not len(wrong):
                return multipliers_N, True
            fewest, chances = (len(wrong), _FULL_EXCHANGES) if len(wrong) < fewest else (fewest, chances - 1)
            if chances == 0:
                return multipliers_N.where(side_N * multipliers_N > 0, 0.0), False
            side_N[wrong] = wanted_N[wrong]

    def one_by_one(self, multipliers_N: Tensor) -> tuple[Tensor, bool]:
        """The method of Lawson and Hanson (1974, chapter 23) with two bounds, from any λ; whether it came to its end.

        Hold what is held, as far as no sign changes; then hold the bound that is broken most.
        """
        side_N = multipliers_N.sign().to(torch.int8)
        refused = torch.zeros_like(side_N, dtype=torch.bool)  # rows that would leave at once: rounding brought them up
        for _ in range(_EXCHANGES_PER_ROW * len(side_N)):
            multipliers_N, side_N = self._towards_held(multipliers_N, side_N)
            moved_N = self.gram_NN @ multipliers_N
            excess_N = torch.maximum(moved_N - self.upper_N, self.lower_N - moved_N) / self.size_N
            excess_N[(side_N != 0) | refused] = -torch.inf
            worst = int(excess_N.argmax())
            if float(excess_N[worst]) <= _SLACK:
                return multipliers_N, True
            side_N[worst] = -1 if moved_N[worst] > self.upper_N[worst] else 1
            first = float(self._held_at(side_N)[worst] * side_N[worst])
            refused = torch.zeros_like(refused) if first > 0 else refused
            if first <= 0:
                side_N[worst], refused[worst] = 0, True
        return multipliers_N, False

    def within(self, multipliers_N: Tensor, share: float) -> bool:
        """Whether every bound is kept, but for a share of its size."""
        moved_N = self.gram_NN @ multipliers_N
        excess_N = torch.maximum(moved_N - self.upper_N, self.lower_N - moved_N)
        return bool((excess_N <= share * (self.size_N + self.size_N.max())).all())

    def _held_at(self, side_N: Tensor) -> Tensor:
        """λ that meets the held bounds with equality and is 0 elsewhere."""
        held = side_N.nonzero().flatten()
        multipliers_N = torch.zeros_like(self.upper_N)
        if len(held):
            bound_H = torch.where(side_N < 0, self.upper_N, self.lower_N)[held]
            factor_HH = torch.linalg.cholesky(self.gram_NN[held][:, held])
            multipliers_N[held] = torch.cholesky_solve(bound_H[:, None], factor_HH)[:, 0]
        return multipliers_N

    def _violated(self, side_N: Tensor, multipliers_N: Tensor) -> Tensor:
        """The side to hold of each row that is not held and is outside its bounds, else 0."""
        moved_N, slack_N = self.gram_NN @ multipliers_N, _SLACK * self.size_N
        wanted_N = torch.zeros_like(side_N)
        wanted_N[(side_N == 0) & (moved_N > self.upper_N + slack_N)] = -1
        wanted_N[(side_N == 0) & (moved_N < self.lower_N - slack_N)] = 1
        return wanted_N

    def _towards_held(self, multipliers_N: Tensor, side_N: Tensor) -> tuple[Tensor, Tensor]:
        """Go from λ to the one that meets the held bounds; a row whose sign would change is let go where it is 0."""
        while True:
            wanted_N = self._held_at(side_N)
            wrong_N = (side_N != 0) & (side_N * wanted_N <= 0)
            if not bool(wrong_N.any()):
                return wanted_N, side_N
            share_N = (multipliers_N / (multipliers_N - wanted_N)).nan_to_num(0.0).masked_fill(~wrong_N, torch.inf)
            share = share_N.min().clamp(0.0, 1.0)
            multipliers_N = multipliers_N + share * (wanted_N - multipliers_N)
            gone_N = wrong_N & (share_N <= share)
            side_N = side_N.masked_fill(gone_N, 0)
            multipliers_N = multipliers_N.masked_fill(gone_N, 0.0)
