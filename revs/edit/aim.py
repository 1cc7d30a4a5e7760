"""How far tokens have to go after each layer; the paper's answer, fixed ranks. The other one: `revs.edit.reference`.

Legend of shape suffixes: N studied tokens, n those of the prompts as written, S others in place of each, d hidden.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from revs.config import EraseConfig
from revs.model.vocabulary import Standing, Unembedding

_WIDER = 1.5
_ENOUGH = 1.3  # of `low_rank`: with 1.1, other targets' movements brought some back over it, for another sweep


class Aim(ABC):
    """What one joint edit asks of its tokens. `own_N`: of each token, its number among those of the prompts as written.

    Attributes:
        wanted_n: rank to be reached after the last layer, for the records.
        others_nS: tokens that might stand in place of each, to be read with it; None: none are read.
        held_nd: of each the gradient of what may not become less likely where it is moved; None: nothing.
        protected_sweeps: in how many of the first sweeps the protected tokens are held up.
    """

    wanted_n: Int[Tensor, " n"]
    others_nS: Int[Tensor, "n S"] | None = None
    held_nd: Float[Tensor, "n d"] | None = None
    protected_sweeps: int

    @abstractmethod
    def too_high(self, layer: int, standing: Standing, own_N: Int[Tensor, " N"]) -> Bool[Tensor, " N"]:
        """Which tokens stand too high after the layer, so that their target is not done."""

    @abstractmethod
    def bounds(
        self, layer: int, hidden_Nd: Tensor, tokens_N: Tensor, standing: Standing, own_N: Tensor, *, own: int
    ) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
        """The least and the largest change of each token's logit before the division by σ (`revs.edit.solver`).

        The first `own` tokens are those of the prompts as written, the others those of variations.
        """

    @abstractmethod
    def moves(self, layer: int, standing: Standing, own_N: Int[Tensor, " N"]) -> Bool[Tensor, " N"]:
        """Which tokens are to be moved when the layer is edited."""

    @abstractmethod
    def further(self) -> None:
        """Aim further from now on: rounding the weights brought a token back."""


class FixedRanks(Aim):
    """The target tokens at least at ranks that the settings give, whatever they are (Ashuach et al. 2025)."""

    protected_sweeps = 1  # later ones put erasing first

    def __init__(self, config: EraseConfig, unembedding: Unembedding, *, layers: int, tokens: int) -> None:
        """`layers`: of the model; `tokens`: of the prompts as written."""
        self.config, self.unembedding, self.layers = config, unembedding, layers
        self._margin = 1.0  # by which ranks are raised so that rounding does not bring a token back
        self.wanted_n = torch.full((tokens,), self._aim(layers - 1))

    def too_high(self, layer: int, standing: Standing, own_N: Tensor) -> Tensor:
        return standing.rank_N < self.config.low_rank

    def moves(self, layer: int, standing: Standing, own_N: Tensor) -> Tensor:
        return standing.rank_N < self._rank(self.config.low_rank)

    def bounds(
        self, layer: int, hidden_Nd: Tensor, tokens_N: Tensor, standing: Standing, own_N: Tensor, *, own: int
    ) -> tuple[Tensor, Tensor]:
        """What ranks too high goes down to the layer's rank, and what ranks low enough may rise to `low_rank`.

        Tokens of the prompts as written sink no nearer to the end of the vocabulary than `aim_rank`. Those of
        variations may: no bound holds them.
        """
        unembedding, low, end = self.unembedding, self._rank(self.config.low_rank), self._rank(self.config.aim_rank)
        low_N = self.moves(layer, standing, own_N)
        upper_N = torch.zeros(len(tokens_N), dtype=torch.float64, device=unembedding.device)
        for rank, some_N in ((self._rank(self._aim(layer)), low_N.cpu()), (low, ~low_N.cpu())):
            upper_N[some_N] = unembedding.steps_to_ranks(hidden_Nd[some_N], tokens_N[some_N], [rank])[0]
        (sink_n,) = unembedding.steps_to_ranks(hidden_Nd[:own], tokens_N[:own], [unembedding.vocabulary - end])
        gradients_Nd = unembedding.gradients(tokens_N)
        change_N = (gradients_Nd * unembedding.spread(gradients_Nd)).sum(-1)  # of each token's logit, by a step of 1
        upper_N *= change_N
        lower_N = torch.full_like(upper_N, -torch.inf)
        lower_N[:own] = torch.minimum(sink_n * change_N[:own], upper_N[:own])
        return lower_N, upper_N

    def further(self) -> None:
        self._margin *= _WIDER

    def _rank(self, asked: int) -> int:
        """A rank that the settings ask for, with the margin for rounding; never beyond the middle of the vocabulary."""
        return max(asked, min(round(asked * self._margin), self.unembedding.vocabulary // 2))

    def _aim(self, layer: int) -> int:
        """The rank to which a layer moves what ranks too high after it."""
        config = self.config
        if layer == self.layers - 1:
            return max(config.aim_rank, round(config.output_share * self.unembedding.vocabulary))
        if layer == config.first_layer:
            return config.aim_rank
        return min(config.aim_rank, round(_ENOUGH * config.low_rank))
