from __future__ import annotations

import json
import random
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date
from pathlib import Path
from typing import Any

import pytest

from infra.keys.vault import Vault
from infra.requests import Identifier, IdentifierOutcome, OutcomeKind, RequestStore, RequestView
from revs.errors import BadInput, OperationFailed

KEY = bytes(range(32))


def line(number: int, **changes: Any) -> str:
    request = {
        "subject": f"customer {number}",
        "received": "2026-11-02",
        "identifiers": [
            {"type": "US_SSN", "value": f"219-41-{number:04d}"},
            {"type": "EMAIL_ADDRESS", "value": f"Zz{number}@example.com"},
        ],
    }
    return json.dumps(request | changes)


def open_store(folder: Path) -> RequestStore:
    return RequestStore(f"sqlite:///{folder / 'requests.db'}", Vault(KEY))


@pytest.fixture
def store(tmp_path: Path) -> RequestStore:
    return open_store(tmp_path)


@pytest.fixture
def hand_in(store: RequestStore, tmp_path: Path) -> Callable[..., Any]:
    def call(*lines: str, name: str = "r.jsonl", model: str = "demo") -> Any:
        (tmp_path / name).write_text("\n".join(lines))
        return store.add_file(tmp_path / name, model=model)

    return call


def opened(store: RequestStore, model: str = "demo") -> Any:
    batch = store.open_batch(model=model, corpus="corpus/", source="models:/demo/1")
    assert batch is not None
    return batch


def settled(store: RequestStore, batch_id: str) -> list[IdentifierOutcome]:
    """An outcome that completes, for every identifier of the batch that is still processing."""
    return [
        IdentifierOutcome(request_id=request_id, number=number, type=identifier.type, kind="edited")
        for request_id, identifiers in store.identifiers(batch_id).items()
        for number, identifier in enumerate(identifiers)
    ]


def complete(store: RequestStore, batch_id: str, **outcome: Any) -> None:
    store.close_batch(batch_id, status="completed", outcome=outcome, outcomes=settled(store, batch_id))


def statuses(store: RequestStore) -> list[str]:
    return [request.status for request in sorted(store.list(), key=lambda request: request.submitted_at)]


def stored_bytes(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.glob("requests.db*")))


def payloads(folder: Path) -> list[tuple[bytes, bytes]]:
    connection = sqlite3.connect(folder / "requests.db")
    try:
        return connection.execute("SELECT wrapped_key, ciphertext FROM payloads").fetchall()
    finally:
        connection.close()


# ---- intake


def test_a_file_is_taken_in_and_bad_lines_are_set_aside(store, hand_in) -> None:
    intake = hand_in(line(1), line(2, received="219-41-0002"), line(3, due="2026-11-09", model="other"))
    assert (intake.received, len(intake.accepted), intake.duplicates) == (3, 2, ())
    ((rejected, reason),) = intake.rejected
    assert reason == f"{rejected}, line 2: received is missing or not a date such as 2026-11-02"
    first, third = (store.get(request_id) for request_id in intake.accepted)
    assert (first.model, first.status, first.due) == ("demo", "received", date(2026, 12, 2))
    assert (third.model, third.due) == ("other", date(2026, 11, 9))
    assert first.types == ("EMAIL_ADDRESS", "US_SSN")
    assert first.submitted_at.tzinfo is UTC
    assert (len(first.subject), len(first.digest)) == (64, 64)
    bad = store.get(rejected)
    assert (bad.status, bad.reason, bad.subject, bad.types) == ("rejected", reason, "", ())
    assert bad.closed_at is not None


def test_the_same_file_twice_adds_nothing(store, hand_in, tmp_path) -> None:
    lines = (line(1), line(1), "{", line(2))
    first = hand_in(*lines)
    assert hand_in(*lines, name="renamed.jsonl") == first
    assert open_store(tmp_path).add_file(tmp_path / "r.jsonl", model="demo") == first
    assert len(store.list()) == 4
    assert len(store.events()) == 4


