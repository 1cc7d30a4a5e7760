"""What people decide about requests by command, and `revs log`: what they say, refuse and leave behind."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from command_line import Revs, in_process

from infra.keys.keyfile import add_key
from infra.requests import Reason, RequestStore
from infra.settings import Settings, load_settings

GOOD = {"subject": "customer 1", "received": "2026-11-02", "identifiers": [{"type": "US_SSN", "value": "219-41-0001"}]}


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("REVS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("REVS_LOG_HEADS", str(tmp_path / "heads.jsonl"))
    return load_settings()


@pytest.fixture
def store(settings: Settings) -> RequestStore:
    return RequestStore.from_settings(settings)


@pytest.fixture
def revs(settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Revs:
    monkeypatch.setattr("infra.running.prefect_settings.prepare", lambda _: None)
    return in_process(monkeypatch, capsys, "219-41")


def test_a_request_is_held_released_and_withdrawn_and_the_log_says_by_whom(revs: Revs, store: RequestStore) -> None:
    (request_id,) = store.add(GOOD, model="demo").accepted
    assert revs("requests", "hold", request_id, "--ground", "legal_hold", "--by", "ana").out == "1 on hold\n"
    assert store.get(request_id).reason == Reason("legal_hold")
    assert revs("requests", "release", request_id, "--by", "bo").code == 0
    assert revs("requests", "withdraw", request_id, "--by", "bo").out == "1 withdrawn\n"
    assert store.get(request_id).status == "withdrawn"
    assert [event.detail.get("by") for event in store.events(request_id=request_id)] == [None, "ana", "bo", "bo", None]


def test_who_decides_is_not_what_the_environment_claims(
    revs: Revs, store: RequestStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (request_id,) = store.add(GOOD, model="demo").accepted
    monkeypatch.setenv("LOGNAME", "theboss")
    assert revs("requests", "withdraw", request_id, "--by", " ").code == 2
    assert revs("requests", "withdraw", request_id).code == 0
    (withdrawn,) = (event for event in store.events(request_id=request_id) if event.event == "request.withdrawn")
    assert withdrawn.detail["by"] not in ("", "theboss")


def test_what_cannot_be_decided_is_named_and_the_others_are_decided(revs: Revs, store: RequestStore) -> None:
    (request_id,) = store.add(GOOD, model="demo").accepted
    answer = revs("requests", "withdraw", "R-00000000", request_id)
    assert (answer.code, answer.out) == (2, "1 withdrawn\n")
    assert "there is no request R-00000000" in answer.err
    again = revs("requests", "retry", request_id)
    assert again.code == 2 and f"request {request_id} is withdrawn; it cannot become received" in again.err


def test_a_demand_from_an_unknown_sender_waits_until_somebody_else_verifies_it(revs: Revs, store: RequestStore) -> None:
    (request_id,) = store.add(GOOD, model="demo", by="door", verified=False).accepted
    assert request_id in revs("requests", "list", "--status", "unverified").out
    refused = revs("requests", "verify", request_id, "--by", "door")
    assert refused.code == 2 and "who cannot verify it" in refused.err
    assert revs("requests", "verify", request_id, "--by", "ana").out == "1 verified\n"
    assert store.get(request_id).status == "received"


def test_the_log_is_verified_and_a_changed_line_ends_in_an_error(
    revs: Revs, store: RequestStore, settings: Settings
) -> None:
    store.add(GOOD, model="demo")
    assert "no end noted elsewhere" in revs("log", "verify").out
    shown = revs("log", "head", "--append", settings.log_heads or "")
    count, mac, root = shown.out.split()
    assert (count, len(mac), len(root)) == ("1", 64, 64)
    assert revs("log", "verify").out == "1 events, all as they were written; 1 ends noted elsewhere\n"
    with sqlite3.connect(settings.home / "requests.db") as connection:
        connection.execute("DROP TRIGGER events_no_update")
        connection.execute("UPDATE events SET event = 'request.completed'")
    connection.close()
    answer = revs("log", "verify", "--json")
    assert answer.code == 1 and "the tables are not as it says (4 findings)" in answer.err
    assert json.loads(answer.out)["problems"][1] == "event 1 was changed, moved or put in afterwards"
    assert "event 1 was changed" in revs("log", "verify").out


def test_ends_are_stamped_and_verified_by_command(
    revs: Revs, store: RequestStore, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from timestamp_authority import certificates, timestamp_authority

    noted = settings.log_heads or Path()
    store.add(GOOD, model="demo")
    with timestamp_authority(tmp_path / "authority") as served:
        monkeypatch.setenv("REVS_TIMESTAMP_URL", served.url)
        revs("log", "head", "--append", noted)
        assert "1 of them with a timestamp, not checked (REVS_TIMESTAMP_CERTIFICATE)" in revs("log", "verify").out
        monkeypatch.setenv("REVS_TIMESTAMP_CERTIFICATE", str(served.certificate))
        assert revs("log", "verify").out.endswith("1 ends noted elsewhere, 1 of them with a timestamp, checked\n")
        monkeypatch.setenv("REVS_TIMESTAMP_CERTIFICATE", str(certificates(tmp_path)))
        refused = revs("log", "verify")
        assert refused.code == 1 and "the timestamp of the end that was noted after event 1 is not" in refused.out
        monkeypatch.setenv("REVS_TIMESTAMP_CERTIFICATE", str(tmp_path / "missing.pem"))
        assert revs("log", "verify").err.count("\n") == 1


def test_an_auditor_checks_a_proof_with_neither_the_store_nor_its_key(
    revs: Revs, store: RequestStore, settings: Settings, tmp_path: Path
) -> None:
    noted, exported, proof = tmp_path / "noted.jsonl", tmp_path / "log.jsonl", tmp_path / "proof.json"
    store.add(GOOD, model="demo")
    store.record("note")
    revs("log", "head", "--append", noted)
    store.record("another")
    assert revs("log", "export", "--out", exported).out == f"3 events in {exported}\n"
    assert exported.read_text() == revs("log", "export").out
    proof.write_text(revs("log", "prove", "2", "--at", "2").out)
    answer = revs("log", "check", proof, "--heads", noted)
    assert answer.code == 0 and answer.out.startswith("holds: event 2 of 2 events, root ")
    proof.write_text(revs("log", "prove", "2").out)
    assert revs("log", "check", proof).code == 0
    refused = revs("log", "check", proof, "--heads", noted)
    assert refused.code == 1 and "not against what was noted" in refused.err
    revs("log", "head", "--append", noted)
    proof.write_text(revs("log", "prove", "2", "--beginning").out)
    assert revs("log", "check", proof, "--heads", noted).out.startswith("holds: the first 2 of 3 events, root ")
    honest = json.loads(proof.read_text())
    proof.write_text(json.dumps(honest | {"size": 4}))
    assert revs("log", "check", proof).code == 0, "of a root alone nobody knows of how many events it is"
    assert revs("log", "check", proof, "--heads", noted).code == 1
    proof.write_text(json.dumps(honest | {"first": 1}))
    forged = revs("log", "check", proof)
    assert forged.code == 1 and "does not hold" in forged.err and forged.err.count("\n") == 1
    proof.write_text("[]")
    assert revs("log", "check", proof).err == "error: the file is no proof; make one with 'revs log prove'\n"
    assert "cannot be read" in revs("log", "check", tmp_path / "missing").err
    assert "cannot be written" in revs("log", "export", "--out", tmp_path / "missing" / "log").err
    assert "there is no event 9" in revs("log", "prove", "9").err


def test_the_key_is_rotated_and_what_was_cut_off_is_ended_by_the_same_command(
    revs: Revs, store: RequestStore, settings: Settings
) -> None:
    store.add(GOOD, model="demo")
    assert revs("keys", "rotate").out == "1 payloads are under the new key\n"
    assert len(settings.key_file.read_text().split()) == 2
    assert revs("requests", "list").code == 0 and revs("log", "verify").code == 0
    add_key(settings.key_file)  # and killed before the store was brought to it
    refused = revs("requests", "withdraw", store.list()[0].id)
    assert refused.code == 1 and "run 'revs keys rotate'" in refused.err
    assert json.loads(revs("keys", "rotate", "--json").out) == {"payloads": 1, "clean": True}
    assert len(settings.key_file.read_text().split()) == 3, "no further key"
    assert revs("requests", "withdraw", store.list()[0].id).code == 0


def test_an_open_batch_keeps_the_key_as_it_is(revs: Revs, store: RequestStore, settings: Settings) -> None:
    store.add(GOOD, model="demo")
    assert store.open_batch(model="demo", corpus="", source="") is not None
    answer = revs("keys", "rotate")
    assert answer.code == 2 and "is open" in answer.err
    assert len(settings.key_file.read_text().split()) == 1


def test_the_history_says_who_why_and_which_dates_moved(revs: Revs, store: RequestStore) -> None:
    today = datetime.now(UTC).date()
    late = GOOD | {"received": str(today - timedelta(days=3))}
    (request_id,) = store.add(late, model="demo").accepted
    before = store.get(request_id).due
    revs("requests", "hold", request_id, "--ground", "legal_hold", "--by", "ana")
    revs("requests", "extend", request_id, "--reason", "complexity", "--by", "bo")
    after = store.get(request_id).due
    (other,) = store.add(late | {"received": str(today - timedelta(days=9))}, model="demo").duplicates
    shown = revs("requests", "show", request_id).out.partition("history")[2]
    lines = [" ".join(line.replace("│", " ").split()) for line in shown.splitlines()]
    assert any("request.on_hold ana the law or a court asks to keep the data" in line for line in lines)
    assert any(f"request.extended bo the request is complex; {before} → {after}" in line for line in lines)
    assert any("request.received_moved_back" in line and f"because of {other}" in line for line in lines)


@pytest.mark.parametrize("by", [" ", "\t\n", "ana\x1b[2J", "ana\nbo", "\u202eana", "a" * 201])
def test_who_decides_is_a_name_that_can_be_printed(revs: Revs, store: RequestStore, by: str) -> None:
    (request_id,) = store.add(GOOD, model="demo").accepted
    for command in (("hold", request_id, "--ground", "identity"), ("withdraw", request_id)):
        answer = revs("requests", *command, "--by", by)
        assert answer.code == 2 and answer.err.startswith("error: --by ") and answer.err.isascii()
    assert store.get(request_id).status == "received"


def test_what_was_done_already_is_said_and_not_counted(revs: Revs, store: RequestStore) -> None:
    (request_id,) = store.add(GOOD, model="demo").accepted
    said = f"{request_id} is in line already; nothing was done\n"
    assert revs("requests", "verify", request_id, "--by", "ana").out == f"{said}0 verified\n"
    assert revs("requests", "release", request_id).out == f"{said}0 back in line\n"
    for _ in range(2):
        answer = revs("requests", "hold", request_id, "--ground", "identity")
    assert answer.out == f"{request_id} is on hold already; nothing was done\n0 on hold\n"
    for _ in range(2):
        answer = revs("requests", "withdraw", request_id)
    assert answer.out == f"{request_id} is withdrawn already; nothing was done\n0 withdrawn\n"


def test_a_file_of_what_was_withdrawn_is_not_taken_for_new_and_not_destroyed(
    revs: Revs, store: RequestStore, tmp_path: Path
) -> None:
    file = tmp_path / "r.jsonl"
    file.write_text(json.dumps(GOOD))
    assert "1 accepted" in revs("requests", "add", file).out
    assert revs("requests", "add", file).out.startswith("handed in before, nothing was added: 1 received\n")
    (request,) = store.list()
    store.withdraw(request.id, by="ana")
    answer = revs("requests", "add", file, "--shred")
    assert answer.code == 2 and f"{request.id} ended withdrawn or refused: --again takes it as new" in answer.err
    assert file.exists() and len(store.list()) == 1
    assert revs("requests", "add", file, "--again", "--shred").code == 0
    assert not file.exists() and len(store.list()) == 2


@pytest.mark.parametrize("by", ["ana [dpo]", "[/red]x", "[bold]bo"])
def test_a_name_with_brackets_is_shown_as_it_is(revs: Revs, store: RequestStore, by: str) -> None:
    (request_id,) = store.add(GOOD, model="demo").accepted
    assert revs("requests", "hold", request_id, "--ground", "objection", "--by", by).code == 0
    assert by in revs("requests", "show", request_id).out


def test_the_identifiers_of_a_request_are_shown_by_number_before_any_batch(revs: Revs, store: RequestStore) -> None:
    two = [*GOOD["identifiers"], {"type": "EMAIL_ADDRESS", "value": "zz@example.com"}]
    (request_id,) = store.add(GOOD | {"identifiers": two}, model="demo").accepted
    shown = json.loads(revs("requests", "show", request_id, "--json").out)["identifiers"]
    assert [(each["number"], each["type"], each["kind"]) for each in shown] == [
        (0, "US_SSN", "not_sought"), (1, "EMAIL_ADDRESS", "not_sought"),
    ]  # fmt: skip
    narrow = ("requests", "narrow", request_id, "--identifier", "1", "--reason", "not_theirs", "--by", "ana")
    assert revs(*narrow).out == f"identifier 1 (EMAIL_ADDRESS) of {request_id} is dropped and destroyed\n"
    assert revs(*narrow).out == f"identifier 1 of {request_id} is dropped already; nothing was done\n"
    assert "dropped: it is not theirs" in revs("requests", "show", request_id).out


@pytest.mark.parametrize("word", ["refuse", "accept"])
def test_what_is_refused_or_accepted_twice_is_said_and_the_others_are_decided(
    revs: Revs, store: RequestStore, word: str
) -> None:
    first, second = (store.add(GOOD | {"subject": name}, model="demo").accepted[0] for name in "ab")
    if word == "refuse":
        more = ["--ground", "excessive"]
        store.refuse(first, ground="excessive", by="ana")
        answer = revs("requests", "refuse", first, second, *more, "--by", "ana")
        assert answer.code == 0 and f"{first} is rejected already" in answer.out and "1 refused" in answer.out
    else:
        answer = revs("requests", "accept", first, second, "--by", "ana")
        assert answer.code == 2 and "is received; it cannot become completed: let a batch take it first" in answer.err


def test_the_log_is_not_called_complete_where_its_noted_ends_are_gone(
    revs: Revs, store: RequestStore, tmp_path: Path
) -> None:
    assert revs("log", "verify").code == 0, "no batch has ended yet"
    store.add(GOOD, model="demo")
    batch = store.open_batch(model="demo", corpus="c", source="models:/demo/1")
    assert batch is not None
    store.close_batch(batch.id, status="failed", outcome={})
    assert revs("log", "verify").code == 0
    (tmp_path / "heads.jsonl").unlink()
    answer = revs("log", "verify")
    assert answer.code == 2 and "which is not there, though batches have ended" in answer.err


@pytest.mark.parametrize("index", ["1", 1.9, None, True])
def test_a_proof_whose_numbers_are_none_is_refused(
    revs: Revs, store: RequestStore, tmp_path: Path, index: object
) -> None:
    store.add(GOOD, model="demo")
    proof = json.loads(revs("log", "prove", "1").out)
    (path := tmp_path / "p.json").write_text(json.dumps(proof | {"index": index}))
    assert revs("log", "check", path).code == 2


def test_what_is_no_id_is_not_shown_again(revs: Revs) -> None:
    answer = revs("requests", "withdraw", "quillfern@example.com", "--by", "ana")
    assert answer.code == 2 and "there is no request with this id" in answer.err and "quillfern" not in answer.err
    answer = revs("requests", "add", "-", "--model", "quillfern@example.com")
    assert answer.code == 2 and "quillfern" not in answer.err
