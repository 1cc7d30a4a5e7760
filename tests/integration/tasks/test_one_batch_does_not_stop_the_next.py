"""What earlier batches left behind: whatever it is, the next batch of the model opens."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import tasks.batch.stage
import tasks.stages.requests
import tasks.versions.audit
from infra.batches.records import Detections, PromotedVersion, RegisteredVersion
from infra.batches.workspace import Workspace
from infra.registry import ModelVersion
from infra.requests import BatchHeld, IdentifierOutcome, RequestStore, rows
from infra.settings import Settings, load_settings
from revs.errors import OperationFailed
from tasks.batch.resuming import REPORT_OWED, give_up, report_owed
from tasks.stages.requests import open_batch, validate_requests


@pytest.fixture
def champion(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The champion that the registry gives: its `version`, and the `batch` that made it."""
    now = SimpleNamespace(version="1", batch="")

    def version(name: str) -> ModelVersion:
        tags = {"revs.corpus": "corpus/", "revs.batch_id": now.batch}
        uri = f"models:/{name}/{now.version}"
        return ModelVersion(name=name, version=now.version, uri=uri, run_id="", source="", tags=tags)

    unread = {"evidence": lambda _: None, "verify": lambda _: None, "require_bytes": lambda _: None}
    registry = SimpleNamespace(champion=version, ancestry=lambda one: (one,), **unread)
    monkeypatch.setattr(tasks.stages.requests, "open_registry", lambda _: registry)
    monkeypatch.setattr(tasks.batch.stage, "open_registry", lambda _: registry)
    return now


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("REVS_HOME", str(tmp_path / "home"))
    return load_settings()


@pytest.fixture
def store(settings: Settings) -> RequestStore:
    store = tasks.batch.stage.open_store(settings)
    add(store, 1)
    return store


def add(store: RequestStore, number: int, received: str = "2026-11-02") -> str:
    identifiers = [{"type": "US_SSN", "value": f"219-41-{number:04d}"}]
    request = {"subject": f"customer {number}", "received": received, "identifiers": identifiers}
    return store.add(request, model="demo").accepted[0]


def run() -> str:
    opened = open_batch.fn("demo")
    assert opened is not None
    return str(opened.batch_id)


# ---- a champion that was moved by hand

MOVED: list[tuple[str, bool, str, bool, bool]] = [
    # the case, promoted before?, the champion now, which this batch made?, does the batch go on?
    ("nobody moved it", False, "1", False, True),
    ("it is the batch's own candidate, and that is recorded", True, "2", True, True),
    ("it is the batch's own candidate: cut off before that was recorded", False, "2", True, True),
    ("moved to another version before anything was promoted", False, "7", False, False),
    ("moved back to the version before, after the promotion", True, "1", False, False),
    ("moved to another version, after the promotion", True, "7", False, False),
]


@pytest.mark.parametrize(("case", "promoted", "version", "own", "goes_on"), MOVED, ids=[row[0] for row in MOVED])
def test_a_batch_goes_on_or_makes_room_for_one_that_can(
    settings: Settings,
    store: RequestStore,
    champion: Any,
    case: str,
    promoted: bool,
    version: str,
    own: bool,
    goes_on: bool,
) -> None:
    first = run()
    workspace = Workspace(settings.work_dir, first)
    workspace.write(RegisteredVersion(model="demo", number="2"))
    if promoted:
        workspace.write(PromotedVersion(number="2"))
    champion.version, champion.batch = version, first if own else ""
    second = run()
    if goes_on:
        assert second == first
        return
    assert (store.batch(first).status, workspace.folder.exists()) == ("abandoned", False)
    assert f"the champion was moved to models:/demo/{version}" in store.batch(first).outcome["reason"]
    assert (store.batch(second).status, store.batch(second).source) == ("open", f"models:/demo/{version}")
    assert store.batch(second).request_ids == store.batch(first).request_ids, "nobody's request is lost"