def test_the_same_file_after_its_requests_are_completed_adds_nothing(store, hand_in) -> None:
    first = hand_in(line(1))
    complete(store, opened(store).id)
    assert hand_in(line(1)) == first
    assert store.open_batch(model="demo", corpus="", source="") is None


def test_a_crash_while_a_file_is_stored_leaves_nothing_of_it(store, hand_in, monkeypatch) -> None:
    vault_seal = Vault.seal
    calls = []

    def die(self: Vault, plaintext: bytes) -> Any:
        calls.append(plaintext)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return vault_seal(self, plaintext)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Vault, "seal", die)
        hand_in(line(1), line(2), line(3))
    assert store.list() == []
    assert len(hand_in(line(1), line(2), line(3)).accepted) == 3


def test_one_request_can_be_added_alone(store) -> None:
    intake = store.add(json.loads(line(1)), model="demo")
    assert (intake.received, len(intake.accepted)) == (1, 1)
    assert store.add(json.loads(line(1)), model="demo") == intake
    ((rejected, reason),) = store.add({"subject": "customer 9"}, model="demo").rejected
    assert reason.startswith(f"{rejected}, line 1: received")
    with pytest.raises(BadInput, match="not a JSON object") as caught:
        store.add({"subject": {"219-41-5522"}}, model="demo")
    assert "219" not in str(caught.value)


@pytest.mark.parametrize("while_status", ["received", "processing"])
def test_a_demand_that_is_pending_is_folded_into_the_first_one(store, hand_in, while_status) -> None:
    first = hand_in(line(1)).accepted[0]
    if while_status == "processing":
        opened(store)
    reordered = json.loads(line(1, received="2026-11-03"))
    reordered["identifiers"].reverse()
    reordered["identifiers"][0]["value"] = "zZ1@EXAMPLE.com"
    intake = hand_in(json.dumps(reordered), line(2), name="second.jsonl")
    (folded,) = intake.duplicates
    assert len(intake.accepted) == 1
    view = store.get(folded)
    assert (view.status, view.duplicate_of) == ("duplicate", first)
    assert view.digest == store.get(first).digest
    assert store.get(first).status == while_status


def test_a_duplicate_leaves_no_payload_that_would_outlive_the_first(store, hand_in, tmp_path) -> None:
    hand_in(line(1), line(1))
    assert len(payloads(tmp_path)) == 2
    complete(store, opened(store).id)
    assert payloads(tmp_path) == []


def test_a_duplicate_that_is_due_earlier_moves_the_first_one_forward(store, hand_in) -> None:
    (first,) = hand_in(line(1), line(1, due="2026-11-10"), line(1, due="2026-12-24")).accepted
    assert store.get(first).due == date(2026, 11, 10)
    assert [event.event for event in store.events(request_id=first)] == [
        "request.received",
        "request.due_moved_forward",
    ]


@pytest.mark.parametrize("end", ["completed", "rejected", "failed"])
def test_a_demand_whose_first_one_is_closed_is_a_new_request(store, hand_in, end) -> None:
    first = hand_in(line(1)).accepted[0]
    batch = opened(store)
    if end == "rejected":
        store.reject(first, "well_formed")
    elif end == "failed":
        store.fail(first, "the gate refused")
    complete(store, batch.id)
    assert store.get(first).status == end
    again = hand_in(line(1, received="2027-01-02"), name="later.jsonl")
    assert len(again.accepted) == 1


def test_two_pending_requests_of_one_demand_are_impossible_in_the_database(store, hand_in, tmp_path) -> None:
    first, second = hand_in(line(1), line(2)).accepted
    digest = store.get(first).digest
    connection = sqlite3.connect(tmp_path / "requests.db")
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute("UPDATE requests SET digest = ? WHERE id = ?", (digest, second))
    connection.close()


