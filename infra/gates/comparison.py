"""What an edited model has lost since the root of its lineage, and how it compares with other models.

Each night's edit is compared with the version before it, and small losses add up. The root itself may be gone, for its
bytes are deleted when their time is over; what every night measured is kept. Perplexity is measured before and after on
one text, so the product of the ratios is the ratio to the root where that text stays the same, and an estimate of it
where it changes. Specificity is the share of what the version before said that the next one says still; the product
estimates the share of what the root said.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeGuard

SINCE_ROOT: Final[Mapping[str, float]] = {"perplexity_ratio": 1.0, "specificity": 100.0}
"""The metrics that can be followed to the root, with what each is where nothing was lost."""
_MODELS: Final = {"parent": "before", "control": "never_trained"}


def is_finite(value: object) -> TypeGuard[float]:
    """Whether it is a number, neither NaN nor an infinity nor a whole number beyond what a float holds."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def since_root(earlier: Iterable[Mapping[str, Any]], own: Mapping[str, Any]) -> dict[str, float]:
    """The numbers named `…_root`: those of a version, times those of each edit before it.

    A number that a link lacks, or that is none, leaves its product out: nobody knows what was lost there.

    Args:
        earlier: scores of each earlier version of the lineage, without the root, which has none.
        own: scores of the version. With nothing earlier its own numbers are those since the root.
    """
    links = [own, *earlier]
    found: dict[str, float] = {}
    for metric, unchanged in SINCE_ROOT.items():
        numbers = [number for link in links for number in _measured(link, metric)]
        if len(numbers) == len(links):
            first, *others = numbers
            found[f"{metric}_root"] = math.prod((number / unchanged for number in others), start=first)
    return found


def with_comparisons(scores: Mapping[str, Any]) -> dict[str, Any]:
    """The scores of a version, with how each differs from that of its parent and of the never-trained control.

    Args:
        scores: as evidence has them: `after`, and where there are such `before` and `never_trained`.
    """
    after: dict[str, Any] = dict(scores.get("after") or {})
    differences = {
        f"{metric}_{name}": _difference(value, other[metric])
        for name, model in _MODELS.items()
        for other in [scores.get(model) or {}]
        for metric, value in after.items()
        if metric in other
    }
    return differences | after


def _difference(value: object, other: object) -> float:
    """The difference in points; NaN, which no gate lets pass, where one of them is no number."""
    return value - other if is_finite(value) and is_finite(other) else math.nan


def _measured(scores: Mapping[str, Any], metric: str) -> Iterator[float]:
    """The value of a metric of `SINCE_ROOT`; nothing where it is no ratio of perplexities, or no percentage."""
    number = scores.get(metric)
    if is_finite(number) and (number > 0 if metric == "perplexity_ratio" else 0 <= number <= 100):
        yield number
