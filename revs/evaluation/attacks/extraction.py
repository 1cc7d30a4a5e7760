"""Greedy decoding from every edited and unseen prompt (Carlini et al. 2023): one candidate."""

from __future__ import annotations

from revs.evaluation.attacks.base import Attack, Outcome, first_success
from revs.evaluation.context import Examination


def _run(examination: Examination) -> Outcome:
    return first_success([(*examination.said("targets"), *examination.said("unseen"))], budget=1)


ATTACKS = (Attack(name="extraction", counts="answers", run=_run),)
