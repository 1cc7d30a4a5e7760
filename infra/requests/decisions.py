"""What people decide about a request outside of a batch: to set it aside, retry, verify, withdraw or hold it."""

from __future__ import annotations

from typing import Any, Literal, get_args

from sqlalchemy.orm import Session

from infra.requests import duplicates, leases, lifecycle, rows, shredding
from infra.requests.clock import Clock
from infra.requests.lifecycle import HoldGround
from revs.errors import BadInput


def set_aside(session: Session, request_id: str, how: Literal["reject", "fail"], reason: str, clock: Clock) -> None:
    """Reject a request or hand it to a human, with the reason; nothing changes where that was done before."""
    row = rows.request_row(session, request_id)
    if row.status == lifecycle.STEPS[how].target:
        return
    batch_id = row.batch_id if row.status == "processing" else None
    if batch_id is not None:
        leases.guard(session, batch_id)
    lifecycle.move(session, row, how, reason=reason, batch_id=batch_id)
    if how == "reject":
        duplicates.revive(session, row, clock)


def back_in_line(
    session: Session, request_id: str, name: Literal["retry", "verify", "release"], clock: Clock, *, by: str
) -> str:
    """Put a request in line, and return the id of that which stands there now: itself, or a newer one of its demand."""
    row = rows.request_row(session, request_id)
    if row.status == "received":
        return row.id
    if name == "verify" and row.submitted_by is not None and _alike(row.submitted_by) == _alike(by):
        raise BadInput(f"request {request_id} was submitted by {by}, who cannot verify it: let somebody else do so")
    if row.status in lifecycle.STEPS[name].sources and name != "release":  # what is on hold stands in line already
        newer = duplicates.fold_into_newer(session, row, clock)
        if newer is not None:
            return newer.id
    lifecycle.move(session, row, name, detail=_by(by))
    return row.id


def withdraw(session: Session, request_id: str, clock: Clock, *, by: str) -> str | None:
    """End a request because the person no longer asks, and destroy its payload.

    A duplicate of it goes on: it was handed in by itself, and is withdrawn by itself. What was on hold stays on hold.

    Returns:
        The id of the duplicate that stands in line in its place, None where there is none.
    """
    row = rows.request_row(session, request_id)
    if row.status == "withdrawn":
        return None
    ground = row.reason if row.status == "on_hold" else None
    lifecycle.move(session, row, "withdraw", detail=_by(by))
    next_one = duplicates.revive(session, row, clock)
    if next_one is not None and ground is not None:
        lifecycle.move(session, next_one, "hold", reason=ground, detail=_by(by))
    session.flush()
    shredding.destroy(session, request_id, [request_id])
    return None if next_one is None else next_one.id


def hold(session: Session, request_id: str, *, ground: HoldGround, by: str) -> None:
    """Keep a request from being processed until it is released; nothing changes where it is on hold."""
    if ground not in get_args(HoldGround):
        raise BadInput(f"{ground!r} is no ground to hold a request; name one of {', '.join(get_args(HoldGround))}")
    row = rows.request_row(session, request_id)
    if row.status != "on_hold":
        lifecycle.move(session, row, "hold", reason=ground, detail=_by(by))


def _alike(name: str) -> str:
    """A name without what a reader does not see."""
    return " ".join(name.split()).casefold()


def _by(who: str) -> dict[str, Any]:
    if not who.strip():
        raise BadInput("it is not said who decides; name them")
    return {"by": who}
