"""Lots: the parts in which the requests of a batch that was split are tried again, each in a batch of its own.

A lot is named by the batch that was split and a number, `B-20261128-0a1b2c.1`: so the batch that takes it knows where
it comes from. While lots of a model wait, they alone are taken; a request that anybody decides about leaves its lot.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from infra.requests import rows, tables
from infra.requests.records import ClosingStatus
from revs.errors import BadInput


def named(batch_id: str, status: ClosingStatus, lots: Sequence[Sequence[str]]) -> Mapping[str, str]:
    """Return the lot of each request that a batch is split into, by request.

    Raises:
        BadInput: A batch is split into fewer than two lots, an empty one or such that share a request, or it ends in
            another way and has lots.
    """
    found = {request_id: f"{batch_id}.{number}" for number, lot in enumerate(lots, start=1) for request_id in lot}
    whole = len(lots) > 1 and all(lots) and len(found) == sum(map(len, lots))
    if not (whole if status == "split" else not lots):
        raise BadInput(
            f"batch {batch_id} cannot end as {status} with {len(lots)} lots; a split leaves two or more, and each "
            "request is in one"
        )
    return found


def parent_of(lot: str | None) -> str | None:
    """Return the batch that was split into this lot."""
    return None if lot is None else lot.rpartition(".")[0]


def next_in_line(session: Session, model: str) -> Sequence[tables.Request]:
    """Return the requests of a model that the next batch takes, due first, locked.

    The largest lot, of equal ones that which is due first; without a lot everything that waits. The largest has most
    to complete, and most to gain if it has to be split again before splitting ends.
    """
    waiting = rows.due_first(session, model=model, status="received")
    lots: dict[str, list[tables.Request]] = defaultdict(list)
    for row in waiting:
        if row.lot is not None:
            lots[row.lot].append(row)
    return max(lots.values(), key=len) if lots else waiting


def parent_of_next(session: Session, model: str) -> tables.Batch | None:
    """Return the batch that was split into the lot which the next batch of a model takes; None where no lot waits."""
    query = select(tables.Request.lot).where(
        tables.Request.model == model, tables.Request.status == "received", tables.Request.lot.is_not(None)
    )
    lots = session.scalars(query.order_by(*rows.DUE_FIRST)).all()
    return rows.batch_row(session, str(parent_of(max(lots, key=lots.count)))) if lots else None


def splits(session: Session, batch_id: str) -> int:
    """Return how many batches were split of those that come from the same first batch as this one, itself included."""
    model = rows.batch_row(session, batch_id).model
    query = select(tables.Batch.id, tables.Batch.parent, tables.Batch.status).where(
        tables.Batch.model == model, or_(tables.Batch.parent.is_not(None), tables.Batch.status == "split")
    )
    family = {id_: (parent, status) for id_, parent, status in session.execute(query)}

    def first(id_: str) -> str:
        parent, _ = family.get(id_, (None, None))
        return id_ if parent is None else first(parent)

    return sum(status == "split" and first(id_) == first(batch_id) for id_, (_, status) in family.items())
