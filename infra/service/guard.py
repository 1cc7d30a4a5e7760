"""What stands before every call: limits of size and rate, headers of security, one log line, no traceback.

A log line has the method, the route as the program names it, the status, the time and the id of the token. Never the
address that was called: people type anything into it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter
from starlette.datastructures import MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from infra.service.problems import Problem

log = logging.getLogger("revs.service")

MAX_BODY = 1024 * 1024
CALLS, FAILURES = "300/minute", "20/minute"
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
}
_A_YEAR = "max-age=31536000"


class Rates:
    """How often an address may call, and how often without a usable token; counted in this process."""

    def __init__(self, calls: str = CALLS, failures: str = FAILURES) -> None:
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._calls, self._failures = parse(calls), parse(failures)

    def call(self, client: str) -> None:
        """Count a call; Problem where there were too many."""
        if not self._limiter.hit(self._calls, "call", client):
            raise self._too_many(self._calls, "call", client)

    def failed(self, client: str) -> None:
        """Count a call without a usable token."""
        self._limiter.hit(self._failures, "failure", client)

    def refuse_guessers(self, client: str) -> None:
        """Raise Problem where too many calls of an address had no usable token."""
        if not self._limiter.test(self._failures, "failure", client):
            raise self._too_many(self._failures, "failure", client)

    def _too_many(self, item: RateLimitItem, *key: str) -> Problem:
        seconds = self._limiter.get_window_stats(item, *key).reset_time - time.time()
        return Problem("too-many", headers={"Retry-After": str(max(1, round(seconds)))})


class Guard:
    """ASGI middleware around the whole application.

    Args:
        app: What is guarded.
        rates: Counts calls.
        answer: Makes the response of a problem, for the address that was called.
    """

    def __init__(self, app: ASGIApp, *, rates: Rates, answer: Callable[[Scope, Problem], Response]) -> None:
        self._app, self._rates, self._answer = app, rates, answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started, answered, status = time.perf_counter(), 0.0, 0

        async def sending(message: Message) -> None:
            nonlocal answered, status
            if message["type"] == "http.response.start":
                status = message["status"]
                _harden(message, secure=scope["scheme"] == "https")
            await send(message)
            answered = time.perf_counter()  # what is done after the answer is not waited for

        try:
            self._rates.call(client_of(scope))
            await self._app(scope, _replay(await _whole(scope, receive), receive), sending)
        except Problem as problem:
            await self._answer(scope, problem)(scope, receive, sending)
        except Exception as error:  # whatever it is, its text may show what was sent: only its kind is told
            log.error("%s in %s", type(error).__name__, _route(scope))
            if not status:
                await self._answer(scope, Problem("fault"))(scope, receive, sending)
        finally:
            took = ((answered or time.perf_counter()) - started) * 1000
            token = scope.get("state", {}).get("token", "-")
            log.info("%s %s %d %.0f ms %s", _method(scope), _route(scope), status, took, token)


def client_of(scope: MutableMapping[str, Any]) -> str:
    """The address that calls; behind a proxy that is trusted, the one it names."""
    client = scope.get("client")
    return str(client[0]) if client else "unknown"


def note_token(scope: MutableMapping[str, Any], token_id: str) -> None:
    """Keep the id of the token for the log line."""
    scope.setdefault("state", {})["token"] = token_id


def _harden(message: Message, *, secure: bool) -> None:
    headers = MutableHeaders(scope=message)
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    if secure:
        headers["Strict-Transport-Security"] = _A_YEAR


def _route(scope: Scope) -> str:
    return str(getattr(scope.get("route"), "path", "-"))


def _method(scope: Scope) -> str:
    method = str(scope["method"])
    return method if method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} else "-"


async def _whole(scope: Scope, receive: Receive) -> bytes:
    """Read the body, at most `MAX_BODY` of it; Problem where it is larger."""
    for name, value in scope["headers"]:
        if name == b"content-length" and not (value.isdigit() and int(value[:20]) <= MAX_BODY):
            raise Problem("too-large")
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":  # the caller went away
            return body
        body += bytes(message.get("body", b""))
        if len(body) > MAX_BODY:
            raise Problem("too-large")
        if not message.get("more_body"):
            return body


def _replay(body: bytes, receive: Receive) -> Callable[[], Awaitable[Message]]:
    """Give the body once; from then on what the server gives."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
