"""Resistance score: harmonic mean of logit lens, delta and perturbation, of those that exist (Ashuach et al. 2025)."""

from __future__ import annotations

from functools import partial

from revs.evaluation.metrics.base import Metric, of_those_that_exist

METRICS = (
    Metric(
        name="resistance_score", higher_is_better=True, control="never trained",
        measure=partial(of_those_that_exist, names=("logit_lens", "delta", "perturbation")),
    ),
)  # fmt: skip