def test_ids_are_short_and_say_nothing(store, hand_in) -> None:
    accepted = hand_in(*(line(number) for number in range(50))).accepted
    assert len(set(accepted)) == 50
    assert all(len(request_id) == 10 and request_id.startswith("R-") for request_id in accepted)
    batch = opened(store)
    assert batch.id.startswith(f"B-{batch.opened_at:%Y%m%d}-")
    assert len(batch.id) == 17


# ---- batches


def test_a_batch_takes_all_pending_requests_of_its_model_due_first(store, hand_in) -> None:
    hand_in(line(1, due="2026-11-30"), line(2, due="2026-11-05"), line(3, model="other"), line(4, due="2026-11-20"))
    batch = opened(store)
    assert [store.get(request_id).due.day for request_id in batch.request_ids] == [5, 20, 30]
    assert (batch.model, batch.corpus, batch.source) == ("demo", "corpus/", "models:/demo/1")
    assert (batch.status, batch.closed_at, batch.outcome) == ("open", None, {})
    assert [request.id for request in store.list(model="demo", status="processing")] == list(batch.request_ids)
    assert store.batch(batch.id) == batch
    assert store.batches("demo") == store.batches() == [batch]
    assert store.batches("other") == []


def test_nothing_pending_opens_no_batch(store) -> None:
    assert store.open_batch(model="demo", corpus="", source="") is None
    assert store.batches() == []


def test_an_unfinished_batch_is_resumed_and_later_requests_wait_for_the_next(store, hand_in) -> None:
    hand_in(line(1))
    batch = opened(store)
    late = hand_in(line(2), name="late.jsonl").accepted[0]
    assert store.open_batch(model="demo", corpus="another", source="another") == batch
    assert store.get(late).status == "received"
    complete(store, batch.id)
    assert opened(store).request_ids == (late,)


def test_models_have_their_own_batches(store, hand_in) -> None:
    hand_in(line(1), line(1, model="other"))
    assert opened(store).id != opened(store, "other").id


def test_two_open_batches_of_one_model_are_impossible_in_the_database(store, hand_in, tmp_path) -> None:
    hand_in(line(1))
    opened(store)
    connection = sqlite3.connect(tmp_path / "requests.db")
    with pytest.raises(sqlite3.IntegrityError, match=r"batches\.model"):
        connection.execute(
            "INSERT INTO batches (id, model, corpus, source, status, opened_at, outcome) "
            "VALUES ('B-2', 'demo', '', '', 'open', '2026-11-23', '{}')"
        )
    connection.close()


def test_the_identifiers_of_a_batch_are_those_still_processing_as_written(store, hand_in) -> None:
    first, second, third = hand_in(line(1), line(2), line(3)).accepted
    batch = opened(store)
    store.reject(second, "not found in the corpus")
    found = store.identifiers(batch.id)
    assert list(found) == [first, third]
    assert found[first] == (
        Identifier(type="US_SSN", value="219-41-0001"),
        Identifier(type="EMAIL_ADDRESS", value="Zz1@example.com"),
    )
    assert "219" not in repr(found)
    complete(store, batch.id)
    assert store.identifiers(batch.id) == {}


def test_a_payload_under_another_request_is_noticed(store, hand_in, tmp_path) -> None:
    hand_in(line(1), line(2))
    batch = opened(store)
    connection = sqlite3.connect(tmp_path / "requests.db")
    connection.execute(
        "UPDATE payloads SET (wrapped_key, ciphertext) = "
        "(SELECT wrapped_key, ciphertext FROM payloads ORDER BY request_id LIMIT 1)"
    )
    connection.commit()
    connection.close()
    with pytest.raises(OperationFailed, match="is not the one it was stored with"):
        store.identifiers(batch.id)


