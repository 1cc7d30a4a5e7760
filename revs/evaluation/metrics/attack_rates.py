"""The rate of success of every attack that counts secrets said, and the AUC of the one that does not."""

from __future__ import annotations

from functools import partial

from revs.evaluation.attacks import RATES
from revs.evaluation.context import Examination
from revs.evaluation.metrics.base import Metric


def _measure(examination: Examination, *, attack: str) -> float:
    return examination.outcome(attack).rate


METRICS = tuple(
    Metric(
        name=metric, higher_is_better=False, control="never trained", measure=partial(_measure, attack=attack),
        standard=False,
    )
    for metric, attack in RATES.items()
)  # fmt: skip
