"""The geometry of the charts: numbers in, coordinates out. The template draws them, and escapes every word.

No chart tells anything by colour alone: every line has its own marker, dash and label, every bar its value in words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from infra.report.figures import Figure, gap, is_number, percent

WIDTH = 760
LEFT, RIGHT, TOP, BOTTOM = 62, WIDTH - 90, 30, 280  # edges of the plot of ranks
LABEL_GAP = 16
LONGEST_NAME = 24
BAR_HEIGHT, BAR_STEP, GROUP_GAP, BAR_LEFT = 16, 23, 34, 190
BAR_PLOT = WIDTH - BAR_LEFT - 110


Tick = tuple[float, str]
"""Where it stands, and what is written there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One line: `paths` are its unbroken stretches; a missing value breaks the line and is never drawn as 0."""

    kind: str
    name: str
    paths: tuple[str, ...]
    points: tuple[tuple[float, float], ...]
    label_x: float
    label_y: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RankChart:
    width: int = WIDTH
    height: int = BOTTOM + 44
    left: int = LEFT
    right: int = RIGHT
    top: int = TOP
    bottom: int = BOTTOM
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    series: tuple[Series, ...]
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    kind: str
    name: str
    y: float
    width: float
    figure: Figure


@dataclass(frozen=True, slots=True, kw_only=True)
class BarGroup:
    name: str
    y: float
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BarChart:
    width: int = WIDTH
    height: int
    left: int = BAR_LEFT
    bar_height: int = BAR_HEIGHT
    ticks: tuple[Tick, ...]
    groups: tuple[BarGroup, ...]
    description: str


_RANK_SERIES = (("before", "Before", "before_median"), ("after", "After", "after_median"))
_BESIDE = (("decoy", "Reference", "reference_median"), ("decoy", "Decoys", "decoy_median"))  # the first that there is
EXTRACTION = (("extraction_rate", "Prompts of the edit"), ("extraction_rate_unseen", "Prompts the edit did not use"))
EXTRACTION_BARS = (
    ("before", "Before", "before"),
    ("after", "After", "after"),
    ("control", "Never-trained control", "never_trained"),
    ("decoy", "Decoys after", "decoys_after"),
)


def rank_series(ranks: Mapping[str, Any]) -> tuple[tuple[str, str, str], ...]:
    """Kind, name and key in the record of each line: beside both versions the reference; older records have decoys."""
    return (*_RANK_SERIES, next((line for line in _BESIDE if ranks.get(line[2])), _BESIDE[-1]))


def rank_chart(ranks: dict[str, Any]) -> RankChart | None:
    """The median rank of the target tokens at each layer, on a log axis; rank 0, the most likely token, is at the top.

    Returns None where there is nothing to draw.
    """
    layers = ranks.get("layers") or []
    named = rank_series(ranks)
    lines = {kind: _values(ranks.get(key), len(layers)) for kind, _, key in named}
    measured = [value for values in lines.values() for value in values if value is not None]
    if not measured:
        return None
    vocabulary = ranks.get("vocabulary")
    deepest = max([*measured, 9.0, float(vocabulary) - 1 if is_number(vocabulary) else 0.0])
    xs = [_spread(index, len(layers), LEFT + 18, RIGHT - 12) for index in range(len(layers))]

    def y(rank: float) -> float:
        return round(TOP + (BOTTOM - TOP) * math.log10(rank + 1) / math.log10(deepest + 1), 1)

    series = tuple(
        _series(
            kind, name, [(x, None if value is None else y(value)) for x, value in zip(xs, lines[kind], strict=True)]
        )
        for kind, name, _ in named
        if any(value is not None for value in lines[kind])
    )
    every = math.ceil(len(layers) / 16)
    return RankChart(
        x_ticks=tuple((x, str(layer)) for x, layer in list(zip(xs, layers, strict=True))[::every]),
        y_ticks=tuple((y(rank), f"{rank:,}") for rank in _decades(deepest)),
        series=_apart(series),
        description=_describe(layers, {name: lines[kind] for kind, name, _ in named}),
    )


def extraction_chart(scores: dict[str, Any], gaps: dict[str, str]) -> BarChart | None:
    """Extraction rates from 0 to 100%, before and after with the controls; None where none was measured."""
    groups, top, said = [], 22, []
    for metric, title in EXTRACTION:
        values = {key: (scores.get(key) or {}).get(metric) for _, _, key in EXTRACTION_BARS}
        if not any(is_number(value) for value in values.values()):
            continue
        bars = tuple(
            _bar(kind, name, values[key], gaps.get(f"/scores/{key}/{metric}"), top + 10 + index * BAR_STEP)
            for index, (kind, name, key) in enumerate(EXTRACTION_BARS)
        )
        said.append(f"{title}: " + ", ".join(f"{bar.name.lower()} {bar.figure.text}" for bar in bars) + ".")
        groups.append(BarGroup(name=title, y=top, bars=bars))
        top += 10 + len(bars) * BAR_STEP + GROUP_GAP
    if not groups:
        return None
    return BarChart(
        height=top + 2,
        ticks=tuple((BAR_LEFT + BAR_PLOT * step / 4, f"{step * 25}%") for step in range(5)),
        groups=tuple(groups),
        description=" ".join(said),
    )


def counts_chart(counts: Mapping[str, int]) -> BarChart | None:
    """One bar for each name, the largest number first; None where there is nothing to draw."""
    if not any(counts.values()):
        return None
    most = max(counts.values())
    bars = tuple(
        Bar(
            kind="after",
            name=name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…",
            y=32 + index * BAR_STEP,
            width=round(BAR_PLOT * number / most, 1),
            figure=Figure(text=f"{number:,}"),
        )
        for index, (name, number) in enumerate(largest_first(counts))
    )
    return BarChart(
        height=32 + len(bars) * BAR_STEP + 8,
        ticks=((BAR_LEFT, "0"), (BAR_LEFT + BAR_PLOT, f"{most:,}")),
        groups=(BarGroup(name="Findings", y=22, bars=bars),),
        description=", ".join(f"{bar.name} {bar.figure.text}" for bar in bars) + ".",
    )


def largest_first(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """The counts with their names, those of one size by name."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def _bar(kind: str, name: str, value: Any, was: str | None, y: float) -> Bar:
    if not is_number(value):
        return Bar(kind=kind, name=name, y=y, width=0, figure=gap(was))
    width = BAR_PLOT * min(max(value, 0), 100) / 100
    return Bar(kind=kind, name=name, y=y, width=round(width, 1), figure=percent(value))


