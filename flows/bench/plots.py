"""The plots of the comparison, each as PNG and SVG; matplotlib is imported here only, and its global state is not used.

Legends stand beside the axes, so that they never cover a point.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flows.bench.measure import CONTROLS, UNEDITED
from flows.bench.rows import Row, by_method

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MARKERS = "osD^vP*X<>ph8dH"
_COLOURS = (  # no greys: those are the controls
    "#d62728", "#1f77b4", "#2ca02c", "#ff7f0e", "#9467bd", "#8c564b", "#e377c2", "#bcbd22", "#17becf", "#003f5c",
    "#7a5195", "#ef5675", "#6b8e23", "#a05d00", "#0b7a75",
)  # fmt: skip


def write_plots(out: Path, rows: Sequence[Row], searched: Sequence[Row], *, architecture: str) -> list[Path]:
    """Draw what the rows allow: a plot without a point is not written.

    Returns:
        The files, PNG and SVG in turn.
    """
    drawings: dict[str, Callable[[Axes], None]] = {
        "score-resistance": lambda axes: score_against_resistance(axes, rows),
        "ranks": lambda axes: ranks_by_layer(axes, rows),
        "score-k": lambda axes: score_against_k(axes, rows),
        "pareto": lambda axes: pareto(axes, searched, order=list(by_method([*rows, *searched]))),
    }
    written: list[Path] = []
    for name, draw in drawings.items():
        figure, axes = _new()
        draw(axes)
        if axes.has_data():
            axes.set_title(f"{axes.get_title()}\n{architecture} development models", fontsize=11)
            written += _save(figure, out / f"methods-{architecture}-{name}")
    return written


def _new() -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 5), layout="constrained")
    axes = figure.subplots()
    axes.grid(visible=True, color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _save(figure: Figure, stem: Path) -> list[Path]:
    import matplotlib

    axes = figure.axes[0]
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=9)
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "svg")]
    with matplotlib.rc_context({"svg.hashsalt": stem.name}):  # the same rows give the same bytes
        figure.savefig(paths[0], dpi=150, format="png", metadata={"Software": None})
        figure.savefig(paths[1], format="svg", metadata={"Date": None})
    return paths


def _style(number: int, method: str) -> dict[str, Any]:
    """Controls are grey; a method keeps its colour and marker in every plot of the same rows."""
    marker = _MARKERS[number % len(_MARKERS)]
    if method in CONTROLS:
        return {"color": "0.25" if method == UNEDITED else "0.6", "marker": marker}
    return {"color": _COLOURS[number % len(_COLOURS)], "marker": marker}


def _mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def score_against_resistance(axes: Axes, rows: Sequence[Row]) -> None:
    """A point per method, mean over the seeds, bars of one standard deviation."""
    for number, (method, mine) in enumerate(by_method(rows).items()):
        both = [row.scores for row in mine if {"unlearning_score", "resistance_score"} <= set(row.scores)]
        if not both:
            continue
        x, x_error = _mean_and_deviation([scores["unlearning_score"] for scores in both])
        y, y_error = _mean_and_deviation([scores["resistance_score"] for scores in both])
        axes.errorbar(
            x, y, xerr=x_error, yerr=y_error, label=method, linestyle="none", markersize=8, capsize=3,
            **_style(number, method),
        )  # fmt: skip
    axes.set(xlim=(-4, 104), ylim=(-4, 104), xlabel="unlearning score (%)", ylabel="resistance score (%)")
    axes.set_title("Erased, and out of reach: both to the upper right")


def ranks_by_layer(axes: Axes, rows: Sequence[Row], method: str = "revs") -> None:
    """Median rank of the target tokens after each layer, before and after; a line is the median over the seeds."""
    for number, (name, mine) in enumerate(by_method(rows).items()):
        of_seeds = [row.median_rank_by_layer for row in mine if row.median_rank_by_layer]
        if name not in (*CONTROLS, method) or not of_seeds:
            continue
        layers = range(1, len(of_seeds[0]) + 1)
        columns = list(zip(*of_seeds, strict=True))
        style = _style(number, name)
        axes.plot(layers, [statistics.median(c) + 1 for c in columns], label=_BEFORE_AFTER.get(name, name), **style)
        axes.fill_between(
            layers, [min(c) + 1 for c in columns], [max(c) + 1 for c in columns], color=style["color"], alpha=0.15
        )
        axes.set_xticks(list(layers))
    axes.set(yscale="log", xlabel="layer", ylabel="median rank + 1 (1: most likely)")
    axes.set_title(f"Where the target tokens stand, before and after {method}; band: all seeds")


_BEFORE_AFTER = {"unedited": "before (unedited)", "revs": "after revs"}


def score_against_k(axes: Axes, rows: Sequence[Row]) -> None:
    """Efficacy judged by candidate sets of several sizes; mean over the seeds."""
    for number, (method, mine) in enumerate(by_method(rows).items()):
        at_k: dict[int, list[float]] = {}
        for row in mine:
            for k, value in row.efficacy_at_k:
                at_k.setdefault(k, []).append(value)
        if at_k:
            axes.plot(list(at_k), [statistics.mean(v) for v in at_k.values()], label=method, **_style(number, method))
    axes.set(xscale="log", ylim=(-4, 104), xlabel="k, candidates that the adversary tries", ylabel="efficacy at k (%)")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_title("How the score depends on the size of the candidate set")


def pareto(axes: Axes, searched: Sequence[Row], *, order: Sequence[str]) -> None:
    """Every setting of the search, and the front: no other setting has both a better score and a better perplexity.

    `order` has the methods of all plots, so that each looks the same in all.
    """
    points: list[tuple[float, float]] = []
    for method, mine in by_method(searched).items():
        both = [row.scores for row in mine if {"unlearning_score", "perplexity_ratio"} <= set(row.scores)]
        pairs = [(scores["perplexity_ratio"], scores["unlearning_score"]) for scores in both]
        if pairs:
            x, y = zip(*pairs, strict=True)
            axes.plot(x, y, label=method, linestyle="none", markersize=8, **_style(order.index(method), method))
        points += pairs
    if front := front_of(points):
        x, y = zip(*front, strict=True)
        axes.step(x, y, where="post", color="0.4", linewidth=1.2, label="front", zorder=1)
    axes.set(xscale="log", ylim=(-4, 104), xlabel="perplexity ratio to the model before (1: unchanged)")
    _plain_numbers(axes)
    axes.set_ylabel("unlearning score (%)")
    axes.set_title("Settings of the search, on the validation model: the front is to the upper left")


def _plain_numbers(axes: Axes) -> None:
    """1.02 and 200 instead of powers of ten, with numbers between where the axis is short."""
    from matplotlib.ticker import LogFormatter

    for set_formatter in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        set_formatter(LogFormatter(labelOnlyBase=False, minor_thresholds=(1.0, 0.5)))


def front_of(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other beats in both: a smaller first number and a larger second one; by the first number."""
    front: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or y > front[-1][1]:
            front.append((x, y))
    return front
