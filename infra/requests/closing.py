"""How a batch ends, and what that means for its requests: only what was done is closed as done.

completed: a request of which each identifier is settled is completed, its payload destroyed; a human gets the others.
waiting: the candidate waits for a human's decision, and so do the requests; `accept` completes them.
refused, failed, abandoned: what was still processing goes back to `received`.

Here too, and not only where outcomes are made, it is decided what completes a request: whoever calls, however.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from infra.keys.vault import Vault
from infra.requests import erased, leases, lifecycle, rows, shredding, submissions, tables
from infra.requests.outcomes import WAITING, described
from infra.requests.records import SETTLED, ClosingStatus, Identifier, IdentifierOutcome
from revs.errors import BadInput, OperationFailed


def close(
    session: Session,
    vault: Vault,
    batch_id: str,
    status: ClosingStatus,
    outcome: dict[str, Any],
    outcomes: Iterable[IdentifierOutcome],
    *,
    keep_digests: bool,
) -> None:
    """End an open batch; nothing changes where it has ended in this way before.

    With `keep_digests` the identifiers of the requests that this completes leave their keyed digests behind.

    Raises:
        BadInput: There is no such batch, it has ended in another way, or an outcome is of a request that is not in it.
        BatchHeld: Another run works on it.
    """
    leases.guard(session, batch_id)
    row = rows.batch_row(session, batch_id)
    if row.status == status:
        return
    declined = row.status == "waiting" and status == "abandoned"  # its requests are with a human already
    if row.status != "open" and not declined:
        raise BadInput(f"batch {batch_id} is already closed as {row.status}; it cannot become {status}")
    row.status, row.closed_at, row.outcome = status, rows.now(), outcome
    _store_outcomes(session, row, outcomes)
    requests = rows.due_first(session, batch_id=batch_id, status="processing")
    if status in ("failed", "abandoned"):
        for request in requests:
            lifecycle.move(session, request, "send_back", batch_id=row.id)
    else:
        done = _settle(session, vault, row, requests, otherwise=WAITING if status == "waiting" else None)
        _shred(session, vault, row, done, keep_digests=keep_digests)
    rows.log(session, "batch.closed", batch_id=batch_id, detail={"status": status, "requests": len(requests)})


def accept(
    session: Session, vault: Vault, batch_id: str, by: str, outcome: dict[str, Any] | None, *, keep_digests: bool
) -> None:
    """Complete a waiting batch: a human promoted its candidate. Nothing changes where that was done before.

    With `keep_digests` as in `close`.

    Raises:
        BadInput: There is no such batch, or it does not wait.
        BatchHeld: A run works on it.
    """
    leases.guard(session, batch_id)
    row = rows.batch_row(session, batch_id)
    if row.status == "completed":
        return
    if row.status != "waiting":
        raise BadInput(f"batch {batch_id} is {row.status}; only a batch that waits for a decision can be accepted")
    row.status, row.outcome = "completed", outcome or row.outcome
    # One that was retried meanwhile left the batch, and waits for another.
    handed_over = rows.due_first(session, batch_id=batch_id, status="failed")
    known = find_outcomes(session, None, batch_id)
    done = [each for each in handed_over if unsettled(session, vault, each, known) is None]
    _shred(session, vault, row, done, keep_digests=keep_digests)
    rows.log(session, "batch.accepted", batch_id=batch_id, detail={"by": by, "requests": len(done)})


def find_outcomes(session: Session, request_id: str | None, batch_id: str | None) -> list[IdentifierOutcome]:
    """Return the outcomes that match; of a request alone, those of its latest batch."""
    if request_id is not None and batch_id is None:
        latest = select(tables.Outcome.batch_id).where(tables.Outcome.request_id == request_id)
        batch_id = session.scalar(latest.order_by(tables.Outcome.at.desc()).limit(1))
    query = rows.matching(tables.Outcome, request_id=request_id, batch_id=batch_id)
    query = query.order_by(tables.Outcome.request_id, tables.Outcome.number)
    return [rows.record(IdentifierOutcome, row) for row in session.scalars(query)]


def unsettled(
    session: Session, vault: Vault, request: tables.Request, known: Iterable[IdentifierOutcome]
) -> str | None:
    """Return why a request cannot be completed, in one sentence; None where each of its identifiers is settled."""
    try:
        identifiers = _identifiers(session, vault, request)
    except OperationFailed as error:
        return str(error)
    found = {each.number: each for each in known if each.request_id == request.id}
    reasons = [
        _reason(number, identifier.type, found.get(number))
        for number, identifier in enumerate(identifiers)
        if number not in found or found[number].kind not in SETTLED or found[number].type != identifier.type
    ]
    return "; ".join(reasons) or None


def _identifiers(session: Session, vault: Vault, request: tables.Request) -> tuple[Identifier, ...]:
    payload = session.get(tables.Payload, request.id)
    if payload is None:
        raise OperationFailed("its payload is missing")
    return submissions.unseal(vault, request.id, request.digest, submissions.sealed(payload))


def _reason(number: int, type_: str, outcome: IdentifierOutcome | None) -> str:
    named = f"identifier {number} ({type_})"
    if outcome is None or outcome.kind in SETTLED:
        return f"{named} has no outcome on record"
    return f"{named}: {described(outcome.kind, outcome.detail)}"


def _settle(
    session: Session, vault: Vault, batch: tables.Batch, requests: Sequence[tables.Request], *, otherwise: str | None
) -> list[tables.Request]:
    """Return the requests that are settled; hand the others over, or all where there is a reason to do otherwise."""
    known = find_outcomes(session, None, batch.id)
    done = []
    for request in requests:
        reason = unsettled(session, vault, request, known) or otherwise
        if reason is None:
            done.append(request)
        else:
            lifecycle.move(session, request, "fail", reason=reason, batch_id=batch.id)
    return done


def _shred(
    session: Session, vault: Vault, batch: tables.Batch, requests: Sequence[tables.Request], *, keep_digests: bool
) -> None:
    if keep_digests and requests:
        erased.keep(session, vault, batch, (each for one in requests for each in _identifiers(session, vault, one)))
    for request in requests:
        lifecycle.move(session, request, "complete", batch_id=batch.id)
    if requests:
        shredding.destroy(session, batch.id, [request.id for request in requests])


def _store_outcomes(session: Session, batch: tables.Batch, outcomes: Iterable[IdentifierOutcome]) -> None:
    taken = set(session.scalars(select(tables.Member.request_id).where(tables.Member.batch_id == batch.id)))
    latest: Mapping[tuple[str, int], IdentifierOutcome] = {(each.request_id, each.number): each for each in outcomes}
    for each in latest.values():
        if each.request_id not in taken:
            raise BadInput(f"an outcome is of request {each.request_id}, which batch {batch.id} did not take")
        session.add(tables.Outcome(batch_id=batch.id, at=rows.now(), **asdict(each)))
    session.flush()
