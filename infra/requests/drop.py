"""What the DROP is told of the requests that came from it: one of its four statuses, from what became of the request.

| status | when |
|---|---|
| deleted | completed: each identifier was edited out of the model, or is not memorised by it |
| not_found | with a human; the corpus was read whole, no identifier stands in it, and the model gave none unasked |
| exempted | never: an exemption is a decision in law, and none is on record here; a technical refusal is none |
| opted_out | never: nothing is sold here, so there is no sale to opt out of; a request is carried out or not |

Everything else has no status yet: it waits, or a human has it. A duplicate has that of its first request.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from infra.requests import closing, tables
from infra.requests.clock import Clock
from infra.requests.records import IdentifierOutcome, RequestStatus

REGIME = "drop"
Status = Literal["deleted", "opted_out", "exempted", "not_found"]
_CHUNK = 500  # values in one IN (...)


@dataclass(frozen=True, slots=True, kw_only=True)
class DropStatus:
    """What the DROP is told of one request; no more than its id and dates stands beside it."""

    id: str
    received: date
    due: date
    closed: date | None  # the day of the installation's zone; of a request with a human: since when it is with one
    status: Status | None  # None: nothing can be told yet


def status(request: RequestStatus, outcomes: Iterable[IdentifierOutcome]) -> Status | None:
    """Return the status of a request that is no duplicate, from its own and from the outcomes of its latest batch."""
    if request == "completed":
        return "deleted"
    found = list(outcomes)
    return "not_found" if request == "failed" and found and all(map(_is_nowhere, found)) else None


def _is_nowhere(outcome: IdentifierOutcome) -> bool:
    asked = outcome.detail.get("without_corpus") or {}
    return outcome.kind == "not_found" and not outcome.detail.get("unread") and asked.get("verdict") == "not memorised"


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
            status=status(first.status, outcomes.get(first.id, [])),
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
    """By request with a human, the outcomes of its latest batch."""
    found: dict[str, list[IdentifierOutcome]] = defaultdict(list)
    for id_ in {row.id for row in rows_ if row.status == "failed"}:
        found[id_] = closing.find_outcomes(session, id_, None)
    return found
