"""Where the tokens of a secret would stand if the model had never seen the person, and the aim to leave them there.

Fixed ranks ask too much where every digit is a token, and too little where two tokens of nine are moved. What an erased
model should look like is known: like one that never saw the person. Two things tell it, without such a model:

- contexts of nobody: the prompt with the person's own words exchanged and another secret of the form
  (`revs.targets.frames`). Of each token of the secret the log odds are read there after every layer, at the place that
  corresponds to its own;
- the place itself: what the model answers there if it were not for the token. Of tokens that other secrets of the form
  have at that place the log odds are read with the token's own logit taken out.

The reference is the median of the one or of the other, whichever is higher. A token that stands above everything that
these show (above the median after the last layer, which is the model's answer) goes down to the reference; nothing
is asked to go further than the lowest of the contexts, and nothing is raised.

Pushed down for one person each, all digits can fall together, and leave a place where no number can stand. So what such
contexts expect beside the token may be held where the token is moved (`ReferenceConfig.hold_form`).

Legend of shape suffixes: L layers, N studied tokens, n those of the prompts as written, S contexts or others, d hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from revs.edit.aim import Aim
from revs.model.batch import batched
from revs.model.hooks import run
from revs.model.offload import input_device
from revs.model.vocabulary import Standing
from revs.targets.tokenize import TokenisedTarget, collate

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from revs.model.adapter import Architecture
    from revs.model.vocabulary import Unembedding


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Of every studied token, what contexts of nobody show of it, and what might stand in its place.

    Attributes:
        median_Ln: median of its log odds after each layer; −∞ where no context tells.
        highest_Ln: the highest of them.
        lowest_Ln: the lowest of them.
        rank_Ln: median of its ranks; 0 where no context tells.
        others_nS: tokens of other secrets at its place, −1 where there are fewer.
        rest_nd: gradient of the log probability of all but the token after the last layer, the mean over the contexts;
            0 where none tells, and where it was not asked for.
    """

    median_Ln: Float[Tensor, "L n"]
    highest_Ln: Float[Tensor, "L n"]
    lowest_Ln: Float[Tensor, "L n"]
    rank_Ln: Int[Tensor, "L n"]
    others_nS: Int[Tensor, "n S"]
    rest_nd: Float[Tensor, "n d"]

    @classmethod
    def read(
        cls,
        model: PreTrainedModel,
        architecture: Architecture,
        unembedding: Unembedding,
        targets: Sequence[TokenisedTarget],
        contexts: Sequence[Sequence[TokenisedTarget]],
        *,
        pad: int,
        batch_size: int,
        rest: bool = False,
    ) -> Reference:
        """Read the reference in the model as it is, in forward passes of at most `batch_size` rows.

        Args:
            model: before the edit.
            architecture: of the model.
            unembedding: of the model.
            targets: what is erased; their chosen tokens are studied.
            contexts: of each target its contexts of nobody; none where none fits.
            pad: token id for padding.
            batch_size: rows at most.
            rest: whether to read what the contexts expect beside the tokens.
        """
        places = [
            _places(target, place, some)
            for target, some in zip(targets, contexts, strict=True)
            for place in target.chosen
        ]
        tokens = [target.secret_ids[place] for target in targets for place in target.chosen]
        owners = [number for number, target in enumerate(targets) for _ in target.chosen]
        asked = [
            _Asked(number=number, owner=owner, context=context, place=place, token=token)
            for number, (owner, token, found) in enumerate(zip(owners, tokens, places, strict=True))
            for context, place in found
        ]
        odds_LX, rank_LX, rest_Xd = _read(
            model, architecture, unembedding, contexts, asked, pad=pad, batch_size=batch_size, rest=rest
        )
        # A context that recites the token although its own secret has another one is a memory of the person.
        others_X = torch.tensor([contexts[o.owner][o.context].secret_ids[o.place] != o.token for o in asked])
        tells_X = ~(others_X & (odds_LX[-1] > 0)) if asked else torch.zeros(0, dtype=torch.bool)
        owner_X = torch.tensor([one.number for one in asked], dtype=torch.int64).masked_fill(~tells_X, -1)
        none_L = torch.full((len(odds_LX), 1), -torch.inf)
        first_L = torch.zeros_like(none_L, dtype=torch.int64)
        told = [bool((owner_X == number).any()) for number in range(len(tokens))]
        some = [odds_LX[:, owner_X == number] if told[number] else none_L for number in range(len(tokens))]
        ranks = [rank_LX[:, owner_X == number] if told[number] else first_L for number in range(len(tokens))]
        others = [
            sorted({contexts[owner][context].secret_ids[place] for context, place in found} - {token}) or [-1]
            for owner, token, found in zip(owners, tokens, places, strict=True)
        ]
        most = max(map(len, others))
        rest_nd = rest_Xd.new_zeros(len(tokens), rest_Xd.shape[1])
        rest_nd.index_add_(0, owner_X[tells_X].to(rest_Xd.device), rest_Xd[tells_X.to(rest_Xd.device)])
        telling_n1 = torch.bincount(owner_X[tells_X], minlength=len(tokens)).clamp_min(1)[:, None]
        return cls(
            median_Ln=torch.stack([odds_LS.median(1).values for odds_LS in some], 1),
            highest_Ln=torch.stack([odds_LS.amax(1) for odds_LS in some], 1),
            lowest_Ln=torch.stack([odds_LS.amin(1) for odds_LS in some], 1),
            rank_Ln=torch.stack([rank_LS.median(1).values for rank_LS in ranks], 1),
            others_nS=torch.tensor([[*found, *[-1] * (most - len(found))] for found in others]),
            rest_nd=rest_nd / telling_n1.to(rest_nd.device),
        )


