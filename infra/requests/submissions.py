"""Storing what a request file holds: all of it in one transaction, so that a file is in the store or is not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from infra.requests import rows, tables
from infra.requests.records import Demand, Entry, Identifier, Intake
from infra.vault import Sealed, Vault
from revs.errors import OperationFailed

_PENDING = ("received", "processing")
_CHUNK = 500  # values in one IN (...); SQLite's older limit is 999 in a statement


def fingerprint(vault: Vault, data: bytes, model: str) -> str:
    """Return what makes two submissions the same: the bytes of the file and the model it was handed in for."""
    return vault.pseudonym(f"{hashlib.sha256(data).hexdigest()} {model}", kind="submission")


def find(session: Session, mark: str) -> Intake | None:
    """Return what became of the submission with this fingerprint, None where there is none."""
    known = session.scalar(select(tables.Submission.id).where(tables.Submission.fingerprint == mark))
    if known is None:
        return None
    query = select(tables.Request).where(tables.Request.submission_id == known).order_by(tables.Request.line)
    return _intake(session.scalars(query).all())


def store(
    session: Session, vault: Vault, mark: str, entries: Sequence[Entry], *, model: str, request_days: int
) -> Intake:
    """Store a new submission; `entries` is in the order of the file."""
    submission = tables.Submission(fingerprint=mark, submitted_at=rows.now())
    session.add(submission)
    session.flush()
    stored = [_request(vault, submission, entry, model=model, request_days=request_days) for entry in entries]
    moves = _fold(session, stored)
    session.add_all(stored)
    session.flush()
    for entry, row in zip(entries, stored, strict=True):
        # A duplicate has no payload: nothing of it may outlive the payload of the first one.
        if row.duplicate_of is None:
            sealed = vault.seal(_payload(entry.demand) if entry.demand else entry.raw)
            session.add(tables.Payload(request_id=row.id, wrapped_key=sealed.wrapped_key, ciphertext=sealed.ciphertext))
        detail = {"duplicate_of": row.duplicate_of} if row.duplicate_of else {}
        rows.log(session, f"request.{row.status}", request_id=row.id, detail=detail)
    for request_id, move in moves:
        rows.log(session, "request.due_moved_forward", request_id=request_id, detail=move)
    return _intake(stored)


def unseal(vault: Vault, request_id: str, digest: str, sealed: Sealed) -> tuple[Identifier, ...]:
    """Return the identifiers in the payload of a request.

    Raises:
        OperationFailed: It does not open, or it is not the payload that was stored with this request.
    """
    held = json.loads(vault.open(sealed))
    identifiers = tuple(Identifier(type=kind, value=value) for kind, value in held["identifiers"])
    demand = Demand(
        subject=held["subject"],
        model=held["model"],
        received=datetime.min.date(),
        due=datetime.min.date(),
        identifiers=identifiers,
    )
    if _digest(vault, demand) != digest:
        raise OperationFailed(
            f"the payload of request {request_id} is not the one it was stored with; restore the request store"
        )
    return identifiers


def sealed(row: tables.Payload) -> Sealed:
    """Return the payload of a row."""
    return Sealed(wrapped_key=row.wrapped_key, ciphertext=row.ciphertext)


def _digest(vault: Vault, demand: Demand) -> str:
    return vault.pseudonym(json.dumps(demand.canonical()), kind="demand")


def _intake(stored: Sequence[tables.Request]) -> Intake:
    return Intake(
        received=len(stored),
        accepted=tuple(row.id for row in stored if row.status not in {"rejected", "duplicate"}),
        rejected=tuple((row.id, row.reason or "") for row in stored if row.status == "rejected"),
        duplicates=tuple(row.id for row in stored if row.status == "duplicate"),
    )


def _request(
    vault: Vault, submission: tables.Submission, entry: Entry, *, model: str, request_days: int
) -> tables.Request:
    row = tables.Request(
        id=rows.new_request_id(),
        submission_id=submission.id,
        line=entry.line,
        submitted_at=submission.submitted_at,
        reason=entry.reason,
    )
    demand = entry.demand
    if demand is None:
        row.status, row.closed_at, row.model = "rejected", row.submitted_at, model
        row.received = row.submitted_at.date()
        row.due = row.received + timedelta(days=request_days)
        row.subject, row.types = "", []
        row.digest = vault.pseudonym(entry.raw.decode("utf-8", "surrogateescape"), kind="line")
    else:
        row.status, row.model, row.received, row.due = "received", demand.model, demand.received, demand.due
        row.subject = vault.pseudonym(demand.subject, kind="subject")
        row.types = sorted({identifier.type for identifier in demand.identifiers})
        row.digest = _digest(vault, demand)
    return row


def _fold(session: Session, new: Sequence[tables.Request]) -> list[tuple[str, dict[str, Any]]]:
    """Make duplicates of those whose demand is pending, in the store or earlier in the same submission.

    A duplicate that is due earlier moves the first one's due date forward; the moves are returned for the audit log.
    """
    moves: list[tuple[str, dict[str, Any]]] = []
    pending = _pending(session, [row.digest for row in new])
    for row in new:
        first = pending.setdefault(row.digest, row) if row.status == "received" else row
        if first is row:
            continue
        row.status, row.duplicate_of, row.closed_at = "duplicate", first.id, row.submitted_at
        if row.due < first.due:
            moves.append((first.id, {"from": f"{first.due}", "to": f"{row.due}", "because_of": row.id}))
            first.due = row.due
    return moves


def _pending(session: Session, digests: Sequence[str]) -> dict[str, tables.Request]:
    found: dict[str, tables.Request] = {}
    for start in range(0, len(digests), _CHUNK):
        query = select(tables.Request).where(
            tables.Request.digest.in_(digests[start : start + _CHUNK]), tables.Request.status.in_(_PENDING)
        )
        found.update({row.digest: row for row in session.scalars(query.with_for_update())})
    return found


def _payload(demand: Demand) -> bytes:
    identifiers = [[identifier.type, identifier.value] for identifier in demand.identifiers]
    return json.dumps({"model": demand.model, "subject": demand.subject, "identifiers": identifiers}).encode()
