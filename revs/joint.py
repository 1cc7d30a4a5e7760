"""The joint edit of one layer: one regularised least-squares solve over all keys of a batch.

Of all changes ΔW that move the logit of every target token far enough at its own key, take the one that moves all
logits least at the keys of ordinary text: minimise E‖U(g∘ΔW k)‖² subject to

    lower_i ≤ u_iᵀ(g∘ΔW k_i) ≤ upper_i        for every key k_i and its token's row u_i of the unembedding.

Each key constrains one logit, not the whole hidden vector: two tokens that are demoted at one key do not disturb each
other, and a token demoted under several prompts shares one movement. With C = E[k kᵀ] and q_i as in
`revs.unembedding`, the solution is

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

_FULL_EXCHANGES = 3  # that may fail to help before rows are exchanged one by one
_PIVOTS = 2000
_SLACK = 1e-9  # relative


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
    that contradict the guess; when that stops helping, only the last of them, which ends for every positive definite A.
    """
    side_N = torch.zeros(len(lower_N), dtype=torch.int8, device=gram_NN.device)  # −1 at the upper bound, 1 at the lower
    sizes_N = (bound_N.abs().nan_to_num(posinf=0.0) for bound_N in (lower_N, upper_N))
    slack_N = _SLACK * (1e-12 + torch.maximum(*sizes_N))
    fewest, chances = len(lower_N) + 1, _FULL_EXCHANGES
    multipliers_N = torch.zeros_like(upper_N)
    for _ in range(_PIVOTS):
        held = side_N.nonzero().flatten()
        multipliers_N = torch.zeros_like(upper_N)
        if len(held):
            bound_H = torch.where(side_N < 0, upper_N, lower_N)[held]
            factor_HH = torch.linalg.cholesky(gram_NN[held][:, held])
            multipliers_N[held] = torch.cholesky_solve(bound_H[:, None], factor_HH)[:, 0]
        moved_N = gram_NN @ multipliers_N
        wanted_N = torch.zeros_like(side_N)
        wanted_N[(side_N == 0) & (moved_N > upper_N + slack_N)] = -1
        wanted_N[(side_N == 0) & (moved_N < lower_N - slack_N)] = 1
        wrong = ((wanted_N != 0) | (side_N * multipliers_N < 0)).nonzero().flatten()
        if not len(wrong):
            break
        if len(wrong) < fewest:
            fewest, chances = len(wrong), _FULL_EXCHANGES
        else:
            chances -= 1
        exchanged = wrong if chances > 0 else wrong[-1:]
        side_N[exchanged] = wanted_N[exchanged]
    return multipliers_N
