"""Decoys assembled from other secrets of the same form."""

from __future__ import annotations

import pytest

from revs.targets.decoys import assembled

POOL = ["212-555-0142", "646-555-0177", "917-555-0199", "4125590", "ana.bell@example.com", "bo@example.org"]

ROWS = [
    # secret, parts of every decoy, why
    (
        "303-555-0100",
        ({"212", "646", "917"}, {"555"}, {"0142", "0177", "0199"}),
        "runs of the same form, place by place",
    ),
    ("cy.dunn@example.net", ({"ana"}, {"bell"}, {"example"}, {"com"}), "only one other has two words in front"),
    ("212-555-0142", ({"646", "917"}, {"555"}, {"0177", "0199"}), "its own parts do not count"),
]


@pytest.mark.parametrize(("secret", "parts", "why"), ROWS, ids=[row[-1] for row in ROWS])
def test_a_decoy_takes_its_parts_from_the_pool(secret: str, parts: tuple[set[str], ...], why: str) -> None:
    import re

    made = assembled(secret, POOL, count=50, seed=0)
    assert made and len(made) == len(set(made)) and secret not in made
    for decoy in made:
        assert re.sub(r"\w+", "", decoy) == re.sub(r"\w+", "", secret)
        assert all(run in allowed for run, allowed in zip(re.findall(r"\w+", decoy), parts, strict=True)), why


def test_the_seed_decides_and_the_pool_limits() -> None:
    assert assembled("303-555-0100", POOL, count=3, seed=1) == assembled("303-555-0100", POOL[::-1], count=3, seed=1)
    assert len(assembled("303-555-0100", POOL, count=3, seed=1)) == 3
    assert len(assembled("303-555-0100", POOL, count=99, seed=1)) == 9, "three by three"
    assert assembled("xyz", POOL, count=5, seed=1) == ["4125590"]
    assert assembled("1:2", POOL, count=5, seed=1) == []
