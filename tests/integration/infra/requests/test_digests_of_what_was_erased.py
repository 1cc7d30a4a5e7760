"""Keyed digests of what was erased: kept only if the installation says so, and together with what is destroyed."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stored_requests import BECAUSE, KEY, PARTS, complete, line, opened, payloads, settled, stored_bytes

from infra.keys.vault import Vault
from infra.requests import RequestStore
from revs.errors import OperationFailed


def keeping(folder: Path, key: bytes = KEY) -> RequestStore:
    return RequestStore(f"sqlite:///{folder / 'requests.db'}", Vault(key), keep_digests=True)


def stored(folder: Path) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(folder / "requests.db")
    try:
        return connection.execute("SELECT * FROM erased_digests").fetchall()
    finally:
        connection.close()


def run_batch(store: RequestStore) -> None:
    complete(store, opened(store).id)


def test_nothing_is_kept_unless_the_installation_says_so(store, hand_in, tmp_path) -> None:
    hand_in(line(1), line(2))
    run_batch(store)
    assert stored(tmp_path) == [] and len(store.erased()) == 0
    assert store.erased().not_listed == 2, "nothing is known of theirs"
    assert "digests.kept" not in {event.event for event in store.events()}


def test_a_completed_request_leaves_a_digest_of_each_identifier_with_type_model_and_day(hand_in, tmp_path) -> None:
    hand_in(line(1), line(2))
    store = keeping(tmp_path)
    batch = opened(store)
    complete(store, batch.id)
    closed = store.batch(batch.id).closed_at
    assert closed is not None
    for value, type_ in (("219410001", "US_SSN"), ("219 41 0002", "US_SSN"), ("zz1@EXAMPLE.com", "EMAIL_ADDRESS")):
        (found,) = store.erased("demo").find(value)
        assert (found.type, found.model, found.erased_on) == (type_, "demo", closed.date())
    assert store.erased("demo").find("219-41-0003") == []
    assert store.erased().by_type == {"US_SSN": 2, "EMAIL_ADDRESS": 2} and store.erased().not_listed == 0
    (kept,) = [event for event in store.events(batch_id=batch.id) if event.event == "digests.kept"]
    assert kept.detail == {"digests": 4}


def test_a_request_that_goes_to_a_human_leaves_no_digest(hand_in, tmp_path) -> None:
    hand_in(line(1), line(2))
    store = keeping(tmp_path)
    batch = opened(store)
    store.fail(batch.request_ids[1], BECAUSE)
    complete(store, batch.id)
    assert store.erased().find("219-41-0001") and not store.erased().find("219-41-0002")
    assert len(store.erased()) == 2


@pytest.mark.parametrize("status", ["failed", "abandoned", "refused", "waiting"])
def test_a_batch_that_erased_nothing_leaves_no_digest(hand_in, tmp_path, status) -> None:
    hand_in(line(1))
    store = keeping(tmp_path)
    store.close_batch(opened(store).id, status=status, outcome={})
    assert stored(tmp_path) == []


def test_a_batch_that_waited_leaves_its_digests_when_it_is_accepted(hand_in, tmp_path) -> None:
    hand_in(line(1))
    store = keeping(tmp_path)
    batch = opened(store)
    store.close_batch(batch.id, status="waiting", outcome={}, outcomes=settled(store, batch.id))
    assert stored(tmp_path) == []
    store.accept_batch(batch.id, by="officer")
    assert store.erased("demo").find("219-41-0001") and payloads(tmp_path) == []


def test_digests_and_destroyed_payloads_stand_together_or_not_at_all(hand_in, tmp_path, monkeypatch) -> None:
    """A crash between the two: neither the digests without the completion, nor the completion without the digests."""
    hand_in(line(1))
    store = keeping(tmp_path)
    batch = opened(store)
    outcomes = settled(store, batch.id)

    def crash(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("infra.requests.shredding.destroy", crash)
        store.close_batch(batch.id, status="completed", outcome={}, outcomes=outcomes)
    assert stored(tmp_path) == [] and len(payloads(tmp_path)) == PARTS
    complete(store, batch.id)
    assert len(stored(tmp_path)) == 2 and payloads(tmp_path) == []


def test_an_identifier_that_is_erased_again_stands_there_once(hand_in, tmp_path) -> None:
    store = keeping(tmp_path)
    for name in ("one", "two"):
        hand_in(line(1, subject=name), name=f"{name}.jsonl")
        run_batch(store)
    assert len(stored(tmp_path)) == 2


def test_a_list_is_of_one_model_or_of_all(hand_in, tmp_path) -> None:
    hand_in(line(1), line(2, model="other"))
    store = keeping(tmp_path)
    for model in ("demo", "other"):
        complete(store, opened(store, model).id)
    for model, listed in (("demo", 2), ("other", 2), ("third", 0), (None, 4)):
        assert len(store.erased(model)) == listed
    assert not store.erased("other").find("219-41-0001")


def test_what_was_completed_before_digests_were_kept_is_counted(store, hand_in, tmp_path) -> None:
    hand_in(line(1), line(2))
    run_batch(store)
    hand_in(line(3), name="later.jsonl")
    run_batch(keeping(tmp_path))
    hand_in(line(4, model="other"), name="other.jsonl")
    complete(store, opened(store, "other").id)
    counted = {model: store.erased(model).not_listed for model in ("demo", "other", None)}
    assert counted == {"demo": 2, "other": 1, None: 3}


def test_nothing_in_the_file_tells_a_value_and_nothing_but_the_day_joins_a_digest_to_a_request(
    hand_in, tmp_path
) -> None:
    hand_in(*(line(number) for number in range(1, 9)))
    store = keeping(tmp_path)
    run_batch(store)
    held = stored_bytes(tmp_path).lower()
    assert not any(value in held for value in (b"219-41", b"219410001", b"zz1@example", b"customer 1"))
    digests = [row[0] for row in stored(tmp_path)]
    others = {text for view in store.list() for text in (view.digest, view.subject)}
    assert len(digests) == 16 and not others.intersection(digests)
    assert digests == sorted(digests), "in an order that says nothing"
    connection = sqlite3.connect(tmp_path / "requests.db")
    with pytest.raises(sqlite3.OperationalError, match="no such column: rowid"):
        connection.execute("SELECT rowid FROM erased_digests")
    connection.close()


def test_a_dropped_list_leaves_no_byte_and_what_was_erased_before_counts_as_not_listed(hand_in, tmp_path) -> None:
    hand_in(line(1))
    store = keeping(tmp_path)
    run_batch(store)
    digests = [row[0].encode() for row in stored(tmp_path)]
    assert all(digest in stored_bytes(tmp_path) for digest in digests)
    assert store.drop_digests() == 2
    assert not any(digest in stored_bytes(tmp_path) for digest in digests)
    assert len(store.erased()) == 0 and store.erased().not_listed == 1
    assert store.events()[-1].event == "digests.dropped"
    hand_in(line(2), name="later.jsonl")
    run_batch(store)
    assert len(store.erased()) == 2 and store.erased().not_listed == 1
    assert (store.drop_digests(), store.drop_digests()) == (2, 0)


def test_a_list_dropped_while_the_database_is_busy_is_empty_and_says_that_bytes_are_left(
    hand_in, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("infra.requests.database.LOCK_SECONDS", 0)
    hand_in(line(1))
    store = keeping(tmp_path)
    run_batch(store)
    reader = sqlite3.connect(tmp_path / "requests.db")
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM erased_digests").fetchone()
    with pytest.raises(OperationFailed, match="2 digests were dropped, but another process"):
        store.drop_digests()
    reader.close()
    assert len(store.erased()) == 0 and store.drop_digests() == 0


def test_under_another_key_the_list_is_not_compared_but_refused(hand_in, tmp_path) -> None:
    hand_in(line(1))
    run_batch(keeping(tmp_path))
    with pytest.raises(OperationFailed, match="the deployment key is not the one it was made with"):
        keeping(tmp_path, key=bytes(32))


def test_what_a_human_completed_later_vouches_for_nobody_else(hand_in, store, tmp_path) -> None:
    """A batch that ended while nothing was kept; one of its requests is accepted while digests are kept."""
    hand_in(line(1), line(2))
    batch = opened(store)
    nowhere = {"rows": 9, "without_corpus": {"openings": 3, "verdict": "not memorised"}}
    outcomes = settled(store, batch.id)
    first = outcomes[0].request_id
    outcomes = [replace(o, kind="not_found", detail=nowhere) if o.request_id == first else o for o in outcomes]
    store.close_batch(batch.id, status="completed", outcome={}, outcomes=outcomes)
    assert store.erased("demo").not_listed == 1
    keeping(tmp_path).accept(first, by="Ana")
    assert store.erased("demo").not_listed == 1, "of the other one no digest was kept"


def test_what_was_deleted_after_its_period_counts_as_not_listed(hand_in, tmp_path) -> None:
    hand_in(line(1), line(2))
    store = keeping(tmp_path)
    run_batch(store)
    assert store.erased().not_listed == 0
    assert store.expire_digests(days=-1) > 0
    assert (len(store.erased()), store.erased().not_listed) == (0, 2)
    hand_in(line(3))
    run_batch(store)
    assert store.erased().not_listed >= 2
