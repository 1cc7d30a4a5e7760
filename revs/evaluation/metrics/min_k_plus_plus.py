"""AUC of the membership inference by Min-K%++, secrets against decoys (Zhang et al. 2025); 50 is guessing."""

from __future__ import annotations

from revs.evaluation.attacks.membership import area_under_curve
from revs.evaluation.metrics.base import Metric

METRICS = (
    Metric(
        name="min_k_plus_plus", higher_is_better=False, control="never trained", measure=area_under_curve,
        standard=False,
    ),
)  # fmt: skip