class ToReference(Aim):
    """Down to the reference; nothing is asked to go further or to rise."""

    def __init__(self, reference: Reference, *, slack: float, sweeps: int, hold: bool = False) -> None:
        """Take a reference as the aim.

        Args:
            reference: where the tokens are to go.
            slack: nats by which a token may stand above its reference.
            sweeps: of the edit, all of which protect.
            hold: whether what else the contexts expect is held; the reference must have read it.
        """
        self.reference, self.slack, self.protected_sweeps = reference, slack, sweeps
        self.wanted_n, self.others_nS = reference.rank_Ln[-1], reference.others_nS
        self.held_nd = reference.rest_nd if hold else None
        self._margin = 0.0
        self._last = len(reference.median_Ln) - 1

    def too_high(self, layer: int, standing: Standing, own_N: Tensor) -> Tensor:
        high_N = standing.odds_N > self._limit(layer, standing, own_N) + self.slack
        if layer == self._last:  # where nothing tells what is too high, the most likely token is
            high_N |= self._told_by_nothing(layer, standing, own_N) & (standing.rank_N == 0)
        return high_N

    def moves(self, layer: int, standing: Standing, own_N: Tensor) -> Tensor:
        return standing.odds_N > self._limit(layer, standing, own_N) + self.slack - self._margin

    def bounds(
        self, layer: int, hidden_Nd: Tensor, tokens_N: Tensor, standing: Standing, own_N: Tensor, *, own: int
    ) -> tuple[Tensor, Tensor]:
        """Up to the reference from either side, and down to the lowest of the contexts, but for variations.

        The logit alone moves, so a change by (wanted − present log odds)·σ gives the wanted log odds, but for what the
        step does to σ and to other logits; the next sweep sees that.
        """
        lowest_N = self._of(self.reference.lowest_Ln, layer, standing, own_N)
        upper_N = (self._median(layer, standing, own_N) - self._margin - standing.odds_N) * standing.sigma_N
        lower_N = torch.minimum((lowest_N - standing.odds_N) * standing.sigma_N, upper_N.clamp_max(0.0))
        lower_N[own:] = -torch.inf
        return lower_N.double(), upper_N.double()

    def further(self) -> None:
        self._margin += 1.0

    def _limit(self, layer: int, standing: Standing, own_N: Tensor) -> Tensor:
        """Log odds above which a token tells: of the model's own answer the median, before that the highest."""
        if layer == self._last:
            return self._median(layer, standing, own_N)
        highest_N = self._of(self.reference.highest_Ln, layer, standing, own_N)
        assert standing.others_NS is not None
        return torch.maximum(highest_N, standing.others_NS[:, -1])

    def _median(self, layer: int, standing: Standing, own_N: Tensor) -> Tensor:
        """The reference: the median of the contexts of nobody, or that of the others in the token's place."""
        nobody_N, others_NS = self._of(self.reference.median_Ln, layer, standing, own_N), standing.others_NS
        assert others_NS is not None
        absent_N = others_NS.isneginf().sum(1)
        middle_N1 = ((absent_N + others_NS.shape[1] - 1) // 2).clamp_max(others_NS.shape[1] - 1)[:, None]
        found_N = torch.maximum(nobody_N, others_NS.gather(1, middle_N1)[:, 0])
        return found_N.where(~found_N.isneginf(), standing.odds_N)  # nothing tells: it stays, and is reported

    def _told_by_nothing(self, layer: int, standing: Standing, own_N: Tensor) -> Tensor:
        nobody_N, others_NS = self._of(self.reference.median_Ln, layer, standing, own_N), standing.others_NS
        assert others_NS is not None
        return nobody_N.isneginf() & others_NS[:, -1].isneginf()

    def _of(self, part_Ln: Tensor, layer: int, standing: Standing, own_N: Tensor) -> Tensor:
        return part_Ln[layer][own_N].to(standing.odds_N)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """One reading: of which token (`number` among the studied ones), in which context of its target, where."""

    number: int
    owner: int
    context: int
    place: int
    token: int


def _places(target: TokenisedTarget, place: int, contexts: Sequence[TokenisedTarget]) -> list[tuple[int, int]]:
    """Where in which contexts a token begins that corresponds to one of the target: (number of the context, place).

    The same number of characters into the secret. Where none does in any context, the last that begins before. The
    first token tells nothing where the prompt is the target's own, and the others nothing where the secret is: of
    letters that decoys do not know how to exchange.
    """
    prompt = target.ids[: target.start]
    usable = [
        number for number, some in enumerate(contexts)
        if (some.secret_ids != target.secret_ids if place else some.ids[: some.start] != prompt)
    ]  # fmt: skip
    exact: list[tuple[int, int]] = []
    near: list[tuple[int, int]] = []
    for number in usable:
        begins = contexts[number].begins
        before = [at for at, begin in enumerate(begins) if begin <= target.begins[place]]
        at = 0 if place == 0 or not before else before[-1]
        (exact if place == 0 or begins[at] == target.begins[place] else near).append((number, at))
    return exact or near


def _read(
    model: PreTrainedModel,
    architecture: Architecture,
    unembedding: Unembedding,
    contexts: Sequence[Sequence[TokenisedTarget]],
    asked: Sequence[_Asked],
    *,
    pad: int,
    batch_size: int,
    rest: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Log odds and ranks of what is asked, (L, asked) each, on the CPU, and `Unembedding.rest`, (asked, d)."""
    rows = [row for some in contexts for row in some]
    first = [sum(map(len, contexts[:owner])) for owner in range(len(contexts))]
    of_row: list[list[int]] = [[] for _ in rows]
    for number, one in enumerate(asked):
        of_row[first[one.owner] + one.context].append(number)
    layers = len(architecture.decoder_layers(model))
    odds_LX, rank_LX = torch.empty(layers, len(asked)), torch.empty(layers, len(asked), dtype=torch.int64)
    rest_Xd = torch.zeros(len(asked), len(unembedding.gain_d), dtype=torch.float64, device=unembedding.device)
    for numbers in batched([len(row.ids) for row in rows], batch_size):
        batch = collate([rows[number] for number in numbers], pad=pad, device=input_device(model))
        found = [(at, one) for at, number in enumerate(numbers) for one in of_row[number]]
        if not found:
            continue
        places = (
            torch.tensor([at for at, _ in found]),
            torch.tensor([rows[numbers[at]].start + asked[one].place - 1 for at, one in found]),
        )
        tokens_X, which_X = (
            torch.tensor([asked[one].token for _, one in found]),
            torch.tensor([one for _, one in found]),
        )

        def keep(
            layer: int, _keys: Tensor, hidden_BTd: Tensor, places: tuple[Tensor, Tensor] = places,
            tokens_X: Tensor = tokens_X, which_X: Tensor = which_X,
        ) -> None:  # fmt: skip
            standing = unembedding.standing(hidden_BTd[places], tokens_X)
            odds_LX[layer, which_X] = standing.odds_N.cpu()
            rank_LX[layer, which_X] = standing.rank_N.cpu()
            if rest and layer == layers - 1:
                rest_Xd[which_X] = unembedding.rest(hidden_BTd[places], tokens_X)

        run(model, architecture, batch, keep)
    return odds_LX, rank_LX, rest_Xd
