"""What happened to each target token of a batch, for the patch.

Legend of shape suffixes: L layers, N target tokens, T positions, B batch, d hidden.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from jaxtyping import Int
from torch import Tensor

from revs.model.batch import Batch, pieces
from revs.model.hooks import run
from revs.patch.patch import TokenRecord

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from revs.model.adapter import Architecture
    from revs.model.vocabulary import Unembedding


def ranks_by_layer(
    model: PreTrainedModel, architecture: Architecture, unembedding: Unembedding, batch: Batch, *, rows: int = 64
) -> tuple[Int[Tensor, "L N"], list[Tensor]]:
    """Rank of every target token after every layer, on the CPU; the last row is the model's own.

    And the keys that predict the tokens, (N, m) by layer, where the model keeps them. Read in passes of at most `rows`
    sequences, within the budget of `revs.model.batch`.
    """
    ranks: list[list[Tensor]] = []
    keys: list[list[Tensor]] = []
    for part in pieces(batch, rows):
        chosen = part.chosen_N
        places, tokens_N = (part.row_N[chosen], part.position_N[chosen]), part.token_N[chosen]
        ranks.append([])
        keys.append([])

        def read(
            _layer: int, keys_BTm: Tensor, hidden_BTd: Tensor,
            places: tuple[Tensor, Tensor] = places, tokens_N: Tensor = tokens_N,
        ) -> None:  # fmt: skip
            keys[-1].append(keys_BTm[places])
            ranks[-1].append(unembedding.ranks(hidden_BTd[places], tokens_N).cpu())

        run(model, architecture, part, read)
    by_layer = [torch.cat(layer) for layer in zip(*keys, strict=True)]
    return torch.cat([torch.stack(some) for some in ranks], dim=1), by_layer


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
