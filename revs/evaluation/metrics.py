"""Every metric in one table; `revs.evaluate`, the gates and the benchmark tables read it.

A metric is a name, which way is better, what to read it against, and how it is measured. To add one: its definition in
`measures.py` (or an attack), a row here, and a field in `revs.Scores`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from math import isfinite
from typing import Literal

from revs.errors import Gap
from revs.evaluation import measures
from revs.evaluation.attacks import RATES, RATES_WITHIN, outcome_of
from revs.evaluation.attacks.membership import area_under_curve, loss, min_k, min_k_plus_plus
from revs.evaluation.context import Examination
from revs.evaluation.depth import uds
from revs.evaluation.form import form
from revs.evaluation.perplexity import perplexity
from revs.evaluation.ranks import Readings
from revs.evaluation.reference import distance, s_mia

Control = Literal["never trained", "unedited", "decoys"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One figure of the tables.

    Attributes:
        name: as in `revs.Scores`.
        higher_is_better: the direction. None: neither; 0 is wanted, and both signs count.
        control: what the figure is to be read against: the same on a model that never saw the secrets, on the model
            before the edit, or on decoys.
        measure: gives the value: percent, 0 to 100, but raw for perplexities, 0 to 1 for s_mia and uds, and points from
            −100 to 100 for distances. Raises `Gap` where it cannot.
        standard: measured unless other metrics are named; the others take more than one pass over the targets.
    """

    name: str
    higher_is_better: bool | None
    control: Control
    measure: Callable[[Examination], float]
    standard: bool = True


def value_of(examination: Examination, metric: str) -> float:
    """The value of a metric of `METRICS`, measured once.

    Raises:
        Gap: it cannot be measured, or came out as no finite number.
    """
    found: float = examination.once("value", metric, lambda: METRICS[metric].measure(examination))
    if not isfinite(found):
        raise Gap(f"it came out as {found}")
    return found


def _scores(at_k: Callable[..., float], examination: Examination, *, of: str, all_tokens: bool = False) -> float:
    return at_k(examination.readings(of), examination.k, all_tokens=all_tokens)


def _reading(function: Callable[[Readings], float], examination: Examination) -> float:
    return function(examination.readings("targets"))


def _extracted(examination: Examination, *, of: str) -> float:
    return examination.share_extracted(of)


def _mean_of(names: Iterable[str], examination: Examination) -> float:
    """Harmonic mean of the named metrics that can be measured; the first of them must be."""
    found = []
    for number, name in enumerate(names):
        try:
            found.append(value_of(examination, name))
        except Gap:
            if number == 0:
                raise
    return measures.harmonic_mean(found)


def _rate(attack: str, examination: Examination) -> float:
    return outcome_of(examination, attack).rate


def _rate_within(attack: str, budget: int, examination: Examination) -> float:
    return outcome_of(examination, attack).rate_within(budget)


def _perplexity(examination: Examination) -> float:
    examination.check_finite()
    found = perplexity(examination.model, examination.tokenizer, examination.text)
    if found is None:
        raise Gap("no text was given")
    return found


def _perplexity_ratio(examination: Examination) -> float:
    if examination.original is None:
        raise Gap("the unedited model was not given (original=)")
    before = value_of(examination.of(examination.original), "perplexity")
    return measures.perplexity_ratio(value_of(examination, "perplexity"), before)


def _score(name: str, at_k: Callable[..., float], of: str, control: Control) -> list[Metric]:
    """A score at k twice: over the best target token of a secret, and over all of its tokens."""
    return [
        Metric(name=name, higher_is_better=True, control=control, measure=partial(_scores, at_k, of=of)),
        Metric(
            name=f"{name}_all_tokens", higher_is_better=True, control="never trained",
            measure=partial(_scores, at_k, of=of, all_tokens=True),
        ),
    ]  # fmt: skip


def _at(at_k: Callable[..., float], k: int, readings: Readings) -> float:
    if k >= readings.vocabulary / 2:
        raise Gap(f"k = {k} is not below half of this vocabulary of {readings.vocabulary}")
    return at_k(readings, k)


