"""A registry that answers slowly, half, nonsense, or with another version than asked for: one line, nothing is used."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest

from infra.registry import Registry
from revs.errors import OperationFailed

Answer = Callable[[BaseHTTPRequestHandler, str, dict[str, str]], None]


def version(number: str, name: str = "demo", **more: Any) -> dict[str, Any]:
    entry = {"name": name, "version": number, "run_id": "", "source": "s3://bucket/x", "status": "READY", **more}
    return {"model_version": entry}


def said(
    handler: BaseHTTPRequestHandler, body: bytes, *, length: int | None = None, kind: str = "application/json"
) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    handler.end_headers()
    handler.wfile.write(body)


def well(handler: BaseHTTPRequestHandler, call: str, asked: dict[str, str]) -> None:
    if call == "registered-models/get":
        aliases = [{"alias": "champion", "version": "3"}]
        said(handler, json.dumps({"registered_model": {"name": asked["name"], "aliases": aliases}}).encode())
    else:
        said(handler, json.dumps(version(asked.get("version", "3"), asked["name"])).encode())


def another_version(handler: BaseHTTPRequestHandler, call: str, asked: dict[str, str]) -> None:
    said(handler, json.dumps(version("7", asked["name"])).encode())


def another_model(handler: BaseHTTPRequestHandler, call: str, asked: dict[str, str]) -> None:
    said(handler, json.dumps(version(asked.get("version", "3"), "other")).encode())


def half(handler: BaseHTTPRequestHandler, call: str, asked: dict[str, str]) -> None:
    said(handler, b'{"model_version": {"name": "de', length=4000)
    handler.close_connection = True


def half_of_the_text(handler: BaseHTTPRequestHandler, call: str, asked: dict[str, str]) -> None:
    said(handler, b'{"model_version": {"name": "de')


def page(handler: BaseHTTPRequestHandler, call: str, asked: dict[str, str]) -> None:
    said(handler, b"<html><body>Sign in</body></html>", kind="text/html")


def list_for_an_object(handler: BaseHTTPRequestHandler, call: str, asked: dict[str, str]) -> None:
    said(handler, b'{"model_version": ["a"], "registered_model": ["a"]}')


def nothing_in_it(handler: BaseHTTPRequestHandler, call: str, asked: dict[str, str]) -> None:
    said(handler, b"{}")


def never(handler: BaseHTTPRequestHandler, call: str, asked: dict[str, str]) -> None:
    handler.server.over.wait(20)  # type: ignore[attr-defined]  # set below, when the test has ended
    handler.close_connection = True


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Answer], Registry]]:
    """Starts a server on this machine that answers every call in one way, and opens it as a registry."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    servers: list[ThreadingHTTPServer] = []

    def start(answer: Answer) -> Registry:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlparse(self.path)
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length) or b"{}")
                asked = {key: values[0] for key, values in parse_qs(parts.query).items()} | body
                answer(self, parts.path.partition("/mlflow/")[2], asked)

            do_POST = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.over = threading.Event()  # type: ignore[attr-defined]  # for `never`
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return Registry(f"http://127.0.0.1:{server.server_port}", None)

    yield start
    for server in servers:
        server.over.set()  # type: ignore[attr-defined]  # as above
        server.shutdown()
        server.server_close()


def test_a_server_that_answers_well_is_understood(served: Callable[[Answer], Registry]) -> None:
    registry = served(well)
    assert registry.resolve("models:/demo/3").version == "3"
    assert registry.champion("demo").version == "3"


ANY = (another_model, half, half_of_the_text, page, list_for_an_object, nothing_in_it, never)


@pytest.mark.parametrize(
    ("answer", "asked"),
    [(another_version, "models:/demo/3"), *((each, asked) for each in ANY for asked in ("models:/demo/3", "demo"))],
    ids=lambda of: of if isinstance(of, str) else of.__name__,
)
def test_an_answer_that_is_none_ends_in_one_line(
    answer: Answer, asked: str, served: Callable[[Answer], Registry]
) -> None:
    with pytest.raises(OperationFailed) as failure:
        served(answer).resolve(asked)
    assert "\n" not in str(failure.value) and "registry" in str(failure.value)
