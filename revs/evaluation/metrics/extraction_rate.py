"""Extraction rate: share of secrets that greedy decoding gives (Carlini et al. 2023).

On edited prompts, on unseen ones, and on others: of secrets that the model did not give before the edit, or under
prompts that stand in no corpus. An edit must not bring those up.
"""

from __future__ import annotations

from functools import partial

from revs.evaluation.context import Examination
from revs.evaluation.metrics.base import Metric


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
    Metric(
        name="extraction_rate_other", higher_is_better=False, control="unedited",
        measure=partial(_measure, of="other"),
    ),
)  # fmt: skip
