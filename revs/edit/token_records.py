"""What happened to each target token of a batch, for the patch.

Legend of shape suffixes: L layers, N target tokens, S others in place of each, T positions, B batch, d hidden.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from revs.model.batch import Batch, pieces
from revs.model.hooks import run
from revs.model.vocabulary import Standing
from revs.patch.patch import TokenRecord

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from revs.model.adapter import Architecture
    from revs.model.vocabulary import Unembedding


@dataclass(frozen=True, slots=True, kw_only=True)
class ByLayer:
    """Where target tokens stand after every layer, on the CPU, and the keys that predict them, where the model is."""

    rank_LN: Int[Tensor, "L N"]
    odds_LN: Float[Tensor, "L N"]
    others_LNS: Float[Tensor, "L N S"] | None
    keys_LNm: list[Tensor]

    def of(self, layer: int) -> Standing:
        """Where the tokens stand after one layer, without σ."""
        return Standing(
            rank_N=self.rank_LN[layer],
            odds_N=self.odds_LN[layer],
            sigma_N=torch.ones_like(self.odds_LN[layer]),
            others_NS=None if self.others_LNS is None else self.others_LNS[layer],
        )


def standing_by_layer(
    model: PreTrainedModel,
    architecture: Architecture,
    unembedding: Unembedding,
    batch: Batch,
    *,
    rows: int = 64,
    others_NS: Int[Tensor, "N S"] | None = None,
) -> ByLayer:
    """Read where every target token stands after every layer; after the last one it is the model's own answer.

    In passes of at most `rows` sequences, within the budget of `revs.model.batch`. `others_NS`: of each target token,
    those that might stand in its place.
    """
    found: list[list[Standing]] = []
    keys: list[list[Tensor]] = []
    read_so_far = 0
    for part in pieces(batch, rows):
        chosen = part.chosen_N
        places, tokens_N = (part.row_N[chosen], part.position_N[chosen]), part.token_N[chosen]
        some_NS = None if others_NS is None else others_NS[read_so_far : read_so_far + len(tokens_N)]
        read_so_far += len(tokens_N)
        found.append([])
        keys.append([])

        def read(
            _layer: int, keys_BTm: Tensor, hidden_BTd: Tensor, places: tuple[Tensor, Tensor] = places,
            tokens_N: Tensor = tokens_N, some_NS: Tensor | None = some_NS,
        ) -> None:  # fmt: skip
            keys[-1].append(keys_BTm[places])
            found[-1].append(unembedding.standing(hidden_BTd[places], tokens_N, some_NS))

        run(model, architecture, part, read)
    layers = list(zip(*found, strict=True))
    others = [[part.others_NS for part in layer if part.others_NS is not None] for layer in layers]
    return ByLayer(
        rank_LN=torch.stack([torch.cat([part.rank_N for part in layer]).cpu() for layer in layers]),
        odds_LN=torch.stack([torch.cat([part.odds_N for part in layer]).cpu() for layer in layers]),
        others_LNS=None if others_NS is None else torch.stack([torch.cat(layer).cpu() for layer in others]),
        keys_LNm=[torch.cat(layer) for layer in zip(*keys, strict=True)],
    )


def ranks_by_layer(
    model: PreTrainedModel, architecture: Architecture, unembedding: Unembedding, batch: Batch, *, rows: int = 64
) -> tuple[Int[Tensor, "L N"], list[Tensor]]:
    """Rank of every target token after every layer, and the keys, (N, m) by layer."""
    found = standing_by_layer(model, architecture, unembedding, batch, rows=rows)
    return found.rank_LN, found.keys_LNm


def token_records(
    batch: Batch,
    before_N: Int[Tensor, " N"],
    after_N: Int[Tensor, " N"],
    columns_LN: Int[Tensor, "L N"],
    *,
    short_N: Bool[Tensor, " N"],
    wanted_N: Int[Tensor, " N"],
    rounded_N: Int[Tensor, " N"] | None = None,
) -> tuple[TokenRecord, ...]:
    """One record per target token; `record.target` is the number of the target in the batch.

    Args:
        batch: the targets.
        before_N: ranks before the edit.
        after_N: ranks after it.
        columns_LN: columns of the layer that were changed for the token; 0 where it was not moved.
        short_N: tokens that stand too high afterwards, as they are or rounded.
        wanted_N: the rank asked for of each.
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
        stopped = "short" if bool(short_N[column]) else "reached" if layers else "already"
        records.append(
            TokenRecord(
                target=target,
                place=place - first[target],
                length=length[target],
                rank_before=int(before_N[column]),
                rank_after=rank,
                wanted=int(wanted_N[column]),
                layers=layers,
                columns=int(columns_LN[:, column].sum()),
                stopped=stopped,
                rank_rounded=rounded,
            )
        )
    return tuple(records)
