"""Resistance to perturbed prompts: the logit lens with 10 characters inserted (Ashuach et al. 2025, section 4.3)."""

from __future__ import annotations

from functools import partial

from revs.evaluation.context import Examination
from revs.evaluation.metrics.base import Metric
from revs.evaluation.metrics.logit_lens import logit_lens


def _measure(examination: Examination, *, all_tokens: bool) -> float:
    return logit_lens(examination.readings("perturbed"), examination.k, all_tokens=all_tokens)


METRICS = (
    Metric(name="perturbation", higher_is_better=True, control="unedited", measure=partial(_measure, all_tokens=False)),
    Metric(
        name="perturbation_all_tokens", higher_is_better=True, control="never trained",
        measure=partial(_measure, all_tokens=True),
    ),
)  # fmt: skip
