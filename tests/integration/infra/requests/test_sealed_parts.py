"""Every identifier is sealed by itself, and a payload that lacks one, or has another's, is never taken for whole."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from stored_requests import BECAUSE, KEY, PARTS, complete, line, open_store, opened

from infra.keys.vault import Vault
from infra.requests import RequestStore
from revs.errors import OperationFailed

CASES = Path(__file__).parents[3] / "cases"


def run(url: str, *statements: str) -> list[Any]:
    engine = create_engine(url)
    with engine.begin() as connection:
        results = [connection.execute(text(statement)) for statement in statements]
        rows = [tuple(row) for row in results[-1]] if results[-1].returns_rows else []
    engine.dispose()
    return rows


@pytest.fixture
def one(url: str, tmp_path: Path) -> Iterator[tuple[RequestStore, str, str]]:
    """A store, a batch that is open in it, and the one request of the batch; another request is on hold."""
    store = RequestStore(url, Vault(KEY))
    (tmp_path / "r.jsonl").write_text("\n".join([line(1), line(2)]))
    first, other = store.add_file(tmp_path / "r.jsonl", model="demo").accepted
    store.put_on_hold(other, ground="objection", by="Ana")
    yield store, opened(store).id, first
    store.close()


def test_each_identifier_has_a_data_key_of_its_own(one: tuple[RequestStore, str, str], url: str) -> None:
    rows = run(url, "SELECT request_id, number, wrapped_key FROM payloads ORDER BY request_id, number")
    assert [number for _, number, _ in rows] == [*range(-1, PARTS - 1)] * 2
    assert len({bytes(key) for _, _, key in rows}) == 2 * PARTS


ALTERED: list[tuple[str, str]] = [
    ("DELETE FROM payloads WHERE number = 1", "is not the one it was stored with"),
    ("DELETE FROM payloads WHERE number = 0", "is not the one it was stored with"),
    ("DELETE FROM payloads WHERE number = -1", "is not the one it was stored with"),
    ("UPDATE payloads SET number = 7 WHERE number = 1", "does not open"),
    ("UPDATE payloads SET wrapped_key = (SELECT wrapped_key FROM payloads AS p WHERE p.number = 0 AND p.request_id = "
     "payloads.request_id) WHERE number = 1", "does not open"),
    ("UPDATE payloads SET (wrapped_key, ciphertext) = (SELECT wrapped_key, ciphertext FROM payloads AS p WHERE "
     "p.number = 0 AND p.request_id = payloads.request_id) WHERE number = 1", "does not open"),
    ("UPDATE payloads SET (wrapped_key, ciphertext) = (SELECT wrapped_key, ciphertext FROM payloads AS p WHERE "
     "p.number = 0 AND p.request_id <> payloads.request_id) WHERE number = 0", "does not open"),
]  # fmt: skip


@pytest.mark.parametrize(("statement", "why"), ALTERED, ids=[str(number) for number in range(len(ALTERED))])
def test_a_payload_that_was_altered_is_named_and_completes_nothing(
    one: tuple[RequestStore, str, str], url: str, statement: str, why: str
) -> None:
    store, batch_id, request_id = one
    run(url, statement)
    with pytest.raises(OperationFailed, match=f"{request_id}.*{why}"):
        store.identifiers(batch_id)
    assert store.unreadable(batch_id) == [request_id]
    store.close_batch(batch_id, status="completed", outcome={})
    assert store.get(request_id).status == "failed"


def of_schema_1(folder: Path, *statements: str) -> str:
    connection = sqlite3.connect(folder / "requests.db")
    connection.executescript((CASES / "store_of_schema_1.sql").read_text())
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()
    return f"sqlite:///{folder / 'requests.db'}"


def test_payloads_of_an_older_store_are_split_and_its_batch_goes_on(tmp_path: Path) -> None:
    url = of_schema_1(tmp_path)
    whole = {bytes(row[0]) for row in run(url, "SELECT ciphertext FROM payloads")}
    store = open_store(tmp_path)
    assert not whole & {bytes(row[0]) for row in run(url, "SELECT ciphertext FROM payloads")}
    (batch,) = [batch for batch in store.batches() if batch.status == "open"]
    assert len(store.identifiers(batch.id)) == 3 and store.unreadable(batch.id) == []
    complete(store, batch.id)
    assert store.batch(batch.id).status == "completed"


def test_an_older_payload_that_does_not_open_stays_as_it_was_and_the_others_are_split(tmp_path: Path) -> None:
    broken = "(SELECT id FROM requests WHERE status = 'processing' ORDER BY id LIMIT 1)"
    url = of_schema_1(tmp_path, f"UPDATE payloads SET ciphertext = 'x' WHERE request_id = {broken}")
    store = open_store(tmp_path)
    (batch,) = [batch for batch in store.batches() if batch.status == "open"]
    (named,) = store.unreadable(batch.id)
    assert run(url, f"SELECT number FROM payloads WHERE request_id = '{named}'") == [(-1,)]


def test_an_older_store_is_brought_to_this_version_with_its_own_key_before_another_comes_into_use(
    tmp_path: Path,
) -> None:
    url = of_schema_1(tmp_path, "UPDATE requests SET status = 'received', batch_id = NULL WHERE status = 'processing'",
                      "UPDATE batches SET status = 'abandoned'")  # fmt: skip
    before = (tmp_path / "requests.db").read_bytes()
    with pytest.raises(OperationFailed, match="the key that it was made with in use, run any command, and only"):
        RequestStore(url, Vault(bytes(32), KEY))
    assert (tmp_path / "requests.db").read_bytes()[100:] == before[100:], "but for the header, which says WAL"
    RequestStore(url, Vault(KEY)).close()
    count, _ = RequestStore(url, Vault(bytes(32), KEY)).rotate()
    assert count > 3
    again = RequestStore(url, Vault(bytes(32)))
    assert again.unreadable(opened(again).id) == []


def test_a_duplicate_of_an_older_store_goes_on_with_a_payload_of_its_own(tmp_path: Path) -> None:
    of_schema_1(tmp_path)
    store = open_store(tmp_path)
    (duplicate,) = store.list(status="duplicate")
    first = str(duplicate.duplicate_of)
    store.reject(first, BECAUSE)
    assert store.get(duplicate.id).status == "received"
    (batch,) = [batch for batch in store.batches() if batch.status == "open"]
    store.close_batch(batch.id, status="abandoned", outcome={})
    assert duplicate.id in store.identifiers(opened(store).id)


def test_reading_a_part_calls_for_the_key_in_use(one: tuple[RequestStore, str, str], url: str) -> None:
    """Who has an earlier key cannot put payloads of their own under requests, once another is in use."""
    store, batch_id, _ = one
    store.close_batch(batch_id, status="abandoned", outcome={})
    found = RequestStore(url, Vault(bytes(32), KEY))
    found.rotate()
    sealed = Vault(KEY).seal(b'{"type": "US_SSN", "value": "219-41-0001"}', of=f"payload {one[2]} 0")
    engine = create_engine(url)
    with engine.begin() as connection:
        statement = "UPDATE payloads SET wrapped_key = :key, ciphertext = :text WHERE number = 0 AND request_id = :id"
        connection.execute(text(statement), {"key": sealed.wrapped_key, "text": sealed.ciphertext, "id": one[2]})
    engine.dispose()
    assert found.unreadable(opened(found).id) == [one[2]]
    found.close()
