"""What the DROP is told of the requests that came from it: one of its four statuses, from what became of the request.

| status | when |
|---|---|
| deleted | completed: each identifier was edited out of the model, or is not memorised by it |
| not_found | no identifier was found anywhere (`closing.is_nowhere`), whether a human has looked at it yet or not |
| exempted | a human refused it, or dropped one of its identifiers, on a ground that exempts what was asked for |
| opted_out | never: nothing is sold here, so there is no sale to opt out of; a request is carried out or not |

Everything else has no status yet: it waits, or a human has it, or part of it was dropped because it cannot be sought. A
duplicate has that of its first request.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from infra.requests import closing, tables
from infra.requests.clock import Clock
from infra.requests.lifecycle import RefusalGround
from infra.requests.reasons import Reason
from infra.requests.records import IdentifierOutcome, RequestStatus

REGIME = "drop"
Status = Literal["deleted", "opted_out", "exempted", "not_found"]
EXEMPTIONS: frozenset[RefusalGround] = frozenset({"expression", "legal_obligation", "public_interest", "legal_claims"})
"""Grounds that are about the data; the others are about the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DropStatus:
    """What the DROP is told of one request; no more than its id and dates stands beside it."""

    id: str
    received: date
    due: date
    closed: date | None  # the day of the installation's zone; of a request with a human: since when it is with one
    status: Status | None  # None: nothing can be told yet


def status(
    request: RequestStatus,
    outcomes: Iterable[IdentifierOutcome],
    reason: Reason | None = None,
    dropped_for: Collection[str] = (),
) -> Status | None:
    """Return the status of a request that is no duplicate.

    Args:
        request: Its own.
        outcomes: Its latest.
        reason: Why it is where it is.
        dropped_for: The reasons for which it was narrowed.
    """
    if request == "rejected":
        return "exempted" if reason is not None and reason.code in EXEMPTIONS else None
    if request == "completed" and "legal_hold" in dropped_for:
        return "exempted"  # part of it is kept, as the law asks
    if request == "completed" and "cannot_be_sought" in dropped_for:
        return None  # the rest is done, and of that part nobody knows whether the model holds it
    found = list(outcomes)
    if request in ("completed", "failed") and found and all(map(closing.is_nowhere, found)):
        return "not_found"
    return "deleted" if request == "completed" else None


def statuses(session: Session, clock: Clock, since: date | None) -> list[DropStatus]:
    """Return the statuses of the requests of the regime, received on a day or later, in the order they came in."""
    query = select(tables.Request).where(tables.Request.regime == REGIME)
    if since is not None:
        query = query.where(tables.Request.received >= since)
    order = (tables.Request.received, tables.Request.submitted_at, tables.Request.line)
    asked = session.scalars(query.order_by(*order)).all()
    firsts = _firsts(session, asked)
    outcomes = _latest(session, firsts.values())
    return [
        DropStatus(
            id=row.id,
            received=row.received,
            due=row.due,
            closed=clock.day(first.closed_at) if first.closed_at else None,
            status=status(
                first.status, outcomes.get(first.id, []), first.reason, [each["reason"] for each in first.dropped]
            ),
        )
        for row in asked
        for first in [firsts[row.id]]
    ]


def _firsts(session: Session, asked: Sequence[tables.Request]) -> Mapping[str, tables.Request]:
    """By id, the request itself, or what it is a duplicate of in the end."""
    found = {}
    for row in asked:
        first = row
        while first.status == "duplicate" and first.duplicate_of is not None:
            first = session.get_one(tables.Request, first.duplicate_of)
        found[row.id] = first
    return found


def _latest(session: Session, rows_: Iterable[tables.Request]) -> Mapping[str, list[IdentifierOutcome]]:
    """By request of which an identifier was not found at some time, the outcomes of its latest batch."""
    missing = set(session.scalars(select(tables.Outcome.request_id).where(tables.Outcome.kind == "not_found")))
    return {row.id: closing.find_outcomes(session, row.id, None) for row in rows_ if row.id in missing}
