"""The chart of ranks: gaps stay gaps, points lie inside the plot, labels apart."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.report.charts import rank_chart


def test_a_missing_rank_breaks_the_line_instead_of_dropping_to_zero() -> None:
    chart = rank_chart({"layers": [0, 1, 2, 3, 4], "after_median": [50, 60, None, 70, 80], "vocabulary": 1000})
    assert chart is not None
    (line,) = chart.series
    assert len(line.paths) == 2
    assert len(line.points) == 4


@pytest.mark.parametrize(
    "ranks",
    [{}, {"layers": []}, {"layers": [0, 1], "before_median": [None, None]}, {"layers": [0], "after_median": None}],
)
def test_no_numbers_give_no_chart(ranks: dict[str, Any]) -> None:
    assert rank_chart(ranks) is None


@given(
    ranks=st.lists(st.one_of(st.none(), st.floats(min_value=0, max_value=300_000)), min_size=1, max_size=90),
    vocabulary=st.one_of(st.none(), st.integers(min_value=2, max_value=300_000)),
)
def test_every_point_lies_inside_the_plot_and_lower_ranks_lie_higher(
    ranks: list[float | None], vocabulary: int | None
) -> None:
    chart = rank_chart({"layers": list(range(len(ranks))), "before_median": ranks, "vocabulary": vocabulary})
    known = [rank for rank in ranks if rank is not None]
    if not known:
        assert chart is None
        return
    assert chart is not None
    (line,) = chart.series
    assert all(chart.left <= x <= chart.right and chart.top <= y <= chart.bottom for x, y in line.points)
    by_rank = [y for _, (_, y) in sorted(zip(known, line.points, strict=True), key=lambda pair: pair[0])]
    assert by_rank == sorted(by_rank)


def test_labels_of_lines_that_end_together_do_not_overlap() -> None:
    same = [5, 5]
    ranks = {"layers": [0, 1], "before_median": same, "after_median": same, "decoy_median": same, "vocabulary": 4096}
    chart = rank_chart(ranks)
    assert chart is not None
    heights = sorted(line.label_y for line in chart.series)
    assert all(lower - upper >= 14 for upper, lower in pairwise(heights))
