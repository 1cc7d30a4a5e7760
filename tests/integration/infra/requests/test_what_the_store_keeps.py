"""What stays in the store's file: no payload of a completed request, no personal data, a log that only grows."""

from __future__ import annotations

import json
import random
import sqlite3
import time
from collections.abc import Callable
from datetime import UTC

import pytest
from sqlalchemy import create_engine, text
from stored_requests import BECAUSE, KEY, PARTS, complete, line, open_store, opened, payloads, stored_bytes

from infra.keys.vault import Vault
from infra.requests import RequestStore, RequestView


def test_a_completed_request_leaves_no_byte_of_its_payload(store, hand_in, tmp_path) -> None:
    # Enough rows, in random order of ids, for SQLite to split and rebalance pages while it takes them in.
    numbers = list(range(400))
    random.Random(7).shuffle(numbers)
    for start in range(0, 400, 50):
        hand_in(*(line(number) for number in numbers[start : start + 50]), name=f"{start}.jsonl")
    secrets_before = payloads(tmp_path)
    assert len(secrets_before) == 400 * PARTS
    held = stored_bytes(tmp_path)
    assert all(key in held and text[40:] for key, text in secrets_before)
    batch = opened(store)
    kept = batch.request_ids[17]
    store.fail(kept, BECAUSE)
    complete(store, batch.id)
    survivors = payloads(tmp_path)
    assert len(survivors) == PARTS
    held = stored_bytes(tmp_path)
    for wrapped_key, ciphertext in secrets_before:
        if (wrapped_key, ciphertext) in survivors:
            continue
        # Any 48 bytes in a row: a token's own head is the same in all of them.
        assert wrapped_key[20:68] not in held
        assert ciphertext[20:68] not in held
        assert ciphertext[-48:] not in held
    assert [event.event for event in store.events(batch_id=batch.id)][-1] == "payloads.destroyed"


def test_what_a_busy_database_left_behind_is_removed_at_the_next_opening(store, hand_in, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("infra.requests.database.LOCK_SECONDS", 0)
    store = open_store(tmp_path)
    hand_in(line(1))
    (wrapped_key, _), *_ = payloads(tmp_path)
    batch = opened(store)
    reader = sqlite3.connect(tmp_path / "requests.db")
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM payloads").fetchone()  # holds on to the pages as they are now
    complete(store, batch.id)
    assert store.batch(batch.id).status == "completed"
    assert wrapped_key in stored_bytes(tmp_path), "the test needs a residue"
    assert "payloads.destroyed" not in {event.event for event in store.events()}
    reader.close()
    again = open_store(tmp_path)
    assert wrapped_key not in stored_bytes(tmp_path)
    assert [event.event for event in again.events(batch_id=batch.id)][-1] == "payloads.destroyed"


def test_nothing_that_is_stored_shows_personal_data(store, hand_in, tmp_path) -> None:
    hand_in(line(1), '{"subject": "Zorblatt", "received": "219-41-9999"}', line(1), line(2))
    batch = opened(store)
    store.close_batch(batch.id, status="refused", outcome={})
    held = stored_bytes(tmp_path).lower()
    for secret in (b"219-41", b"219410001", b"zz1@example", b"customer 1", b"zorblatt"):
        assert secret not in held
    shown = repr((store.list(), store.batches(), store.events())).lower().encode()
    assert b"219-41" not in shown
    assert b"zorblatt" not in shown


def test_the_audit_log_is_kept_in_order_and_is_append_only(store, hand_in, tmp_path) -> None:
    (first,) = hand_in(line(1)).accepted
    batch = opened(store)
    store.record("gate.checked", batch_id=batch.id, detail={"passed": True})
    store.record("note", request_id=first)
    assert [event.event for event in store.events()] == [
        "request.received", "batch.opened", "request.processing", "gate.checked", "note",
    ]  # fmt: skip
    assert [event.event for event in store.events(request_id=first)] == [
        "request.received", "request.processing", "note",
    ]  # fmt: skip
    (_, _, checked) = store.events(batch_id=batch.id)
    assert checked.detail == {"passed": True}
    assert checked.at.tzinfo is UTC
    connection = sqlite3.connect(tmp_path / "requests.db")
    for statement in ("UPDATE events SET event = 'x'", "DELETE FROM events"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)
    connection.close()


def test_views_are_values(store, hand_in) -> None:
    (first,) = hand_in(line(1)).accepted
    view = store.get(first)
    assert isinstance(view, RequestView)
    assert view == store.get(first)
    with pytest.raises(AttributeError):
        view.status = "completed"


def test_on_postgresql_what_an_older_transaction_may_still_see_is_not_said_to_be_destroyed(
    new_postgres: Callable[[], str],
) -> None:
    url = new_postgres()
    store = RequestStore(url, Vault(KEY))
    (request_id,) = store.add(json.loads(line(1)), model="demo").accepted
    engine = create_engine(url)
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as older:
        older.execute(text("SELECT count(*) FROM requests"))  # as pg_dump does, it goes on seeing the store as it is
        store.withdraw(request_id, by="Ana")
        assert [event.event for event in store.events(request_id=request_id)][-1] == "request.withdrawn"
    store.close()
    again = RequestStore(url, Vault(KEY))
    assert [event.event for event in again.events(request_id=request_id)][-1] == "payloads.destroyed"
    again.close()
    engine.dispose()


def test_postgresql_copies_no_sealed_payload_into_its_statistics(new_postgres: Callable[[], str]) -> None:
    url = new_postgres()
    store = RequestStore(url, Vault(KEY), keep_digests=True)
    store.add(*(json.loads(line(number)) for number in range(20)), model="demo")
    complete(store, opened(store).id)
    store.add(*(json.loads(line(number)) for number in range(20, 40)), model="demo")
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("ANALYZE"))
        sampled = connection.execute(text("SELECT tablename, attname FROM pg_stats")).all()
    engine.dispose()
    store.close()
    assert ("payloads", "number") in sampled, "the test needs statistics"
    assert not {("payloads", "wrapped_key"), ("payloads", "ciphertext"), ("erased_digests", "digest")} & {*sampled}


def test_a_store_that_is_dropped_leaves_no_connection_of_it_open(new_postgres: Callable[[], str]) -> None:
    url = new_postgres()
    engine = create_engine(url)
    for _ in range(5):
        RequestStore(url, Vault(KEY)).add(json.loads(line(1)), model="demo")
    with engine.connect() as connection:
        mine = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        deadline = time.monotonic() + 20  # a backend ends some time after its client
        while (open_ := connection.scalar(mine)) != 1 and time.monotonic() < deadline:
            connection.rollback()
    engine.dispose()
    assert open_ == 1, "but for the one that asks"