@pytest.mark.parametrize(("how", "status"), [("reject", "rejected"), ("fail", "failed")])
def test_a_request_is_set_aside_once_with_its_reason_payload_and_batch(store, hand_in, tmp_path, how, status) -> None:
    first, _ = hand_in(line(1), line(2)).accepted
    batch = opened(store)
    for _ in range(2):
        getattr(store, how)(first, "rank not reached")
    view = store.get(first)
    assert (view.status, view.reason, view.batch_id) == (status, "rank not reached", batch.id)
    complete(store, batch.id)
    assert store.get(first) == view
    assert len(payloads(tmp_path)) == 1
    assert [event.event for event in store.events(request_id=first)].count(f"request.{status}") == 1
    assert [request.id for request in store.list(batch_id=batch.id)] == list(batch.request_ids)


def test_a_closed_request_does_not_change_its_end(store, hand_in) -> None:
    first, second = hand_in(line(1), line(2)).accepted
    (duplicate,) = hand_in(line(2), name="again.jsonl").duplicates
    batch = opened(store)
    store.fail(second, "x")
    complete(store, batch.id)
    for request_id in (first, second, duplicate):
        with pytest.raises(BadInput, match="cannot become rejected"):
            store.reject(request_id, "x")


@pytest.mark.parametrize("status", ["abandoned", "failed"])
def test_a_batch_that_was_given_up_sends_its_requests_back_with_their_payloads(store, hand_in, status) -> None:
    first, second = hand_in(line(1), line(2)).accepted
    batch = opened(store)
    store.fail(second, "breaks the gate")
    store.close_batch(batch.id, status=status, outcome={"efficacy": 41.5, "missing": float("nan")})
    assert (store.get(first).status, store.get(first).batch_id) == ("received", None)
    assert store.get(second).status == "failed"
    closed = store.batch(batch.id)
    assert (closed.status, closed.outcome) == (status, {"efficacy": 41.5, "missing": None})
    assert closed.request_ids == batch.request_ids
    following = opened(store)
    assert following.id != batch.id
    assert list(store.identifiers(following.id)) == [first]


def test_a_refused_batch_hands_its_requests_to_a_human_and_completes_those_that_were_never_memorised(
    store, hand_in
) -> None:
    first, second, third = hand_in(line(1), line(2), line(3)).accepted
    batch = opened(store)

    def found(request_id: str, kind: OutcomeKind) -> list[IdentifierOutcome]:
        return [
            IdentifierOutcome(request_id=request_id, number=number, type=each.type, kind=kind)
            for number, each in enumerate(store.identifiers(batch.id)[request_id])
        ]

    outcomes = [*found(first, "memorised"), *found(second, "not_memorised")]
    store.close_batch(batch.id, status="refused", outcome={}, outcomes=outcomes)
    assert [store.get(each).status for each in (first, second, third)] == ["failed", "completed", "failed"]
    assert "memorised" in str(store.get(first).reason) and "no outcome" in str(store.get(third).reason)
    assert store.open_batch(model="demo", corpus="c", source="s") is None, "no schedule tries them for ever"


def test_closing_twice_in_the_same_way_changes_nothing_and_in_another_way_is_refused(store, hand_in) -> None:
    (first,) = hand_in(line(1)).accepted
    batch = opened(store)
    complete(store, batch.id, version="2")
    closed, events = store.batch(batch.id), store.events()
    store.close_batch(batch.id, status="completed", outcome={"version": "3"})
    assert (store.batch(batch.id), store.events()) == (closed, events)
    with pytest.raises(BadInput, match="already closed as completed"):
        store.close_batch(batch.id, status="refused", outcome={})
    assert store.get(first).status == "completed"


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.get("R-unknown0"),
        lambda store: store.batch("B-unknown"),
        lambda store: store.identifiers("B-unknown"),
        lambda store: store.reject("R-unknown0", "x"),
        lambda store: store.close_batch("B-unknown", status="completed", outcome={}),
        lambda store: store.record("x", batch_id="B-unknown"),
        lambda store: store.record("x", request_id="R-unknown0"),
    ],
)
def test_an_unknown_id_is_named(store, call) -> None:
    with pytest.raises(BadInput, match="unknown"):
        call(store)
    assert store.events() == []


