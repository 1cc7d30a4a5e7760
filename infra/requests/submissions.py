"""Storing what a request file holds: all of it in one transaction, so that a file is in the store or is not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from infra.keys.vault import Vault
from infra.requests import facts, rows, sealing, tables
from infra.requests.clock import Clock, noticed_due
from infra.requests.records import IN_LINE, Entry, Intake, Taken

_Move = tuple[str, str, dict[str, Any]]  # request id, event, what was moved
_SUBMISSIONS = tables.Base.metadata.tables["submissions"]
_CHUNK = 500  # values in one IN (...); SQLite's older limit is 999 in a statement


def fingerprints(vault: Vault, data: bytes, model: str, generation: str) -> list[str]:
    """Return what makes two submissions the same: the bytes of the file, and the model it was handed in for.

    Under the deployment key in use first, then under earlier ones.

    A model that was trained again is another generation, and may have memorised what an earlier one had forgotten.
    """
    parts = [hashlib.sha256(data).hexdigest(), model, *([generation] if generation else [])]
    return vault.pseudonyms(" ".join(parts), kind="submission")


def find(session: Session, marks: Sequence[str]) -> Intake | None:
    """Return what became of the submission with one of these fingerprints, None where there is none."""
    known = session.scalar(select(tables.Submission.id).where(tables.Submission.fingerprint.in_(marks)))
    if known is None:
        return None
    ordered = (tables.Request.line, tables.Request.model)
    query = select(tables.Request).where(tables.Request.submission_id == known).order_by(*ordered)
    return _intake(session.scalars(query).all(), known=True)


@dataclass(frozen=True, slots=True)
class Sealed:
    """A request of a submission, with the id that it gets and its payload."""

    entry: Entry
    request_id: str
    parts: list[sealing.Part]


def sealed(vault: Vault, entries: Iterable[Entry]) -> list[Sealed]:
    """Seal what a submission holds: before its transaction, for which all other writers wait."""
    found = []
    for entry in entries:
        id_ = rows.new_request_id()
        parts = sealing.of_demand(vault, id_, entry.demand) if entry.demand else sealing.of_line(vault, id_, entry.raw)
        found.append(Sealed(entry, id_, parts))
    return found


def store(
    session: Session,
    vault: Vault,
    mark: str,
    entries: Sequence[Sealed],
    *,
    model: str,
    clock: Clock,
    by: str | None,
    verified: bool,
) -> Intake:
    """Store a new submission; `entries` is in the order of the file. See `RequestStore.add`."""
    now = rows.now()
    handed_in = insert(_SUBMISSIONS).values(fingerprint=mark, submitted_at=now)
    submission = session.execute(handed_in.returning(_SUBMISSIONS.c.id)).scalar_one()
    stored = [_request(vault, submission, now, each, model=model, clock=clock) for each in entries]
    cases: dict[int, str] = {}
    for row in stored:
        row.case_id = cases.setdefault(row.line, rows.new_case_id())  # of a line that names several models
        row.submitted_by = by
        row.status = "unverified" if row.status == "received" and not verified else row.status
    frozen = [facts.of_request(row) for row in stored]  # before dates are moved
    moves = _fold(session, stored, clock)
    session.add_all(stored)
    session.flush()
    # A duplicate keeps its payload too, as long as the first one does: it goes on where the first one is rejected.
    sealing.put(session, [part for each in entries for part in each.parts])
    for row, said in zip(stored, frozen, strict=True):
        reason = row.reason.as_json() if row.reason else None
        also = {"duplicate_of": row.duplicate_of, "by": by, "reason": reason}
        detail = {facts.STORED: said} | {name: value for name, value in also.items() if value}
        rows.log(session, f"request.{row.status}", request_id=row.id, detail=detail)
    for request_id, what, move in moves:
        rows.log(session, what, request_id=request_id, detail=move)
    return _intake(stored)


def _intake(stored: Sequence[tables.Request], *, known: bool = False) -> Intake:
    return Intake(requests=tuple(rows.record(Taken, row) for row in stored), known=known)


def _request(
    vault: Vault, submission: int, now: datetime, found: Sealed, *, model: str, clock: Clock
) -> tables.Request:
    entry = found.entry
    row = tables.Request(
        id=found.request_id,
        submission_id=submission,
        line=entry.line,
        submitted_at=now,
        dropped=[],
    )
    row.reason = entry.reason
    demand = entry.demand
    regime = demand.regime if demand else clock.named()
    row.regime, row.policy = regime.id, regime.frozen_as_json()
    if demand is None:
        row.status, row.closed_at, row.model = "rejected", row.submitted_at, model
        row.received = clock.day(row.submitted_at)
        row.due = regime.due_date(row.received)
        row.subject, row.types = "", []
        row.digest = sealing.line_digests(vault, entry.raw)[0]
    else:
        row.status, row.model, row.received, row.due = "received", demand.model, demand.received, demand.due
        row.subject = sealing.subject_of(vault, demand)
        row.types = sorted({identifier.type for identifier in demand.identifiers})
        row.digest = sealing.digests(vault, demand)[0]
    return row


def _fold(session: Session, new: Sequence[tables.Request], clock: Clock) -> list[_Move]:
    """Make duplicates of those whose demand is pending, in the store or earlier in the same submission."""
    moves: list[_Move] = []
    waiting = pending(session, [row.digest for row in new])
    for row in new:
        first = waiting.setdefault(row.digest, row) if row.status == "received" else row
        if first is row:
            continue
        row.status, row.duplicate_of, row.closed_at = "duplicate", first.id, row.submitted_at
        moves += take_earlier_dates(first, row, clock)
    return moves


def take_earlier_dates(first: tables.Request, other: tables.Request, clock: Clock) -> list[_Move]:
    """Give the first request the earlier dates of the two: whichever is the correction, no deadline is missed by it.

    Where the first one was extended, the other is due with that extension if its notice covers it: see `noticed_due`.
    """
    moves: list[_Move] = []
    for what, field, theirs in (
        ("request.received_moved_back", "received", other.received),
        ("request.due_moved_forward", "due", noticed_due(clock, first, other)),
    ):
        mine = getattr(first, field)
        if theirs < mine:
            setattr(first, field, theirs)
            moves.append((first.id, what, {"from": f"{mine}", "to": f"{theirs}", "because_of": other.id}))
    return moves


def pending(session: Session, digests: Sequence[str]) -> dict[str, tables.Request]:
    """Return the pending request of each of these demands, where there is one, locked."""
    found: dict[str, tables.Request] = {}
    for start in range(0, len(digests), _CHUNK):
        query = select(tables.Request).where(
            tables.Request.digest.in_(digests[start : start + _CHUNK]), tables.Request.status.in_(IN_LINE)
        )
        found.update({row.digest: row for row in session.scalars(query.with_for_update())})
    return found
