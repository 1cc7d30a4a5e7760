"""A worker that is stopped past its lease and wakes up when another has done its work: one promotion, one line."""

from __future__ import annotations

import os
import signal
import sqlite3
from pathlib import Path

import pytest
from conftest import Installation, in_the_edit, kill_group, until
from test_resume import completions, opened, versions_of

pytestmark = [pytest.mark.slow, pytest.mark.long]


def run_out(home: Path) -> None:
    """Let the time pass that a lease lasts."""
    connection = sqlite3.connect(home / "requests.db")
    connection.execute("UPDATE leases SET expires_at = '2026-11-02 00:00:00.000000'")
    connection.commit()
    connection.close()


def test_a_worker_stopped_past_its_lease_promotes_nothing_when_it_wakes_up(demo_models: Path, tmp_path: Path) -> None:
    from infra.settings import load_settings

    here = Installation(tmp_path / "live")
    arguments = ("demo", "--out", here.out, "--cache", demo_models)
    stopped = here.start(*arguments)
    try:
        until(lambda: in_the_edit(here), seconds=400, what="the edit", process=stopped)
        os.killpg(stopped.pid, signal.SIGSTOP)
        run_out(here.state)
        answer = here.revs(*arguments)
        assert answer.returncode == 0, answer.stderr
        settings = load_settings(here.state)
        store = opened(settings)
        (batch,) = store.batches()
        before = (versions_of(settings), completions(store, batch.id), store.log_head().count)
        assert before[0] == {"1": ("previous",), "2": ("champion",)} and set(before[1].values()) == {1}
        os.killpg(stopped.pid, signal.SIGCONT)
        assert stopped.wait(200) != 0
    finally:
        kill_group(stopped)
    assert (versions_of(settings), completions(store, batch.id), store.log_head().count) == before
    errors = (here.root / "logs" / "0.stderr").read_text(encoding="utf-8").splitlines()
    (said,) = [line for line in errors if line.startswith("error: ")]
    assert f"batch {batch.id}" in said, said
    assert store.log_problems() == []
