"""Quantisation: greedy decoding after rounding the weights to 8 or 4 bits (Zhang et al. 2025, arXiv 2410.16454).

Rounding is plain (`revs.rounding`): no quantisation library runs 4-bit weights of every supported family on the CPU.
"""

from __future__ import annotations

from functools import partial

from revs.attacks.base import Attack, Outcome
from revs.examination import Examination
from revs.rounding import rounded_copy


def _run(examination: Examination, *, to: str) -> Outcome:
    return examination.of(rounded_copy(examination.model, to)).outcome("extraction")


ATTACKS = tuple(Attack(name=to, counts="answers", run=partial(_run, to=to)) for to in ("int8", "int4"))
