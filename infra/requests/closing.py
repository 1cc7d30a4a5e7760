"""How a batch ends, and what that means for its requests: only what was done is closed as done.

completed: a request of which each identifier is settled is completed, its payload destroyed; a human gets the others.
waiting: the candidate waits for a human's decision, and so do the requests; `accept` completes them.
split: as completed, but for the requests that are in a lot: these go back to `received`, to be tried again lot by lot.
failed, abandoned: what was still processing goes back to `received`.

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

from infra.keys.vault import Vault
from infra.requests import erased, facts, leases, lifecycle, lots, rows, sealing, shredding, tables
from infra.requests.reasons import Reason
from infra.requests.records import SETTLED, ClosingStatus, Identifier, IdentifierOutcome, RequestStatus
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
    again: Sequence[Sequence[str]] = (),
    keep_digests: bool,
) -> None:
    """End an open batch; nothing changes where it has ended in this way before.

    With `keep_digests` the identifiers of the requests that this completes leave their keyed digests behind. `again`:
    of a batch that is split, its lots.

    Raises:
        BadInput: There is no such batch, it has ended in another way, an outcome is of a request that is not in it, or
            a lot is of a request that it does not process.
        BatchHeld: Another run works on it.
    """
    in_lot = lots.named(batch_id, status, again)
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
        rest = _split(session, row, requests, in_lot)
        otherwise = Reason("waiting") if status == "waiting" else None
        done = _settle(session, contents, row, rest, known, otherwise=otherwise)
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
        self._held: dict[str, sealing.Held] = {}
        self._opened: dict[str, tuple[sealing.Held, tuple[Identifier, ...]]] = {}
        engine = session.get_bind().engine
        assert isinstance(engine, Engine)
        with Session(engine.execution_options(revs_write=False)) as before:
            self.refresh(before)
        for request_id in self._held:
            with suppress(OperationFailed):  # said of the request, once it is known to be in the batch still
                self.of(request_id)

    def refresh(self, session: Session) -> None:
        """Read the payloads as they are in the transaction."""
        found = sealing.find(session, tables.Request.batch_id == self._batch_id)
        self._held = {held.request_id: held for held in found}

    def of(self, request_id: str) -> tuple[Identifier, ...]:
        """Return the identifiers of a request.

        Raises:
            OperationFailed: Its payload is missing, does not open, or is not the one it was stored with.
        """
        held = self._held.get(request_id)
        if held is None:
            raise OperationFailed("its payload is missing")
        before, identifiers = self._opened.get(request_id, (None, ()))
        if before != held:
            identifiers = sealing.opened(self.vault, held).identifiers
            self._opened[request_id] = (held, identifiers)
        return identifiers


def _by_request(outcomes: Iterable[IdentifierOutcome]) -> Mapping[str, Mapping[int, IdentifierOutcome]]:
    found: dict[str, dict[int, IdentifierOutcome]] = defaultdict(dict)
    for each in outcomes:
        found[each.request_id][each.number] = each
    return found


def is_nowhere(outcome: IdentifierOutcome) -> bool:
    """Whether an identifier is found nowhere: not in the corpus, read whole, nor in what the model gives unasked."""
    asked = outcome.detail.get("without_corpus") or {}
    return outcome.kind == "not_found" and not outcome.detail.get("unread") and asked.get("verdict") == "not memorised"


def closed_as(batch_status: str, outcomes: Sequence[IdentifierOutcome]) -> tuple[RequestStatus, Reason | None]:
    """Return what closing a batch makes of one of its requests: its status, and why a human has to look at it.

    Args:
        batch_status: How the batch ends.
        outcomes: Of all identifiers of the request; none where nothing is known of them.
    """
    left = [each for each in outcomes if each.kind not in SETTLED]
    if batch_status in ("completed", "refused", "split") and outcomes and not left:
        return "completed", None
    if batch_status == "waiting" and outcomes and not left:
        return "failed", Reason("waiting")
    told = [{"number": each.number, "type": each.type, "kind": each.kind, "detail": each.detail} for each in left]
    return "failed", Reason("unsettled", {"identifiers": told}) if told else Reason("no_outcomes")


def _unsettled(contents: _Contents, request: tables.Request, known: Mapping[int, IdentifierOutcome]) -> Reason | None:
    """Return why a request cannot be completed; None where each of its identifiers is settled."""
    try:
        identifiers = contents.of(request.id)
    except OperationFailed:
        return Reason("unreadable")
    told = [
        _told(identifier, known.get(identifier.number))
        for identifier in identifiers
        if (found := known.get(identifier.number)) is None or found.kind not in SETTLED or found.type != identifier.type
    ]
    return Reason("unsettled", {"identifiers": told}) if told else None


def _told(sought: Identifier, outcome: IdentifierOutcome | None) -> dict[str, Any]:
    told = {"number": sought.number, "type": sought.type}
    if outcome is None or outcome.type != sought.type:
        return told | {"kind": None}
    return told | {"kind": outcome.kind, "detail": outcome.detail}


def _split(
    session: Session, batch: tables.Batch, requests: Sequence[tables.Request], in_lot: Mapping[str, str]
) -> list[tables.Request]:
    """Send the requests that are in a lot back to wait there, and return the others."""
    if strangers := in_lot.keys() - {request.id for request in requests}:
        raise BadInput(f"a lot is of request {min(strangers)}, which batch {batch.id} does not process")
    for request in requests:
        if request.id in in_lot:
            lifecycle.move(session, request, "split", batch_id=batch.id, lot=in_lot[request.id])
    return [request for request in requests if request.id not in in_lot]


def _settle(
    session: Session,
    contents: _Contents,
    batch: tables.Batch,
    requests: Sequence[tables.Request],
    known: Mapping[str, Mapping[int, IdentifierOutcome]],
    *,
    otherwise: Reason | None,
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
        identifiers = (each for request in requests for each in contents.of(request.id))
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
