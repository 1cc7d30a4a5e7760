"""Webhooks that are signed as Standard Webhooks says, so that who takes one can tell whose it is, and a replay.

https://github.com/standard-webhooks/standard-webhooks: the signature is over id, time and body. The id of a message is
the same however often it is sent; the time is that of each try.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import ipaddress
import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from revs.errors import BadInput

if TYPE_CHECKING:
    import httpx
    from standardwebhooks import Webhook as Signer

PAUSES_SECONDS = (1.0, 4.0)
"""Before each further try of a message that was not taken: the next look tries again anyway."""
_LONGEST_PAUSE = 10.0
_TIMEOUT_SECONDS = 5.0  # a place that hangs keeps the run that tells it waiting for half a minute at most
_SECRET_BYTES = range(24, 65)
_TOO_MANY = 429


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a webhook tells.

    Attributes:
        title: Counts.
        text: A line for each event.
        first: The number in the audit log of the first event that it tells of.
        last: That of the last.
    """

    title: str
    text: str
    first: int
    last: int

    def body(self) -> str:
        """The body, in the form in which Apprise writes its JSON, and the numbers of the events."""
        form = {"version": "1.0", "title": self.title, "message": self.text, "attachments": [], "type": "info"}
        return json.dumps(form | {"events": {"first": self.first, "last": self.last}})


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """A place that takes signed messages over HTTP.

    Attributes:
        url: Where; it may hold a password.
        place: The same without password and query; what stands for it in the store.
        shown: Its number among the places, scheme and host, for messages: a path may be a secret too.
        signers: One for each secret: while a secret is changed both are in use.
        method: Of HTTP.
        headers: Sent along.
        params: Added to the address.
        auth: User and password.
        verify: Whether the certificate of the server is checked.
    """

    url: str = field(repr=False)
    place: str = field(repr=False)
    shown: str
    signers: Sequence[Signer] = field(repr=False)
    method: str = "POST"
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    params: Mapping[str, str] = field(default_factory=dict, repr=False)
    auth: tuple[str, str] | None = field(default=None, repr=False)
    verify: bool = True

    def tell(self, message: Message) -> bool:
        """Send a message, with pauses between the tries; return whether it was taken."""
        for name in ("httpx", "httpcore"):  # below that they log addresses, which may hold a token
            logging.getLogger(name).setLevel(logging.WARNING)
        body = message.body()
        for pause in (*PAUSES_SECONDS, None):
            answer = asyncio.run(self._call(body, {**self.headers, **self._signed(message, body)}))
            if answer is not None and answer.is_success:
                return True
            if answer is not None and answer.status_code != _TOO_MANY and answer.status_code < 500:
                return False  # a redirect or a refusal is the same the next time
            if pause is not None:
                _wait(max(pause, _asked_for(answer)))
        return False

    async def _call(self, body: str, headers: Mapping[str, str]) -> httpx.Response | None:
        """Send a body once; return the head of the answer, None where none came in time. What follows it is not read.

        Asynchronous for the sake of the deadline: one that sends a byte now and then would hold a run for ever.
        """
        import httpx

        try:
            async with (
                asyncio.timeout(_TIMEOUT_SECONDS),
                httpx.AsyncClient(verify=self.verify, auth=self.auth, timeout=_TIMEOUT_SECONDS) as client,
                client.stream(
                    self.method, self.url, params=self.params or None, content=body.encode(), headers=headers
                ) as answer,
            ):
                return answer
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError):  # its text shows the address
            return None

    def _signed(self, message: Message, body: str) -> dict[str, str]:
        """The headers of one try."""
        digest = hashlib.sha256(f"{self.place} {message.first} {message.last} {body}".encode()).hexdigest()
        message_id, now = f"msg_{digest[:32]}", datetime.now(UTC)
        return {
            "Content-Type": "application/json",
            "User-Agent": "revs",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(each.sign(message_id, now, body) for each in self.signers),
        }


def _wait(seconds: float) -> None:
    time.sleep(seconds)  # a place that is down for a moment is not asked again at once


def _asked_for(answer: Any) -> float:
    """For how many seconds a server asks to be left alone, at most `_LONGEST_PAUSE`."""
    text = answer.headers.get("retry-after", "") if answer is not None else ""
    return min(float(text), _LONGEST_PAUSE) if text.isascii() and text.isdigit() else 0.0


def signers(secrets: str) -> list[Signer]:
    """Return what signs with each of the secrets, separated by spaces.

    Raises:
        BadInput: One of them is none; it is not shown.
    """
    from standardwebhooks import Webhook as Signer

    found = []
    for number, secret in enumerate(secrets.split(), start=1):
        try:
            key = base64.b64decode(secret.removeprefix("whsec_") + "==", validate=False)
        except (binascii.Error, ValueError):
            key = b""
        if not secret.startswith("whsec_") or len(key) not in _SECRET_BYTES:
            raise BadInput(
                f"secret {number} of REVS_NOTICES_SECRET is not whsec_ and the base64 of 24 to 64 random bytes; make "
                'one: echo "whsec_$(openssl rand -base64 32)"'
            )
        found.append(Signer(key))
    return found


def plain(url: str, number: int, signed_by: Sequence[Signer]) -> Webhook | None:
    """Return the webhook at an address of HTTP, the `number`th of all places; None where it is none.

    Without TLS it has to be on this machine.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host or not (parts.scheme == "https" or (parts.scheme == "http" and _is_this_machine(host))):
        return None
    netloc = f"[{host}]" if ":" in host else host
    host = f"{parts.scheme}://{netloc}{f':{port}' if port else ''}"
    return Webhook(url=url, place=f"{host}{parts.path}", shown=f"address {number} ({host})", signers=signed_by)


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
