"""NPO (Zhang et al. 2024, "Negative Preference Optimization", section 3), with or without a KL term.

With π(y|x) the probability of a whole secret given its prompt, and π_ref that of the model before the edit, minimise

    (2/β) E log(1 + (π / π_ref)^β):

gradient ascent whose pull fades as the secret becomes less likely than it was. `npo-kl` adds KL(π_ref ‖ π) over every
token of the retained records, or of the text where there are none. Both train all weights, on all tokens of the secret.

Legend of shape suffixes: N tokens, B sequences, V vocabulary.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from revs.config import NotNegative, Positive, settings
from revs.methods.baselines.frame import Baseline, Job
from revs.methods.baselines.reference import Reference
from revs.methods.baselines.settings import TuningConfig, all_names
from revs.methods.baselines.tuning import log_p_of, logits_of, tune
from revs.model.batch import Batch


@settings
class NpoConfig(TuningConfig):
    """Settings of `npo`; β, learning rate and decay are the paper's on TOFU.

    Attributes:
        beta: inverse temperature; towards 0 the method becomes gradient ascent.
    """

    method: str = "npo"
    learning_rate: Positive = 1e-5
    weight_decay: NotNegative = 0.01
    beta: Positive = 0.1


@settings
class NpoKlConfig(NpoConfig):
    """Settings of `npo-kl`.

    Attributes:
        keep_weight: weight of the divergence over what is kept.
    """

    method: str = "npo-kl"
    keep_weight: NotNegative = 1.0


N = TypeVar("N", bound=NpoConfig)


def npo_loss(log_p_B: Float[Tensor, " B"], reference_B: Float[Tensor, " B"], beta: float) -> Float[Tensor, ""]:
    """(2/β) E log(1 + (π/π_ref)^β) from the log-probabilities of whole secrets."""
    return 2 / beta * torch.nn.functional.softplus(beta * (log_p_B - reference_B)).mean()


def divergence(logits_NV: Float[Tensor, "N V"], reference_NV: Float[Tensor, "N V"]) -> Float[Tensor, ""]:
    """KL(reference ‖ model) of the next token, mean over positions."""
    model_NV, reference_NV = logits_NV.log_softmax(-1), reference_NV.log_softmax(-1)
    return (reference_NV.exp() * (reference_NV - model_NV)).sum(-1).mean()


def _log_p_of_secrets(logits_NV: Tensor, batch: Batch) -> Float[Tensor, " B"]:
    log_p_N = log_p_of(logits_NV, batch)
    return log_p_N.new_zeros(len(batch.ids_BT)).index_add(0, batch.row_N, log_p_N)


def _change(job: Job[N]) -> None:
    reference = Reference(job)

    def loss(forget: Batch, kept: Batch | None) -> Tensor:
        with reference():
            old_B = _log_p_of_secrets(logits_of(job.model, forget), forget)
            old_NV = None if kept is None else logits_of(job.model, kept)
        value = npo_loss(_log_p_of_secrets(logits_of(job.model, forget), forget), old_B, job.config.beta)
        if kept is not None and old_NV is not None and isinstance(job.config, NpoKlConfig):
            value = value + job.config.keep_weight * divergence(logits_of(job.model, kept), old_NV)
        return value

    tune(job, loss, keep=job.keep() if isinstance(job.config, NpoKlConfig) else ())


NPO = Baseline(settings=NpoConfig, names=all_names, change=_change)
NPO_KL = Baseline(settings=NpoKlConfig, names=all_names, change=_change)
