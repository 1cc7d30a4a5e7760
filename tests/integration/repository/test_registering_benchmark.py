"""The benchmark of the registry runs, small: its figures are for people to read."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))


def test_registering_writes_the_checkpoint_once_and_verifying_writes_nothing_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import registering

    result = registering.main(["--gigabytes", "0.02", "--out", str(tmp_path)])
    assert (tmp_path / "registering.md").read_text() in capsys.readouterr().out
    assert result["bytes"] > 2e7
    for what in ("register", "register a candidate"):
        assert result[what]["written"] < 2 * result["bytes"], "one copy, and the database beside it"
        assert result[what]["more"] < 2 * result["bytes"], "no copy in memory, and one more of nothing else"
    assert result["verify"]["written"] < result["bytes"] / 2
