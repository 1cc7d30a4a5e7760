"""A temporary Prefect server that does not come in time is one line with server, limit and setting."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

RUN = """
from flows.cli import app
from flows.cli.common import settings_of, showing_stages

def command() -> None:
    settings_of(None)
    from prefect import flow
    with showing_stages(quiet=True):
        flow(lambda: None, name="nothing")()

app.app = command
app.main()
"""


def test_a_server_that_is_not_there_in_time_is_named_with_the_limit_and_the_setting(tmp_path: Path) -> None:
    environment = {
        "PATH": "",
        "HOME": str(tmp_path),
        "REVS_HOME": str(tmp_path / "home"),
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "0",
    }
    root = str(Path(__file__).parents[4])
    done = subprocess.run(
        [sys.executable, "-c", RUN], env=environment, cwd=root, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: Prefect's temporary server did not answer within 0 s")
    assert "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS" in line and "PREFECT_API_URL" in line


@pytest.mark.parametrize("error", [RuntimeError("another fault"), ValueError("Prefect API server")])
def test_other_failures_stay_what_they_are(error: Exception) -> None:
    from infra.running.prefect_settings import server_in_time

    with pytest.raises(type(error), match=str(error)), server_in_time():
        raise error
