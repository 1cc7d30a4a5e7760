"""How a batch ends, and what that means for its requests: only what was done is closed as done.

completed: a request of which each identifier is settled is completed, its payload destroyed; a human gets the others.
waiting: the candidate waits for a human's decision, and so do the requests; `accept` completes them.
refused, failed, abandoned: what was still processing goes back to `received`.

Here too, and not only where outcomes are made, it is decided what completes a request: whoever calls, however.

Payloads are unsealed before the transaction says its first word, for that is when it takes the lock that every other
writer waits for; in it, only those that were changed meanwhile are unsealed again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from typing import Any

from sqlalchemy import Engine, insert, select
from sqlalchemy.orm import Session

from infra.keys.vault import Sealed, Vault
from infra.requests import erased, facts, leases, lifecycle, rows, shredding, submissions, tables
from infra.requests.outcomes import WAITING, described
from infra.requests.records import SETTLED, ClosingStatus, Identifier, IdentifierOutcome
from revs.errors import BadInput, OperationFailed

_OF_OUTCOME = tuple(field.name for field in fields(IdentifierOutcome))


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
    contents = _Contents(session, vault, batch_id)
    leases.guard(session, batch_id)
    row = rows.batch_row(session, batch_id)
    if row.status == status:
        return
    declined = row.status == "waiting" and status == "abandoned"  # its requests are with a human already
    if row.status != "open" and not declined:
        raise BadInput(f"batch {batch_id} is already closed as {row.status}; it cannot become {status}")
    row.status, row.closed_at, row.outcome = status, rows.now(), outcome
    known = _by_request(_store_outcomes(session, row, outcomes))
    requests = rows.due_first(session, batch_id=batch_id, status="processing")
    if status in ("failed", "abandoned"):
        for request in requests:
            lifecycle.move(session, request, "send_back", batch_id=row.id)
    else:
        contents.refresh(session)
        done = _settle(session, contents, row, requests, known, otherwise=WAITING if status == "waiting" else None)
        _shred(session, contents, row, done, keep_digests=keep_digests)
    detail = {
        "status": status,
        "requests": len(requests),
        facts.STORED: facts.of_end(session, row, anew=bool(known) or not declined),
    }
    rows.log(session, "batch.closed", batch_id=batch_id, detail=detail)


def accept(
    session: Session, vault: Vault, batch_id: str, by: str, outcome: dict[str, Any] | None, *, keep_digests: bool
) -> None:
    """Complete a waiting batch: a human promoted its candidate. Nothing changes where that was done before.

    With `keep_digests` as in `close`.

    Raises:
        BadInput: There is no such batch, or it does not wait.
        BatchHeld: A run works on it.
    """
    contents = _Contents(session, vault, batch_id)
    leases.guard(session, batch_id)
    row = rows.batch_row(session, batch_id)
    if row.status == "completed":
        return
    if row.status != "waiting":
        raise BadInput(f"batch {batch_id} is {row.status}; only a batch that waits for a decision can be accepted")
    row.status, row.outcome = "completed", outcome or row.outcome
    # One that was retried meanwhile left the batch, and waits for another.
    handed_over = rows.due_first(session, batch_id=batch_id, status="failed")
    known = _by_request(find_outcomes(session, None, batch_id))
    contents.refresh(session)
    done = [each for each in handed_over if _unsettled(contents, each, known.get(each.id, {})) is None]
    _shred(session, contents, row, done, keep_digests=keep_digests)
    said = {facts.STORED: {"outcome": facts.digest(outcome)}} if outcome else {}
    detail = {"by": by, "requests": len(done)} | said
    rows.log(session, "batch.accepted", batch_id=batch_id, detail=detail)


def find_outcomes(session: Session, request_id: str | None, batch_id: str | None) -> list[IdentifierOutcome]:
    """Return the outcomes that match; of a request alone, those of its latest batch."""
    if request_id is not None and batch_id is None:
        latest = select(tables.Outcome.batch_id).where(tables.Outcome.request_id == request_id)
        batch_id = session.scalar(latest.order_by(tables.Outcome.at.desc()).limit(1))
    query = rows.matching(tables.Outcome, request_id=request_id, batch_id=batch_id)
    query = query.order_by(tables.Outcome.request_id, tables.Outcome.number)
    return [rows.record(IdentifierOutcome, row) for row in session.scalars(query)]


class _Contents:
    """The identifiers of a batch's requests. Made before the session it is given has begun its transaction."""

    def __init__(self, session: Session, vault: Vault, batch_id: str) -> None:
        self.vault, self._batch_id = vault, batch_id
        self._held: dict[str, Sealed] = {}
        self._unsealed: dict[str, tuple[Sealed, tuple[Identifier, ...]]] = {}
        engine = session.get_bind().engine
        assert isinstance(engine, Engine)
        with Session(engine.execution_options(revs_write=False)) as before:
            digests = self._read(before)
        for request_id, digest in digests.items():
            with suppress(OperationFailed):  # said of the request, once it is known to be in the batch still
                self.of(request_id, digest)

    def refresh(self, session: Session) -> None:
        """Read the payloads as they are in the transaction."""
        self._read(session)

    def of(self, request_id: str, digest: str) -> tuple[Identifier, ...]:
        """Return the identifiers of a request.

        Raises:
            OperationFailed: Its payload is missing, does not open, or is not the one it was stored with.
        """
        held = self._held.get(request_id)
        if held is None:
            raise OperationFailed("its payload is missing")
        sealed, identifiers = self._unsealed.get(request_id, (None, ()))
        if sealed != held:
            identifiers = submissions.unseal(self.vault, request_id, digest, held)
            self._unsealed[request_id] = (held, identifiers)
        return identifiers

    def _read(self, session: Session) -> dict[str, str]:
        query = (
            select(tables.Request.id, tables.Request.digest, tables.Payload.wrapped_key, tables.Payload.ciphertext)
            .join(tables.Payload, tables.Payload.request_id == tables.Request.id)
            .where(tables.Request.batch_id == self._batch_id)
        )
        found = session.execute(query).all()
        self._held = {id_: Sealed(wrapped_key=key, ciphertext=text) for id_, _, key, text in found}
        return {id_: digest for id_, digest, _, _ in found}


