"""Efficacy: how far down the model's own output the secrets of the edited prompts are (Ashuach et al. 2025, 4.2)."""

from __future__ import annotations

from functools import partial

from revs.evaluation.context import Examination
from revs.evaluation.metrics.base import Metric
from revs.evaluation.metrics.token_score import of_secrets
from revs.evaluation.ranks import Readings


def efficacy(readings: Readings, k: int, *, all_tokens: bool = False) -> float:
    """Mean over targets of the secret's score at the last layer, percent."""
    return 100 * float(of_secrets(readings.rank_LN[-1:], readings, k, all_tokens=all_tokens).mean())


def _measure(examination: Examination, *, all_tokens: bool) -> float:
    return efficacy(examination.readings("targets"), examination.k, all_tokens=all_tokens)


METRICS = (
    Metric(name="efficacy", higher_is_better=True, control="decoys", measure=partial(_measure, all_tokens=False)),
    Metric(
        name="efficacy_all_tokens", higher_is_better=True, control="never trained",
        measure=partial(_measure, all_tokens=True),
    ),
)  # fmt: skip
