"""What people decide about requests: `revs requests verify`, `retry`, `accept`, `narrow`, `refuse` and the like."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, cast

import typer

from flows.cli.common import By, Home, console, settings_of, who_decides
from flows.cli.requests import store_of

if TYPE_CHECKING:
    from infra.requests import RequestStatus, RequestStore
    from infra.requests.lifecycle import HoldGround, NarrowingReason, RefusalGround

Ids = Annotated[list[str], typer.Argument(help="Requests, by id.", metavar="REQUEST_ID...")]


def verify(request_ids: Ids, by: By = None, home: Home = None) -> None:
    """Put requests in line whose sender is who they say; whoever submitted one cannot verify it.

    Example: revs requests verify R-0a1b2c3d --by ana
    """
    store, who = store_of(settings_of(home)), who_decides(by)
    _each(store, request_ids, "received", "verified", lambda request_id: store.verify(request_id, by=who))


def withdraw(request_ids: Ids, by: By = None, home: Home = None) -> None:
    """End requests because the person no longer asks, and destroy what they hold. There is no way back.

    Example: revs requests withdraw R-0a1b2c3d --by ana
    """
    store, who = store_of(settings_of(home)), who_decides(by)
    _each(
        store,
        request_ids,
        "withdrawn",
        "withdrawn",
        lambda request_id: _told(request_id, store.withdraw(request_id, by=who)),
    )


def hold(
    request_ids: Ids,
    ground: Annotated[str, typer.Option(help="legal_hold, objection or identity.")],
    by: By = None,
    home: Home = None,
) -> None:
    """Keep requests that wait from being processed, until they are released. Their due dates stay.

    Example: revs requests hold R-0a1b2c3d --ground legal_hold --by ana
    """
    store, who, why = store_of(settings_of(home)), who_decides(by), cast("HoldGround", ground)
    _each(
        store, request_ids, "on_hold", "on hold", lambda request_id: store.put_on_hold(request_id, ground=why, by=who)
    )


def refuse(
    request_ids: Ids,
    ground: Annotated[
        str,
        typer.Option(
            help="expression, legal_obligation, public_interest, legal_claims, unfounded, excessive or identity."
        ),
    ],
    by: By = None,
    home: Home = None,
) -> None:
    """End requests that will not be fulfilled, on a ground that the law knows. The person has to be told.

    Example: revs requests refuse R-0a1b2c3d --ground legal_obligation --by ana
    """
    store, who, why = store_of(settings_of(home)), who_decides(by), cast("RefusalGround", ground)
    _each(
        store,
        request_ids,
        "rejected",
        "refused",
        lambda request_id: _told(request_id, store.refuse(request_id, ground=why, by=who)),
    )


def accept(request_ids: Ids, by: By = None, home: Home = None) -> None:
    """Complete failed requests of which nothing is left to erase: what is not settled was found nowhere.

    Example: revs requests accept R-0a1b2c3d --by ana
    """
    store, who = store_of(settings_of(home)), who_decides(by)
    _each(store, request_ids, "completed", "completed", lambda request_id: store.accept(request_id, by=who))


def narrow(
    request_id: Annotated[str, typer.Argument(help="Request, by id.", metavar="REQUEST_ID")],
    identifier: Annotated[int, typer.Option(help="Number of the identifier, from 0: 'revs requests show' has them.")],
    reason: Annotated[
        str, typer.Option(help="not_found, not_theirs, no_longer_asked, cannot_be_sought or legal_hold.")
    ],
    by: By = None,
    home: Home = None,
) -> None:
    """Drop one identifier of a request and destroy it; the others go on, with 'revs requests retry' where it failed.

    Example: revs requests narrow R-0a1b2c3d --identifier 1 --reason not_theirs --by ana
    """
    store, who, why = store_of(settings_of(home)), who_decides(by), cast("NarrowingReason", reason)
    before = {each["number"] for each in store.get(request_id).dropped}
    _told(request_id, store.narrow(request_id, number=identifier, reason=why, by=who))
    if identifier in before:
        console().print(f"identifier {identifier} of {request_id} is dropped already; nothing was done")
        return
    (type_,) = [each["type"] for each in store.get(request_id).dropped if each["number"] == identifier]
    console().print(f"identifier {identifier} ({type_}) of {request_id} is dropped and destroyed")


def _told(request_id: str, goes_on: str | None) -> None:
    """Say which duplicate of a request goes on in its place."""
    if goes_on is not None:
        console().print(f"{request_id} was handed in again as {goes_on}, which goes on: decide about that too")


def release(request_ids: Ids, by: By = None, home: Home = None) -> None:
    """Let requests that were on hold wait for the next batch.

    Example: revs requests release R-0a1b2c3d --by ana
    """
    store, who = store_of(settings_of(home)), who_decides(by)
    _each(store, request_ids, "received", "back in line", lambda request_id: store.release_hold(request_id, by=who))


def retry(request_ids: Ids, by: By = None, home: Home = None) -> None:
    """Put failed requests back in line, after their cause was mended.

    Example: revs requests retry R-0a1b2c3d R-4e5f6a7b
    """
    store, who = store_of(settings_of(home)), who_decides(by)
    _each(store, request_ids, "received", "back in line", lambda request_id: store.retry(request_id, by=who))


def _each(
    store: RequestStore,
    request_ids: Sequence[str],
    target: RequestStatus,
    done: str,
    decide: Callable[[str], str | None],
) -> None:
    """Decide for one after the other; those that are refused are named together at the end.

    Args:
        store: Holds them.
        request_ids: The requests.
        target: The state to which the decision leads: what is in it already is said to be, and not counted.
        done: What is counted.
        decide: Takes the decision; returns the request that stands in line now, where it leads there.
    """
    from revs.errors import BadInput

    refused, count = [], 0
    for request_id in request_ids:
        try:
            was_there = store.get(request_id).status == target
            in_line = decide(request_id)
        except BadInput as error:
            refused.append(str(error))
            continue
        count += not was_there
        if was_there:
            console().print(f"{request_id} is {_WORDS.get(target, target)} already; nothing was done")
        elif in_line is not None and in_line != request_id:
            console().print(f"{request_id} is the same demand as {in_line}, which waits already; folded into it")
    console().print(f"{count} {done}")
    if refused:
        raise BadInput("; ".join(refused))


_WORDS = {"received": "in line", "on_hold": "on hold"}
