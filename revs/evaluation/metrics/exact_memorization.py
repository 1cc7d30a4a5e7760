"""Exact memorisation: share of a secret's tokens that the model puts first, each given the true ones before it.

Tirumala et al. 2022, "Memorization without overfitting", section 3.
"""

from __future__ import annotations

from revs.evaluation.context import Examination
from revs.evaluation.metrics.base import Metric
from revs.evaluation.metrics.token_score import mean_of_secrets
from revs.evaluation.ranks import Readings


def exact_memorization(readings: Readings) -> float:
    """Mean over targets of the share of tokens with rank 0, percent."""
    first_LN = (readings.rank_LN[-1:] == 0).double()
    return 100 * float(mean_of_secrets(first_LN, readings, chosen=False).mean())


def _measure(examination: Examination) -> float:
    return exact_memorization(examination.readings("targets"))


METRICS = (Metric(name="exact_memorization", higher_is_better=False, control="never trained", measure=_measure),)
