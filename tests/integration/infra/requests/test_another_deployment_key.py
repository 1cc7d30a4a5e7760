"""Another deployment key comes into use: nothing is lost or done twice, and the earlier one opens nothing new."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from stored_requests import KEY, complete, line, opened, stored_bytes

from infra.keys.vault import Vault
from infra.requests import Identifier, RequestStore
from revs.errors import OperationFailed

NEW = bytes(32)
Opener = Callable[..., RequestStore]


@pytest.fixture
def under(url: str) -> Iterator[Opener]:
    """Opens the store under these keys, that in use first."""
    stores: list[RequestStore] = []

    def call(*keys: bytes) -> RequestStore:
        stores.append(RequestStore(url, Vault(*keys), keep_digests=True))
        return stores[-1]

    yield call
    for store in stores:
        store.close()


@pytest.fixture
def before(under: Opener, tmp_path: Path) -> RequestStore:
    """One request waits, one is completed, one line was malformed; an address is on record."""
    store = under(KEY)
    (tmp_path / "r.jsonl").write_text(line(1))
    store.add_file(tmp_path / "r.jsonl", model="demo")
    complete(store, opened(store).id)
    (tmp_path / "s.jsonl").write_text("\n".join([line(2), line(3, received="some day")]))
    store.add_file(tmp_path / "s.jsonl", model="demo")
    return store


def rotated(under: Opener) -> RequestStore:
    store = under(NEW, KEY)
    assert store.must_rotate()
    assert store.rotate() == (2, True)
    return store


def test_what_waits_is_processed_under_the_new_key_alone(before: RequestStore, under: Opener) -> None:
    rotated(under)
    alone = under(NEW)
    assert not alone.must_rotate()
    batch = opened(alone)
    ((identifier, _),) = alone.identifiers(batch.id).values()
    assert identifier == Identifier(type="US_SSN", value="219-41-0002")


def test_what_was_handed_in_before_is_known_again(before: RequestStore, under: Opener, tmp_path: Path) -> None:
    reference = before.keep_address("s3://corpus")
    store = rotated(under)
    assert store.add_file(tmp_path / "r.jsonl", model="demo") == before.add_file(tmp_path / "r.jsonl", model="demo")
    assert len(store.list()) == 3, "the same files add nothing"
    (tmp_path / "t.jsonl").write_text(line(2))
    assert len(store.add_file(tmp_path / "t.jsonl", model="demo").duplicates) == 1, "nor does the same demand"
    assert store.keep_address("s3://corpus") == reference
    assert len(store.erased().find("219-41-0001")) == 1


def test_the_log_is_one_chain_over_the_change_of_keys(before: RequestStore, under: Opener) -> None:
    store = rotated(under)
    store.record("note")
    assert store.log_problems() == []
    assert store.events()[-2].event == "keys.rotated" and store.events()[-2].detail == {"payloads": 2}


def test_who_has_the_earlier_key_alone_can_add_nothing_to_the_log(
    before: RequestStore, under: Opener, url: str
) -> None:
    store = rotated(under)
    with pytest.raises(OperationFailed, match=r"nothing was stored: run .revs keys rotate., then start again"):
        before.record("a process that was started before")
    with pytest.raises(OperationFailed, match="deployment key is not the one"):
        under(KEY)
    head, forger = store.log_head(), Vault(KEY)
    engine = create_engine(url)
    with engine.begin() as connection:
        check = forger.pseudonym("revs request store", kind="key check")
        connection.execute(text("UPDATE meta SET value = :check WHERE name = 'key_check'"), {"check": check})
    under(KEY).record("forged")
    with engine.begin() as connection:
        check = Vault(NEW).pseudonym("revs request store", kind="key check")
        connection.execute(text("UPDATE meta SET value = :check WHERE name = 'key_check'"), {"check": check})
    engine.dispose()
    assert store.log_problems() == [f"event {head.count + 1} was changed, moved or put in afterwards"]


def test_until_it_is_done_nothing_is_stored(before: RequestStore, under: Opener) -> None:
    store = under(NEW, KEY)
    stored = store.list()
    with pytest.raises(OperationFailed, match="run 'revs keys rotate'"):
        store.add({"subject": "s", "received": "2026-11-02", "identifiers": []}, model="demo")
    assert store.list() == stored and store.must_rotate()


def test_while_a_batch_is_open_the_key_stays(before: RequestStore, under: Opener) -> None:
    batch = opened(before)
    store = under(NEW, KEY)
    with pytest.raises(OperationFailed, match=f"batch {batch.id} is open"):
        store.rotate()
    assert store.must_rotate() and before.identifiers(batch.id)


def test_a_payload_that_does_not_open_leaves_everything_under_the_earlier_key(
    before: RequestStore, under: Opener, url: str
) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE payloads SET ciphertext = wrapped_key"))
    engine.dispose()
    with pytest.raises(OperationFailed, match="does not open"):
        under(NEW, KEY).rotate()
    assert not before.must_rotate()


def test_no_byte_that_the_earlier_key_opens_is_left_in_the_files(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'requests.db'}"
    store = RequestStore(url, Vault(KEY))
    (tmp_path / "r.jsonl").write_text("\n".join(line(number) for number in range(50)))
    store.add_file(tmp_path / "r.jsonl", model="demo")
    connection = sqlite3.connect(tmp_path / "requests.db")
    wrapped = [row[0] for row in connection.execute("SELECT wrapped_key FROM payloads")]
    connection.close()
    assert all(key in stored_bytes(tmp_path) for key in wrapped)
    assert RequestStore(url, Vault(NEW, KEY)).rotate() == (50, True)
    assert not any(key in stored_bytes(tmp_path) for key in wrapped)


def test_swapped_payloads_are_named_and_not_taken_for_good_by_a_new_key(
    before: RequestStore, under: Opener, url: str, tmp_path: Path
) -> None:
    (tmp_path / "t.jsonl").write_text(line(4))
    before.add_file(tmp_path / "t.jsonl", model="demo")
    waiting = [view.id for view in before.list(status="received")]
    engine = create_engine(url)
    with engine.begin() as connection:
        for old, new in ((waiting[0], "x"), (waiting[1], waiting[0])):
            query = text("UPDATE payloads SET ciphertext = (SELECT ciphertext FROM payloads WHERE request_id = :new "
                         "AND number = 0), wrapped_key = (SELECT wrapped_key FROM payloads WHERE request_id = :new "
                         "AND number = 0) WHERE request_id = :old AND number = 0")  # fmt: skip
            if new != "x":
                connection.execute(query, {"old": old, "new": new})
    engine.dispose()
    for attempt in (before.examine_payloads, under(NEW, KEY).rotate):
        with pytest.raises(OperationFailed, match=f"request {waiting[1]}: a sealed payload does not open"):
            attempt()
    assert not before.must_rotate()


def test_who_has_the_earlier_key_cannot_put_the_log_back_before_the_change_and_go_on(
    before: RequestStore, under: Opener, url: str
) -> None:
    early = before.log_head()
    store = rotated(under)
    engine = create_engine(url)
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("ALTER TABLE events DISABLE TRIGGER ALL"))
        else:
            connection.execute(text("DROP TRIGGER events_no_delete"))
        connection.execute(text(f"DELETE FROM events WHERE id > {early.count}"))
        connection.execute(text(f"UPDATE meta SET value = '{early}' WHERE name = 'events_head'"))
    engine.dispose()
    assert any("under an earlier deployment key than the one in use" in problem for problem in store.log_problems())


def test_a_key_that_was_in_use_before_does_not_come_into_use_again(before: RequestStore, under: Opener) -> None:
    """What it signs would count as forged, and who has it could add to the log."""
    third = bytes(range(1, 33))
    rotated(under)
    under(third, NEW, KEY).rotate()
    for keys in ((KEY, third, NEW), (NEW, third, KEY), (KEY, third)):
        back = under(*keys)
        stored, head = back.list(), back.log_head()
        with pytest.raises(
            OperationFailed, match=r"was in use before another one.*nothing was changed: put a key in use"
        ):
            back.rotate()
        assert back.must_rotate() and (back.list(), back.log_head()) == (stored, head)
    fourth = under(bytes(range(2, 34)), third, NEW, KEY)
    fourth.rotate()
    assert fourth.log_problems() == []
