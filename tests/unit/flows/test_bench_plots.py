"""The plots of `revs bench methods` on fabricated rows: files that can be opened, axes that show what the rows say."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from flows.bench.plots import front_of, pareto, ranks_by_layer, score_against_k, score_against_resistance, write_plots
from flows.bench.rows import Identity, Row

METHODS = ("unedited", "never trained", "revs", "memit", "npo")


def row(method: str, seed: int, *, measured: bool = True) -> Row:
    identity = Identity(
        architecture="llama", seed=seed, method=method, config={}, model="", control="", metrics="all", versions={}
    )
    if not measured:
        return Row(identity=identity, scores={}, gaps={"": "the method refused"})
    place = METHODS.index(method)
    return Row(
        identity=identity,
        scores={
            "unlearning_score": 20.0 * place + seed,
            "resistance_score": 90.0 - 15 * place + 2 * seed,
            "perplexity_ratio": 1.0 + 0.1 * place,
        },
        median_rank_by_layer=(0.0, 10.0 * place + seed, 100.0 * place),
        efficacy_at_k=((10, 90.0), (100, 50.0 + place)),
    )


ROWS = [row(method, seed) for method in METHODS for seed in (0, 1, 2)]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_plots(tmp_path_factory.mktemp("plots"), ROWS, ROWS[6:], architecture="llama")


def test_every_plot_is_a_png_and_an_svg_that_can_be_opened(drawn: list[Path]) -> None:
    from PIL import Image

    names = ("score-resistance", "ranks", "score-k", "pareto")
    assert [p.name for p in drawn] == [f"methods-llama-{name}.{kind}" for name in names for kind in ("png", "svg")]
    for path in drawn:
        if path.suffix == ".png":
            with Image.open(path) as image:
                image.verify()
                assert image.width > 800 and image.format == "PNG"
        else:
            assert ElementTree.parse(path).getroot().tag.endswith("svg")


def test_the_same_rows_give_the_same_bytes_without_a_trace_in_global_state(tmp_path: Path, drawn: list[Path]) -> None:
    import sys

    import matplotlib

    before = dict(matplotlib.rcParams)
    again = write_plots(tmp_path, ROWS, ROWS[6:], architecture="llama")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in drawn]
    assert dict(matplotlib.rcParams) == before
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_a_plot_without_a_point_is_not_drawn_and_a_refused_method_is_no_point(tmp_path: Path) -> None:
    assert write_plots(tmp_path, [row("npo", 0, measured=False)], [], architecture="llama") == []
    axes = new_axes()
    score_against_resistance(axes, [*ROWS, row("npo", 3, measured=False)])
    assert axes.get_legend_handles_labels()[1] == list(METHODS)


def new_axes() -> Any:
    from matplotlib.figure import Figure

    return Figure().subplots()


def test_a_point_is_the_mean_and_its_bars_the_deviation() -> None:
    axes = new_axes()
    score_against_resistance(axes, [r for r in ROWS if r.method == "revs"])
    container = axes.containers[0]
    assert [list(container.lines[0].get_xdata()), list(container.lines[0].get_ydata())] == [[41.0], [62.0]]
    across, up = (bars.get_segments()[0] for bars in container.lines[2])
    assert across[:, 0].tolist() == pytest.approx([40.0, 42.0]) and up[:, 1].tolist() == pytest.approx([60.0, 64.0])


def test_ranks_are_shown_from_one_on_a_logarithmic_axis_before_and_after() -> None:
    axes = new_axes()
    ranks_by_layer(axes, ROWS)
    assert axes.get_yscale() == "log"
    assert axes.get_legend_handles_labels()[1] == ["before (unedited)", "never trained", "after revs"]
    assert {min(line.get_ydata()) for line in axes.lines} == {1.0}, "rank 0 is shown, as 1"
    assert list(axes.lines[2].get_ydata()) == [1.0, 22.0, 201.0], "median over the seeds"


def test_the_score_is_shown_against_k_for_every_method() -> None:
    axes = new_axes()
    score_against_k(axes, ROWS)
    assert [list(line.get_ydata()) for line in axes.lines] == [[90.0, 50.0 + place] for place in range(5)]
    empty = new_axes()
    score_against_k(empty, [])
    assert not empty.has_data()


def test_the_front_has_the_settings_that_no_other_beats_in_both() -> None:
    points = [(1.0, 20.0), (1.1, 10.0), (1.2, 50.0), (1.2, 40.0), (1.3, 50.0), (2.0, 60.0)]
    assert front_of(points) == [(1.0, 20.0), (1.2, 50.0), (2.0, 60.0)]
    axes = new_axes()
    pareto(axes, ROWS[6:], order=METHODS)
    assert axes.get_legend_handles_labels()[1] == ["revs", "memit", "npo", "front"]
    empty = new_axes()
    pareto(empty, [], order=METHODS)
    assert not empty.has_data()
