"""The way from the residual stream to the vocabulary, and the exact step that moves one token to a wanted rank.

With U the unembedding (V×d), g the gain of the final norm and q_t = (UᵀU)⁻¹u_t / g, a change of the logit of token t
alone, projected back to the hidden space, is a step along the fixed vector q_t (REVS, Ashuach et al. 2025, section 3.2;
the projection with the pseudo-inverse of U collapses to one d×d solve). Along r + c·q_t the logits are

    logits_v(c) = (a_v + c·h_v) / σ(c) + β_v,      a = U(g∘r̄),  h = U(g∘q̄_t),  σ(c)² = mean((r̄ + c·q̄_t)²) + eps

where the bar removes the mean for LayerNorm and does nothing for RMSNorm, and β = U·bias + logit bias. Without β the
scale σ does not change any rank, so the step for rank R is read from the sorted crossings (a_t − a_v)/(h_t − h_v);
otherwise each trial step costs O(V) and the step is found by bisection.

Legend of shape suffixes: V vocabulary, d hidden, N rows (positions).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from revs.errors import BadInput

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

    from revs.architectures import Architecture

_BISECTIONS = 60
_DOUBLINGS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Steps along q_t, one per row: `step_N` (≤ 0), the rank each reaches, and whether that is enough."""

    step_N: Float[Tensor, " N"]
    rank_N: Int[Tensor, " N"]
    reached_N: Bool[Tensor, " N"]


