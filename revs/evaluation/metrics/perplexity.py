"""Perplexity of ordinary text, and its ratio to the original's."""

from __future__ import annotations

from revs.evaluation.context import Examination
from revs.evaluation.metrics.base import Gap, Metric
from revs.evaluation.perplexity import perplexity


def perplexity_ratio(after: float, before: float) -> float:
    """Perplexity after the edit by the one before; above 1 the edit cost language quality."""
    return after / before


def _measure(examination: Examination) -> float:
    examination.check_finite()
    found = perplexity(examination.model, examination.tokenizer, examination.text)
    if found is None:
        raise Gap("no text was given")
    return found


def _ratio(examination: Examination) -> float:
    if examination.original is None:
        raise Gap("the unedited model was not given (original=)")
    return perplexity_ratio(examination.value("perplexity"), examination.of(examination.original).value("perplexity"))


METRICS = (
    Metric(name="perplexity", higher_is_better=False, control="unedited", measure=_measure),
    Metric(name="perplexity_ratio", higher_is_better=False, control="unedited", measure=_ratio),
)
