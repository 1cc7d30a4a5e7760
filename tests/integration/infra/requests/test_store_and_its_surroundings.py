"""The store on a disk and among other processes: shared, killed, full, of another key or version, or no store."""

from __future__ import annotations

import json
import signal
import sqlite3
import stat

import pytest
from stored_requests import KEY, line, open_store, payloads, processes, statuses, stored_bytes

from infra.keys.vault import Vault
from infra.requests import RequestStore
from revs.errors import BadInput, OperationFailed


def test_of_processes_that_open_a_batch_at_once_one_gets_it_and_the_others_are_told_who(
    store, hand_in, tmp_path
) -> None:
    hand_in(*(line(number) for number in range(20)))
    script = """
from infra.requests import BatchHeld
store = open_store()
try:
    batch = store.open_batch(model="demo", corpus="", source="")
    said = [batch.id, len(batch.request_ids), os.getpid()]
except BatchHeld as held:
    said = [str(held)]
(folder / f"tried-{os.getpid()}").touch()
while len(list(folder.glob("tried-*"))) < 3:  # nobody ends before all have tried
    os.sched_yield()
answer(said)
"""
    answers = processes(script, tmp_path, number=3)
    ((batch_id, requests, pid),) = [said for said in answers if len(said) == 3]
    assert requests == 20
    assert [batch.id for batch in store.batches()] == [batch_id]
    for (refusal,) in (said for said in answers if len(said) == 1):
        assert f"batch {batch_id} is being worked on by process {pid} on" in refusal
        assert "\n" not in refusal


def test_processes_that_add_the_same_files_at_once_store_them_once(tmp_path) -> None:
    (tmp_path / "one.jsonl").write_text("\n".join(line(number) for number in range(5)))
    (tmp_path / "two.jsonl").write_text("\n".join(line(number) for number in range(3, 8)))
    script = """
store = open_store()  # the store itself is made by all at once, too
intakes = [store.add_file(folder / name, model="demo") for name in ("one.jsonl", "two.jsonl")]
answer([[len(intake.accepted), len(intake.duplicates), intake.accepted] for intake in intakes])
"""
    answers = processes(script, tmp_path, number=3)
    assert answers[0] == answers[1] == answers[2]
    assert [counts[:2] for counts in answers[0]] == [[5, 0], [3, 2]]
    assert len(open_store(tmp_path).list()) == 10


def test_a_killed_process_loses_nothing_and_its_batch_is_resumed(store, hand_in, tmp_path) -> None:
    intake = hand_in(line(1), line(2))
    script = """
store = open_store()
batch = store.open_batch(model="demo", corpus="", source="")
from infra.requests import Reason
store.reject(batch.request_ids[0], Reason("given_up", {"batch": "B"}))
answer(batch.id)
os.kill(os.getpid(), signal.SIGKILL)
"""
    (batch_id,) = processes(script, tmp_path, code=-signal.SIGKILL)
    batch = open_store(tmp_path).open_batch(model="demo", corpus="", source="")
    assert batch is not None
    assert batch.id == batch_id
    assert set(batch.request_ids) == set(intake.accepted)
    assert len(store.identifiers(batch.id)) == 1


def test_another_deployment_key_is_refused_in_one_line(store, tmp_path) -> None:
    with pytest.raises(OperationFailed, match="deployment key") as caught:
        RequestStore(f"sqlite:///{tmp_path / 'requests.db'}", Vault(bytes(32)))
    assert "\n" not in str(caught.value)


def test_the_database_file_is_for_its_owner_only(store, hand_in, tmp_path) -> None:
    hand_in(line(1))
    for path in tmp_path.glob("requests.db*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_is_no_database_is_refused_and_kept(tmp_path) -> None:
    (tmp_path / "requests.db").write_text("a letter to my aunt\n" * 100)
    with pytest.raises(OperationFailed, match="request store cannot be used") as caught:
        open_store(tmp_path)
    assert "\n" not in str(caught.value)
    assert (tmp_path / "requests.db").read_text().startswith("a letter")


def test_a_folder_that_is_missing_is_a_failure_of_the_surroundings(tmp_path) -> None:
    with pytest.raises(OperationFailed, match="cannot be opened"):
        open_store(tmp_path / "missing")


@pytest.mark.parametrize("url", ["nonsense", "sqlite://", "sqlite:///:memory:", "mysql://me:hunter2@db/revs", ""])
def test_an_address_of_no_usable_database_is_refused_without_its_password(url) -> None:
    with pytest.raises(BadInput, match="REVS_DATABASE_URL") as caught:
        RequestStore(url, Vault(KEY))
    assert "hunter2" not in str(caught.value)


def test_a_store_of_another_version_is_refused(store, tmp_path) -> None:
    connection = sqlite3.connect(tmp_path / "requests.db")
    connection.execute("UPDATE meta SET value = '999' WHERE name = 'schema_version'")
    connection.commit()
    connection.close()
    with pytest.raises(OperationFailed, match="newer version of revs"):
        open_store(tmp_path)


def test_a_full_disk_ends_in_one_line_and_stores_nothing(store, hand_in, tmp_path) -> None:
    hand_in(line(1))
    (tmp_path / "large.jsonl").write_text("\n".join(line(number) for number in range(1000, 2000)))
    script = """
store = open_store()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    store.add_file(folder / "large.jsonl", model="demo")
except OperationFailed as error:
    answer(str(error))
"""
    (said,) = processes(script, tmp_path)
    assert said.startswith("the request store cannot be used")
    assert "\n" not in said
    assert statuses(store) == ["received"]
    assert len(store.add_file(tmp_path / "large.jsonl", model="demo").accepted) == 1000


def test_who_stays_connected_waits_for_the_disk_less_and_leaves_nothing_behind(tmp_path) -> None:
    store = open_store(tmp_path)
    log = tmp_path / "requests.db-wal"
    store.add(json.loads(line(1)), model="demo")
    assert not log.exists(), "the last connection folded the log into the file"
    store = RequestStore(f"sqlite:///{tmp_path / 'requests.db'}", Vault(KEY), stay_connected=True)
    (request_id,) = store.add(json.loads(line(2)), model="demo").accepted
    assert log.stat().st_size > 0
    *_, (_, sealed) = payloads(tmp_path)
    assert sealed in stored_bytes(tmp_path)
    store.withdraw(request_id, by="ana")
    assert sealed not in stored_bytes(tmp_path), "nor in its log"
    assert store.events(request_id=request_id)[-1].event == "payloads.destroyed"
    store.add(json.loads(line(3)), model="demo")
    store.close()
    assert not log.exists()


@pytest.mark.parametrize("url", ["postgresql://u:hunter2@:bad/x", "postgresql://u:hunter2@db:99999999999x/x", "::"])
def test_an_address_that_is_none_is_refused_in_one_line_without_its_password(url: str) -> None:
    with pytest.raises(BadInput, match="REVS_DATABASE_URL is not a database address") as caught:
        RequestStore(url, Vault(KEY))
    assert "hunter2" not in str(caught.value) and "\n" not in str(caught.value)
