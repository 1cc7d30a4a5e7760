"""What a thief with the weights can read: the rank of every studied token at every layer, from one pass.

Legend of shape suffixes: L layers, N studied tokens (all tokens of all secrets), d hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from revs.architectures import architecture_of
from revs.placement import input_device
from revs.taps import run
from revs.targets import Batch, TokenisedTarget, collate
from revs.unembedding import Unembedding, rank_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_ROWS = 256  # rows of logits held at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """Ranks of all tokens of all secrets.

    Attributes:
        rank_LN: rank in the logit lens behind each layer; the last row is the model's own output.
        delta_rank_LN: rank of |Δlogit| between consecutive layers, L−1 rows; 0 is the largest change.
        target_N: index of the target a token belongs to.
        chosen_N: it is a target token (one of the t rarest).
        vocabulary: V.
    """

    rank_LN: Int[Tensor, "L N"]
    delta_rank_LN: Int[Tensor, "M N"]
    target_N: Int[Tensor, " N"]
    chosen_N: Bool[Tensor, " N"]
    vocabulary: int


def read(model: PreTrainedModel, targets: Sequence[TokenisedTarget], *, pad: int, batch_size: int = 64) -> Readings:
    """Teacher-force prompt and secret of every target (at least one) and rank its tokens behind every layer."""
    architecture = architecture_of(model)
    unembedding = Unembedding(model, architecture)
    parts = []
    for first in range(0, len(targets), batch_size):
        batch = collate(targets[first : first + batch_size], pad=pad, first=first, device=input_device(model))
        hidden_LNd: list[Tensor] = []

        def keep(
            _layer: int, _keys: Tensor, hidden_BTd: Tensor, batch: Batch = batch, kept: list[Tensor] = hidden_LNd
        ) -> None:
            kept.append(hidden_BTd[batch.row_N, batch.position_N])

        run(model, architecture, batch, keep)
        parts.append((*_rank_layers(unembedding, hidden_LNd, batch.token_N), batch.target_N, batch.chosen_N))
    rank_LN, delta_LN = (torch.cat([part[i] for part in parts], dim=1) for i in (0, 1))
    target_N, chosen_N = (torch.cat([part[i] for part in parts]) for i in (2, 3))
    return Readings(
        rank_LN=rank_LN, delta_rank_LN=delta_LN, target_N=target_N, chosen_N=chosen_N, vocabulary=unembedding.vocabulary
    )


def _rank_layers(unembedding: Unembedding, hidden_LNd: list[Tensor], tokens_N: Tensor) -> tuple[Tensor, Tensor]:
    ranks, deltas = [], []
    for rows in torch.split(torch.arange(len(tokens_N)), _ROWS):
        previous_NV: Tensor | None = None
        rank_rows, delta_rows = [], []
        for hidden_Nd in hidden_LNd:
            logits_NV = unembedding.logits(hidden_Nd[rows])
            rank_rows.append(rank_of(logits_NV, tokens_N[rows]))
            if previous_NV is not None:
                delta_rows.append(rank_of((logits_NV - previous_NV).abs(), tokens_N[rows]))
            previous_NV = logits_NV
        ranks.append(torch.stack(rank_rows))
        deltas.append(torch.stack(delta_rows) if delta_rows else torch.empty(0, len(rows), dtype=torch.int64))
    return torch.cat(ranks, dim=1).cpu(), torch.cat(deltas, dim=1).cpu()
