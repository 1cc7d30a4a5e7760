"""Identifiers that are not searched for: special tokens, single letters, and what stands nearly everywhere."""

from __future__ import annotations

from typing import Any

import pytest
from slow_search import Wanted, numbered

from infra.search import Search
from infra.search.refusals import too_common, unsearchable


def test_an_identifier_that_is_left_out_leaves_the_others_their_numbers() -> None:
    wanted = {"r": [Wanted("CUSTOM", "x"), Wanted("US_SSN", "219-41-5522")]}
    seeker = Search(numbered(wanted), leave_out=unsearchable(numbered(wanted)))
    assert [found.identifier for _, found in seeker.in_texts(["x 219415522 x"])] == [1]


UNSEARCHABLE = [
    ("x", False, "one letter"),
    (" x-1 ", False, "white space does not count"),
    ("7781", True, "four characters"),
]


@pytest.mark.parametrize(("value", "sought", "why"), UNSEARCHABLE, ids=[row[2] for row in UNSEARCHABLE])
def test_an_identifier_is_refused_by_its_own_number_and_reason(value: str, sought: bool, why: str) -> None:
    wanted = {"r": [Wanted("EMAIL_ADDRESS", "zz@example.com"), Wanted("CUSTOM", value)]}
    reasons = unsearchable(numbered(wanted))
    assert set(reasons) == (set() if sought else {("r", 1)})
    assert value not in " ".join(reasons.values()) or len(value) == 1


COMMON = [
    ({("r", 0, "PERSON"): 11}, 100, {("r", 0)}, "more than a tenth"),
    ({("r", 0, "PERSON"): 10}, 100, set(), "a tenth is not more than a tenth"),
    ({("r", 0, "PERSON"): 99}, 99, set(), "too few rows to judge by"),
    (
        {("r", 0, "PERSON"): 5, ("r", 1, "CUSTOM"): 50, ("s", 0, "URL"): 1},
        200,
        {("r", 1)},
        "only this identifier, not its request",
    ),
    ({}, 0, set(), "nothing read"),
]


@pytest.mark.parametrize(("hit", "rows", "refused", "why"), COMMON, ids=[row[3] for row in COMMON])
def test_an_identifier_that_stands_nearly_everywhere_is_refused(
    hit: dict[Any, int], rows: int, refused: set[tuple[str, int]], why: str
) -> None:
    assert set(too_common(hit, rows)) == refused


def test_the_reason_names_the_identifier_by_its_number_and_the_share() -> None:
    (reason,) = too_common({("r", 3, "CUSTOM"): 450}, 1000).values()
    assert reason == "stands in 450 of 1000 rows, at most 100 can be one person's; complete it"
