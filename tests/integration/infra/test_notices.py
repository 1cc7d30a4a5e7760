"""Notices reach a mailbox and a webhook, tell everything once, lose nothing where a place is away, name nobody."""

from __future__ import annotations

import email
import json
import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from stored_requests import BECAUSE, KEY, complete, line, opened

from infra import notices
from infra.keys.vault import Vault
from infra.notices import TOLD
from infra.requests import Clock, RequestStore, lifecycle, rows
from revs.errors import BadInput


class Mailbox:
    """Takes mails."""

    def __init__(self) -> None:
        self.mails: list[Any] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.mails.append(email.message_from_bytes(envelope.content))
        return "250 OK"


@pytest.fixture
def mailbox() -> Iterator[tuple[Mailbox, str]]:
    """A mail server on localhost, and its address."""
    box = Mailbox()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    yield box, f"mailto://127.0.0.1:{port}/?from=revs@example.com&to=officer@example.com&mode=insecure"
    controller.stop()


class Hook:
    """A webhook on localhost that answers as it is told."""

    def __init__(self) -> None:
        self.status, self.taken = 200, []  # type: ignore[var-annotated]  # of any JSON
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if hook.status == 200:
                    hook.taken.append(json.loads(body))
                self.send_response(hook.status)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://127.0.0.1:{self.server.server_port}/hook"


@pytest.fixture
def hook() -> Iterator[Hook]:
    found = Hook()
    thread = threading.Thread(target=found.server.serve_forever)
    thread.start()
    yield found
    found.server.shutdown()
    thread.join()
    found.server.server_close()


@pytest.fixture
def store(tmp_path: Path) -> RequestStore:
    return RequestStore(f"sqlite:///{tmp_path / 'requests.db'}", Vault(KEY), Clock())


LATER = {"due": "2099-01-01"}  # neither overdue nor soon due on the day of the test


def add(store: RequestStore, number: int, **changes: Any) -> str:
    (request_id,) = store.add(json.loads(line(number, **(LATER | changes))), model="demo").accepted
    return request_id


def test_an_officer_gets_one_mail_of_all_that_happened_and_no_second_of_the_same(
    store: RequestStore, mailbox: tuple[Mailbox, str]
) -> None:
    box, url = mailbox
    add(store, 1)
    assert [each.events for each in notices.send(store, url)] == [0], "what was before is not told"
    done, failed = add(store, 2), add(store, 3)
    store.fail(failed, BECAUSE)
    complete(store, opened(store).id)
    (sent,) = notices.send(store, url)
    assert (
        sent.taken and sent.place == "mailto://127.0.0.1:" + url.split(":")[2].split("/")[0] + "/officer%40example.com"
    )
    (mail,) = box.mails
    assert mail["To"] == "officer@example.com" and mail["Subject"].startswith("Deletion requests: 1 needs a human")
    body = "".join(part.get_payload(decode=True).decode() for part in mail.walk() if not part.is_multipart())
    assert f"{failed}: needs a human" in body and f"{done}: completed" in body
    assert notices.send(store, url)[0].events == 0 and len(box.mails) == 1


def test_a_place_that_is_away_is_told_everything_when_it_is_back_and_the_others_meanwhile(
    store: RequestStore, hook: Hook, mailbox: tuple[Mailbox, str]
) -> None:
    box, mail = mailbox
    urls = f"{hook.url} {mail}"
    notices.send(store, urls)
    hook.status = 503
    first = add(store, 1)
    assert [each.taken for each in notices.send(store, urls)] == [False, True]
    assert list(notices.behind(store, urls).values()) == [1, 0]
    second = add(store, 2)
    hook.status = 200
    assert [(each.taken, each.events) for each in notices.send(store, urls)] == [(True, 2), (True, 1)]
    (told,) = hook.taken
    assert first in told["message"] and second in told["message"]
    assert len(box.mails) == 2


def test_what_becomes_overdue_is_told_once_and_first(
    store: RequestStore, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    notices.send(store, hook.url)
    late = add(store, 1, received="2020-01-01", due="2020-02-01")
    for _ in range(2):
        notices.send(store, hook.url)
    (told,) = hook.taken
    assert told["title"] == "Deletion requests: 1 overdue, 1 received"
    assert told["message"].startswith(f"{late}: overdue\n")


def test_no_notice_names_a_person_an_identifier_or_a_reason(store: RequestStore, hook: Hook) -> None:
    notices.send(store, hook.url)
    failed = add(store, 1)
    store.fail(failed, BECAUSE)
    store.add(json.loads(line(2, subject="customer Zorblatt", received="some day")), model="demo")
    notices.send(store, hook.url)
    said = json.dumps(hook.taken)
    assert "rejected" in said and failed in said
    for secret in ("219-41", "Zz1@", "customer", "Zorblatt"):
        assert secret not in said


def test_many_events_are_one_notice_of_bounded_length(store: RequestStore, hook: Hook, tmp_path: Path) -> None:
    notices.send(store, hook.url)
    (tmp_path / "r.jsonl").write_text("\n".join(line(number, **LATER) for number in range(120)))
    store.add_file(tmp_path / "r.jsonl", model="demo")
    notices.send(store, hook.url)
    (told,) = hook.taken
    assert "120 received" in told["title"] and "and 70 more" in told["message"]


def test_an_address_that_is_none_is_refused_without_being_shown(store: RequestStore) -> None:
    with pytest.raises(BadInput, match=r"address 2 of REVS_NOTICES") as caught:
        notices.send(store, "json://127.0.0.1/hook smtp-password:hunter2")
    assert "hunter2" not in str(caught.value)


def test_an_alarm_that_was_there_before_anybody_was_told_is_told(store: RequestStore, hook: Hook) -> None:
    late = add(store, 1, received="2020-01-01", due="2020-02-01")
    assert notices.send(store, hook.url)[0].events == 1
    assert f"{late}: overdue" in hook.taken[0]["message"]


def test_an_address_whose_password_was_mended_is_told_what_it_missed(store: RequestStore, hook: Hook) -> None:
    wrong, right = (hook.url.replace("//", f"//revs:{password}@") for password in ("wrong", "right"))
    notices.send(store, wrong)
    hook.status = 401
    add(store, 1)
    assert not notices.send(store, wrong)[0].taken
    hook.status = 200
    (sent,) = notices.send(store, right)
    assert (sent.events, sent.taken) == (1, True)
    assert "revs" not in sent.place and "right" not in sent.place


def test_after_an_extension_the_new_day_has_an_alarm_of_its_own(
    store: RequestStore, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    notices.send(store, hook.url)
    day = datetime(2026, 11, 28, 12, tzinfo=UTC)
    monkeypatch.setattr(rows, "now", lambda: day)
    request_id = add(store, 1, received="2026-11-02", due=None)
    notices.send(store, hook.url)
    store.extend(request_id, reason="complexity", by="Ana")
    monkeypatch.setattr(rows, "now", lambda: day + timedelta(days=61))
    notices.send(store, hook.url)
    assert ["soon due" in told["message"] for told in hook.taken] == [True, True]


def test_every_way_in_which_a_request_ends_or_needs_a_human_is_told() -> None:
    ends = {
        step.event
        for step in lifecycle.STEPS.values()
        if step.target in ("completed", "rejected", "failed", "withdrawn")
    }
    assert ends <= TOLD.keys()
