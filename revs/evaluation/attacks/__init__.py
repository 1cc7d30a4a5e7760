"""Every attack, in one list. All are batched over targets and share what `Examination` has read."""

from __future__ import annotations

from revs.errors import BadInput
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
from revs.evaluation.context import Examination

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

# The same within a budget, by the name of the metric: the attack, and how much of its budget.
RATES_WITHIN = {
    "relearn_10": ("relearn", 10),
    "relearn_200": ("relearn_longer", 200),
    **{f"relearn_other_{steps}": ("relearn_other", steps) for steps in (10, 60, 200)},
}

__all__ = ["ATTACKS", "RATES", "RATES_WITHIN", "Attack", "Outcome", "outcome_of"]


def outcome_of(examination: Examination, attack: str) -> Outcome:
    """What an attack of `ATTACKS` got, run once.

    Raises:
        BadInput: no attack has that name.
        Gap: the attack lacks something, failed, or refuses the model.
    """
    if attack not in ATTACKS:
        raise BadInput(f"attack {attack!r} is unknown; known attacks: {', '.join(ATTACKS)}")
    found: Outcome = examination.once("outcome", attack, lambda: ATTACKS[attack].run(examination), refusal_is_gap=True)
    return found
