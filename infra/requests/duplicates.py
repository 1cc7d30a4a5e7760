"""What becomes of duplicates when their first one ends, and of a request that comes back beside a newer one."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from infra.requests import lifecycle, rows, tables
from infra.requests.clock import Clock
from infra.requests.submissions import pending, take_earlier_dates


def revive(session: Session, first: tables.Request, clock: Clock) -> tables.Request | None:
    """Put the latest duplicate of a request in line, because the request was set aside for good.

    The others become its duplicates. What was handed in twice is lost only if it is rejected twice. Where the same
    demand, handed in anew, stands in line already, all of them become duplicates of that.

    Returns:
        The request that was put in line, None where none was.
    """
    waiting = _duplicates(session, first.id)
    if not waiting:
        return None
    session.flush()  # the first one is pending no longer, before another is
    asked = waiting[-1].digest  # as theirs all are; the first one may have been narrowed
    newer = pending(session, [asked]).get(asked)
    if newer is not None:
        for other in waiting:
            _move_duplicate(session, other, newer)
            _log_dates(session, newer, other, clock)
        return None
    *others, latest = waiting
    for other in others:
        _move_duplicate(session, other, latest)
        if other.due < latest.due:
            before, latest.due = latest.due, max(other.due, latest.received)
            detail = {"from": f"{before}", "to": f"{latest.due}", "because_of": other.id}
            rows.log(session, "request.due_moved_forward", request_id=latest.id, detail=detail)
    lifecycle.move(session, latest, "revive", detail={"instead_of": first.id})
    return latest


def fold_into_newer(session: Session, row: tables.Request, clock: Clock) -> tables.Request | None:
    """Make a request that is not pending a duplicate of one with the same demand that is; None where none is."""
    newer = pending(session, [row.digest]).get(row.digest)
    if newer is None:
        return None
    for other in _duplicates(session, row.id):
        _move_duplicate(session, other, newer)
    row.duplicate_of = newer.id
    _log_dates(session, newer, row, clock)
    lifecycle.move(session, row, "fold", detail={"duplicate_of": newer.id})
    return newer


def _move_duplicate(session: Session, other: tables.Request, first: tables.Request) -> None:
    other.duplicate_of = first.id
    rows.log(session, "request.duplicate_moved", request_id=other.id, detail={"duplicate_of": first.id})


def _log_dates(session: Session, first: tables.Request, other: tables.Request, clock: Clock) -> None:
    for request_id, what, move in take_earlier_dates(first, other, clock):
        rows.log(session, what, request_id=request_id, detail=move)


def _duplicates(session: Session, request_id: str) -> Sequence[tables.Request]:
    """The duplicates of a request, the latest last."""
    query = select(tables.Request).where(
        tables.Request.duplicate_of == request_id, tables.Request.status == "duplicate"
    )
    return session.scalars(query.order_by(tables.Request.submitted_at, tables.Request.line).with_for_update()).all()
