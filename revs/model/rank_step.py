"""The exact step that moves one token to a wanted rank, along a line in the hidden space.

Along r + c·q_t the logits are

    logits_v(c) = (a_v + c·h_v) / σ(c) + β_v,      a = U(g∘r̄),  h = U(g∘q̄_t),  σ(c)² = mean((r̄ + c·q̄_t)²) + eps

where the bar removes the mean for LayerNorm and does nothing for RMSNorm, and β = U·bias + logit bias. The rank of t is
R between the R-th and the next largest of the crossings

    c_v = (a_v − a_t + σ(β_v − β_t)) / (h_t − h_v),

so the step for any rank, down or up, is read from their sorted list. Without β this is exact at once, for σ cancels;
with β the crossings near it are followed to the σ of that step, again until the rank is hit, and bisection is left
for the rows where that fails, or where other tokens fall faster than t (h_v ≥ h_t).

Legend of shape suffixes: V vocabulary, N rows (positions), K neighbouring tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor

_BISECTIONS = 60
_DOUBLINGS = 60
_SIGMA_ROUNDS = 4
_NEIGHBOURS = 32  # crossings on either side of the two that are looked for, which may take their places as σ changes


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The logits of N rows as functions of one scalar each, in float64: `rank` of a trial step costs O(V)."""

    a_NV: Tensor
    h_NV: Tensor
    offset_V: Tensor | None
    square_N: Tensor  # σ(c)² = square + cross·c + slope·c² + eps
    cross_N: Tensor
    slope_N: Tensor
    eps: float
    tokens_N: Tensor

    def rows(self, keep: Tensor) -> Line:
        """The line of some rows only."""
        of_rows = {f.name: getattr(self, f.name)[keep] for f in fields(self) if f.name not in ("offset_V", "eps")}
        return Line(**of_rows, offset_V=self.offset_V, eps=self.eps)

    def sigma(self, step_N: Tensor) -> Tensor:
        """σ(c), the divisor of the final norm, shape (N, 1)."""
        square_N = self.square_N + self.cross_N * step_N + self.slope_N * step_N.square() + self.eps
        return square_N.clamp_min(self.eps).sqrt()[:, None]

    def rank(self, step_N: Tensor) -> Tensor:
        c_N = step_N.double()
        logits_NV = torch.addcmul(self.a_NV, c_N[:, None], self.h_NV)
        if self.offset_V is not None:  # times σ: the order is the same
            logits_NV.addcmul_(self.sigma(c_N), self.offset_V)
        return rank_of(logits_NV, self.tokens_N)

    def steps_to(self, wanted: Sequence[int]) -> Tensor:
        """Steps to each of the ranks `wanted`, shape (len(wanted), N), in float64."""
        found = []
        crossing_NV = self._crossings(torch.zeros_like(self.square_N))
        for rank in wanted:
            step_N = self._between(crossing_NV, rank)
            hit_N = self.rank(step_N) == rank
            for _ in range(_SIGMA_ROUNDS if self.offset_V is not None else 0):
                if bool(hit_N.all()):
                    break
                open_ = (~hit_N).nonzero().flatten()
                rest = self.rows(open_)
                step_N[open_] = rest._between(rest._crossings(step_N[open_]), rank)
                hit_N[open_] = rest.rank(step_N[open_]) == rank
            open_ = (~hit_N).nonzero().flatten()
            if len(open_):
                rest = self.rows(open_)
                exact_N, exists_N = rest._nearest(rank, step_N[open_])
                hit_N[open_] = exists_N & (rest.rank(exact_N) == rank)
                step_N[open_] = torch.where(hit_N[open_], exact_N, step_N[open_])
                open_ = (~hit_N).nonzero().flatten()
            if len(open_):
                step_N[open_] = self.rows(open_)._bisect(rank, step_N[open_])
            found.append(step_N)
        return torch.stack(found)

    def _crossings(self, step_N: Tensor) -> Tensor:
        """Where each other token changes places with t, at the σ of `step_N`; −∞ where it never does."""
        return _crossing(*self._differences(step_N))

    def _differences(self, step_N: Tensor) -> tuple[Tensor, Tensor]:
        """By how much each token's logit is above t's, and falls less than t's a unit of the step; at σ of `step_N`."""
        above_NV, token_N1 = self.a_NV, self.tokens_N[:, None]
        if self.offset_V is not None:
            above_NV = torch.addcmul(above_NV, self.sigma(step_N), self.offset_V)
        return above_NV - above_NV.gather(1, token_N1), self.h_NV.gather(1, token_N1) - self.h_NV

    def _between(self, crossing_NV: Tensor, rank: int) -> Tensor:
        """The step between the `rank`-th largest crossing and the next; 0 where there are not so many.

        `crossing_NV` is at the σ of some step. With β the crossings near the two are followed to where step and σ
        agree, so that one search in the vocabulary is enough while no other comes between.
        """
        vocabulary = crossing_NV.shape[1]
        largest = rank <= vocabulary // 2  # the search starts at the nearer end
        place = rank - 1 if largest else vocabulary - rank - 1
        first, near = place, place + 2
        if self.offset_V is not None:
            first, near = max(place - _NEIGHBOURS, 0), min(place + 2 + _NEIGHBOURS, vocabulary)
        value_NK, token_NK = crossing_NV.topk(near, dim=1, largest=largest, sorted=False)
        value_NK, order_NK = value_NK.topk(near - first, dim=1, largest=not largest)  # only these need an order
        step_N = value_NK.flip(1)[:, place - first : place - first + 2].mean(1)
        if self.offset_V is not None:
            token_NK = token_NK.gather(1, order_NK.flip(1))
            step_N = self._followed(step_N, token_NK, place - first, largest=largest)
        return torch.where(step_N.isfinite(), step_N, 0.0)

    def _followed(self, first_N: Tensor, token_NK: Tensor, place: int, *, largest: bool) -> Tensor:
        """The step between two neighbours among the crossings of some tokens, at its own σ, found from a first one."""
        assert self.offset_V is not None
        token_N1, step_N = self.tokens_N[:, None], first_N
        above_NK = self.a_NV.gather(1, token_NK) - self.a_NV.gather(1, token_N1)
        fall_NK = self.h_NV.gather(1, token_N1) - self.h_NV.gather(1, token_NK)
        offset_NK = self.offset_V[token_NK] - self.offset_V[token_N1]
        for _ in range(_SIGMA_ROUNDS):
            crossing_NK = _crossing(above_NK + self.sigma(step_N) * offset_NK, fall_NK)
            step_N = crossing_NK.topk(place + 2, dim=1, largest=largest).values[:, place:].mean(1)
        return step_N.where(step_N.isfinite() & first_N.isfinite(), first_N)

    def _nearest(self, wanted: int, step_N: Tensor) -> tuple[Tensor, Tensor]:
        """The step nearest to 0 that gives `wanted`, and whether there is one, also where ranks are not monotonous.

        Tokens that fall faster than t (h_v > h_t) are above it after their crossing, the others before it. So the rank
        between two neighbours of all crossings, sorted, is a running count. At the σ of `step_N`.
        """
        above_NV, fall_NV = self._differences(step_N)
        falls_NV, rises_NV = fall_NV > 1e-12, fall_NV < -1e-12
        never_NV = ~(falls_NV | rises_NV)
        crossing_NV = (above_NV / fall_NV.masked_fill(never_NV, 1.0)).masked_fill(never_NV, -torch.inf)
        order_NV = crossing_NV.argsort(dim=1, descending=True)
        sorted_NV = crossing_NV.gather(1, order_NV)
        turns_NV = (falls_NV.int() - rises_NV.int()).gather(1, order_NV)
        always_N = (rises_NV | (never_NV & (above_NV > 0))).sum(1)
        rank_NV = always_N[:, None] + turns_NV.cumsum(1)  # between this crossing and the next
        middle_NV = (sorted_NV[:, :-1] + sorted_NV[:, 1:]) / 2
        good_NV = (rank_NV[:, :-1] == wanted) & middle_NV.isfinite() & (sorted_NV[:, :-1] > sorted_NV[:, 1:])
        far_NV = middle_NV.abs().masked_fill(~good_NV, torch.inf)
        best_N1 = far_NV.argmin(1, keepdim=True)
        exists_N = good_NV.gather(1, best_N1)[:, 0]
        return middle_NV.gather(1, best_N1)[:, 0].where(exists_N, torch.zeros_like(step_N)), exists_N

    def _bisect(self, wanted: int, guess_N: Tensor) -> Tensor:
        """Bracket around the guess by doubling, then halve; the end that reaches `wanted` or more, if there is one."""
        width_N = (guess_N.abs() * 1e-3).clamp_min(1e-6)
        far_N, near_N = guess_N - width_N, guess_N + width_N
        for _ in range(_DOUBLINGS):
            short_N, over_N = self.rank(far_N) < wanted, self.rank(near_N) >= wanted
            if not bool((short_N | over_N).any()):
                break
            far_N = torch.where(short_N, far_N - width_N, far_N)
            near_N = torch.where(over_N, near_N + width_N, near_N)
            width_N = torch.where(short_N | over_N, 2 * width_N, width_N)
        for _ in range(_BISECTIONS):
            hit_N = self.rank(far_N) == wanted
            if bool(hit_N.all()):
                break
            # A row that hit stays where it is: halving on for the sake of others would drive it to the very edge of its
            # rank, where rounding to float32 loses it.
            near_N = torch.where(hit_N, far_N, near_N)
            middle_N = (far_N + near_N) / 2
            enough_N = self.rank(middle_N) >= wanted
            far_N, near_N = torch.where(enough_N, middle_N, far_N), torch.where(enough_N, near_N, middle_N)
        return far_N


def _crossing(above: Tensor, fall: Tensor) -> Tensor:
    """Step at which token v's logit crosses the target's; −∞ if they never cross.

    `above`: how far v's logit is above the target's at step 0; `fall`: how much less it falls a unit of the step.
    """
    return (above / fall).masked_fill_(fall <= 1e-12, -torch.inf)


def rank_of(logits_NV: Float[Tensor, "N V"], tokens_N: Int[Tensor, " N"]) -> Int[Tensor, " N"]:
    """Number of strictly larger logits in each row."""
    return (logits_NV > logits_NV.gather(1, tokens_N.to(logits_NV.device)[:, None])).sum(1)
