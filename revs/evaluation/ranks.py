"""What an adversary with the weights can read: the rank of every studied token at every layer, from one pass.

Legend of shape suffixes: L layers, N studied tokens (all tokens of all secrets), d hidden, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from revs.model.batch import Batch, batched
from revs.model.families import architecture_of
from revs.model.hooks import run
from revs.model.offload import input_device
from revs.model.rank_step import rank_of
from revs.model.vocabulary import Unembedding
from revs.targets.tokenize import TokenisedTarget, collate

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from revs.model.adapter import Architecture

_ROWS = 256  # rows of logits held at once


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """Ranks of all tokens of all secrets.

    Attributes:
        rank_LN: rank in the logit lens after each layer; the last row is the model's own output (and the only one
            where no more was asked for).
        delta_rank_LN: rank of |Δlogit| between consecutive layers, L−1 rows; 0 is the largest change.
        target_N: index of the target a token belongs to.
        chosen_N: it is a target token (one of the t rarest).
        logprob_N: log-probability of the token in the model's own output, float64.
        standardised_N: the same less its mean, over its deviation, both under the model's distribution at that place
            (the token score of Min-K%++).
        vocabulary: V.
        finite: no logit was NaN or infinite.
    """

    rank_LN: Int[Tensor, "L N"]
    delta_rank_LN: Int[Tensor, "M N"]
    target_N: Int[Tensor, " N"]
    chosen_N: Bool[Tensor, " N"]
    logprob_N: Float[Tensor, " N"]
    standardised_N: Float[Tensor, " N"]
    vocabulary: int
    finite: bool = True

    @property
    def targets(self) -> int:
        """How many targets were read."""
        return int(self.target_N.max()) + 1


def read(
    model: PreTrainedModel,
    targets: Sequence[TokenisedTarget],
    *,
    pad: int,
    batch_size: int = 64,
    output_only: bool = False,
) -> Readings:
    """Teacher-force prompt and secret of every target (at least one) and rank its tokens after every layer.

    With `output_only` after the last alone: ranking costs a product with the whole vocabulary a layer, which is more
    than the forward pass itself.
    """
    architecture = architecture_of(model)
    first_layer = len(architecture.decoder_layers(model)) - 1 if output_only else 0
    unembedding = Unembedding(model, architecture)
    parts = []
    for numbers in batched([len(target.ids) for target in targets], batch_size):
        some, first = [targets[number] for number in numbers], numbers[0]
        batch = collate(some, pad=pad, first=first, device=input_device(model))
        hidden_LNd: list[Tensor] = []

        def keep(
            _layer: int, _keys: Tensor, hidden_BTd: Tensor, batch: Batch = batch, kept: list[Tensor] = hidden_LNd
        ) -> None:
            kept.append(hidden_BTd[batch.row_N, batch.position_N])

        run(model, architecture, batch, keep, first=first_layer)
        ranked = _rank_layers(architecture, unembedding, hidden_LNd, batch.token_N)
        parts.append((*ranked, batch.target_N, batch.chosen_N))
    rank_LN, delta_LN, logprob_N, standardised_N, target_N, chosen_N = (
        torch.cat(column, dim=-1) for column in zip(*parts, strict=True)
    )
    return Readings(
        rank_LN=rank_LN, delta_rank_LN=delta_LN, target_N=target_N, chosen_N=chosen_N, logprob_N=logprob_N,
        standardised_N=standardised_N, vocabulary=unembedding.vocabulary,
        finite=bool(logprob_N.isfinite().all() & (rank_LN >= 0).all()),
    )  # fmt: skip


def _rank_layers(
    architecture: Architecture, unembedding: Unembedding, hidden_LNd: list[Tensor], tokens_N: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Ranks, ranks of changes, and of the last layer the log-probabilities, plain and standardised."""
    parts = [
        _rank_rows(architecture, unembedding, [hidden_Nd[rows] for hidden_Nd in hidden_LNd], tokens_N[rows])
        for rows in torch.split(torch.arange(len(tokens_N)), _ROWS)
    ]
    ranks, deltas, logprobs, standardised = (torch.cat(column, dim=-1) for column in zip(*parts, strict=True))
    return ranks, deltas, logprobs, standardised


def _rank_rows(
    architecture: Architecture, unembedding: Unembedding, hidden_LNd: list[Tensor], tokens_N: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    previous_NV: Tensor | None = None
    ranks, deltas = [], []
    for hidden_Nd in hidden_LNd:
        logits_NV = unembedding.logits(hidden_Nd)
        sound_N = logits_NV.sum(1).isfinite()  # a NaN or an infinity stays one in the sum
        ranks.append(torch.where(sound_N, rank_of(logits_NV, tokens_N), -1))
        if previous_NV is not None:
            deltas.append(rank_of((logits_NV - previous_NV).abs(), tokens_N))
        previous_NV = logits_NV
    rank_LN = torch.stack(ranks).cpu()
    delta_LN = torch.stack(deltas).cpu() if deltas else rank_LN[:0]
    return rank_LN, delta_LN, *_log_probabilities(architecture.own_logits(logits_NV), tokens_N)


def _log_probabilities(logits_NV: Tensor, tokens_N: Tensor) -> tuple[Tensor, Tensor]:
    """Of each token, and standardised by mean and deviation under the row's own distribution."""
    log_NV = logits_NV.log_softmax(-1)
    p_NV = log_NV.exp()
    own_N1 = log_NV.gather(1, tokens_N.to(log_NV.device)[:, None])
    mean_N1 = (p_NV * log_NV).sum(-1, keepdim=True)
    variance_N1 = (p_NV * (log_NV - mean_N1).square()).sum(-1, keepdim=True)
    standardised_N1 = (own_N1 - mean_N1) / variance_N1.clamp_min(1e-12).sqrt()
    return own_N1[:, 0].double().cpu(), standardised_N1[:, 0].double().cpu()
