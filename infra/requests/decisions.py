"""What people decide about a request outside of a batch: the steps of `lifecycle` that no batch takes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any, Literal, get_args

from sqlalchemy.orm import Session

from infra.keys.vault import Vault
from infra.requests import (
    closing,
    duplicates,
    erased,
    facts,
    leases,
    lifecycle,
    rows,
    sealing,
    shredding,
    submissions,
    tables,
)
from infra.requests.clock import Clock
from infra.requests.lifecycle import HoldGround, NarrowingReason, RefusalGround
from infra.requests.outcomes import described
from infra.requests.reasons import Reason
from infra.requests.records import IN_LINE, SETTLED, BatchStatus, RequestStatus, Sought
from revs.errors import BadInput

NARROWED_IN: frozenset[RequestStatus] = frozenset({"unverified", "received", "on_hold", "failed"})
"""States in which one identifier may be dropped; in a batch, all of them are being worked on."""


TOOK_EFFECT: frozenset[BatchStatus] = frozenset({"completed", "refused", "split"})
"""Batches whose outcomes are true of the champion: in the others an edit was made that nobody promoted."""


def set_aside(session: Session, request_id: str, how: Literal["reject", "fail"], reason: Reason, clock: Clock) -> None:
    """Reject a request or hand it to a human, with the reason; nothing changes where that was done before."""
    row = rows.request_row(session, request_id)
    if row.status == lifecycle.STEPS[how].target:
        return
    batch_id = row.batch_id if row.status == "processing" else None
    if batch_id is not None:
        leases.guard(session, batch_id)
    lifecycle.move(session, row, how, reason=reason, batch_id=batch_id)
    if how == "reject":
        duplicates.revive(session, row, clock)


def back_in_line(
    session: Session, request_id: str, name: Literal["retry", "verify", "release"], clock: Clock, *, by: str
) -> str:
    """Put a request in line, and return the id of that which stands there now: itself, or a newer one of its demand."""
    row = rows.request_row(session, request_id)
    if row.status == "received":
        return row.id
    if name == "verify" and row.submitted_by is not None and _alike(row.submitted_by) == _alike(by):
        raise BadInput(f"request {request_id} was submitted by {by}, who cannot verify it: let somebody else do so")
    if row.status in lifecycle.STEPS[name].sources and name != "release":  # what is on hold stands in line already
        newer = duplicates.fold_into_newer(session, row, clock)
        if newer is not None:
            return newer.id
    lifecycle.move(session, row, name, detail=_by(by))
    return row.id


def withdraw(session: Session, request_id: str, clock: Clock, *, by: str) -> str | None:
    """End a request because the person no longer asks, and destroy its payload.

    A duplicate of it goes on: it was handed in by itself, and is withdrawn by itself. What was on hold stays on hold.

    Returns:
        The id of the duplicate that stands in line in its place, None where there is none.
    """
    row = rows.request_row(session, request_id)
    if row.status == "withdrawn":
        return None
    ground = row.reason if row.status == "on_hold" else None
    lifecycle.move(session, row, "withdraw", detail=_by(by))
    goes_on = _duplicate_goes_on(session, row, clock, ground, by=by)
    session.flush()
    shredding.destroy(session, request_id, [request_id])
    return goes_on


def refuse(session: Session, request_id: str, clock: Clock, *, ground: RefusalGround, by: str) -> str | None:
    """End a request because it will not be fulfilled; its payload stays for as long as a rejected one's.

    Returns:
        The id of the duplicate that stands in line in its place, None where there is none.
    """
    _require_code(ground, get_args(RefusalGround), "ground to refuse a request")
    row = rows.request_row(session, request_id)
    if row.status == "rejected" and row.reason == Reason(ground):
        return None
    held_for = row.reason if row.status == "on_hold" else None
    lifecycle.move(session, row, "refuse", reason=Reason(ground), detail=_by(by))
    return _duplicate_goes_on(session, row, clock, held_for, by=by)


def accept(session: Session, vault: Vault, request_id: str, *, by: str, keep_digests: bool) -> None:
    """Complete a request of which nothing is left to erase, and destroy its payload.

    Each of its identifiers is settled, or was found nowhere: `closing.is_nowhere`.
    """
    row = rows.request_row(session, request_id)
    if row.status == "completed":
        return
    if row.status == "failed":
        sought = _sought(session, vault, request_id)
        _require_nothing_left(session, row, sought)
        if keep_digests and row.batch_id is not None:
            erased.keep(session, vault, rows.batch_row(session, row.batch_id), sought.identifiers, of=row.id)
    lifecycle.move(session, row, "accept", batch_id=row.batch_id, detail=_by(by))
    session.flush()
    shredding.destroy(session, request_id, [request_id])


def narrow(
    session: Session, vault: Vault, request_id: str, clock: Clock, *, number: int, reason: NarrowingReason, by: str
) -> str | None:
    """Drop one identifier of a request and destroy it; the others keep their numbers. Idempotent.

    A duplicate of the request still asks for all of them, so it goes on by itself.

    Returns:
        The id of the duplicate that stands in line, None where there is none.
    """
    _require_code(reason, get_args(NarrowingReason), "reason to drop an identifier")
    row = rows.request_row(session, request_id)
    if any(each["number"] == number for each in row.dropped):
        return None
    if row.status not in NARROWED_IN:
        raise BadInput(f"request {row.id} is {row.status}; only one that waits or needs a human can be narrowed")
    sought = _sought(session, vault, row.id)
    left = replace(sought, identifiers=tuple(each for each in sought.identifiers if each.number != number))
    if len(left.identifiers) == len(sought.identifiers):
        there = ", ".join(f"{each.number} ({each.type})" for each in sought.identifiers)
        raise BadInput(f"request {row.id} has no identifier {number}; it has {there}")
    if not left.identifiers:
        raise BadInput(f"identifier {number} is all that request {row.id} asks for; refuse or withdraw the request")
    digest = sealing.digests(vault, left)[0]
    same = submissions.pending(session, [digest]).get(digest)
    if same is not None and row.status in IN_LINE:
        raise BadInput(f"request {same.id} asks for what would be left of {row.id}; refuse or withdraw one of them")
    (type_,) = [each.type for each in sought.identifiers if each.number == number]
    dropped = {"number": number, "type": type_, "reason": reason}
    row.digest, row.dropped = digest, [*row.dropped, dropped | {"at": rows.now().isoformat(), "batch": row.batch_id}]
    row.types = sorted({each.type for each in left.identifiers})
    detail = dropped | _by(by) | {facts.STORED: facts.of_narrowed(row)}
    rows.log(session, "request.narrowed", request_id=row.id, detail=detail)
    held_for = row.reason if row.status == "on_hold" else None
    goes_on = _duplicate_goes_on(session, row, clock, held_for, by=by)
    session.flush()
    shredding.destroy_part(session, row.id, number)
    return goes_on


def _duplicate_goes_on(
    session: Session, row: tables.Request, clock: Clock, held_for: Reason | None, *, by: str
) -> str | None:
    """Put a duplicate of a request in line, on hold where that was held; return its id, None where there is none."""
    next_one = duplicates.revive(session, row, clock)
    if next_one is not None and held_for is not None:
        lifecycle.move(session, next_one, "hold", reason=held_for, detail=_by(by))
    return None if next_one is None else next_one.id


def _require_nothing_left(session: Session, row: tables.Request, sought: Sought) -> None:
    """Raise BadInput where an identifier of a failed request is not settled, and was found somewhere or not sought."""
    found = closing.find_outcomes(session, row.id, row.batch_id) if row.batch_id else []
    types = {each.number: each.type for each in sought.identifiers}
    outcomes = [
        each for each in found if types.get(each.number) == each.type
    ]  # what was dropped since is not asked for
    batch = session.get(tables.Batch, row.batch_id) if row.batch_id else None
    if batch is not None and batch.status not in TOOK_EFFECT:
        raise BadInput(
            f"what batch {batch.id} did to request {row.id} took no effect, it is {batch.status}: decide about the "
            "batch ('revs promote', 'revs batches abandon'), or put the request back in line ('revs requests retry')"
        )
    if len(outcomes) < len(types):
        raise BadInput(
            f"no batch has looked for what request {row.id} asks for now; put it back in line ('revs requests retry')"
        )
    left = [each for each in outcomes if each.kind not in SETTLED and not closing.is_nowhere(each)]
    if left:
        raise BadInput(
            f"request {row.id} is not done: identifier {left[0].number} ({left[0].type}) is "
            f"{described(left[0].kind, left[0].detail)}; retry, narrow or refuse it"
        )


def _sought(session: Session, vault: Vault, request_id: str) -> Sought:
    found = sealing.find(session, tables.Request.id == request_id)
    if not found:
        raise BadInput(f"the payload of request {request_id} was destroyed; hand the request in again")
    return sealing.opened(vault, found[0])


def _require_code(code: str, codes: Collection[str], what: str) -> None:
    # The code is not shown: somebody may have written a sentence about the person.
    if code not in codes:
        raise BadInput(f"that is no {what}; name one of {', '.join(codes)}")


def hold(session: Session, request_id: str, *, ground: HoldGround, by: str) -> None:
    """Keep a request from being processed until it is released; nothing changes where it is on hold."""
    _require_code(ground, get_args(HoldGround), "ground to hold a request")
    row = rows.request_row(session, request_id)
    if row.status != "on_hold":
        lifecycle.move(session, row, "hold", reason=Reason(ground), detail=_by(by))


def _alike(name: str) -> str:
    """A name without what a reader does not see."""
    return " ".join(name.split()).casefold()


def _by(who: str) -> dict[str, Any]:
    if not who.strip():
        raise BadInput("it is not said who decides; name them")
    return {"by": who}
