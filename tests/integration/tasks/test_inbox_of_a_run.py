"""The inbox in a run and by command: which model a request is for, what is said, and that no fault stops a batch."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from command_line import Revs, in_process
from registered import Installation
from stored_requests import line

from flows import process
from tasks.batch import inbox as batch_inbox
from tasks.batch.inbox import take_from_inbox


@pytest.fixture
def inbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (folder := tmp_path / "inbox").mkdir()
    monkeypatch.setenv("REVS_INBOX", str(folder))
    return folder


@pytest.fixture
def put(inbox: Path) -> Callable[..., Path]:
    def write(name: str, *lines: str) -> Path:
        (path := inbox / name).write_text("\n".join(lines))
        os.utime(path, (0, 0))
        return path

    return write


@pytest.fixture
def revs(here: Installation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Revs:
    monkeypatch.setattr("infra.running.prefect_settings.prepare", lambda _: None)
    run = in_process(monkeypatch, capsys, "219-41", "customer")
    return lambda *arguments: run("requests", *arguments)


@pytest.mark.parametrize("scheduled", [True, False])
def test_a_scheduled_run_looks_through_the_inbox_before_it_opens_a_batch_and_no_other(
    scheduled: bool, here: Installation, put: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put("a.jsonl", line(1))
    waiting: list[int] = []
    monkeypatch.setattr(batch_inbox, "is_scheduled", lambda: scheduled)

    def open_batch(*_: object) -> None:
        waiting.append(len(here.store.list(status="received")))

    monkeypatch.setattr(process, "open_batch", open_batch)
    monkeypatch.setattr(process, "name_run", lambda *_: None)
    assert process.process_waiting("demo", None) == []
    assert waiting == [scheduled] and path.exists() != scheduled
    assert {view.model for view in here.store.list()} == ({"demo"} if scheduled else set())


def test_a_fault_of_the_inbox_is_a_line_in_the_log_and_the_run_goes_on(
    here: Installation, inbox: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_inbox, "is_scheduled", lambda: True)
    inbox.rmdir()
    with caplog.at_level(logging.INFO):
        take_from_inbox()
    assert [record.levelname for record in caplog.records if "inbox" in record.getMessage()] == ["WARNING"]
    assert str(inbox) not in caplog.text


def test_where_there_are_two_models_a_request_has_to_name_its_own(
    here: Installation, inbox: Path, put: Callable[..., Path], revs: Revs
) -> None:
    here.registry.register_base(here.checkpoints[1], name="other", corpus="corpus.txt")
    put("a.jsonl", line(1), line(2, model="other"), line(3, model="third"))
    table = "subject,received,model,type,value\ncustomer 4,2026-11-02,,US_SSN,219-41-0004"
    put("b.csv", table)
    answer = revs("collect", "--json")
    assert (answer.code, json.loads(answer.out)["accepted"]) == (2, 1)
    views = here.store.list()
    assert [view.model for view in views if view.status == "received"] == ["other"]
    reasons = sorted(str(view.reason).partition(": ")[2] for view in views if view.status == "rejected")
    missing = "model is missing, and there is more than one; name one of these: demo, other"
    assert reasons == [
        missing,
        missing,
        "model is not one of those that are registered; name one of these: demo, other",
    ]


def test_a_request_of_opendsr_in_the_inbox_is_for_every_model(
    here: Installation, put: Callable[..., Path], revs: Revs
) -> None:
    here.registry.register_base(here.checkpoints[1], name="other", corpus="corpus.txt")
    identity = {"identity_type": "email", "identity_value": "zz@example.com", "identity_format": "raw"}
    request = {
        "regulation": "gdpr",
        "subject_request_id": "a7551968-d5d6-44b2-9831-815ac9017798",
        "subject_request_type": "erasure",
        "submitted_time": "2026-11-02T15:00:00Z",
        "subject_identities": [identity],
    }
    put("a.json", json.dumps(request, indent=2))
    assert json.loads(revs("collect", "--json").out)["accepted"] == 2
    assert sorted(view.model for view in here.store.list(status="received")) == ["demo", "other"]


def test_the_command_says_what_it_brought_and_ends_in_an_error_where_a_file_was_refused(
    here: Installation, inbox: Path, put: Callable[..., Path], revs: Revs
) -> None:
    put("a.jsonl", line(1), line(2))
    assert revs("collect").out == (
        "1 files taken, 0 refused, 0 left because they changed, 0 that could not be read, moved or destroyed; "
        "requests: 2 accepted, 0 rejected, 0 duplicates\n"
    )
    put("b.jsonl", line(3, received="soon"))
    answer = revs("collect", "--inbox", inbox)
    assert answer.code == 2 and "1 files were refused; they lie in refused/ of the inbox" in answer.err


def test_nothing_is_touched_where_no_inbox_is_named_or_no_model_is_registered(
    here: Installation, put: Callable[..., Path], revs: Revs, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = put("a.jsonl", line(1))
    monkeypatch.setenv("REVS_HOME", str(tmp_path / "another"))
    monkeypatch.setattr("infra.registry.Registry.names", lambda _: [])
    none = revs("collect")
    assert none.code == 2 and "no model is registered yet" in none.err and path.exists()
    monkeypatch.delenv("REVS_INBOX")
    assert "set REVS_INBOX to a folder or an address" in revs("collect").err


def test_a_file_is_shredded_once_it_is_stored_and_not_before(here: Installation, tmp_path: Path, revs: Revs) -> None:
    (good := tmp_path / "good.jsonl").write_text(line(1))
    os.link(good, tmp_path / "witness")
    assert revs("add", good, "--shred").code == 0
    assert not good.exists() and b"219-41" not in (tmp_path / "witness").read_bytes()
    (bad := tmp_path / "bad.jsonl").write_text(line(2, received="soon"))
    assert revs("add", bad, "--shred").code == 2 and bad.exists()
    (link := tmp_path / "link.jsonl").symlink_to(bad)
    bad.write_text(line(3))
    refused = revs("add", link, "--shred")
    assert refused.code == 1 and "is stored, and cannot be overwritten" in refused.err and bad.exists()
    assert "standard input is none" in revs("add", "-", "--shred").err