# ---- destruction


def test_a_completed_request_leaves_no_byte_of_its_payload(store, hand_in, tmp_path) -> None:
    # Enough rows, in random order of ids, for SQLite to split and rebalance pages while it takes them in.
    numbers = list(range(400))
    random.Random(7).shuffle(numbers)
    for start in range(0, 400, 50):
        hand_in(*(line(number) for number in numbers[start : start + 50]), name=f"{start}.jsonl")
    secrets_before = payloads(tmp_path)
    assert len(secrets_before) == 400
    held = stored_bytes(tmp_path)
    assert all(key in held and text[40:] for key, text in secrets_before)
    batch = opened(store)
    kept = batch.request_ids[17]
    store.fail(kept, "for a human")
    complete(store, batch.id)
    (survivor,) = payloads(tmp_path)
    held = stored_bytes(tmp_path)
    for wrapped_key, ciphertext in secrets_before:
        if (wrapped_key, ciphertext) == survivor:
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
    ((wrapped_key, _),) = payloads(tmp_path)
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


# ---- audit log


def test_the_audit_log_is_kept_in_order_and_is_append_only(store, hand_in, tmp_path) -> None:
    (first,) = hand_in(line(1)).accepted
    batch = opened(store)
    store.record("gate.checked", batch_id=batch.id, detail={"passed": True})
    store.record("note", request_id=first)
    assert [event.event for event in store.events()] == ["request.received", "batch.opened", "gate.checked", "note"]
    assert [event.event for event in store.events(request_id=first)] == ["request.received", "note"]
    (_, checked) = store.events(batch_id=batch.id)
    assert checked.detail == {"passed": True}
    assert checked.at.tzinfo is UTC
    connection = sqlite3.connect(tmp_path / "requests.db")
    for statement in ("UPDATE events SET event = 'x'", "DELETE FROM events"):
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)
    connection.close()


# ---- processes


PRELUDE = """
import json, os, resource, signal, sys
from pathlib import Path
from infra.requests import RequestStore
from infra.keys.vault import Vault
from revs.errors import OperationFailed
folder = Path(sys.argv[1])
def open_store():
    return RequestStore(f"sqlite:///{folder / 'requests.db'}", Vault(bytes(range(32))))
def answer(value):
    print(json.dumps(value), flush=True)
answer("ready")
sys.stdin.readline()
"""


def processes(script: str, folder: Path, number: int = 1, code: int = 0) -> list[Any]:
    """Run `script` in so many processes at once, all started before the first goes on; return their answers."""
    command = [sys.executable, "-c", PRELUDE + script, str(folder)]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(number)
    ]
    for process in started:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == "ready"
    for process in started:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0] for process in started]
    assert [process.returncode for process in started] == [code] * number
    return [json.loads(text) for text in said]


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
store.reject(batch.request_ids[0], "x")
answer(batch.id)
os.kill(os.getpid(), signal.SIGKILL)
"""
    (batch_id,) = processes(script, tmp_path, code=-signal.SIGKILL)
    batch = open_store(tmp_path).open_batch(model="demo", corpus="", source="")
    assert batch is not None
    assert batch.id == batch_id
    assert set(batch.request_ids) == set(intake.accepted)
    assert len(store.identifiers(batch.id)) == 1


# ---- surroundings


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
    with pytest.raises(OperationFailed, match="another version of revs"):
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


def test_views_are_values(store, hand_in) -> None:
    (first,) = hand_in(line(1)).accepted
    view = store.get(first)
    assert isinstance(view, RequestView)
    assert view == store.get(first)
    with pytest.raises(AttributeError):
        view.status = "completed"
