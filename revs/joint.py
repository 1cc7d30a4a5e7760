"""The joint edit of one layer: one regularised least-squares solve over all keys of a batch.

Wanted: ΔW k_i ≈ c_i q_i for every key k_i, and E‖ΔW k‖² small over the keys of ordinary text, i.e.
(with A = K C⁻¹ Kᵀ + εI)

    ΔW = (c∘Q)ᵀ A⁻¹ K C⁻¹

Keys whose step is zero stay in the solve: they are asked not to move. With ε = 0 every key gets exactly its own step; a
larger ε lets similar keys share, which carries over to contexts that were not edited.

Legend: N keys, m width of the MLP, d hidden.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def joint_update(
    keys_Nm: Float[Tensor, "N m"],
    steps_N: Float[Tensor, " N"],
    directions_Nd: Float[Tensor, "N d"],
    moment_mm: Float[Tensor, "m m"],
    *,
    epsilon: float | Float[Tensor, " N"],
    ridge: float,
) -> tuple[Float[Tensor, "d N"], Float[Tensor, "N m"]]:
    """The low-rank factors (left, right) of ΔW = left @ right, in float64.

    Multiply them in float64: of nearly equal keys with different steps the factors are large and cancel in the product.

    Args:
        keys_Nm: inputs of FF2 at the edited positions.
        steps_N: wanted step along each direction, ≤ 0.
        directions_Nd: q_t of each key's token.
        moment_mm: C, second moment of the keys over text to be left alone.
        epsilon: relative to the mean diagonal of K C⁻¹ Kᵀ; one for all keys, or one for each.
        ridge: added to C's diagonal, relative to its mean.
    """
    moment_mm = moment_mm.double()
    scale = moment_mm.diagonal().mean().clamp_min(1e-12)
    identity_mm = torch.eye(len(moment_mm), dtype=moment_mm.dtype, device=moment_mm.device)
    factor_mm = torch.linalg.cholesky(moment_mm + ridge * scale * identity_mm)
    whitened_mN = torch.cholesky_solve(keys_Nm.double().T, factor_mm)  # C⁻¹ Kᵀ
    gram_NN = keys_Nm.double() @ whitened_mN
    epsilon_N = torch.as_tensor(epsilon, dtype=gram_NN.dtype, device=gram_NN.device).clamp_min(1e-9)
    scale = gram_NN.diagonal().mean().clamp_min(1e-12)
    gram_NN = gram_NN + torch.diag_embed((epsilon_N * scale).expand(len(gram_NN)))
    wanted_Nd = steps_N.double()[:, None] * directions_Nd.double()
    left_Nd = torch.cholesky_solve(wanted_Nd, torch.linalg.cholesky(gram_NN))
    return left_Nd.T, whitened_mN.T
