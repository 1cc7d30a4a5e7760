"""Signed webhooks, taken by a server that verifies them: whose they are, which is a replay, what is tried again."""

from __future__ import annotations

import json
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError
from stored_requests import KEY, line

from infra import notices, webhooks
from infra.keys.vault import Vault
from infra.requests import Clock, RequestStore
from infra.settings import load_settings
from revs.errors import BadInput
from tasks.batch.notify import notify

SECRET, OTHER = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_" + "QUJDREVGR0hJSktMTU5PUFFSU1RVVldY" * 2


class Receiver:
    """A webhook that answers as it is told, takes what is signed, and tells replays by their id."""

    def __init__(self) -> None:
        self.answers: list[int] = []  # the next ones; then 200
        self.tried: list[tuple[dict[str, str], bytes]] = []
        self.seen: set[str] = set()
        self.taken: list[Any] = []
        self.verifier = Verifier(SECRET)
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                self.send_response(receiver.take(headers, body))
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self.server.server_port}"

    def take(self, headers: dict[str, str], body: bytes) -> int:
        self.tried.append((headers, body))
        if self.answers:
            return self.answers.pop(0)
        found = self.verifier.verify(body, headers)
        if headers["webhook-id"] not in self.seen:
            self.taken.append(found)
        self.seen.add(headers["webhook-id"])
        return 200


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    thread = threading.Thread(target=found.server.serve_forever)
    thread.start()
    yield found
    found.server.shutdown()
    thread.join()
    found.server.server_close()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """For how long it was waited between tries; nobody waits."""
    waited: list[float] = []
    monkeypatch.setattr(webhooks, "_wait", waited.append)
    return waited


@pytest.fixture
def store(tmp_path: Path) -> RequestStore:
    return RequestStore(f"sqlite:///{tmp_path / 'requests.db'}", Vault(KEY), Clock())


def add(store: RequestStore, number: int) -> str:
    (request_id,) = store.add(json.loads(line(number, due="2099-01-01")), model="demo").accepted
    return request_id


@pytest.mark.parametrize("form", ["http://{}/hook?tenant=7", "json://{}/hook?-tenant=7", "http://revs:pw@{}/hook"])
def test_what_is_told_is_signed_and_verifies_and_nothing_else_does(
    store: RequestStore, receiver: Receiver, form: str
) -> None:
    url = form.format(receiver.host)
    notices.send(store, url, SECRET)
    request_id = add(store, 1)
    (sent,) = notices.send(store, url, SECRET)
    assert sent.taken and "pw" not in sent.place and "tenant" not in sent.place
    (told,) = receiver.taken
    assert request_id in told["message"] and told["title"] == "Deletion requests: 1 received"
    assert told["events"] == {"first": 1, "last": 1}
    ((headers, body),) = receiver.tried
    assert abs(int(headers["webhook-timestamp"]) - datetime.now(UTC).timestamp()) < 60
    assert ("authorization" in headers) == ("pw" in form)
    for changed in (
        {**headers, "webhook-id": "msg_other"},
        {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)},
        {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) - 3600)},
    ):
        with pytest.raises(WebhookVerificationError):
            receiver.verifier.verify(body, changed)
    with pytest.raises(WebhookVerificationError):
        receiver.verifier.verify(body.replace(b"1 received", b"9 received"), headers)
    with pytest.raises(WebhookVerificationError):
        Verifier(OTHER).verify(body, headers)


def test_a_place_that_is_down_is_tried_again_with_the_same_id_and_a_time_of_its_own(
    store: RequestStore, receiver: Receiver, pauses: list[float]
) -> None:
    url = f"http://{receiver.host}/hook"
    notices.send(store, url, SECRET)
    add(store, 1)
    receiver.answers = [503, 429]
    assert notices.send(store, url, SECRET)[0].taken
    assert pauses == [1.0, 4.0] and len(receiver.tried) == 3 and len(receiver.taken) == 1
    assert len({headers["webhook-id"] for headers, _ in receiver.tried}) == 1


def test_what_no_try_delivers_stays_in_the_outbox_and_comes_under_its_id(
    store: RequestStore, receiver: Receiver, pauses: list[float]
) -> None:
    url = f"http://{receiver.host}/hook"
    notices.send(store, url, SECRET)
    first = add(store, 1)
    receiver.answers = [500] * 3
    (sent,) = notices.send(store, url, SECRET)
    assert (sent.taken, sent.events) == (False, 1) and len(receiver.tried) == 3
    assert list(notices.behind(store, url, SECRET).values()) == [1]
    assert notices.send(store, url, SECRET)[0].taken
    assert len({headers["webhook-id"] for headers, _ in receiver.tried}) == 1
    assert first in receiver.taken[0]["message"]