def _by_request(outcomes: Iterable[IdentifierOutcome]) -> Mapping[str, Mapping[int, IdentifierOutcome]]:
    found: dict[str, dict[int, IdentifierOutcome]] = defaultdict(dict)
    for each in outcomes:
        found[each.request_id][each.number] = each
    return found


def _unsettled(contents: _Contents, request: tables.Request, known: Mapping[int, IdentifierOutcome]) -> str | None:
    """Return why a request cannot be completed, in one sentence; None where each of its identifiers is settled."""
    try:
        identifiers = contents.of(request.id, request.digest)
    except OperationFailed as error:
        return str(error)
    reasons = [
        _reason(number, identifier.type, known.get(number))
        for number, identifier in enumerate(identifiers)
        if number not in known or known[number].kind not in SETTLED or known[number].type != identifier.type
    ]
    return "; ".join(reasons) or None


def _reason(number: int, type_: str, outcome: IdentifierOutcome | None) -> str:
    named = f"identifier {number} ({type_})"
    if outcome is None or outcome.kind in SETTLED:
        return f"{named} has no outcome on record"
    return f"{named}: {described(outcome.kind, outcome.detail)}"


def _settle(
    session: Session,
    contents: _Contents,
    batch: tables.Batch,
    requests: Sequence[tables.Request],
    known: Mapping[str, Mapping[int, IdentifierOutcome]],
    *,
    otherwise: str | None,
) -> list[tables.Request]:
    """Return the requests that are settled; hand the others over, or all where there is a reason to do otherwise."""
    done = []
    for request in requests:
        reason = _unsettled(contents, request, known.get(request.id, {})) or otherwise
        if reason is None:
            done.append(request)
        else:
            lifecycle.move(session, request, "fail", reason=reason, batch_id=batch.id)
    return done


def _shred(
    session: Session,
    contents: _Contents,
    batch: tables.Batch,
    requests: Sequence[tables.Request],
    *,
    keep_digests: bool,
) -> None:
    if keep_digests and requests:
        identifiers = (each for request in requests for each in contents.of(request.id, request.digest))
        erased.keep(session, contents.vault, batch, identifiers)
    for request in requests:
        lifecycle.move(session, request, "complete", batch_id=batch.id)
    if requests:
        shredding.destroy(session, batch.id, [request.id for request in requests])


def _store_outcomes(
    session: Session, batch: tables.Batch, outcomes: Iterable[IdentifierOutcome]
) -> Iterable[IdentifierOutcome]:
    """Store the outcomes of a batch, which has none so far, and return them: the last where there are two of one."""
    taken = set(session.scalars(select(tables.Member.request_id).where(tables.Member.batch_id == batch.id)))
    latest: Mapping[tuple[str, int], IdentifierOutcome] = {(each.request_id, each.number): each for each in outcomes}
    for each in latest.values():
        if each.request_id not in taken:
            raise BadInput(f"an outcome is of request {each.request_id}, which batch {batch.id} did not take")
    if latest:
        same: dict[str, Any] = {"batch_id": batch.id, "at": rows.now()}
        values = [{name: getattr(each, name) for name in _OF_OUTCOME} | same for each in latest.values()]
        session.execute(insert(tables.Outcome), values)
    return latest.values()
