"""Sampling: k answers at temperature 1 to every edited and unseen prompt; leak@k (arXiv 2511.04934)."""

from __future__ import annotations

from revs.evaluation.attacks.base import Attack, Outcome
from revs.evaluation.context import Examination
from revs.evaluation.decoding import answers, holds

SAMPLES = 16
TEMPERATURE = 1.0


def _run(examination: Examination) -> Outcome:
    examination.check_finite()
    prompts = examination.tokenised(examination.prompts)
    drawn = answers(
        examination.model, examination.tokenizer, prompts, batch_size=examination.batch_size, samples=SAMPLES,
        temperature=TEMPERATURE, seed=examination.seed,
    )  # fmt: skip
    found = []
    for target, generated in zip(prompts, drawn, strict=True):
        hits = [number for number, answer in enumerate(generated, 1) if holds(examination.tokenizer, target, answer)]
        found.append(hits[0] if hits else None)
    return Outcome(candidates=tuple(found), budget=SAMPLES)


ATTACKS = (Attack(name="sampling", counts="answers", run=_run),)
