"""From rows to records: look up, convert, and append to the audit log, inside the caller's transaction."""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from infra.requests import tables
from infra.requests.records import Batch, ErasedDigest, Event, IdentifierOutcome, RequestView, Taken
from revs.errors import BadInput

R = TypeVar("R", RequestView, Taken, Batch, IdentifierOutcome, ErasedDigest, Event)
Row = TypeVar("Row", bound=tables.Base)
DUE_FIRST = (tables.Request.due, tables.Request.received, tables.Request.submitted_at, tables.Request.line)
_ID_LENGTH = 10
_ID_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # 5 bits a letter, without i, l, o, u
_BATCH_ID = re.compile(r"B-[0-9]{8}-[0-9a-f]{6}")


def now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


def new_request_id() -> str:
    """Return R- and 40 random bits: it tells nothing about the request."""
    return "R-" + "".join(secrets.choice(_ID_ALPHABET) for _ in range(8))


def is_request_id(text: str) -> bool:
    """Whether a text has the form of a request id."""
    return len(text) == _ID_LENGTH and text.startswith("R-") and set(text[2:]) <= set(_ID_ALPHABET)


def new_case_id() -> str:
    """Return C- and 40 random bits: it tells nothing about the person."""
    return new_request_id().replace("R", "C", 1)


def new_batch_id() -> str:
    """Return B-, the date in UTC and 24 random bits; batches of different days sort by day."""
    return f"B-{now():%Y%m%d}-{secrets.token_hex(3)}"


def is_batch_id(text: str) -> bool:
    """Whether a text has the form of a batch id."""
    return _BATCH_ID.fullmatch(text) is not None


def request_row(session: Session, request_id: str) -> tables.Request:
    """Return the request, locked by the caller where it is going to write; BadInput where there is none."""
    row = session.get(tables.Request, request_id, with_for_update=True)
    if row is None:
        # What has not the form of an id is not shown: people paste addresses.
        shown = f" {request_id}" if is_request_id(request_id) else " with this id"
        raise BadInput(f"there is no request{shown}; list the requests to see their ids")
    return row


def batch_row(session: Session, batch_id: str) -> tables.Batch:
    """Return the batch, locked by the caller where it is going to write; BadInput where there is none."""
    row = session.get(tables.Batch, batch_id, with_for_update=True)
    if row is None:
        raise BadInput(f"there is no batch {batch_id}; list the batches to see their ids")
    return row


def record(kind: type[R], row: tables.Base, **others: Any) -> R:
    """Return a row as a record, whose fields have the names of the columns; `others` are those that have not."""
    columns = {field.name for field in fields(kind)} - others.keys()
    return kind(**{name: getattr(row, name) for name in columns}, **others)


def matching(table: type[Row], **columns: str | None) -> Select[tuple[Row]]:
    """Return the query for the rows with these values in these columns; a column with None is not asked about."""
    return select(table).filter_by(**{name: value for name, value in columns.items() if value is not None})


def due_first(session: Session, **columns: str) -> Sequence[tables.Request]:
    """Return the requests with these values in these columns, locked."""
    query = select(tables.Request).filter_by(**columns)
    return session.scalars(query.order_by(*DUE_FIRST).with_for_update()).all()


def view(row: tables.Request) -> RequestView:
    """Return the request as a record."""
    return record(RequestView, row, types=tuple(row.types), dropped=tuple(row.dropped))


def batch(session: Session, row: tables.Batch) -> Batch:
    """Return the batch as a record, with its requests in the order in which they were taken."""
    members = select(tables.Member.request_id).where(tables.Member.batch_id == row.id).order_by(tables.Member.position)
    return record(Batch, row, request_ids=tuple(session.scalars(members)))


def log(
    session: Session,
    what: str,
    *,
    batch_id: str | None = None,
    request_id: str | None = None,
    detail: dict[str, Any] | None = None,
    at: datetime | None = None,
) -> None:
    """Append to the audit log; it stands if and only if the caller's transaction does (`chain.link`).

    With `at`, a time that a row keeps as well: the two are compared (`replay`). None: now.
    """
    event = tables.Event(at=at or now(), event=what, batch_id=batch_id, request_id=request_id, detail=detail or {})
    session.info.setdefault("logged", []).append(event)
