"""`revs requests verify`, `withdraw`, `hold`, `release`, `retry`: what people decide about requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, cast

import typer

from flows.cli.common import By, Home, console, settings_of, who_decides
from flows.cli.requests import store_of

if TYPE_CHECKING:
    from infra.requests import RequestStatus, RequestStore
    from infra.requests.lifecycle import HoldGround

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

    def withdrawn(request_id: str) -> None:
        goes_on = store.withdraw(request_id, by=who)
        if goes_on is not None:
            console().print(
                f"{request_id} was handed in again as {goes_on}, which goes on: withdraw that too, if meant"
            )

    _each(store, request_ids, "withdrawn", "withdrawn", withdrawn)


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
            console().print(f"{request_id} is {_WORDS[target]} already; nothing was done")
        elif in_line is not None and in_line != request_id:
            console().print(f"{request_id} is the same demand as {in_line}, which waits already; folded into it")
    console().print(f"{count} {done}")
    if refused:
        raise BadInput("; ".join(refused))


_WORDS = {"received": "in line", "on_hold": "on hold", "withdrawn": "withdrawn"}
