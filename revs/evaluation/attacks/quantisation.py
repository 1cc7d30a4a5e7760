"""Quantisation: greedy decoding after rounding the weights to 8 or 4 bits (Zhang et al. 2025, arXiv 2410.16454).

Rounding is plain (`revs.model.quantize`): no quantisation library runs 4-bit weights of every supported family on the
CPU.
"""

from __future__ import annotations

from functools import partial

from revs.evaluation.attacks import extraction
from revs.evaluation.attacks.base import Attack, Outcome
from revs.evaluation.context import Examination
from revs.model.quantize import rounded_copy


def _run(examination: Examination, *, to: str) -> Outcome:
    return extraction.greedy(examination.of(rounded_copy(examination.model, to)))


ATTACKS = tuple(Attack(name=to, counts="answers", run=partial(_run, to=to)) for to in ("int8", "int4"))
