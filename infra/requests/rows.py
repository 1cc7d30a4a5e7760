"""From rows to records: look up, convert, and append to the audit log, inside the caller's transaction."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from infra.requests import tables
from infra.requests.records import Batch, Event, IdentifierOutcome, RequestView
from revs.errors import BadInput

DUE_FIRST = (tables.Request.due, tables.Request.received, tables.Request.submitted_at, tables.Request.line)
_ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # 5 bits a letter, without i, l, o, u


def now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


def new_request_id() -> str:
    """Return R- and 40 random bits: it tells nothing about the request."""
    return "R-" + "".join(secrets.choice(_ID_ALPHABET) for _ in range(8))


def new_batch_id() -> str:
    """Return B-, the date in UTC and 24 random bits; batches of different days sort by day."""
    return f"B-{now():%Y%m%d}-{secrets.token_hex(3)}"


def request_row(session: Session, request_id: str) -> tables.Request:
    """Return the request, locked by the caller where it is going to write; BadInput where there is none."""
    row = session.get(tables.Request, request_id, with_for_update=True)
    if row is None:
        raise BadInput(f"there is no request {request_id}; list the requests to see their ids")
    return row


def batch_row(session: Session, batch_id: str) -> tables.Batch:
    """Return the batch, locked by the caller where it is going to write; BadInput where there is none."""
    row = session.get(tables.Batch, batch_id, with_for_update=True)
    if row is None:
        raise BadInput(f"there is no batch {batch_id}; list the batches to see their ids")
    return row


def view(row: tables.Request) -> RequestView:
    """Return the request as a record."""
    return RequestView(
        id=row.id,
        model=row.model,
        status=row.status,
        received=row.received,
        due=row.due,
        subject=row.subject,
        digest=row.digest,
        types=tuple(row.types),
        reason=row.reason,
        duplicate_of=row.duplicate_of,
        batch_id=row.batch_id,
        submitted_at=row.submitted_at,
        closed_at=row.closed_at,
    )


def batch(session: Session, row: tables.Batch) -> Batch:
    """Return the batch as a record, with its requests in the order in which they were taken."""
    members = select(tables.Member.request_id).where(tables.Member.batch_id == row.id).order_by(tables.Member.position)
    return Batch(
        id=row.id,
        model=row.model,
        corpus=row.corpus,
        source=row.source,
        status=row.status,
        opened_at=row.opened_at,
        closed_at=row.closed_at,
        request_ids=tuple(session.scalars(members)),
        outcome=row.outcome,
    )


def outcome(row: tables.Outcome) -> IdentifierOutcome:
    """Return the outcome of one identifier as a record."""
    return IdentifierOutcome(
        request_id=row.request_id, number=row.number, type=row.type, kind=row.kind, detail=row.detail
    )


def event(row: tables.Event) -> Event:
    """Return the line of the audit log as a record."""
    return Event(
        id=row.id, at=row.at, event=row.event, batch_id=row.batch_id, request_id=row.request_id, detail=row.detail
    )


def log(
    session: Session,
    what: str,
    *,
    batch_id: str | None = None,
    request_id: str | None = None,
    detail: dict[str, Any] | None = None,
) -> None:
    """Append to the audit log; it stands if and only if the caller's transaction does."""
    session.add(tables.Event(at=now(), event=what, batch_id=batch_id, request_id=request_id, detail=detail or {}))
