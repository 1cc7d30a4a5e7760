"""Second moments of the keys (inputs of the edited matrices) over text that the edit should leave alone.

The least-squares edit weighs a change at a key by how often such keys occur elsewhere: C = E[k kᵀ] (as in ROME, Meng et
al. 2022).

Legend: B batch, T positions, m width of the MLP.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from revs.taps import run
from revs.targets import Batch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from revs.architectures import Architecture


def key_moments(
    model: PreTrainedModel, architecture: Architecture, batches: Iterable[Batch], *, only_secrets: bool = False
) -> list[Tensor]:
    """E[k kᵀ] for every layer, float32 (m, m), over all unpadded positions of `batches`; zeros when there are none.

    With `only_secrets`, over the positions that predict a token of a secret: what a retained record needs.
    """
    layers = architecture.decoder_layers(model)
    sums = [torch.zeros(m, m, device=model.device) for m in map(architecture.key_width, layers)]
    count = 0

    for batch in batches:
        present_BT = batch.mask_BT.bool()
        if only_secrets:
            present_BT = torch.zeros_like(present_BT).index_put_(
                (batch.row_N, batch.position_N), present_BT.new_ones(())
            )
        count += int(present_BT.sum())

        def add(layer: int, keys_BTm: Tensor, _hidden: Tensor, present_BT: Tensor = present_BT) -> None:
            keys_Nm = keys_BTm[present_BT.to(keys_BTm.device)].float()
            sums[layer] += keys_Nm.T @ keys_Nm

        run(model, architecture, batch, add)
    return [total / max(count, 1) for total in sums]
