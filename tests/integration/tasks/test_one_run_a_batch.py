"""A batch is one run's: the lease, its token, and what happens to those who were taken for dead."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from stored_requests import BECAUSE

from infra.keys.vault import Vault
from infra.requests import BatchHeld, RequestStore, leases
from revs.errors import BadInput

LINE = {
    "subject": "customer 1",
    "received": "2026-11-02",
    "identifiers": [{"type": "US_SSN", "value": "219-41-0001"}],
}
HOLDER = """
import sys
from infra.requests import RequestStore
from infra.keys.vault import Vault
store = RequestStore(f"sqlite:///{sys.argv[1]}/requests.db", Vault(bytes(range(32))))
print(store.open_batch(model="demo", corpus="", source="").id, flush=True)
sys.stdin.readline()
"""


def open_store(folder: Path, **settings: Any) -> RequestStore:
    return RequestStore(f"sqlite:///{folder / 'requests.db'}", Vault(bytes(range(32))), **settings)


@pytest.fixture
def store(tmp_path: Path) -> RequestStore:
    store = open_store(tmp_path)
    store.add(LINE, model="demo")
    return store


@pytest.fixture
def other_run(tmp_path: Path) -> Iterator[Callable[[], tuple[subprocess.Popen[str], str]]]:
    """Start another process that holds the batch until it is ended."""
    started: list[subprocess.Popen[str]] = []

    def start() -> tuple[subprocess.Popen[str], str]:
        command = [sys.executable, "-c", HOLDER, str(tmp_path)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    yield start
    for process in started:
        process.kill()
        process.communicate()


def row(folder: Path, **changes: Any) -> dict[str, Any]:
    """The lease in the database, changed first where that is asked for."""
    connection = sqlite3.connect(folder / "requests.db")
    connection.row_factory = sqlite3.Row
    for name, value in changes.items():
        connection.execute(f"UPDATE leases SET {name} = ?", (value,))
    connection.commit()
    found = dict(connection.execute("SELECT * FROM leases").fetchone())
    connection.close()
    return found


def opened(store: RequestStore) -> str:
    batch = store.open_batch(model="demo", corpus="", source="")
    assert batch is not None
    return batch.id


WRITES: list[tuple[str, Callable[[RequestStore, str], Any]]] = [
    ("open", lambda store, _: store.open_batch(model="demo", corpus="", source="")),
    ("hold", lambda store, batch_id: store.hold(batch_id)),
    ("close", lambda store, batch_id: store.close_batch(batch_id, status="failed", outcome={})),
    ("accept", lambda store, batch_id: store.accept_batch(batch_id, by="x")),
    ("reject", lambda store, batch_id: store.reject(store.batch(batch_id).request_ids[0], BECAUSE)),
    ("fail", lambda store, batch_id: store.fail(store.batch(batch_id).request_ids[0], BECAUSE)),
    ("record", lambda store, batch_id: store.record("x", batch_id=batch_id)),
]


@pytest.mark.parametrize("write", [each[1] for each in WRITES], ids=[each[0] for each in WRITES])
def test_while_a_run_lives_nobody_else_writes_for_its_batch(store, other_run, write) -> None:
    process, batch_id = other_run()
    before = (store.batch(batch_id), store.list(), store.events())
    with pytest.raises(
        BatchHeld, match=f"batch {batch_id} is being worked on by process {process.pid} on .*UTC"
    ) as held:
        write(store, batch_id)
    assert "\n" not in str(held.value)
    assert (store.batch(batch_id), store.list(), store.events()) == before
    holder = store.holder(batch_id)
    assert holder is not None and holder.pid == process.pid


def test_a_killed_run_is_resumed_at_once(store, other_run) -> None:
    process, batch_id = other_run()
    process.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # not taken leave of: a zombie is as dead
    assert store.holder(batch_id) is None
    assert opened(store) == batch_id


def test_another_process_with_the_same_number_is_not_the_holder(store, other_run, tmp_path) -> None:
    process, batch_id = other_run()
    row(tmp_path, pid_started=row(tmp_path)["pid_started"] - 100)
    assert opened(store) == batch_id
    assert process.poll() is None


FOREIGN = [
    ({"host": "another machine"}, False, "its processes cannot be seen: the time decides"),
    ({"holder": "1:1"}, False, "a container of the same name: neither can its"),
    ({"host": "another machine", "expires_at": "2026-01-01 00:00:00.000000"}, True, "the time is over"),
]


@pytest.mark.parametrize(("changes", "free", "why"), FOREIGN, ids=[each[2] for each in FOREIGN])
def test_a_holder_that_cannot_be_seen_has_the_batch_until_its_time_is_over(store, tmp_path, changes, free, why) -> None:
    batch_id = opened(store)
    store.hold(batch_id).release()
    row(tmp_path, **{"pid": 1, "expires_at": "2999-01-01 00:00:00.000000"} | changes)
    if free:
        assert opened(store) == batch_id
    else:
        with pytest.raises(BatchHeld):
            opened(store)


def test_of_two_threads_of_one_process_one_gets_the_batch(store, tmp_path) -> None:
    both, tried = threading.Barrier(2), threading.Barrier(2)

    def run() -> str:
        own = open_store(tmp_path)
        both.wait()
        try:
            return opened(own)
        except BatchHeld as held:
            return str(held)
        finally:
            tried.wait()  # neither thread ends before both have tried

    with ThreadPoolExecutor(2) as pool:
        said = sorted(future.result() for future in [pool.submit(run), pool.submit(run)])
    assert said[0].startswith("B-") and said[1].startswith(f"batch {said[0]} is being worked on")


def test_a_run_that_ended_in_one_thread_is_resumed_in_another(store) -> None:
    with ThreadPoolExecutor(1) as pool:
        batch_id = pool.submit(opened, store).result()
    assert opened(store) == batch_id


def test_each_opening_has_a_larger_token(store, tmp_path) -> None:
    tokens = [row(tmp_path)["token"] for _ in range(3) if opened(store)]
    assert tokens == sorted(set(tokens))


@pytest.mark.parametrize("write", [each[1] for each in WRITES[1:]], ids=[each[0] for each in WRITES[1:]])
def test_who_was_taken_for_dead_writes_nothing_more(store, tmp_path, write) -> None:
    """Stopped for longer than its lease, then awake again: its token is old, whatever became of the other."""
    batch_id = opened(store)
    lease = store.hold(batch_id)
    lease.check()
    row(tmp_path, token=lease.token + 1, pid=1, expires_at="2026-01-01 00:00:00.000000")
    with pytest.raises(BatchHeld, match="was taken over"):
        lease.check()
    before = (store.batch(batch_id), store.list(), store.events())
    with pytest.raises(BatchHeld, match=f"batch {batch_id} was taken over .*this run wrote nothing more"):
        write(store, batch_id)
    assert (store.batch(batch_id), store.list(), store.events()) == before
    lease.release()
    assert row(tmp_path)["token"] == lease.token + 1, "a lost lease is not given back in another's name"
    with pytest.raises(BatchHeld):
        write(store, batch_id)


def test_a_lease_that_is_taken_by_force_fences_the_holder(store, other_run) -> None:
    _, batch_id = other_run()
    store.hold(batch_id, force=True).check()
    store.close_batch(batch_id, status="abandoned", outcome={})
    assert store.batch(batch_id).status == "abandoned"


def test_a_lease_is_renewed_while_its_run_works_and_no_longer(store, tmp_path, monkeypatch) -> None:
    own = open_store(tmp_path, lease_seconds=0.2)
    batch_id = opened(own)
    first = row(tmp_path)["expires_at"]
    renewals = threading.Semaphore(0)
    renew = leases.Lease._renew

    def noted(self: leases.Lease, *arguments: Any) -> bool:
        renewals.release()
        return renew(self, *arguments)

    monkeypatch.setattr(leases.Lease, "_renew", noted)
    for _ in range(100):  # on a busy disk one that began may have to be tried again before it is stored
        assert renewals.acquire(timeout=20)
        if row(tmp_path)["expires_at"] > first:
            break
    assert row(tmp_path)["expires_at"] > first
    lease = own.hold(batch_id)
    (renewal,) = [each for each in threading.enumerate() if each.name == f"lease of {batch_id}"]
    assert renewal.daemon
    lease.release()
    renewal.join(20)
    assert not renewal.is_alive()


def test_a_batch_that_was_given_back_is_anybodys(store, tmp_path) -> None:
    batch_id = opened(store)
    store.hold(batch_id).release()
    assert store.holder(batch_id) is None
    process = subprocess.run(
        [sys.executable, "-c", HOLDER, str(tmp_path)], input="\n", capture_output=True, text=True, timeout=60
    )
    assert process.stdout.strip() == batch_id


def test_holding_a_batch_that_does_not_exist_names_it(store) -> None:
    with pytest.raises(BadInput, match="B-unknown"):
        store.hold("B-unknown")


def test_what_a_run_is_told_of_another_can_pass_a_stage(store, other_run) -> None:
    """A stage raises errors again by their type and one text."""
    other_run()
    with pytest.raises(BatchHeld) as held:
        opened(store)
    assert str(type(held.value)(str(held.value))) == str(held.value)
    assert json.dumps(str(held.value)).count("\\n") == 0
