"""Greedy decoding from every edited and unseen prompt (Carlini et al. 2023): one candidate."""

from __future__ import annotations

from revs.evaluation.attacks.base import Attack, Outcome, first_success
from revs.evaluation.context import Examination


def greedy(examination: Examination) -> Outcome:
    """Ask every edited and every unseen prompt once."""
    return first_success([(*examination.extracted("targets"), *examination.extracted("unseen"))], budget=1)


ATTACKS = (Attack(name="extraction", counts="answers", run=greedy),)