def test_a_batch_with_records_of_another_version_is_refused_until_it_is_given_up(
    settings: Settings, store: RequestStore, champion: Any
) -> None:
    """Whether its candidate was promoted is not guessed; its requests and their payloads wait for the next batch."""
    first = run()
    workspace = Workspace(settings.work_dir, first)
    workspace.write(RegisteredVersion(model="demo", number="2"))
    (workspace.folder / "promoted.json").write_text('{"version": "2"}')  # as it was before records had versions
    with pytest.raises(OperationFailed, match=f"'promoted' is of another version.*'revs batches abandon {first}'"):
        run()
    assert (store.batch(first).status, workspace.stages()) == ("open", ["promoted", "registered"])
    give_up(settings, store, first, "its records are of another version")
    second = run()
    assert second != first and store.batch(second).request_ids == store.batch(first).request_ids


# ---- a report that cannot be written


def closed_with_evidence(settings: Settings, store: RequestStore) -> str:
    batch_id = run()
    done = IdentifierOutcome(request_id=store.batch(batch_id).request_ids[0], number=0, type="US_SSN", kind="edited")
    store.close_batch(batch_id, status="completed", outcome={"evidence": {}}, outcomes=[done])
    Workspace(settings.work_dir, batch_id).write(Detections(seen=(), proposed=()))
    store.hold(batch_id).release()
    add(store, 2)
    return batch_id


def refuse(*_: Any) -> None:
    raise OperationFailed("the record and the evidence differ in scores")


def stumble(*_: Any) -> None:
    raise KeyError("219-41-0001")


@pytest.mark.parametrize(
    ("audit", "reason"),
    [(refuse, "the record and the evidence differ in scores"), (stumble, "KeyError while the report was written")],
    ids=["an audit mismatch", "a fault in the program"],
)
def test_a_report_that_cannot_be_written_is_noted_once_and_the_next_batch_opens(
    settings: Settings, store: RequestStore, champion: Any, monkeypatch: pytest.MonkeyPatch, audit: Any, reason: str
) -> None:
    monkeypatch.setattr("tasks.batch.resuming.audit_batch", audit)
    first = closed_with_evidence(settings, store)
    second = run()
    assert second != first
    assert run() == second
    assert Workspace(settings.work_dir, first).folder.exists(), "it stays for a human to look at"
    assert report_owed(store, first) == reason
    assert [event.event for event in store.events(batch_id=first)].count(REPORT_OWED) == 1


