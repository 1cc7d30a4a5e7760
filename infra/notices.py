"""Notices: people are told what happened to deletion requests, by mail, webhook or chat (Apprise), not of whom.

The audit log is the outbox. For each place it is on record up to which event it was told; what could not be delivered
is in the next notice, so nothing is lost and nothing piles up as a message each. A place may be told something twice,
where the process ends between sending and noting it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from revs.errors import BadInput

if TYPE_CHECKING:
    from apprise import NotifyBase

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
        "request.on_hold": "on hold",
        "request.extended": "extended",
        "request.withdrawn": "withdrawn",
        "request.completed": "completed",
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


def places(urls: str) -> list[NotifyBase]:
    """Return the places that Apprise URLs name, separated by spaces or line ends.

    Raises:
        BadInput: One of them is none; it is not shown, for it may hold a password.
    """
    from apprise import Apprise

    found: list[NotifyBase] = []
    for number, url in enumerate(urls.split(), start=1):
        place = Apprise.instantiate(url, suppress_exceptions=True)
        if place is None:
            raise BadInput(
                f"address {number} of REVS_NOTICES is none that Apprise knows; write e.g. "
                "mailtos://user:password@mail.example.com?to=officer@example.com or jsons://hooks.example.com/revs"
            )
        found.append(place)
    return found


def send(store: RequestStore, urls: str) -> list[Delivery]:
    """Tell every place what happened since it was last told; of a new place that is from now on.

    Requests that became overdue or are soon due are put into the log first, each once.

    Raises:
        BadInput: As `places`.
        OperationFailed: The store cannot be used.
    """
    targets = places(urls)
    for place in targets:
        store.told(_key(store, place))  # a new place is told what is logged from here on
    store.log_urgency()
    return [_tell(store, place) for place in targets]


def behind(store: RequestStore, urls: str) -> dict[str, int]:
    """Return of how many events each place has not been told."""
    return {_shown(place): len(_untold(store, place)) for place in places(urls)}


def _tell(store: RequestStore, place: NotifyBase) -> Delivery:
    events = _untold(store, place)
    if events:
        title, body = text(events)
        if not place.notify(title=title, body=body):
            return Delivery(place=_shown(place), events=len(events), taken=False)
        store.note_told(_key(store, place), events[-1].id)
    return Delivery(place=_shown(place), events=len(events), taken=True)


def _untold(store: RequestStore, place: NotifyBase) -> list[Event]:
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


def _key(store: RequestStore, place: NotifyBase) -> str:
    """What stands for a place in the store: the same when its password is another."""
    return store.pseudonym_of_place(_shown(place))


def _shown(place: NotifyBase) -> str:
    return re.sub(r"//[^/@]*@", "//", str(place.url(privacy=True)).partition("?")[0])
