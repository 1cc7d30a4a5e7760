"""Extraction rate: share of secrets that greedy decoding gives, on edited and unseen prompts (Carlini et al. 2023)."""

from __future__ import annotations

from functools import partial

from revs.examination import Examination
from revs.metrics.base import Metric


def _measure(examination: Examination, *, of: str) -> float:
    return examination.share_said(of)


METRICS = (
    Metric(
        name="extraction_rate", higher_is_better=False, control="unedited", measure=partial(_measure, of="targets")
    ),
    Metric(
        name="extraction_rate_unseen", higher_is_better=False, control="unedited",
        measure=partial(_measure, of="unseen"),
    ),
)  # fmt: skip