class Unembedding:
    """The final norm and unembedding of one model, in float32, with the d×d factor of UᵀU.

    Attributes:
        vocabulary: V, the number of rows of U.
    """

    def __init__(self, model: PreTrainedModel, architecture: Architecture) -> None:
        head = model.get_output_embeddings()
        norm: nn.Module = architecture.norm_module(model)
        self.weight_Vd: Tensor = head.weight.detach().float()
        self.vocabulary: int = self.weight_Vd.shape[0]
        self.gain_d: Tensor = norm.get_parameter("weight").detach().float()
        self.centred = architecture.norm == "layer"
        self.eps = float(getattr(norm, "variance_epsilon" if hasattr(norm, "variance_epsilon") else "eps"))
        norm_bias, head_bias = getattr(norm, "bias", None), getattr(head, "bias", None)
        offset_V = torch.zeros(self.vocabulary, device=self.weight_Vd.device)
        if norm_bias is not None:
            offset_V = offset_V + self.weight_Vd @ norm_bias.detach().float()
        if head_bias is not None:
            offset_V = offset_V + head_bias.detach().float()
        self.offset_V: Tensor | None = offset_V if bool(offset_V.abs().max() > 0) else None
        self._factor_dd = self._gram_factor()

    def _gram_factor(self) -> Tensor:
        """Cholesky factor of UᵀU in float64; a tiny ridge where U has fewer independent rows than columns."""
        gram_dd = self.weight_Vd.double().T @ self.weight_Vd.double()
        if not torch.isfinite(gram_dd).all():
            raise BadInput(
                "the unembedding holds NaN or infinite values; the model is damaged: load an intact checkpoint"
            )
        ridge = gram_dd.diagonal().mean() * 1e-10
        identity_dd = torch.eye(len(gram_dd), dtype=gram_dd.dtype, device=gram_dd.device)
        factor_dd: Tensor = torch.linalg.cholesky(gram_dd + ridge * identity_dd)
        return factor_dd

    def directions(self, tokens_N: Int[Tensor, " N"]) -> Float[Tensor, "N d"]:
        """q_t for each token: the hidden-space direction that changes its logit and, as far as U allows, no other."""
        u_Nd = self.weight_Vd[tokens_N].double()
        return (torch.cholesky_solve(u_Nd.T, self._factor_dd).T / self.gain_d.double()).float()

    def _centre(self, hidden_Nd: Tensor) -> Tensor:
        return hidden_Nd - hidden_Nd.mean(-1, keepdim=True) if self.centred else hidden_Nd

    def _project(self, hidden_Nd: Tensor) -> Tensor:
        """U(g∘r̄): the logits before division by σ and without offsets, shape (N, V)."""
        return (self._centre(hidden_Nd) * self.gain_d) @ self.weight_Vd.T

    def logits(self, hidden_Nd: Float[Tensor, "N d"]) -> Float[Tensor, "N V"]:
        """Logits of residual vectors: the logit lens (nostalgebraist 2020); at the last layer the model's own."""
        hidden_Nd = hidden_Nd.float()
        sigma_N1 = (self._centre(hidden_Nd).square().mean(-1, keepdim=True) + self.eps).sqrt()
        logits_NV = self._project(hidden_Nd) / sigma_N1
        return logits_NV if self.offset_V is None else logits_NV + self.offset_V

    def ranks(self, hidden_Nd: Float[Tensor, "N d"], tokens_N: Int[Tensor, " N"]) -> Int[Tensor, " N"]:
        """Number of tokens with a strictly larger logit than each row's token; 0 is the most likely."""
        return rank_of(self.logits(hidden_Nd), tokens_N)

    def step_to_rank(self, hidden_Nd: Float[Tensor, "N d"], tokens_N: Int[Tensor, " N"], *, wanted: int) -> Step:
        """The step c ≤ 0 along q_t after which token t has exactly rank `wanted`; 0 where it is there or beyond.

        Where a rank cannot be hit exactly (ties, or other tokens that fall faster), the step is the smallest found that
        reaches at least `wanted`; `reached_N` is False where none was found, and the step there is 0.
        """
        if not 0 < wanted < self.vocabulary:
            raise BadInput(f"wanted rank {wanted} is outside 1 … {self.vocabulary - 1}, the ranks of this vocabulary")
        line = _Line.along(self, hidden_Nd, tokens_N)
        already_N = line.rank(torch.zeros(len(tokens_N), device=hidden_Nd.device)) >= wanted
        guess_N = line.crossing(wanted)
        exact_N = line.rank(guess_N) == wanted
        step_N = torch.where(exact_N, guess_N, line.bisect(wanted, guess_N))
        step_N = torch.where(already_N, torch.zeros_like(step_N), step_N)
        reached_N = line.rank(step_N) >= wanted
        step_N = torch.where(reached_N, step_N, 0.0)
        return Step(step_N=step_N, rank_N=line.rank(step_N), reached_N=reached_N)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """The logits of N rows as functions of one scalar each, in float64: `rank` of a trial step costs O(V)."""

    a_NV: Tensor
    h_NV: Tensor
    offset_V: Tensor | None
    square_N: Tensor  # σ(c)² = square + cross·c + slope·c² + eps
    cross_N: Tensor
    slope_N: Tensor
    eps: float
    tokens_N: Tensor

    @classmethod
    def along(cls, unembedding: Unembedding, hidden_Nd: Tensor, tokens_N: Tensor) -> _Line:
        hidden_Nd, q_Nd = hidden_Nd.float(), unembedding.directions(tokens_N)
        r_Nd, p_Nd = unembedding._centre(hidden_Nd).double(), unembedding._centre(q_Nd).double()
        return cls(
            a_NV=unembedding._project(hidden_Nd).double(),
            h_NV=unembedding._project(q_Nd).double(),
            offset_V=None if unembedding.offset_V is None else unembedding.offset_V.double(),
            square_N=r_Nd.square().mean(-1),
            cross_N=2 * (r_Nd * p_Nd).mean(-1),
            slope_N=p_Nd.square().mean(-1),
            eps=unembedding.eps,
            tokens_N=tokens_N,
        )

    def rank(self, step_N: Tensor) -> Tensor:
        c_N = step_N.double()
        logits_NV = self.a_NV + c_N[:, None] * self.h_NV
        if self.offset_V is not None:
            sigma_N = (
                (self.square_N + self.cross_N * c_N + self.slope_N * c_N.square() + self.eps).clamp_min(self.eps).sqrt()
            )
            logits_NV = logits_NV / sigma_N[:, None] + self.offset_V
        return rank_of(logits_NV, self.tokens_N)

    def crossing(self, wanted: int) -> Tensor:
        """The step between the `wanted`-th crossing and the next: exact where no offset enters and h_t is largest."""
        a_t_N1, h_t_N1 = (x.gather(1, self.tokens_N[:, None]) for x in (self.a_NV, self.h_NV))
        fall_NV = h_t_N1 - self.h_NV
        crossing_NV = (a_t_N1 - self.a_NV) / fall_NV.clamp_min(1e-12)
        crossing_NV = crossing_NV.masked_fill(fall_NV <= 1e-12, torch.inf).scatter(1, self.tokens_N[:, None], torch.inf)
        smallest_NR = crossing_NV.topk(wanted + 1, dim=1, largest=False).values
        middle_N = smallest_NR[:, wanted - 1 : wanted + 1].mean(1)
        return -torch.where(middle_N.isfinite(), middle_N, 0.0).clamp_min(0.0)

    def bisect(self, wanted: int, guess_N: Tensor) -> Tensor:
        """Bracket by doubling, then halve; keeps a step known to reach at least `wanted`, or the last one tried."""
        high_N = (-guess_N).clamp_min(1e-6)
        for _ in range(_DOUBLINGS):
            short_N = self.rank(-high_N) < wanted
            if not bool(short_N.any()):
                break
            high_N = torch.where(short_N, high_N * 2, high_N)
        low_N = torch.zeros_like(high_N)
        for _ in range(_BISECTIONS):
            hit_N = self.rank(-high_N) == wanted
            if bool(hit_N.all()):
                break
            # A row that hit stays where it is: halving on for the sake of others would drive it to the very edge of its
            # rank, where rounding to float32 loses it.
            low_N = torch.where(hit_N, high_N, low_N)
            middle_N = (low_N + high_N) / 2
            enough_N = self.rank(-middle_N) >= wanted
            low_N, high_N = torch.where(enough_N, low_N, middle_N), torch.where(enough_N, middle_N, high_N)
        return -high_N


def rank_of(logits_NV: Float[Tensor, "N V"], tokens_N: Int[Tensor, " N"]) -> Int[Tensor, " N"]:
    """Number of strictly larger logits in each row."""
    return (logits_NV > logits_NV.gather(1, tokens_N[:, None])).sum(1)
