"""Second moments of the keys (inputs of the edited matrices) over text that the edit should leave alone.

The least-squares edit weighs a change at a key by how often such keys occur elsewhere: C = E[k kᵀ] (as in ROME, Meng et
al. 2022).

Legend: B batch, T positions, m width of the MLP.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from revs.architectures import context_length
from revs.taps import run
from revs.targets import Batch, TokenisedTarget, collate

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from revs.architectures import Architecture
    from revs.config import EraseConfig


class Moments:
    """C of every layer: ordinary text at weight 1, retained records and what was edited before at `retain_weight`."""

    def __init__(self, model: PreTrainedModel, architecture: Architecture, text: list[Tensor], weight: float) -> None:
        """`text`: (m, m) by layer."""
        self._model, self._architecture, self._text, self._weight = model, architecture, text, weight
        self._edited: list[Tensor] | None = None
        self._count = 0

    @classmethod
    def gathered(
        cls,
        model: PreTrainedModel,
        architecture: Architecture,
        tokenizer: PreTrainedTokenizerBase,
        text: Sequence[str],
        retain: Sequence[TokenisedTarget],
        config: EraseConfig,
    ) -> Moments:
        """Read the text and the retained records in forward passes; without either, C is the identity."""
        context = context_length(model)
        ids = tokenizer(list(text), truncation=True, max_length=context)["input_ids"] if text else []
        ordinary = [TokenisedTarget(ids=tuple(i), start=len(i) - 1, chosen=()) for i in ids if len(i) > 1]
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0

        def batches(some: Sequence[TokenisedTarget]) -> list[Batch]:
            some = sorted(some, key=lambda target: len(target.ids))  # little padding
            size = config.batch_size
            return [collate(some[i : i + size], pad=pad, device=model.device) for i in range(0, len(some), size)]

        if ordinary or retain:
            parts = (
                key_moments(model, architecture, batches(ordinary)),
                key_moments(model, architecture, batches(retain), only_secrets=True),
            )
            text_part = [t_mm + config.retain_weight * r_mm for t_mm, r_mm in zip(*parts, strict=True)]
        else:
            widths = map(architecture.key_width, architecture.decoder_layers(model))
            text_part = [torch.eye(width, device=model.device) for width in widths]
        return cls(model, architecture, text_part, config.retain_weight)

    def of(self, layer: int) -> Tensor:
        """C of one layer, float32 (m, m)."""
        if self._edited is None:
            return self._text[layer]
        return self._text[layer] + self._weight / self._count * self._edited[layer]

    def protect(self, batch: Batch) -> None:
        """Add the keys of targets that are edited and must stay as they are now; one forward pass."""
        count = len(batch.token_N)
        moments = key_moments(self._model, self._architecture, [batch], only_secrets=True)
        new = [count * moment_mm for moment_mm in moments]
        self._edited = new if self._edited is None else [a + b for a, b in zip(self._edited, new, strict=True)]
        self._count += count


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
