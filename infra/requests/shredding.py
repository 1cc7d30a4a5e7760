"""Destroying payloads: the rows at once, with the transaction that completes a batch; then the bytes they leave behind.

The second step cannot be part of the transaction. What it still owes is noted in the transaction, so that a crash
between the two, or a busy database, only delays it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from sqlalchemy import Select, delete, select
from sqlalchemy.orm import Session

from infra.requests import rows, tables
from infra.requests.database import Database

_OWED = "residue:"  # + the id of the batch, or of the request that ended outside of one
_OWED_PART = "residue-part:"  # + the id of the request that was narrowed, ":" and the number of the identifier
_CHUNK = 400  # ids, which stand in a statement twice; SQLite's older limit is 999 values
_OWED_NOTES = select(tables.Meta.name).where(
    tables.Meta.name.startswith(_OWED, autoescape=True) | tables.Meta.name.startswith(_OWED_PART, autoescape=True)
)


def destroy(session: Session, because_of: str, request_ids: Iterable[str]) -> None:
    """Delete the payloads of these requests and of their duplicates; note that their bytes are still to be removed.

    Args:
        session: The transaction.
        because_of: The batch that completed them, or the one request itself; for the log.
        request_ids: The requests.
    """
    held, ids = tables.Payload.request_id, list(request_ids)
    for start in range(0, len(ids), _CHUNK):  # each looks once through all requests for duplicates
        some = ids[start : start + _CHUNK]
        same = select(tables.Request.id).where(tables.Request.duplicate_of.in_(some))
        gone = delete(tables.Payload).where(held.in_(some) | held.in_(same))
        session.execute(gone, execution_options={"synchronize_session": False})  # no payload is read after it
    session.merge(tables.Meta(name=_OWED + because_of, value="pending"))


def destroy_part(session: Session, request_id: str, number: int) -> None:
    """Delete one identifier of a request; note that its bytes are still to be removed."""
    session.execute(
        delete(tables.Payload).where(tables.Payload.request_id == request_id, tables.Payload.number == number)
    )
    session.merge(tables.Meta(name=f"{_OWED_PART}{request_id}:{number}", value="pending"))


def expired(before: datetime) -> Select[tuple[str]]:
    """Return the query for the rejected requests that were closed before a moment and still have their payload."""
    held = select(tables.Payload.request_id)
    return select(tables.Request.id).where(
        tables.Request.status == "rejected", tables.Request.closed_at < before, tables.Request.id.in_(held)
    )


def expire(session: Session, before: datetime) -> int:
    """Delete the payloads of rejected requests that were closed before a moment; return how many there were."""
    found = session.scalars(expired(before)).all()
    for request_id in found:
        destroy(session, request_id, [request_id])
        rows.log(session, "payload.expired", request_id=request_id)
    return len(found)


def settle(database: Database) -> bool:
    """Remove the bytes that deleted payloads left in the database files; return whether none are left.

    Logs `payloads.destroyed` for each batch and request that was owed it, `identifier.destroyed` for what was narrowed.
    """
    owed = database.read(lambda session: list(session.scalars(_OWED_NOTES)))
    if not owed:
        return True
    if not database.vacuum():
        return False

    def work(session: Session) -> None:
        for name in owed:
            note = session.get(tables.Meta, name)
            if note is not None:  # another process may have settled it meanwhile
                session.delete(note)
                _log(session, name)

    database.write(work)
    return True


def _log(session: Session, note: str) -> None:
    if note.startswith(_OWED_PART):
        narrowed, _, number = note.removeprefix(_OWED_PART).partition(":")
        detail = {"number": int(number)} if number else {}
        rows.log(session, "identifier.destroyed", request_id=narrowed, detail=detail)
        return
    owner = note.removeprefix(_OWED)
    alone = session.get(tables.Request, owner) is not None
    batch_id, request_id = (None, owner) if alone else (owner, None)
    rows.log(session, "payloads.destroyed", batch_id=batch_id, request_id=request_id)
