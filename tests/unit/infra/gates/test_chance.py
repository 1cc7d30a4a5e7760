"""What chance explains of a distance, and what it does not: against plain counting, and as laws."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.gates.chance import FEWEST, LEVEL, beyond_chance, distance, worst_beyond_chance

TENS = [10.0 * number for number in range(11)]  # decoys from 0 to 100


def range_of_chance(decoys: list[list[float]]) -> tuple[float, float]:
    """The slow way: every choice of one decoy for each secret, and the quantiles of their mean distances."""
    means = []
    for chosen in itertools.product(*(range(len(some)) for some in decoys)):
        differences = [
            some[number] - np.mean([*some[:number], *some[number + 1 :]])
            for some, number in zip(decoys, chosen, strict=True)
        ]
        means.append(np.mean(differences))
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


@pytest.mark.parametrize(
    ("values", "decoys"),
    [
        ([100.0], [[0.0, 10.0, 20.0, 30.0, 40.0]]),
        ([0.0, 0.0], [[40.0, 50.0, 60.0, 70.0, 80.0, 90.0], [50.0, 50.0, 50.0, 60.0, 60.0, 60.0]]),
        ([70.0, 80.0, 60.0], [[30.0, 40.0, 50.0, 20.0, 45.0]] * 3),
    ],
)
def test_what_is_left_is_what_lies_outside_of_the_range_of_all_choices(
    values: list[float], decoys: list[list[float]]
) -> None:
    low, high = range_of_chance(decoys)
    away = distance(values, decoys)
    expected = max(away - high, 0) + min(away - low, 0)
    assert expected != 0
    assert beyond_chance(values, decoys) == pytest.approx(expected, abs=1.5)


def test_secrets_that_pass_for_their_decoys_are_at_nothing() -> None:
    assert beyond_chance([30.0, 80.0], [TENS, TENS]) == 0
    assert distance([30.0, 80.0], [TENS, TENS]) == pytest.approx(5)


def test_a_decoy_in_the_place_of_each_secret_is_beyond_chance_as_seldom_as_the_level_says() -> None:
    rng = np.random.default_rng(0)
    beyond = 0
    for _ in range(200):
        drawn = rng.normal(50, 12, size=(6, 34))
        beyond += beyond_chance(drawn[:, 0].tolist(), drawn[:, 1:].tolist()) != 0
    assert beyond <= 22, "5 of 100 are expected; 22 of 200 is what 1 of 1,000 would exceed"


def test_one_secret_is_told_where_it_stands_out_and_many_where_each_hardly_does() -> None:
    assert beyond_chance([100.0], [[20.0, 30.0, 40.0, 30.0, 20.0, 30.0]]) > 50
    assert beyond_chance([60.0], [TENS]) == 0
    assert beyond_chance([60.0 + 10] * 40, [TENS] * 40) > 5, "the same of 40 is no chance"


def test_one_secret_that_is_left_shows_among_many_and_one_that_is_gone_is_no_worst() -> None:
    values, decoys = [30.0] * 40, [[10.0, 20.0, 30.0, 40.0, 50.0]] * 40
    assert worst_beyond_chance(values, decoys) == beyond_chance(values, decoys) == 0
    assert beyond_chance([100.0, *values[1:]], decoys) == 0, "the mean of forty hardly moves"
    assert worst_beyond_chance([100.0, *values[1:]], decoys) == pytest.approx(100 - 30 - 25, abs=1)
    assert worst_beyond_chance([0.0, *values[1:]], decoys) == 0


@pytest.mark.parametrize(("values", "decoys"), [([], []), ([1.0], [[1.0] * (FEWEST - 1)])])
def test_what_cannot_be_told_is_refused(values: list[float], decoys: list[list[float]]) -> None:
    with pytest.raises(ValueError):
        beyond_chance(values, decoys)


points = st.floats(0, 100).map(lambda value: round(value, 1))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(points, min_size=6, max_size=6), min_size=1, max_size=4), st.integers(-50, 50))
def test_the_same_shift_of_everything_changes_nothing_and_a_mirror_turns_the_sign(
    rows: list[list[float]], shift: int
) -> None:
    values, decoys = [row[0] for row in rows], [row[1:] for row in rows]
    found = beyond_chance(values, decoys)
    moved = beyond_chance([value + shift for value in values], [[each + shift for each in some] for some in decoys])
    turned = beyond_chance([-value for value in values], [[-each for each in some] for some in decoys])
    assert moved == pytest.approx(found, abs=1e-6)
    assert turned == pytest.approx(-found, abs=1e-6)
    assert abs(found) <= abs(distance(values, decoys)) + 1e-6, "chance only takes away"