def test_a_message_whose_answer_was_lost_is_a_replay_that_its_id_tells(
    store: RequestStore, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"http://{receiver.host}/hook"
    notices.send(store, url, SECRET)
    add(store, 1)
    with monkeypatch.context() as killed:
        killed.setattr(store, "note_told", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            notices.send(store, url, SECRET)
    notices.send(store, url, SECRET)
    assert len(receiver.tried) == 2 and len(receiver.taken) == 1
    add(store, 2)
    notices.send(store, url, SECRET)
    assert [told["events"] for told in receiver.taken] == [{"first": 1, "last": 1}, {"first": 2, "last": 2}]


@pytest.mark.parametrize("status", [301, 307, 400, 401, 410])
def test_a_refusal_and_a_redirect_are_not_tried_again_at_once(
    store: RequestStore, receiver: Receiver, pauses: list[float], status: int
) -> None:
    url = f"http://{receiver.host}/hook"
    notices.send(store, url, SECRET)
    add(store, 1)
    receiver.answers = [status]
    assert not notices.send(store, url, SECRET)[0].taken
    assert len(receiver.tried) == 1 and pauses == []


def test_nobody_there_is_not_taken_and_no_error(store: RequestStore, pauses: list[float]) -> None:
    url = "http://127.0.0.1:9/hook"
    notices.send(store, url, SECRET)
    add(store, 1)
    assert not notices.send(store, url, SECRET)[0].taken and len(pauses) == 2


def test_no_log_holds_what_an_address_may_hold(
    store: RequestStore, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"http://revs:hunter2@{receiver.host}/hook?token=hunter3"
    notices.send(store, url, SECRET)
    add(store, 1)
    with caplog.at_level(logging.DEBUG):
        assert notices.send(store, url, SECRET)[0].taken
    assert "hunter" not in caplog.text and SECRET not in caplog.text


def test_the_secret_comes_from_the_settings(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REVS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("REVS_NOTICES", f"http://{receiver.host}/hook")
    assert "set REVS_NOTICES_SECRET" in str(notify(load_settings()))
    monkeypatch.setenv("REVS_NOTICES_SECRET", SECRET)
    settings = load_settings()
    assert SECRET not in repr(settings)
    assert notify(settings) is None
    RequestStore.from_settings(settings).add(json.loads(line(1)), model="demo")
    assert notify(settings) is None and "1 received" in receiver.taken[0]["title"]


def test_while_a_secret_is_changed_both_verify(store: RequestStore, receiver: Receiver) -> None:
    url = f"http://{receiver.host}/hook"
    notices.send(store, url, f"{OTHER} {SECRET}")
    add(store, 1)
    assert notices.send(store, url, f"{OTHER} {SECRET}")[0].taken
    ((headers, body),) = receiver.tried
    assert Verifier(OTHER).verify(body, headers) == receiver.taken[0]


def test_a_place_that_begins_to_be_signed_is_told_what_it_missed(store: RequestStore, receiver: Receiver) -> None:
    url = f"json://{receiver.host}/hook"
    notices.send(store, url)
    request_id = add(store, 1)
    receiver.answers = [500]
    assert not notices.send(store, url)[0].taken
    assert "webhook-id" not in receiver.tried[0][0], "without a secret Apprise tells it, unsigned"
    assert notices.send(store, url, SECRET)[0].taken and request_id in receiver.taken[0]["message"]
    unsigned, signed = (json.loads(body) for _, body in receiver.tried)
    assert signed.keys() - unsigned.keys() == {"events"} and unsigned.items() <= signed.items()


@pytest.mark.parametrize(
    "secret", ["hunter2", "whsec_", "whsec_hunter2", f"{SECRET} hunter2", "whsec_" + "A" * 200, "whsec_é"]
)
def test_a_secret_that_is_none_is_refused_without_being_shown(store: RequestStore, secret: str) -> None:
    with pytest.raises(BadInput, match=r"secret \d of REVS_NOTICES_SECRET is not whsec_") as caught:
        notices.send(store, "https://hooks.example.com/revs", secret)
    assert "hunter2" not in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("https://hooks.example.com/hunter2", "is a webhook, and nothing signs for it; set REVS_NOTICES_SECRET"),
        ("http://hooks.example.com/hunter2", "is none that Apprise knows, and no webhook"),  # readable on its way
        ("https://:99999/hunter2", "is none that Apprise knows, and no webhook"),
        ("ftp://hooks.example.com/hunter2", "is none that Apprise knows, and no webhook"),
    ],
)
def test_an_address_that_cannot_be_told_is_refused_without_being_shown(
    store: RequestStore, url: str, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        notices.send(store, url)
    assert "hunter2" not in str(caught.value) + "".join(capfd.readouterr())


@pytest.mark.parametrize("slow", ["in its head", "behind its head"])
def test_a_place_that_answers_a_byte_now_and_then_holds_nobody(
    store: RequestStore, pauses: list[float], monkeypatch: pytest.MonkeyPatch, slow: str
) -> None:
    monkeypatch.setattr(webhooks, "_TIMEOUT_SECONDS", 2.0)
    asked, stopped = threading.Event(), threading.Event()

    def drip(listening: socket.socket) -> None:
        while not stopped.is_set():
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                connection.recv(65536)
                head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\nX: "
                connection.sendall(head if slow == "in its head" else head + b"y\r\n\r\n")
                asked.set()
                while not stopped.wait(0.05):  # a byte in each twentieth of a second, until the test is over
                    connection.sendall(b"y")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = threading.Thread(target=drip, args=[listening], daemon=True)
        server.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/hook"
        notices.send(store, url, SECRET)
        add(store, 1)
        (sent,) = notices.send(store, url, SECRET)
        assert asked.is_set() and sent.taken == (slow == "behind its head")
        stopped.set()
        listening.shutdown(socket.SHUT_RDWR)
        server.join(timeout=10)


def test_the_path_of_an_address_is_told_to_nobody_and_no_error_is_logged(
    store: RequestStore, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"http://{receiver.host}/T00/B00/zorblattsecret"
    notices.send(store, url, SECRET)
    add(store, 1)
    (sent,) = notices.send(store, url, SECRET)
    assert sent.place == f"address 1 (http://{receiver.host})"
    assert "zorblattsecret" not in caplog.text and "Unparseable" not in caplog.text
    assert len(notices.behind(store, f"{url} {url}2", SECRET)) == 2, "two places of one host are two"
