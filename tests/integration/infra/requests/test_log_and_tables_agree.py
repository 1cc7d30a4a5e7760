"""The log shows what the tables say: one field of one row, changed behind the program's back, is found."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import store_lives
from sqlalchemy import Column, Engine, text
from stored_requests import BECAUSE, KEY, complete, line, open_store, opened, settled

from infra.keys.vault import Vault
from infra.requests import Reason, RequestStore, tables
from infra.requests.tokens import Tokens

CASES = Path(__file__).parents[3] / "cases"
COVERED = (tables.Request, tables.Batch, tables.Outcome, tables.Token)
NOT_COVERED = {("service_tokens", "last_used")}  # noted once a day by whoever calls, and nobody decides by it


def live(url: str) -> None:
    """Everything happens in a new store: see `store_lives`; and there are two tokens, one of them revoked."""
    found = RequestStore(url, Vault(KEY))
    life = store_lives.Life(found)
    life.live()
    assert list(store_lives.wrong(found, life.ids)) == []
    found.add(json.loads(line(50)), model="demo", generation="it waits", by="the door")
    tokens = Tokens(found)
    tokens.add(role="auditor", name="in use", by="Ana")
    revoked, _ = tokens.add(role="officer", name="revoked", by="Ana")
    tokens.revoke(revoked.id, by="Ana")
    found.close()


@pytest.fixture(scope="module")
def lived(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file in which everything has happened, to be copied: each test changes its own."""
    path = tmp_path_factory.mktemp("lived") / "requests.db"
    live(f"sqlite:///{path}")
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, lived: Path, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{shutil.copyfile(lived, tmp_path / 'requests.db')}"
    url = str(request.getfixturevalue("new_postgres")())
    live(url)
    return url


@pytest.fixture
def store(url: str) -> Iterator[RequestStore]:
    found = RequestStore(url, Vault(KEY))
    yield found
    found.close()


def problems(store: RequestStore) -> list[str]:
    return store.log_problems()


def other(column: Column[Any], value: Any) -> Any:
    """Another value than this one, of the same type."""
    if isinstance(value, list):
        return [*value, "changed"]
    if isinstance(column.type, tables.StoredReason):
        return Reason("unfounded" if value == Reason("excessive") else "excessive")
    if isinstance(column.type, tables.UtcDateTime):
        return (value or datetime(2026, 11, 2, 12, tzinfo=UTC)) + timedelta(seconds=1)
    changed = {
        str: lambda: f"{(value or '?')[:-1]}{'y' if (value or '').endswith('x') else 'x'}",
        int: lambda: value + 1000,
        date: lambda: (value or date(2026, 11, 2)) + timedelta(days=1),
        dict: lambda: {"changed": True},
    }
    return changed[column.type.python_type]()


@pytest.mark.parametrize("table", COVERED, ids=lambda table: table.__tablename__)
def test_one_field_of_one_row_changed_behind_the_programs_back_is_found(
    store: RequestStore, engine: Engine, table: type[tables.Base]
) -> None:
    name, columns = table.__tablename__, table.__table__.columns
    assert problems(store) == []
    unseen = set()
    with engine.connect() as connection:
        rows = [dict(row) for row in connection.execute(table.__table__.select()).mappings()]
        assert len(rows) > 1
        if engine.dialect.name == "postgresql":
            connection.execute(text("SET session_replication_role = replica"))  # what refers to a row may be left alone
        for column in columns:
            for row in (rows[0], rows[-1]):
                where = [row_column == row[row_column.name] for row_column in table.__table__.primary_key]
                new = other(column, row[column.name])
                connection.execute(table.__table__.update().where(*where).values({column.name: new}))
                connection.commit()
                owner = row.get("batch_id") if name == "outcomes" else row["id"]
                if not any(str(owner) in problem for problem in problems(store)):
                    unseen.add((name, column.name))
                back = [
                    row_column == (new if row_column.name == column.name else row[row_column.name])
                    for row_column in table.__table__.primary_key
                ]
                connection.execute(table.__table__.update().where(*back).values({column.name: row[column.name]}))
                connection.commit()
    assert unseen == {each for each in NOT_COVERED if each[0] == name}
    assert problems(store) == []


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("DELETE FROM outcomes WHERE number = 0", "outcomes, which is not what the log says"),
        ("DELETE FROM batch_members", "the requests in it are not those"),
        ("DELETE FROM service_tokens WHERE name = 'in use'", "its row is gone"),
        ("UPDATE service_tokens SET revoked_at = NULL", "revoked is False, and the log says True"),
        ("UPDATE service_tokens SET role = 'officer' WHERE name = 'in use'", "'officer', and the log says 'auditor'"),
        ("UPDATE requests SET due = '2030-01-01' WHERE status = 'received'", "due is '2030-01-01', and the log says"),
        ("UPDATE requests SET status = 'completed' WHERE status = 'received'", "'completed', and the log says"),
        (
            "INSERT INTO service_tokens SELECT 'T-forged', 'h', 'forged', role, made_at, expires_at, NULL, NULL "
            "FROM service_tokens WHERE name = 'in use'",
            "token T-forged has no event in the log",
        ),
        (
            "INSERT INTO batches SELECT 'B-forged', model, corpus, source, status, opened_at, closed_at, outcome, "
            "parent FROM batches WHERE status = 'failed'",
            "batch B-forged has no event in the log",
        ),
    ],
)  # fmt: skip
def test_rows_and_what_the_log_says_of_them(store: RequestStore, engine: Engine, statement: str, found: str) -> None:
    with engine.begin() as connection:
        assert connection.execute(text(statement)).rowcount > 0
    assert any(found in problem for problem in problems(store)), problems(store)
    assert not any("\n" in problem for problem in problems(store))


