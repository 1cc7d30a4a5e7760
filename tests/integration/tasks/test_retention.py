"""Which versions lose their bytes and which stay, and that those that go are gone everywhere."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from registered import REQUEST, Installation, Killed, closed, make_checkpoint

from infra.registry import Registry
from infra.requests import Clock, RequestStore
from revs.errors import BadInput, OperationFailed
from tasks.versions.retire import Desk, Retired, apply, hold, plan, release

TODAY = datetime.now(UTC).date()
LATER = TODAY + timedelta(days=31)


@pytest.fixture
def on(monkeypatch: pytest.MonkeyPatch) -> Callable[[date], None]:
    """Sets which day it is."""
    return lambda day: monkeypatch.setattr(Clock, "today", lambda self: day)


@pytest.fixture
def desk(here: Installation, on: Callable[[date], None]) -> Desk:
    """The installation, 31 days after everything that was registered and promoted so far."""
    on(LATER)
    return Desk(settings=here.settings, store=here.store, registry=here.registry)


def would_go(desk: Desk) -> set[str]:
    return {each.what for each in plan(desk) if each.goes}


def why(desk: Desk, what: str = "models:/demo/1") -> str:
    return next(each.why for each in plan(desk) if each.what == what)


def tag(here: Installation, version: str, **tags: str) -> None:
    """What anybody can do with the MLflow client."""
    for name, value in tags.items():
        here.registry._client.set_model_version_tag("demo", version, f"revs.{name}", value)


def alias(here: Installation, name: str, version: str) -> None:
    here.registry._client.set_registered_model_alias("demo", name, version)


def events(here: Installation) -> list[str]:
    return [each.event for each in here.store.events() if each.event.startswith("version.retir")]


def test_a_superseded_version_goes_when_its_day_has_come_and_its_successor_stays(
    desk: Desk, here: Installation, two_batches: tuple[str, str], on: Callable[[date], None]
) -> None:
    on(LATER - timedelta(days=2))
    assert would_go(desk) == set() and "its period ends on" in why(desk)
    on(LATER)
    assert would_go(desk) == {"models:/demo/1", "models:/demo/2"}
    assert why(desk, "models:/demo/3") == "alias champion names it"
    before = here.registry.stored_files(here.registry.resolve("models:/demo/1"))
    assert before and events(here) == []  # planning deletes nothing
    assert apply(desk) == Retired(retired=("models:/demo/1", "models:/demo/2"), problems=())
    assert events(here) == ["version.retiring", "version.retired"] * 2
    old = here.registry.resolve("models:/demo/1")
    assert (old.tags["revs.status"], old.tags["revs.retired_on"]) == ("retired", LATER.isoformat())
    assert not here.registry.stored_files(old)
    assert here.registry.download(here.registry.champion("demo")).is_dir()
    assert apply(desk) == Retired(retired=(), problems=()) and len(events(here)) == 4