def _values(values: Any, length: int) -> list[float | None]:
    """Exactly `length` values: what is missing, or no rank at all, is None."""
    given = list(values or [])[:length]
    ranks = [float(value) if is_number(value) and value >= 0 else None for value in given]
    return ranks + [None] * (length - len(ranks))


def _spread(index: int, number: int, low: float, high: float) -> float:
    return round((low + high) / 2 if number == 1 else low + (high - low) * index / (number - 1), 1)


def _decades(deepest: float) -> list[int]:
    return [0] + [10**power for power in range(1, 13) if 10**power <= deepest]


def _series(kind: str, name: str, places: list[tuple[float, float | None]]) -> Series:
    stretches: list[list[tuple[float, float]]] = [[]]
    for x, y in places:
        if y is None:
            stretches.append([])
        else:
            stretches[-1].append((x, y))
    points = [point for stretch in stretches for point in stretch]
    paths = tuple(" ".join(f"{x:g},{y:g}" for x, y in stretch) for stretch in stretches if len(stretch) > 1)
    last_x, last_y = points[-1]
    return Series(kind=kind, name=name, paths=paths, points=tuple(points), label_x=last_x + 14, label_y=last_y)


def _apart(series: tuple[Series, ...]) -> tuple[Series, ...]:
    """Move the labels at the line ends apart, so that lines that end together stay readable."""
    places: dict[str, float] = {}
    floor = -math.inf
    ordered = sorted(series, key=lambda line: line.label_y)
    for index, line in enumerate(ordered):
        highest = BOTTOM - LABEL_GAP * (len(ordered) - 1 - index)
        floor = max(min(line.label_y, highest), floor + LABEL_GAP)
        places[line.kind] = floor
    return tuple(replace(line, label_y=places[line.kind]) for line in series)


def _describe(layers: list[Any], lines: dict[str, list[float | None]]) -> str:
    """The chart in words, for those who do not see it: the ends of every line."""
    said = [
        f"Median rank of the edited tokens from layer {layers[0]} to layer {layers[-1]}; rank 0 is the most likely."
    ]
    for name, ranks in lines.items():
        values = [value for value in ranks if value is not None]
        if values:
            said.append(f"{name}: from {values[0]:,.0f} to {values[-1]:,.0f}.")
    return " ".join(said)