def _distances() -> list[Metric]:
    """Distances to the reference: of what follows from the secret's other tokens, and of the scores at several k."""
    scores: dict[str, tuple[Callable[[Readings], float], str]] = {}
    for name, score in {
        "exact_memorization_distance": measures.exact_memorization,
        "extraction_strength_distance": measures.extraction_strength,
    }.items():
        scores |= {name: (score, "targets"), f"{name}_unseen": (score, "unseen")}
    for name, at_k in {"efficacy": measures.efficacy, "logit_lens": measures.logit_lens}.items():
        scores |= {f"{name}_distance_at_{k}": (partial(_at, at_k, k), "targets") for k in (10, 100, 1000)}
    return [
        Metric(
            name=name, higher_is_better=None, control="never trained", measure=partial(distance, score, of=of),
            standard=False,
        )
        for name, (score, of) in scores.items()
    ]  # fmt: skip


_up = partial(Metric, higher_is_better=True)
_down = partial(Metric, higher_is_better=False)

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        # Ashuach et al. 2025, section 4.2
        *_score("efficacy", measures.efficacy, "targets", "decoys"),
        *_score("generality", measures.efficacy, "unseen", "never trained"),
        _up(name="specificity", control="unedited", measure=partial(_extracted, of="retain")),
        _up(
            name="unlearning_score", control="never trained",
            measure=partial(_mean_of, ("efficacy", "generality", "specificity")),
        ),
        # the same, section 4.3
        *_score("logit_lens", measures.logit_lens, "targets", "decoys"),
        *_score("delta", measures.delta, "targets", "decoys"),
        *_score("perturbation", measures.logit_lens, "perturbed", "unedited"),
        _up(
            name="resistance_score", control="never trained",
            measure=partial(_mean_of, ("logit_lens", "delta", "perturbation")),
        ),
        # Greedy decoding (Carlini et al. 2023); `other`: what was not memorised, or has no corpus.
        _down(name="extraction_rate", control="unedited", measure=partial(_extracted, of="targets")),
        _down(name="extraction_rate_unseen", control="unedited", measure=partial(_extracted, of="unseen")),
        _down(name="extraction_rate_other", control="unedited", measure=partial(_extracted, of="other")),
        _down(
            name="extraction_strength", control="never trained",
            measure=partial(_reading, measures.extraction_strength),
        ),
        _down(
            name="exact_memorization", control="never trained", measure=partial(_reading, measures.exact_memorization)
        ),
        _down(
            name="verbatim_probability", control="never trained",
            measure=partial(_reading, measures.verbatim_probability),
        ),
        # AUC of Min-K%++, secrets against decoys (Zhang et al. 2025); 50 is guessing
        _down(name="min_k_plus_plus", control="never trained", measure=area_under_curve, standard=False),
        # How far from a model that never saw the secrets (`reference.py`): signed points; membership 0 to 1.
        *_distances(),
        *(
            _up(name=f"s_mia_{name}", control="never trained", measure=partial(s_mia, score), standard=False)
            for name, score in {"loss": loss, "min_k": min_k, "min_k_plus_plus": min_k_plus_plus}.items()
        ),
        # Activation patching from the twin (Lee et al. 2026): 0 to 1, 1 is wanted.
        *(
            _up(name=name, control="never trained", measure=partial(uds, of=of), standard=False)
            for name, of in (("uds", "targets"), ("uds_unseen", "unseen"))
        ),
        # A number where a number stood (`form.py`).
        *(
            _up(name=name, control="never trained", measure=partial(form, of=of), standard=False)
            for name, of in (("form", "targets"), ("form_unseen", "unseen"))
        ),
        *(
            _down(name=metric, control="never trained", measure=partial(_rate, attack), standard=False)
            for metric, attack in RATES.items()
        ),
        *(
            _down(name=metric, control="never trained", measure=partial(_rate_within, *within), standard=False)
            for metric, within in RATES_WITHIN.items()
        ),
        _down(name="perplexity", control="unedited", measure=_perplexity),
        _down(name="perplexity_ratio", control="unedited", measure=_perplexity_ratio),
    )
}  # fmt: skip