def test_the_working_folder_of_a_batch_that_is_held_stays(
    settings: Settings, store: RequestStore, champion: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = closed_with_evidence(settings, store)
    hold: Callable[..., Any] = RequestStore.hold

    def held(self: RequestStore, batch_id: str, **how: Any) -> Any:
        if batch_id == first:
            raise BatchHeld("another run works on it")
        return hold(self, batch_id, **how)

    monkeypatch.setattr(RequestStore, "hold", held)
    monkeypatch.setattr(
        "tasks.batch.resuming.audit_batch", lambda *_: pytest.fail("the report is the other's to write")
    )
    assert run() != first
    assert Workspace(settings.work_dir, first).folder.exists()


# ---- one request's fault


def test_one_broken_payload_goes_to_a_human_and_the_batch_goes_on(
    settings: Settings, store: RequestStore, champion: Any
) -> None:
    good = add(store, 2)
    batch_id = run()
    (broken,) = set(store.batch(batch_id).request_ids) - {good}
    connection = sqlite3.connect(settings.home / "requests.db")
    connection.execute("UPDATE payloads SET wrapped_key = 'x' WHERE request_id = ?", (broken,))
    connection.commit()
    connection.close()
    validate_requests.fn(batch_id)
    assert list(store.identifiers(batch_id)) == [good]
    assert store.get(broken).status == "failed"
    assert "does not open" in str(store.get(broken).reason)


DATES = [(0, "processing"), (1, "failed"), (400, "failed")]


@pytest.mark.parametrize(("days", "status"), DATES)
def test_a_date_that_is_still_to_come_goes_to_a_human_and_its_correction_waits(
    store: RequestStore, champion: Any, days: int, status: str
) -> None:
    day = (datetime.now(UTC) + timedelta(days=days)).date().isoformat()
    later = add(store, 2, received=day)
    batch_id = run()
    validate_requests.fn(batch_id)
    assert store.get(later).status == status
    if status == "failed":
        assert "hand the request in again with the right date" in str(store.get(later).reason)
        assert store.get(add(store, 2)).status == "received"


@pytest.mark.parametrize(
    ("zone", "moment", "status"),
    [
        ("UTC", "2026-11-30T23:30:00+00:00", "failed"),
        ("Europe/Vienna", "2026-11-30T23:30:00+00:00", "processing"),  # it is December there already
        ("America/Los_Angeles", "2026-12-01T06:00:00+00:00", "failed"),  # and still November there
    ],
)
def test_what_is_still_to_come_is_asked_of_the_day_in_the_installations_zone(
    store: RequestStore, champion: Any, monkeypatch: pytest.MonkeyPatch, zone: str, moment: str, status: str
) -> None:
    later = add(store, 2, received="2026-12-01")
    batch_id = run()
    monkeypatch.setenv("REVS_TIME_ZONE", zone)
    monkeypatch.setattr(rows, "now", lambda: datetime.fromisoformat(moment))
    validate_requests.fn(batch_id)
    assert store.get(later).status == status


# ---- halves


def test_a_half_is_sought_where_the_whole_was_also_by_a_run_that_names_no_corpus(
    settings: Settings, store: RequestStore, champion: Any, tmp_path: Path
) -> None:
    add(store, 2)
    whole = open_batch.fn("demo", str(tmp_path / "another"))
    ids = store.batch(whole.batch_id).request_ids
    store.close_batch(whole.batch_id, status="split", outcome={}, again=[ids[:1], ids[1:]])
    champion.version = "2"  # a half would be given up if it came from the champion before
    half = store.batch(open_batch.fn("demo").batch_id)
    assert (half.parent, half.source, half.request_ids) == (whole.batch_id, "models:/demo/2", ids[:1])
    assert half.corpus == store.batch(whole.batch_id).corpus != "corpus/"
    champion.version = "3"  # moved by hand while it was open: given up, and taken up again as the half that it is
    again = store.batch(open_batch.fn("demo").batch_id)
    assert store.batch(half.id).status == "abandoned"
    assert (again.parent, again.source, again.request_ids) == (whole.batch_id, "models:/demo/3", ids[:1])
    assert again.corpus == half.corpus


# ---- stages and the lease


def taken_over(settings: Settings) -> None:
    connection = sqlite3.connect(settings.home / "requests.db")
    connection.execute("UPDATE leases SET token = token + 1, pid = 1, pid_started = 1")
    connection.commit()
    connection.close()


def test_a_stage_that_lost_its_batch_stops_before_its_work(
    settings: Settings, store: RequestStore, champion: Any
) -> None:
    add(store, 2, received="2999-01-01")
    batch_id = run()
    h = tasks.batch.stage.handles(batch_id)
    h.workspace.write(Detections(seen=(), proposed=()))
    taken_over(settings)
    before = store.list()
    stage, doors = partial(validate_requests.fn, batch_id), partial(tasks.batch.stage.handles, batch_id)
    for late in (stage, doors, h.discard, h.lease.check):
        with pytest.raises(BatchHeld, match="was taken over"):
            late()
    assert store.list() == before
    assert h.workspace.stages() == ["detections"], "the folder of another is never removed"


def test_a_worker_takes_no_lease_and_cannot_close_anything(
    settings: Settings, store: RequestStore, champion: Any
) -> None:
    batch_id = run()
    taken_over(settings)
    h = tasks.batch.stage.handles(batch_id, worker=True)
    assert h.batch.id == batch_id
    with pytest.raises(OperationFailed, match="leave the rest to the flow"):
        h.discard()
