"""Generality: the efficacy on prompts that the edit did not use (Ashuach et al. 2025, section 4.2)."""

from __future__ import annotations

from functools import partial

from revs.evaluation.context import Examination
from revs.evaluation.metrics.base import Metric
from revs.evaluation.metrics.efficacy import efficacy


def _measure(examination: Examination, *, all_tokens: bool) -> float:
    return efficacy(examination.readings("unseen"), examination.k, all_tokens=all_tokens)


METRICS = (
    Metric(
        name="generality", higher_is_better=True, control="never trained", measure=partial(_measure, all_tokens=False)
    ),
    Metric(
        name="generality_all_tokens", higher_is_better=True, control="never trained",
        measure=partial(_measure, all_tokens=True),
    ),
)  # fmt: skip
