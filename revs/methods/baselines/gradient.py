"""Gradient ascent on the secret (Jang et al. 2023), and gradient difference, which also descends on what is kept.

Gradient ascent maximises the token loss of the secret given its prompt ("Knowledge Unlearning for Mitigating Privacy
Risks in Language Models", equation 1). Gradient difference (Liu et al. 2022; TOFU, Maini et al. 2024, section 3) adds
the token loss over the retained records, or the text where there are none. Both train all weights, on all tokens of the
secret. Neither loss has a floor: what limits the damage is the number of steps.
"""

from __future__ import annotations

from torch import Tensor

from revs.config import NotNegative, Positive, settings
from revs.methods.baselines.frame import Baseline, Job
from revs.methods.baselines.settings import TuningConfig, all_names
from revs.methods.baselines.tuning import log_p_of, logits_of, tune
from revs.model.batch import Batch


@settings
class GradientAscentConfig(TuningConfig):
    """Settings of `gradient-ascent`; the learning rate is that of Jang et al. (section 4)."""

    method: str = "gradient-ascent"
    learning_rate: Positive = 5e-5


@settings
class GradientDifferenceConfig(TuningConfig):
    """Settings of `gradient-difference`; learning rate and decay are TOFU's.

    Attributes:
        keep_weight: weight of the loss over what is kept.
    """

    method: str = "gradient-difference"
    learning_rate: Positive = 1e-5
    weight_decay: NotNegative = 0.01
    keep_weight: NotNegative = 1.0


def _ascend(job: Job[GradientAscentConfig]) -> None:
    tune(job, lambda forget, _: log_p_of(logits_of(job.model, forget), forget).mean())


def _differ(job: Job[GradientDifferenceConfig]) -> None:
    def loss(forget: Batch, kept: Batch | None) -> Tensor:
        value = log_p_of(logits_of(job.model, forget), forget).mean()
        if kept is not None:
            value = value - job.config.keep_weight * log_p_of(logits_of(job.model, kept), kept).mean()
        return value

    tune(job, loss, keep=job.keep())


GRADIENT_ASCENT = Baseline(settings=GradientAscentConfig, names=all_names, change=_ascend)
GRADIENT_DIFFERENCE = Baseline(settings=GradientDifferenceConfig, names=all_names, change=_differ)
