"""Notices: people are told what happened to deletion requests, by mail, webhook or chat (Apprise), not of whom.

The audit log is the outbox. For each place it is on record up to which event it was told; what could not be delivered
is in the next notice, so nothing is lost and nothing piles up as a message each. A place may be told something twice,
where the process ends between sending and noting it.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from infra import webhooks
from infra.webhooks import Message, Webhook
from revs.errors import BadInput

if TYPE_CHECKING:
    from apprise import NotifyBase
    from standardwebhooks import Webhook as Signer

    from infra.requests import RequestStore
    from infra.requests.records import Event

TOLD: Mapping[str, str] = MappingProxyType(
    {
        "request.overdue": "overdue",
        "request.at_risk": "soon due",
        "request.failed": "needs a human",
        "request.unverified": "waits to be verified",
        "request.received": "received",
        "request.rejected": "rejected",
        "request.refused": "refused",
        "request.narrowed": "narrowed by an identifier",
        "request.on_hold": "on hold",
        "request.extended": "extended",
        "request.withdrawn": "withdrawn",
        "request.completed": "completed",
        "request.accepted": "completed, with nothing left to erase",
    }
)
"""Events that people are told of, the most urgent first, and in which words."""

_LINES = 50  # of one notice


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """What became of the notice to one place: how many events it tells of, and whether it was taken."""

    place: str  # without password or token
    events: int
    taken: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Chat:
    """A place that Apprise tells: a mailbox, a chat, a webhook that takes no signatures."""

    notifier: NotifyBase = field(repr=False)
    shown: str  # without password or token

    @property
    def place(self) -> str:
        """What stands for it in the store."""
        return self.shown

    def tell(self, message: Message) -> bool:
        """Send a message; return whether it was taken."""
        return bool(self.notifier.notify(title=message.title, body=message.text))


def places(urls: str, secrets: str | None = None) -> list[Chat | Webhook]:
    """Return the places that addresses name, separated by spaces or line ends.

    Args:
        urls: Apprise's, and `https://` addresses of webhooks.
        secrets: Sign webhooks, `json://` and `jsons://` too: see `webhooks.signers`. None: they are not signed.

    Raises:
        BadInput: An address or a secret is none; it is not shown, for it may hold a password.
    """
    signed_by = webhooks.signers(secrets) if secrets else []
    return [_place(url, number, signed_by) for number, url in enumerate(urls.split(), start=1)]


@contextmanager
def _without_logging(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _place(url: str, number: int, signed_by: Sequence[Signer]) -> Chat | Webhook:
    from apprise import Apprise

    with _without_logging("apprise"):  # what it does not know it reports as an error, with the address
        found = Apprise.instantiate(url, suppress_exceptions=True)
    if found is None and (hook := webhooks.plain(url, number, signed_by)) is not None:
        if not signed_by:
            raise BadInput(
                f"address {number} of REVS_NOTICES is a webhook, and nothing signs for it; set REVS_NOTICES_SECRET, or "
                "write jsons:// for one without a signature"
            )
        return hook
    if found is None:
        raise BadInput(
            f"address {number} of REVS_NOTICES is none that Apprise knows, and no webhook; write e.g. "
            "mailtos://user:password@mail.example.com?to=officer@example.com or https://hooks.example.com/revs"
        )
    shown = re.sub(r"//[^/@]*@", "//", str(found.url(privacy=True)).partition("?")[0])
    if signed_by and type(found).__name__ == "NotifyJSON":
        return _signed(found, shown, number, signed_by)
    return Chat(notifier=found, shown=shown)


def _signed(found: NotifyBase, shown: str, number: int, signed_by: Sequence[Signer]) -> Webhook:
    """A webhook of Apprise, as Apprise would call it, with signatures."""
    port = f":{found.port}" if isinstance(found.port, int) else ""
    return Webhook(
        url=f"{'https' if found.secure else 'http'}://{found.host}{port}{found.fullpath}",
        place=shown,
        shown=f"address {number} (json{'s' if found.secure else ''}://{found.host}{port})",
        signers=signed_by,
        method=found.method,
        headers=found.headers,
        params=found.params,
        auth=(found.user, found.password or "") if found.user else None,
        verify=found.verify_certificate,
    )


def send(store: RequestStore, urls: str, secrets: str | None = None) -> list[Delivery]:
    """Tell every place what happened since it was last told; of a new place that is from now on.

    Requests that became overdue or are soon due are put into the log first, each once.

    Raises:
        BadInput: As `places`.
        OperationFailed: The store cannot be used.
    """
    targets = places(urls, secrets)
    for place in targets:
        store.told(_key(store, place))  # a new place is told what is logged from here on
    store.log_urgency()
    return [_tell(store, place) for place in targets]


def behind(store: RequestStore, urls: str, secrets: str | None = None) -> dict[str, int]:
    """Return of how many events each place has not been told."""
    return {place.shown: len(_untold(store, place)) for place in places(urls, secrets)}


def _tell(store: RequestStore, place: Chat | Webhook) -> Delivery:
    events = _untold(store, place)
    if events:
        title, body = text(events)
        if not place.tell(Message(title=title, text=body, first=events[0].id, last=events[-1].id)):
            return Delivery(place=place.shown, events=len(events), taken=False)
        store.note_told(_key(store, place), events[-1].id)
    return Delivery(place=place.shown, events=len(events), taken=True)


def _untold(store: RequestStore, place: Chat | Webhook) -> list[Event]:
    return [event for event in store.events_after(store.told(_key(store, place))) if event.event in TOLD]


def text(events: Sequence[Event]) -> tuple[str, str]:
    """Return title and body of one notice: counts, then a line for each event, the most urgent first."""
    counts = Counter(event.event for event in events)
    title = "Deletion requests: " + ", ".join(f"{counts[name]} {TOLD[name]}" for name in TOLD if counts[name])
    order = list(TOLD)
    urgent = sorted(events, key=lambda event: order.index(event.event))
    lines = [f"{event.request_id}: {TOLD[event.event]}" for event in urgent[:_LINES]]
    more = len(urgent) - len(lines)
    body = "\n".join([*lines, *([f"and {more} more"] if more else [])])
    return title, f"{body}\n\n'revs requests show ID' says more."


def _key(store: RequestStore, place: Chat | Webhook) -> str:
    """What stands for a place in the store: the same when its password is another, or it begins to be signed."""
    return store.pseudonym_of_place(place.place)
