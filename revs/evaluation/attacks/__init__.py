"""Every attack, in one list. All are batched over targets and share what `Examination` has read."""

from __future__ import annotations

from revs.evaluation.attacks import (
    difference,
    extraction,
    lens,
    membership,
    prompt_variants,
    quantisation,
    relearning,
    sampling,
)
from revs.evaluation.attacks.base import Attack, Outcome

ATTACKS: dict[str, Attack] = {
    attack.name: attack
    for module in (
        lens, extraction, sampling, prompt_variants, quantisation, relearning, difference, membership,
    )
    for attack in module.ATTACKS
}  # fmt: skip

# Attacks whose rate of success is a metric of its own, by the name of the metric.
RATES = {
    "leak_at_k": "sampling",
    **{name: name for name in ("shortened", "paraphrased", "other_subject", "in_examples")},
    **{name: name for name in ("int8", "int4", "relearn", "difference")},
}

__all__ = ["ATTACKS", "RATES", "Attack", "Outcome"]
