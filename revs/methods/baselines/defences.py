"""Two defences of Patil, Hase and Bansal 2024, "Can Sensitive Information Be Deleted From LLMs?", section 4.

Both look at the target tokens (the rarest of each secret) through the logit lens after every layer, and both are
optimised here by constrained fine-tuning of FF2 weights, as the paper combines its defences with an editor:

    max-entropy       raises the entropy of the lens's distribution, mean over layers and tokens;
    head-projection   pushes the token out of the k most and the k least likely candidates, where their attacker looks:
                      max(0, z_y − z_(k-th largest) + m) + max(0, z_(k-th smallest) − z_y + m), the mean of it.

`text` and `retain` are not used.

Legend of shape suffixes: L layers, N target tokens, V vocabulary, B batch, T positions, d hidden.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int
from torch import Tensor

from revs.config import Count, NotNegative, settings
from revs.errors import BadInput
from revs.methods.baselines.frame import Baseline, Job
from revs.methods.baselines.settings import ConstrainedConfig, ff2_names
from revs.methods.baselines.tuning import chosen_only, tune
from revs.model.batch import Batch
from revs.model.hooks import run

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from revs.model.adapter import Architecture


@settings
class MaxEntropyConfig(ConstrainedConfig):
    """Settings of `max-entropy`: see `ConstrainedConfig`."""

    method: str = "max-entropy"


@settings
class HeadProjectionConfig(ConstrainedConfig):
    """Settings of `head-projection`; besides see `ConstrainedConfig`.

    Attributes:
        candidates: k; at most half of the vocabulary.
        margin: m, in logits.
    """

    method: str = "head-projection"
    candidates: Count = 100
    margin: NotNegative = 0.5


def lens_logits(model: PreTrainedModel, architecture: Architecture, batch: Batch) -> Float[Tensor, "L N V"]:
    """Logits of the model's own norm and head after every layer where each studied token is predicted, float32.

    Differentiable. The last row is the model's own output.
    """
    norm, head = architecture.norm_module(model), model.get_output_embeddings()
    found: list[Tensor] = []

    def keep(_layer: int, _keys: Tensor, hidden_BTd: Tensor) -> None:
        found.append(architecture.own_logits(head(norm(hidden_BTd[batch.row_N, batch.position_N]))).float())

    run(model, architecture, batch, keep, gradients=True)
    return torch.stack(found)


def negative_entropy(logits_LNV: Float[Tensor, "L N V"]) -> Float[Tensor, ""]:
    """−H of the distributions, in nats, mean over layers and tokens."""
    log_p_LNV = logits_LNV.log_softmax(-1)
    return (log_p_LNV.exp() * log_p_LNV).sum(-1).mean()


def candidate_loss(
    logits_LNV: Float[Tensor, "L N V"], token_N: Int[Tensor, " N"], *, candidates: int, margin: float
) -> Float[Tensor, ""]:
    """By how many logits, margin included, the tokens lie among the first or the last `candidates`; the mean."""
    own_LN = logits_LNV.gather(-1, token_N.expand(len(logits_LNV), -1)[..., None])[..., 0]
    high_LN = logits_LNV.topk(candidates, dim=-1).values[..., -1]
    low_LN = logits_LNV.topk(candidates, dim=-1, largest=False).values[..., -1]
    return ((own_LN - high_LN + margin).relu() + (low_LN - own_LN + margin).relu()).mean()


def _flatten(job: Job[MaxEntropyConfig]) -> None:
    def loss(forget: Batch, _kept: Batch | None) -> Tensor:
        return negative_entropy(lens_logits(job.model, job.architecture, chosen_only(forget)))

    tune(job, loss, radius=job.config.radius)


def _push_out(job: Job[HeadProjectionConfig]) -> None:
    hinge = partial(candidate_loss, candidates=job.config.candidates, margin=job.config.margin)

    def loss(forget: Batch, _kept: Batch | None) -> Tensor:
        chosen = chosen_only(forget)
        return hinge(lens_logits(job.model, job.architecture, chosen), chosen.token_N)

    tune(job, loss, radius=job.config.radius)


def _names(model: PreTrainedModel, architecture: Architecture, config: HeadProjectionConfig) -> list[str]:
    vocabulary = model.get_output_embeddings().weight.shape[0]
    if 2 * config.candidates > vocabulary:
        raise BadInput(
            f"candidates {config.candidates} is more than half of this vocabulary of {vocabulary} tokens; choose fewer"
        )
    return ff2_names(model, architecture, config)


MAX_ENTROPY = Baseline(settings=MaxEntropyConfig, names=ff2_names, change=_flatten)
HEAD_PROJECTION = Baseline(settings=HeadProjectionConfig, names=_names, change=_push_out)