def test_a_request_that_is_gone_is_named(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    (request_id,) = store.add(json.loads(line(1)), model="demo").accepted
    with sqlite3.connect(tmp_path / "requests.db") as connection:
        connection.execute("DELETE FROM requests")
    connection.close()
    assert problems(store) == [f"request {request_id} is in the log, and its row is gone"]


def test_what_was_changed_before_a_decision_stays_visible_after_it(store: RequestStore, engine: Engine) -> None:
    """The program goes on from the forged row; its own events then contradict the earlier ones."""
    (request_id,) = (view.id for view in store.list(status="received"))
    store.fail(request_id, BECAUSE)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE requests SET status = 'received' WHERE id = '{request_id}'"))
    complete(store, opened(store).id)
    (problem,) = problems(store)
    assert f"request.processing of request {request_id}, which was failed by then" in problem
    with engine.begin() as connection:
        connection.execute(text("UPDATE requests SET due = '2031-01-01' WHERE status = 'failed'"))


def test_a_due_date_that_was_moved_before_the_program_moves_it_is_found(store: RequestStore, engine: Engine) -> None:
    (request_id,) = (view.id for view in store.list(status="received"))
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE requests SET due = '2031-01-01' WHERE id = '{request_id}'"))
    store.add(json.loads(line(50)), model="demo", generation="again")
    assert any(f"moves due of request {request_id} from 2031-01-01" in problem for problem in problems(store))


def test_the_due_date_that_a_revived_duplicate_takes_from_another_is_logged(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    dates = ("2026-11-02", "2026-11-01", "2026-11-03")
    first, earlier, latest = (
        next(iter((*intake.accepted, *intake.duplicates)))
        for intake in [store.add(json.loads(line(1, received=day)), model="demo", generation=day) for day in dates]
    )
    store.reject(first, BECAUSE)
    assert store.get(latest).status == "received" and store.get(earlier).duplicate_of == latest
    (moved,) = (event for event in store.events(request_id=latest) if event.event == "request.due_moved_forward")
    assert moved.detail == {"from": "2026-12-03", "to": f"{store.get(latest).due}", "because_of": earlier}
    assert problems(store) == []


def test_of_a_store_of_an_earlier_program_the_states_are_compared(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "requests.db")
    connection.executescript((CASES / "store_of_schema_1.sql").read_text())
    store = open_store(tmp_path)
    assert problems(store) == []
    connection.execute("UPDATE requests SET due = '2031-01-01'")
    connection.commit()
    assert problems(store) == [], "what was not logged is not compared"
    connection.execute("UPDATE requests SET status = 'withdrawn'")
    connection.commit()
    assert len(problems(store)) == len(store.list())
    connection.close()


def test_after_another_key_came_into_use_the_tables_are_what_the_log_says(store: RequestStore, url: str) -> None:
    again = RequestStore(url, Vault(bytes(32), KEY))
    digests = {view.id: view.digest for view in again.list()}
    again.rotate()
    assert {view.id: view.digest for view in again.list()} != digests
    assert problems(again) == []
    again.close()


@pytest.mark.parametrize("decision", ["accept", "abandon"])
def test_a_decision_about_a_batch_does_not_make_a_change_before_it_pass(
    store: RequestStore, engine: Engine, decision: str
) -> None:
    batch = opened(store)
    store.close_batch(batch.id, status="waiting", outcome={"gate": "unsure"}, outcomes=settled(store, batch.id))
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE outcomes SET kind = 'not_memorised' WHERE batch_id = '{batch.id}'"))
    if decision == "accept":
        store.accept_batch(batch.id, by="a privacy officer")
    else:
        store.close_batch(batch.id, status="abandoned", outcome={})
    assert problems(store) == [f"batch {batch.id}: outcomes, which is not what the log says"]
