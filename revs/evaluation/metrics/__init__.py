"""Every metric, one file each, in one list; `revs.evaluate`, the gates and the benchmark tables all read it."""

from __future__ import annotations

from revs.evaluation.metrics import (
    attack_rates,
    delta,
    efficacy,
    exact_memorization,
    extraction_rate,
    extraction_strength,
    generality,
    logit_lens,
    min_k_plus_plus,
    perplexity,
    perturbation,
    resistance_score,
    specificity,
    unlearning_score,
    verbatim_probability,
)
from revs.evaluation.metrics.base import Gap, Metric

METRICS: dict[str, Metric] = {
    metric.name: metric
    for module in (
        efficacy, generality, specificity, unlearning_score, logit_lens, delta, perturbation, resistance_score,
        extraction_rate, extraction_strength, exact_memorization, verbatim_probability, min_k_plus_plus, attack_rates,
        perplexity,
    )
    for metric in module.METRICS
}  # fmt: skip

__all__ = ["METRICS", "Gap", "Metric"]
