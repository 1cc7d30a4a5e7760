"""The way from the residual stream to the vocabulary, and the exact step that moves one token to a wanted rank.

With U the unembedding (V×d), g the gain of the final norm and q_t = (UᵀU)⁻¹u_t / g, a change of the logit of token t
alone, projected back to the hidden space, is a step along the fixed vector q_t (REVS, Ashuach et al. 2025, section 3.2;
the projection with the pseudo-inverse of U collapses to one d×d solve). How far to go along it: `revs.model.rank_step`.

All logits weigh alike in UᵀU, as in the paper's pseudo-inverse. But rare tokens, numbers above all, often have nearly
the same row of U: one three-digit number was seen to lose two thirds of what another one lost, and so did every record
that holds it. So where the tokens to be moved are known, those logits weigh more that would move along with theirs:
q_t = (UᵀDU)⁻¹u_t / g with D = 1 + isolation·V·e/Σe, e_v = max over t of (h_v / h_t)⁴.

Legend of shape suffixes: V vocabulary, R a piece of it, d hidden, N rows (positions), T tokens to be moved, S some of
them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from revs.errors import BadInput
from revs.model.digest import tensor_digest
from revs.model.memo import TokenRows, gram_of
from revs.model.offload import held
from revs.model.rank_step import Line, rank_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from revs.model.adapter import Architecture

_PIECE = 8192  # rows of U held in another dtype at once
_RANK_ROWS = 256  # rows of logits held in float32 at once
_LINE_ROWS = 64  # rows of logits held in float64 at once
_LIGHT = 1e-3  # additional weight of a logit that is not worth another row, 1 being what it has anyway


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Steps along q_t, one per row: `step_N` (≤ 0), the rank each reaches, and whether that is enough."""

    step_N: Float[Tensor, " N"]
    rank_N: Int[Tensor, " N"]
    reached_N: Bool[Tensor, " N"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Where the token of each row stands.

    Attributes:
        rank_N: its rank.
        odds_N: its log odds, log p − log(1 − p), in nats. A change of its logit alone changes them by as much.
        sigma_N: what the final norm divides by; 1 where it was not asked for.
        others_NS: of other tokens the log odds that they would have if this one were not there, ascending.
    """

    rank_N: Int[Tensor, " N"]
    odds_N: Float[Tensor, " N"]
    sigma_N: Float[Tensor, " N"]
    others_NS: Float[Tensor, "N S"] | None = None


class Unembedding:
    """The final norm and unembedding of one model, in float32, with the d×d factor of UᵀU where it is needed.

    Methods take tensors on any device; what they return is on that of U.

    Attributes:
        vocabulary: V, the number of rows of U.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        architecture: Architecture,
        *,
        moved_T: Int[Tensor, " T"] | None = None,
        isolation: float = 0.0,
    ) -> None:
        """`isolation`: additional weight of the logits that would move along with those of `moved_T`, all having 1."""
        head = model.get_output_embeddings()
        norm: nn.Module = architecture.norm_module(model)
        self.weight_Vd: Tensor = held(head)  # in the model's dtype; made float32 piece by piece
        self.device = self.weight_Vd.device
        if not all(bool(rows_Rd.isfinite().all()) for rows_Rd in torch.split(self.weight_Vd, _PIECE)):
            raise BadInput(
                "the unembedding holds NaN or infinite values; the model is damaged: load an intact checkpoint"
            )
        self.vocabulary: int = self.weight_Vd.shape[0]
        self.gain_d: Tensor = held(norm).to(self.device).float() + architecture.gain_offset
        self.centred = architecture.norm == "layer"
        self.eps = float(getattr(norm, "variance_epsilon" if hasattr(norm, "variance_epsilon") else "eps"))
        offset_V = torch.zeros(self.vocabulary, device=self.device)
        if getattr(norm, "bias", None) is not None:
            offset_V = offset_V + self._by_rows(held(norm, "bias").to(self.device).float())
        if getattr(head, "bias", None) is not None:
            offset_V = offset_V + held(head, "bias").to(self.device).float()
        self.offset_V: Tensor | None = offset_V if bool(offset_V.abs().max() > 0) else None
        self._head, self._moved_T, self._isolation = head, moved_T, isolation
        self.moves = TokenRows()  # U(g∘q̄_t): what a step of 1 along a token's direction does to all logits

    @cached_property
    def _factor_dd(self) -> Tensor:
        """Of the Gram matrix: V·d² work, so made when a direction is first asked for."""
        decisive = tensor_digest(self.weight_Vd), tensor_digest(self.gain_d), self.device, self.centred
        gram_dd = gram_of(self._head, str(decisive), self._gram)
        if self._moved_T is None or self._isolation <= 0:
            return _cholesky(gram_dd)
        self._factor_dd = _cholesky(gram_dd)  # for the directions by which the weights are found
        return _cholesky(self._isolating(gram_dd, self._moved_T.to(self.device), self._isolation))

    def _centred_gain(self, rows_Nd: Tensor) -> Tensor:
        """g∘u with its mean removed where the norm removes it: the gradient of a logit before the division by σ."""
        return self._centre(rows_Nd * self.gain_d.double())

    def _gram(self) -> Tensor:
        """The Gram matrix of all logits' gradients, (d, d), in float64."""
        gram_dd = torch.zeros(len(self.gain_d), len(self.gain_d), dtype=torch.float64, device=self.gain_d.device)
        for rows_Rd in torch.split(self.weight_Vd, _PIECE):
            gradient_Rd = self._centred_gain(rows_Rd.double())
            gram_dd += gradient_Rd.T @ gradient_Rd
        return gram_dd

    def _isolating(self, gram_dd: Tensor, moved_T: Tensor, isolation: float) -> Tensor:
        """The Gram matrix with more weight on the logits that move along with others'."""
        entangled_V = self.moved_along(moved_T) ** 4
        weight_V = isolation * self.vocabulary * entangled_V / entangled_V.sum().clamp_min(1e-300)
        for heavy_R in torch.split((weight_V > _LIGHT).nonzero().flatten(), _PIECE):
            gradient_Rd = self.gradients(heavy_R)
            gram_dd = gram_dd + (gradient_Rd.T * weight_V[heavy_R]) @ gradient_Rd
        return gram_dd

    def moved_along(self, tokens_T: Int[Tensor, " T"]) -> Float[Tensor, " V"]:
        """How far each logit moves with another token's, at most, along the directions of `tokens_T`; float64.

        As a share of what that other token's own logit moves by.
        """
        gradients_Td = self.gradients(tokens_T)
        directions_Td = self.spread(gradients_Td)
        directions_Td = directions_Td / (gradients_Td * directions_Td).sum(-1, keepdim=True).clamp_min(1e-300)
        place_T, found = tokens_T.to(self.device), []
        for rows_Rd in torch.split(self.weight_Vd, _PIECE):
            gradient_dR = self._centred_gain(rows_Rd.double()).T
            most_R = gradient_dR.new_zeros(len(rows_Rd))
            rows = zip(torch.split(directions_Td, _RANK_ROWS), torch.split(place_T, _RANK_ROWS), strict=True)
            for some_Sd, place_S in rows:
                share_SR = (some_Sd @ gradient_dR).abs()
                own_S = ((place_S >= 0) & (place_S < len(rows_Rd))).nonzero().flatten()
                share_SR[own_S, place_S[own_S]] = 0.0
                most_R = torch.maximum(most_R, share_SR.amax(0))
            found.append(most_R)
            place_T = place_T - len(rows_Rd)
        return torch.cat(found)

    def gradients(self, tokens_N: Int[Tensor, " N"]) -> Float[Tensor, "N d"]:
        """Gradient of each token's logit, before the division by σ, with respect to the residual; float64."""
        return self._centred_gain(self.weight_Vd[tokens_N.to(self.device)].double())

    def spread(self, gradients_Nd: Float[Tensor, "N d"]) -> Float[Tensor, "N d"]:
        """(GᵀG)⁻¹ times each row, G the gradients of all logits: the least change of all logits that moves one."""
        return torch.cholesky_solve(gradients_Nd.to(self.device).T, self._factor_dd).T

    def directions(self, tokens_N: Int[Tensor, " N"]) -> Float[Tensor, "N d"]:
        """q_t for each token: the hidden-space direction that changes its logit and, as far as U allows, no other."""
        return self.spread(self.gradients(tokens_N)).float()

    def _centre(self, hidden_Nd: Tensor) -> Tensor:
        return hidden_Nd - hidden_Nd.mean(-1, keepdim=True) if self.centred else hidden_Nd

    def _project(self, hidden_Nd: Tensor) -> Tensor:
        """U(g∘r̄): the logits before division by σ and without offsets, shape (N, V)."""
        return self._by_rows(self._centre(hidden_Nd) * self.gain_d)

    def _by_rows(self, hidden_Xd: Tensor) -> Tensor:
        """U times each row, in float32, without a second copy of U in another dtype."""
        pieces = torch.split(self.weight_Vd, _PIECE)
        return torch.cat([hidden_Xd @ rows_Rd.float().T for rows_Rd in pieces], dim=-1)

    def logits(self, hidden_Nd: Float[Tensor, "N d"]) -> Float[Tensor, "N V"]:
        """Logits of residual vectors: the logit lens (nostalgebraist 2020); at the last layer the model's own."""
        hidden_Nd = hidden_Nd.to(self.device).float()
        logits_NV = self._project(hidden_Nd) / self._sigma(hidden_Nd)
        return logits_NV if self.offset_V is None else logits_NV + self.offset_V

    def ranks(self, hidden_Nd: Float[Tensor, "N d"], tokens_N: Int[Tensor, " N"]) -> Int[Tensor, " N"]:
        """Number of tokens with a strictly larger logit than each row's token; 0 is the most likely."""
        rows = zip(torch.split(hidden_Nd, _RANK_ROWS), torch.split(tokens_N, _RANK_ROWS), strict=True)
        return torch.cat([rank_of(self.logits(some_Nd), some_N) for some_Nd, some_N in rows])

    def standing(
        self,
        hidden_Nd: Float[Tensor, "N d"],
        tokens_N: Int[Tensor, " N"],
        others_NS: Int[Tensor, "N S"] | None = None,
    ) -> Standing:
        """Where each row's token stands; `others_NS`: tokens that might stand in its place, −1 for none."""
        rank, odds, others = [], [], []
        for rows in torch.split(torch.arange(len(tokens_N)), _RANK_ROWS):
            logits_NV = self.logits(hidden_Nd[rows.to(hidden_Nd.device)])
            token_N1 = tokens_N[rows.to(tokens_N.device)].to(self.device)[:, None]
            rank.append(rank_of(logits_NV, token_N1[:, 0]))
            own_N1 = logits_NV.gather(1, token_N1)
            rest_N1 = logits_NV.scatter_(1, token_N1, -torch.inf).logsumexp(1, keepdim=True)
            odds.append((own_N1 - rest_N1)[:, 0])
            if others_NS is not None:
                other_NS = others_NS[rows].to(self.device)
                found_NS = logits_NV.gather(1, other_NS.clamp_min(0)) - rest_N1
                others.append(found_NS.masked_fill(other_NS < 0, -torch.inf).sort(1).values)
        return Standing(
            rank_N=torch.cat(rank),
            odds_N=torch.cat(odds),
            sigma_N=self._sigma(hidden_Nd.to(self.device).float())[:, 0],
            others_NS=torch.cat(others) if others_NS is not None else None,
        )

    def rest(self, hidden_Nd: Float[Tensor, "N d"], tokens_N: Int[Tensor, " N"]) -> Float[Tensor, "N d"]:
        """Gradient, before the division by σ, of the log probability of all tokens but each row's own; float64.

        The mean of the gradients of the other tokens' logits, by how likely each is.
        """
        found = []
        for rows in torch.split(torch.arange(len(tokens_N)), _RANK_ROWS):
            logits_NV = self.logits(hidden_Nd[rows.to(hidden_Nd.device)])
            token_N1 = tokens_N[rows.to(tokens_N.device)].to(self.device)[:, None]
            rest_NV = logits_NV.scatter_(1, token_N1, -torch.inf).softmax(1)
            parts = zip(torch.split(rest_NV, _PIECE, dim=1), torch.split(self.weight_Vd, _PIECE), strict=True)
            found.append(torch.stack([some_NR @ rows_Rd.float() for some_NR, rows_Rd in parts]).sum(0))
        return self._centred_gain(torch.cat(found).double())

    def _sigma(self, hidden_Nd: Tensor) -> Tensor:
        """The divisor of the final norm, (N, 1)."""
        return (self._centre(hidden_Nd).square().mean(-1, keepdim=True) + self.eps).sqrt()

    def step_to_rank(self, hidden_Nd: Float[Tensor, "N d"], tokens_N: Int[Tensor, " N"], *, wanted: int) -> Step:
        """The step c ≤ 0 along q_t after which token t has exactly rank `wanted`; 0 where it is there or beyond.

        Where a rank cannot be hit exactly (ties, or other tokens that fall faster), the step is the smallest found that
        reaches at least `wanted`; `reached_N` is False where none was found, and the step there is 0.
        """
        if not 0 < wanted < self.vocabulary:
            raise BadInput(f"wanted rank {wanted} is outside 1 … {self.vocabulary - 1}, the ranks of this vocabulary")
        line = self._line(hidden_Nd, tokens_N)
        already_N = line.rank(torch.zeros(len(tokens_N), device=self.device)) >= wanted
        step_N = line.steps_to([wanted])[0].clamp_max(0.0).masked_fill(already_N, 0.0)
        reached_N = line.rank(step_N) >= wanted
        step_N = step_N.masked_fill(~reached_N, 0.0)
        return Step(step_N=step_N, rank_N=line.rank(step_N), reached_N=reached_N)

    def steps_to_ranks(
        self, hidden_Nd: Float[Tensor, "N d"], tokens_N: Int[Tensor, " N"], wanted: Sequence[int]
    ) -> Float[Tensor, "R N"]:
        """Steps along q_t, of either sign, after which each token has each rank of `wanted`, or lies next to it.

        Very large where the rank is out of reach: safe only as a bound, which then does not bind.
        """
        parts = [
            self._line(*rows).steps_to(wanted)
            for rows in zip(torch.split(hidden_Nd, _LINE_ROWS), torch.split(tokens_N, _LINE_ROWS), strict=True)
        ]
        return torch.cat(parts, dim=1)

    def _line(self, hidden_Nd: Tensor, tokens_N: Tensor) -> Line:
        """The logits of each row along the direction of its token."""
        hidden_Nd, tokens_N = hidden_Nd.to(self.device).float(), tokens_N.to(self.device)
        q_Nd = self.directions(tokens_N)
        r_Nd, p_Nd = self._centre(hidden_Nd).double(), self._centre(q_Nd).double()
        return Line(
            a_NV=self._project(hidden_Nd).double(),
            h_NV=self.moves.of(tokens_N, lambda new_U: self._project(q_Nd[new_U])).double(),
            offset_V=None if self.offset_V is None else self.offset_V.double(),
            square_N=r_Nd.square().mean(-1),
            cross_N=2 * (r_Nd * p_Nd).mean(-1),
            slope_N=p_Nd.square().mean(-1),
            eps=self.eps,
            tokens_N=tokens_N,
        )


def _cholesky(gram_dd: Tensor) -> Tensor:
    """Its factor, with a tiny ridge for lost ranks."""
    ridge = gram_dd.diagonal().mean() * 1e-10
    factor_dd: Tensor = torch.linalg.cholesky(gram_dd + ridge * torch.eye(len(gram_dd)).to(gram_dd))
    return factor_dd
