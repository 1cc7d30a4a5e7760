"""Tokens of other text that an edit should not make less likely: further bounds of the joint solve.

The key moments C (`revs.edit.moments`) keep an edit away from ordinary keys on average. Where it still does harm is at
single places: those of retained records, and those of ordinary text where the token read is also the one in front of a
target token, so that layer 0 can hardly tell the two apart (measured on the development models: 2 % of the positions
carried half of what perplexity lost). There the token that follows is protected: no layer may bring its logit below
what it was before the edit. That is a hard bound for ordinary text, and a soft one for the records, which it has to
share with what is erased: what cannot be told apart from a target goes down with it.

Legend of shape suffixes: L layers, P protected places, B batch, T positions, m width of the keys, d hidden.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from revs.model.batch import batched
from revs.model.hooks import run
from revs.model.offload import input_device
from revs.targets.tokenize import TokenisedTarget, collate, encode

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from revs.model.adapter import Architecture
    from revs.model.vocabulary import Unembedding


_PIECE = 20  # tokens in a piece of text: with 32, perplexity was the same, and half as much again to be read


class Protection:
    """Protected places, and the logits of their tokens before the edit.

    Attributes:
        rows: texts as token ids, retained records first; `chosen` are the places that are protected.
        count: P, the number of places in all rows.
        floor_LP: logit of each place's token after each layer in the unedited model, before the division by σ;
            float64, on the device of the unembedding.
        kept: number of places of retained records.
    """

    def __init__(self, rows: Sequence[TokenisedTarget], floor_LP: Float[Tensor, "L P"], *, kept: int = 0) -> None:
        self.rows, self.floor_LP, self.kept = rows, floor_LP, kept
        self.count = sum(len(row.chosen) for row in rows)

    @classmethod
    def read(
        cls,
        model: PreTrainedModel,
        architecture: Architecture,
        unembedding: Unembedding,
        kept: Sequence[TokenisedTarget],
        text: Sequence[TokenisedTarget],
        *,
        pad: int,
        batch_size: int,
    ) -> Protection:
        """Read the logits in the model as it is, in forward passes of at most `batch_size` rows.

        `kept`: retained records; `text`: pieces of ordinary text.
        """
        rows = [*kept, *text]
        layers = len(architecture.decoder_layers(model))
        parts_L: list[list[Tensor]] = [[] for _ in range(layers)]
        for numbers in batched([len(row.ids) for row in rows], batch_size):
            batch = collate([rows[number] for number in numbers], pad=pad, device=input_device(model))
            chosen = batch.chosen_N
            places, gradients_Pd = (
                (batch.row_N[chosen], batch.position_N[chosen]), unembedding.gradients(batch.token_N[chosen])
            )  # fmt: skip

            def keep(
                layer: int,
                _keys: Tensor,
                hidden_BTd: Tensor,
                places: tuple[Tensor, Tensor] = places,
                gradients_Pd: Tensor = gradients_Pd,
            ) -> None:
                parts_L[layer].append((hidden_BTd[places].to(gradients_Pd) * gradients_Pd).sum(-1))

            run(model, architecture, batch, keep)
        empty = torch.zeros(0, dtype=torch.float64, device=unembedding.device)
        floor_LP = torch.stack([torch.cat([empty, *parts]) for parts in parts_L])
        return cls(rows, floor_LP, kept=sum(len(row.chosen) for row in kept))

    def around(self, targets: Sequence[TokenisedTarget]) -> Protection:
        """The places that the edit of these targets may harm.

        Those of records where a token of theirs is moved, those of text where the token read is one that theirs follow.
        """
        moved = {target.secret_ids[place] for target in targets for place in target.chosen}
        before = _before(targets)
        rows, columns, kept, at = [], [], 0, 0
        for row in self.rows:
            of_records = at < self.kept
            near = [
                (column, place) for column, place in enumerate(row.chosen, start=at)
                if (row.secret_ids[place] in moved if of_records else row.ids[row.start + place - 1] in before)
            ]  # fmt: skip
            at += len(row.chosen)
            if near:
                rows.append(replace(row, chosen=tuple(place for _, place in near)))
                columns += [column for column, _ in near]
                kept += len(near) if of_records else 0
        return Protection(rows, self.floor_LP[:, columns], kept=kept)

    def bounds(self, layer: int, logit_P: Float[Tensor, " P"]) -> Float[Tensor, " P"]:
        """The least change that a layer may make to each logit, given what it is there now.

        In ordinary text it takes back what the layers below have done. A retained record is kept from falling further
        and no more: raising its token raises it for everybody whose record reads alike (measured: specificity on people
        that were not given 100 → 80).
        """
        least_P = self.floor_LP[layer] - logit_P
        least_P[: self.kept].clamp_(max=0.0)
        return least_P


def sharing(
    given: Sequence[TokenisedTarget],
    recited: Sequence[TokenisedTarget],
    moved: Collection[int],
    *,
    most: int,
    seed: int,
) -> list[TokenisedTarget]:
    """At most `most` records that share a token with what is erased, with the places of such tokens.

    At random, those that were given before those that the model recites.

    An edit moves one token's logit where the key is that of a target. What it breaks of others' records are places
    with a like key and the same token, such as the `.org` of an address (measured: of 37 tokens that others no longer
    said after five nights on a development model, 35 were of that kind). What records that begin alike share is shown
    once: each place is a row of the solve.

    Args:
        given: records of other people.
        recited: what the model generates in their place.
        moved: token ids that are moved.
        most: records at most.
        seed: of the choice.
    """
    draw = random.Random(f"retained {seed}")
    found: list[TokenisedTarget] = []
    shown: set[tuple[int, ...]] = set()
    for record in (*draw.sample(given, len(given)), *draw.sample(recited, len(recited))):
        read = {place: record.ids[: record.start + place + 1] for place in range(len(record.secret_ids))}
        places = [place for place, ids in read.items() if ids[-1] in moved and ids not in shown]
        if places and len(found) < most:
            shown.update(read[place] for place in places)
            found.append(replace(record, chosen=tuple(places)))
    return found


def places_like(
    targets: Iterable[TokenisedTarget],
    tokenizer: PreTrainedTokenizerBase,
    text: Sequence[str],
    *,
    longest: int,
    most: int,
) -> list[TokenisedTarget]:
    """At most `most` pieces of text with the places where the token read is one that a target token follows.

    A bound holds however often its place occurs. So of all pieces those are taken that show the most frequent pairs of
    a token read and the one after it, each pair once (greedy cover).

    Args:
        targets: what is erased.
        tokenizer: that of the targets.
        text: ordinary text.
        longest: tokens in a piece at most, if not fewer; as many as targets have, so that the batch grows no wider.
        most: pieces at most.
    """
    before = _before(targets)
    pieces = []
    for encoding in encode(tokenizer, text) if text else []:
        head, body = encoding.ids[: encoding.head], encoding.ids[encoding.head :]
        width = max(min(longest, _PIECE) - len(head), 2)
        for cut in range(0, len(body), width):
            ids = (*head, *body[cut : cut + width])
            places = [place for place in range(len(head) + 1, len(ids)) if ids[place - 1] in before]
            if places:
                chosen = tuple(place - places[0] for place in places)
                pieces.append(TokenisedTarget(ids=ids[: places[-1] + 1], start=places[0], chosen=chosen))
    return _covering(pieces, most)


def _before(targets: Iterable[TokenisedTarget]) -> set[int]:
    """The tokens that a target token follows."""
    return {target.ids[target.start + place - 1] for target in targets for place in target.chosen}


def _covering(pieces: Sequence[TokenisedTarget], most: int) -> list[TokenisedTarget]:
    """The pieces that show most, one after the other; a pair counts as often as it occurs, and once."""
    pairs = [
        [piece.ids[piece.start + place - 1 : piece.start + place + 1] for place in piece.chosen] for piece in pieces
    ]
    open_: Counter[tuple[int, ...]] = Counter(pair for some in pairs for pair in some)
    found: list[TokenisedTarget] = []

    def shown(number: int) -> int:
        return sum(open_[pair] for pair in set(pairs[number]))

    # What a piece shows only shrinks: the first whose figure is still up to date is the best of all (Minoux 1978).
    heap = [(-shown(number), number) for number in range(len(pieces))]
    heapq.heapify(heap)
    while heap and len(found) < most:
        stale, number = heapq.heappop(heap)
        fresh = -shown(number)
        if fresh > stale:
            if fresh:
                heapq.heappush(heap, (fresh, number))
            continue
        found.append(pieces[number])
        for pair in pairs[number]:
            open_[pair] = 0
    return found


def packed(pieces: Sequence[TokenisedTarget], *, longest: int) -> list[TokenisedTarget]:
    """Pieces that share rows of at most `longest` tokens, one after the other, as texts do in training.

    First-fit decreasing (Johnson 1973). On the development models 187 pieces fit into 74 rows (Llama, seed 0).
    """
    rows: list[list[TokenisedTarget]] = []
    for piece in sorted(pieces, key=lambda piece: len(piece.ids), reverse=True):
        room = (row for row in rows if sum(len(other.ids) for other in row) + len(piece.ids) <= longest)
        if (row := next(room, None)) is None:
            rows.append(row := [])
        row.append(piece)
    return [_joined(row) for row in rows]


def _joined(pieces: Sequence[TokenisedTarget]) -> TokenisedTarget:
    """Pieces one after the other, with the places of all."""
    begins = list(accumulate((len(piece.ids) for piece in pieces), initial=0))[:-1]
    places = [
        begin + piece.start + place for begin, piece in zip(begins, pieces, strict=True) for place in piece.chosen
    ]
    ids = tuple(token for piece in pieces for token in piece.ids)
    return TokenisedTarget(ids=ids, start=places[0], chosen=tuple(place - places[0] for place in places))
