"""The benchmark of the search, small: that it finds all it planted, never how fast."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))


def test_the_benchmark_finds_what_it_planted_and_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import search

    result = search.main(["--megabytes", "0.5", "--identifiers", "200", "2000", "--out", str(tmp_path)])
    assert json.loads((tmp_path / "search.json").read_text()) == result
    assert [(run["missed"], run["wrong"]) for run in result["runs"]] == [(0, 0), (0, 0)]
    assert result["runs"][0]["planted"] < result["runs"][1]["planted"] < result["corpus"]["planted"]
    assert "| 2,000 |" in capsys.readouterr().out


def test_no_two_invented_people_have_one_identifier() -> None:
    import planted

    people = range(0, planted.PEOPLE, 53)
    assert len({(one.type, one.value) for one in map(planted.wanted, people)}) == len(people)
