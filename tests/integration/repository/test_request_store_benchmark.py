"""The benchmark of the request store runs, small, on both databases: its figures are for people to read."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))


def test_the_benchmark_of_the_store_measures_both_databases(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import request_store

    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    small = "--batch 20 --single 3 --events 200 --ticks 0"
    result = request_store.main([*small.split(" "), "--out", str(tmp_path)])
    assert (tmp_path / "requests.md").read_text() in capsys.readouterr().out
    for figures in result["stores"].values():
        assert figures["check the log"]["events"] >= 200
        assert all(figures["over HTTP"][way] > 0 for way in ("one a call", "100 a call"))
        assert figures["close a batch"]["seconds"] > figures["close a batch"]["locked"] > 0
