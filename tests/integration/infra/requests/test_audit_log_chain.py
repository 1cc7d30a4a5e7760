"""The audit log as a chain: whatever is done to it behind the program's back is found, on both databases."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import Connection, Engine, text
from stored_requests import KEY, complete, line, open_store, opened

from infra.keys.vault import Vault
from infra.requests import RequestStore, chain, heads, schema
from infra.requests.chain import Head
from revs.errors import BadInput, OperationFailed

CASES = Path(__file__).parents[3] / "cases"


@pytest.fixture
def store(url: str) -> Iterator[RequestStore]:
    found = RequestStore(url, Vault(KEY))
    yield found
    found.close()


def ten_events(store: RequestStore) -> None:
    for number in range(10):
        store.record(f"note {number}", detail={"number": number, "share": 0.1 + number / 7, "name": "Zoë"})


def without_triggers(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("ALTER TABLE events DISABLE TRIGGER ALL"))
    else:
        for name in ("events_no_update", "events_no_delete"):
            connection.execute(text(f"DROP TRIGGER {name}"))


def with_triggers(connection: Connection, before: list[str]) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("ALTER TABLE events ENABLE TRIGGER ALL"))
    else:
        for statement in before:
            connection.execute(text(statement))


def tamper(engine: Engine, *statements: str) -> None:
    """Change the log as an administrator of the database could: triggers off, the change, triggers on again."""
    with engine.begin() as connection:
        before = []
        if connection.dialect.name == "sqlite":
            before = list(connection.scalars(text("SELECT sql FROM sqlite_master WHERE type = 'trigger'")))
        without_triggers(connection)
        for statement in statements:
            connection.execute(text(statement))
        with_triggers(connection, before)


@pytest.mark.parametrize(
    ("statements", "found"),
    [
        (["UPDATE events SET event = 'other' WHERE id = 4"], "event 4 was changed"),
        (["""UPDATE events SET detail = '{"number": 99}' WHERE id = 4"""], "event 4 was changed"),
        (["UPDATE events SET at = '2020-01-01 00:00:00+00:00' WHERE id = 4"], "event 4 was changed"),
        (["UPDATE events SET mac = NULL WHERE id = 4"], "event 4 was changed"),
        (["DELETE FROM events WHERE id = 4"], "events 4 to 4 are missing"),
        (["DELETE FROM events WHERE id < 4"], "events 1 to 3 are missing"),
        (["DELETE FROM events WHERE id > 8"], "its end was cut off"),
        (["DELETE FROM events"], "its end was cut off"),
        (
            [f"UPDATE events SET id = {new} WHERE id = {old}" for old, new in ((4, -1), (5, 4), (-1, 5))],
            "event 4 was changed, moved",
        ),
        (
            [
                "INSERT INTO events (id, at, event, detail, mac) "
                "SELECT 11, at, event, detail, mac FROM events WHERE id = 10"
            ],
            "event 11 was changed, moved or put in",
        ),
        (["DELETE FROM meta WHERE name = 'events_head'"], "no longer on record"),
        (["DELETE FROM meta WHERE name LIKE 'events_%'", "UPDATE events SET mac = NULL"], "no longer on record"),
    ],
)
def test_a_log_that_was_changed_behind_the_programs_back_is_found(
    store: RequestStore, engine: Engine, statements: list[str], found: str
) -> None:
    ten_events(store)
    assert store.log_problems() == []
    tamper(engine, *statements)
    assert any(found in problem for problem in store.log_problems()), store.log_problems()


def test_triggers_that_are_gone_are_found(store: RequestStore, engine: Engine) -> None:
    with engine.begin() as connection:
        without_triggers(connection)
    assert any("refuses changes of the log, is gone" in problem for problem in store.log_problems())


@pytest.mark.parametrize(
    "statements",
    {
        "sqlite": [
            "DROP TRIGGER events_no_update",
            "CREATE TRIGGER events_no_update BEFORE UPDATE ON events WHEN NEW.id < 0 "
            "BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END",
        ],
        "another body": [
            "CREATE OR REPLACE FUNCTION refuse_event_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "RETURN NULL; END $$"
        ],
        "on a condition": [
            "CREATE OR REPLACE TRIGGER events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events "
            "FOR EACH STATEMENT WHEN (current_user = 'x') EXECUTE FUNCTION refuse_event_change()"
        ],
        "of one column": [
            "DROP TRIGGER events_append_only ON events",
            "CREATE TRIGGER events_append_only BEFORE UPDATE OF mac OR DELETE OR TRUNCATE ON events "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_event_change()",
        ],
        "not of updates": [
            "CREATE OR REPLACE TRIGGER events_append_only BEFORE DELETE OR TRUNCATE ON events "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_event_change()"
        ],
    }.items(),
    ids=lambda each: each[0],
)
def test_a_trigger_of_the_same_name_that_refuses_less_is_found(
    store: RequestStore, engine: Engine, statements: tuple[str, list[str]]
) -> None:
    if (engine.dialect.name == "sqlite") != (statements[0] == "sqlite"):
        return  # of the other database
    with engine.begin() as connection:
        for statement in statements[1]:
            connection.execute(text(statement))
    (problem,) = store.log_problems()
    assert "which refuses changes of the log, is another one than the program made" in problem


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE meta SET value = 'x' WHERE name = 'events_head'",
        "UPDATE meta SET value = '5' WHERE name = 'events_head'",
        "UPDATE meta SET value = '99999999999999999999999:00' WHERE name = 'events_genesis'",
        "UPDATE meta SET value = x'ff00' WHERE name = 'events_head'",
        "UPDATE events SET mac = x'ff' WHERE id = 2",
        "UPDATE events SET detail = 'null' WHERE id = 2",
        "UPDATE events SET detail = '[1]' WHERE id = 2",
        "UPDATE events SET detail = '{bad' WHERE id = 2",
        pytest.param(f"UPDATE events SET detail = '{'[' * 100_000}' WHERE id = 2", id="a detail that is too deep"),
        "UPDATE events SET at = 'yesterday' WHERE id = 2",
        "UPDATE events SET event = x'ff' WHERE id = 2",
        "UPDATE events SET batch_id = x'ff' WHERE id = 2",
        pytest.param(f"UPDATE requests SET policy = '{'[' * 100_000}'", id="a policy that is too deep"),
        "UPDATE requests SET types = 'null'",
        "UPDATE requests SET due = 'soon'",
    ],
)
def test_damage_is_told_in_lines_and_not_in_a_traceback(tmp_path: Path, statement: str) -> None:
    store = open_store(tmp_path)
    ten_events(store)
    store.add(json.loads(line(1)), model="demo")
    with sqlite3.connect(tmp_path / "requests.db") as connection:
        connection.execute("DROP TRIGGER events_no_update")
        connection.execute(statement)
    connection.close()
    try:
        found = store.log_problems()
    except OperationFailed as error:
        found = ["the trigger", str(error)]
    assert len(found) > 1 and not any("\n" in problem for problem in found)


def test_a_replaced_line_is_found_though_no_trigger_of_sqlite_sees_it(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    ten_events(store)
    with sqlite3.connect(tmp_path / "requests.db") as connection:
        connection.execute(
            "INSERT OR REPLACE INTO events "
            "SELECT id, at, 'x', batch_id, request_id, detail, mac FROM events WHERE id = 4"
        )
    connection.close()
    assert store.log_problems() == ["event 4 was changed, moved or put in afterwards"]


def test_an_end_that_was_cut_off_with_care_is_found_by_a_later_end_noted_elsewhere(
    store: RequestStore, engine: Engine
) -> None:
    ten_events(store)
    early = store.log_head()
    store.record("what somebody wants to hide")
    late = store.log_head()
    tamper(engine, "DELETE FROM events WHERE id = 11", f"UPDATE meta SET value = '{early}' WHERE name = 'events_head'")
    assert store.log_problems([early]) == []
    (problem,) = store.log_problems([early, late])
    assert "had 11 events when its end was noted elsewhere" in problem
    store.record("something else in its place")
    (problem,) = store.log_problems([early, late])
    assert "event 11 is another one than" in problem


def test_events_from_before_there_was_a_chain_are_its_first_link(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "requests.db")
    connection.executescript((CASES / "store_of_schema_1.sql").read_text())
    (before,) = connection.execute("SELECT count(*) FROM events").fetchone()
    store = open_store(tmp_path)
    assert before > 1 and store.log_problems() == []
    store.record("the first of the chain")
    assert store.log_problems() == []
    connection.executescript("DROP TRIGGER events_no_update; UPDATE events SET event = 'x' WHERE id = 1")
    connection.close()
    assert any("before there was a chain" in problem for problem in store.log_problems())


def test_another_key_makes_no_event_that_fits(url: str, store: RequestStore) -> None:
    ten_events(store)
    forged = Vault(bytes(32))
    found = store._database.read(lambda session: [*chain.problems(session, forged.event_macs)])
    assert len(found) == 11, "the beginning, and each of them"


def test_when_a_batch_ends_the_end_of_the_log_is_noted_elsewhere(url: str, tmp_path: Path) -> None:
    path = tmp_path / "elsewhere.jsonl"
    store = RequestStore(url, Vault(KEY), log_heads=path)
    (tmp_path / "r.jsonl").write_text(line(1))
    store.add_file(tmp_path / "r.jsonl", model="demo")
    complete(store, opened(store).id)
    (noted,) = heads.read(path)
    assert noted == store.log_head()
    assert store.log_problems([noted]) == []
    assert store.log_problems([Head(count=noted.count, mac="0" * 64)])
    store.close()


def test_a_file_of_ends_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"missing.jsonl cannot be read"):
        heads.read(tmp_path / "missing.jsonl")
    (tmp_path / "bad.jsonl").write_text('{"count": 1}\n')
    with pytest.raises(BadInput, match="has a line that"):
        heads.read(tmp_path / "bad.jsonl")
    with pytest.raises(OperationFailed, match="cannot be noted in"):
        heads.append(tmp_path / "missing" / "heads.jsonl", Head(count=1, mac=""))


def writers(store: RequestStore, count: int) -> list[Callable[[], None]]:
    return [lambda number=number: store.record(f"note {number}") for number in range(count)]  # type: ignore[misc]


def test_threads_that_log_at_once_make_one_chain(store: RequestStore) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda write: write(), writers(store, 60)))
    assert store.log_head().count == 60
    assert store.log_problems() == []


def test_a_log_that_is_begun_anew_is_not_signed_by_the_next_program(
    store: RequestStore, engine: Engine, url: str
) -> None:
    ten_events(store)
    noted = store.log_head()
    tamper(engine, "UPDATE events SET event = 'other', mac = NULL", "DELETE FROM meta")
    with pytest.raises(OperationFailed, match="its record of the deployment key is gone; restore it from a backup"):
        RequestStore(url, Vault(KEY))
    check = Vault(KEY).pseudonym("revs request store", kind="key check")
    for name, value in (("key_check", check), ("schema_version", "3")):
        tamper(engine, f"INSERT INTO meta (name, value) VALUES ('{name}', '{value}')")
    again = RequestStore(url, Vault(KEY))
    assert again.log_problems() == ["where the log begins and ends is no longer on record"]
    again.close()
    with engine.begin() as connection:  # as if the store came from before there was a chain
        connection.execute(text("DELETE FROM payloads"))
        command.downgrade(schema.config(connection), "0002")
    begun_anew = RequestStore(url, Vault(KEY))
    (problem,) = begun_anew.log_problems([noted])
    assert "after event 10, which the chain does not hold: it was begun anew" in problem
    begun_anew.close()


def test_an_end_that_is_noted_after_the_log_was_cut_does_not_hide_the_one_before(
    store: RequestStore, engine: Engine
) -> None:
    ten_events(store)
    late = store.log_head()
    tamper(engine, "DELETE FROM events WHERE id > 8")
    with engine.begin() as connection:
        mac = connection.scalar(text("SELECT mac FROM events WHERE id = 8"))
        connection.execute(text(f"UPDATE meta SET value = '8:{mac}' WHERE name = 'events_head'"))
    for number in range(2):
        store.record(f"other {number}")
    assert any("two ends were noted" in problem for problem in store.log_problems([late, store.log_head()]))
