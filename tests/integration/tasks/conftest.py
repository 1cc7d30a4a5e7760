"""A Prefect server for tests of what runs leave there, and an installation a month later."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from registered import IN_A_MONTH, Installation

if TYPE_CHECKING:
    from tasks.versions.retire import Desk


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Prefect server of its own; logs of runs reach it from level INFO on."""
    from prefect.settings import PREFECT_LOGGING_TO_API_BATCH_INTERVAL, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    with (
        prefect_test_harness(server_startup_timeout=300),
        temporary_settings({PREFECT_LOGGING_TO_API_BATCH_INTERVAL: 0.1}),
    ):
        yield


@pytest.fixture
def asked(server: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Any]:
    """A client of that server, in an installation whose stages pause for no time."""
    from prefect.client.orchestration import get_client

    import tasks.batch.stage

    monkeypatch.setattr(tasks.batch.stage, "PAUSES_SECONDS", (0, 0))
    if "REVS_HOME" not in os.environ:
        monkeypatch.setenv("REVS_HOME", str(tmp_path / "home"))
    with get_client(sync_client=True) as client:
        yield client


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of temporary files of its own."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def desk(here: Installation, temporary: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """The installation, 31 days after everything that was registered and promoted so far."""
    from infra.requests import Clock
    from tasks.versions.retire import Desk

    monkeypatch.setattr(Clock, "today", lambda self: IN_A_MONTH)
    return Desk(settings=here.settings, store=here.store, registry=here.registry)
