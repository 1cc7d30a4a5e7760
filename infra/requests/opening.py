"""How a batch begins: the model's unfinished one, a new one of a lot that waits, or one of everything that waits."""

from __future__ import annotations

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from infra.requests import facts, lifecycle, lots, rows, tables
from infra.requests.records import Batch


def open_batch(session: Session, *, model: str, corpus: str, source: str, at_most: int | None = None) -> Batch | None:
    """Return the model's open batch; without one, open one with what is next in line, if there is anything."""
    unfinished = session.scalar(select(tables.Batch).filter_by(model=model, status="open"))
    if unfinished is not None:
        return rows.batch(session, unfinished)
    row = tables.Batch(
        id=rows.new_batch_id(),
        model=model,
        corpus=corpus,
        source=source,
        status="open",
        opened_at=rows.now(),
        outcome={},
    )
    # Stored before the requests are read: whoever comes second fails here, and finds this batch when it tries again.
    session.add(row)
    session.flush()
    waiting = lots.next_in_line(session, model)[:at_most]
    if not waiting:
        session.rollback()
        return None
    row.parent = lots.parent_of(waiting[0].lot)
    came_from = {"parent": row.parent, "lot": waiting[0].lot} if row.parent else {}
    detail = {"requests": len(waiting), facts.STORED: facts.of_batch(row), **came_from}
    rows.log(session, "batch.opened", batch_id=row.id, detail=detail)
    for request in waiting:
        lifecycle.move(session, request, "take", batch_id=row.id)
    members = [{"batch_id": row.id, "request_id": each.id, "position": number} for number, each in enumerate(waiting)]
    session.execute(insert(tables.Member), members)
    session.flush()
    return rows.batch(session, row)
