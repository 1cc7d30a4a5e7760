"""Specificity: share of the retained secrets that greedy decoding still gives (Ashuach et al. 2025, section 4.2)."""

from __future__ import annotations

from revs.evaluation.context import Examination
from revs.evaluation.metrics.base import Metric


def _measure(examination: Examination) -> float:
    return examination.share_said("retain")


METRICS = (Metric(name="specificity", higher_is_better=True, control="unedited", measure=_measure),)
