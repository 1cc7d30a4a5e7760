"""What happened to each target token of a batch, for the patch.

Legend of shape suffixes: L layers, N target tokens, T positions, B batch, d hidden.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Int
from torch import Tensor

from revs.patch import TokenRecord
from revs.taps import run
from revs.targets import Batch

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from revs.architectures import Architecture
    from revs.unembedding import Unembedding


def ranks_by_layer(
    model: PreTrainedModel, architecture: Architecture, unembedding: Unembedding, batch: Batch
) -> tuple[Int[Tensor, "L N"], list[Tensor]]:
    """Rank of every target token behind every layer, on the CPU, from one pass; the last row is the model's own.

    And the keys that predict the tokens, (N, m) by layer, where the model keeps them.
    """
    chosen = batch.chosen_N
    rows, positions = batch.row_N[chosen], batch.position_N[chosen]
    ranks: list[Tensor] = []
    keys: list[Tensor] = []

    def read(_layer: int, keys_BTm: Tensor, hidden_BTd: Tensor) -> None:
        keys.append(keys_BTm[rows, positions])
        ranks.append(unembedding.ranks(hidden_BTd[rows, positions], batch.token_N[chosen]).cpu())

    run(model, architecture, batch, read)
    return torch.stack(ranks), keys


def token_records(
    batch: Batch,
    before_N: Int[Tensor, " N"],
    after_N: Int[Tensor, " N"],
    columns_LN: Int[Tensor, "L N"],
    *,
    low_rank: int,
    wanted: int,
    rounded_N: Int[Tensor, " N"] | None = None,
) -> tuple[TokenRecord, ...]:
    """One record per target token; `record.target` is the number of the target in the batch.

    Args:
        batch: the targets.
        before_N: ranks before the edit.
        after_N: ranks after it.
        columns_LN: columns of the layer that were changed for the token; 0 where it was not moved.
        low_rank: a token that ranks below this afterwards is "short".
        wanted: the rank asked for.
        rounded_N: lowest ranks after the edit and the roundings to survive.
    """
    chosen, target_N = batch.chosen_N, batch.target_N
    first = {t: int((target_N < t).sum()) for t in set(target_N.tolist())}
    length = {t: int((target_N == t).sum()) for t in first}
    records = []
    for column, place in enumerate(chosen.nonzero().flatten().tolist()):
        target, layers = int(target_N[place]), int((columns_LN[:, column] > 0).sum())
        rank = int(after_N[column])
        rounded = None if rounded_N is None else int(rounded_N[column])
        lowest = rank if rounded is None else min(rank, rounded)
        stopped = "short" if lowest < low_rank else "reached" if layers else "already"
        records.append(
            TokenRecord(
                target=target,
                place=place - first[target],
                length=length[target],
                rank_before=int(before_N[column]),
                rank_after=rank,
                wanted=wanted,
                layers=layers,
                columns=int(columns_LN[:, column].sum()),
                stopped=stopped,
                rank_rounded=rounded,
            )
        )
    return tuple(records)
