"""What a metric is: a name, which way is better, what to read it against, and how it is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from statistics import harmonic_mean as _harmonic_mean
from typing import Literal

from revs.evaluation.context import Examination, Gap

Control = Literal["never trained", "unedited", "decoys"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One figure of the tables.

    Attributes:
        name: as in `revs.Scores`.
        higher_is_better: the direction.
        control: what the figure is to be read against: the same on a model that never saw the secrets, on the model
            before the edit, or on decoys.
        measure: gives the value: percent, 0 to 100, but raw for perplexities. Raises `Gap` where it cannot.
        standard: measured unless other metrics are named; the others take more than one pass over the targets.
    """

    name: str
    higher_is_better: bool
    control: Control
    measure: Callable[[Examination], float]
    standard: bool = True


__all__ = ["Gap", "Metric", "harmonic_mean", "of_those_that_exist"]


def harmonic_mean(values: Iterable[float]) -> float:
    """Harmonic mean of at least one value; 0 if one is 0."""
    return float(_harmonic_mean(list(values)))


def of_those_that_exist(examination: Examination, names: Iterable[str]) -> float:
    """Harmonic mean of the named metrics that can be measured; the first of them must be."""
    found = []
    for number, name in enumerate(names):
        try:
            found.append(examination.value(name))
        except Gap:
            if number == 0:
                raise
    return harmonic_mean(found)
