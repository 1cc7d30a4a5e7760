"""Pages and counts of requests, for those who look at many: the database sorts and counts, not the program.

The unanswered ones, of which there are few, come from `RequestStore.timeliness`, the most urgent first.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import ColumnElement, func, select

from infra.requests import rows, tables
from infra.requests.batch_store import BatchStore
from infra.requests.records import UNANSWERED, RequestView


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some requests, and how many match."""

    requests: tuple[RequestView, ...]
    total: int


class Overview:
    """Reads the requests of a store; `clock` is how it counts time."""

    def __init__(self, store: BatchStore) -> None:
        self._database = store._database  # the package's own: one engine a store
        self.clock = store._clock

    def views(self, ids: Sequence[str]) -> tuple[RequestView, ...]:
        """Return the requests with these ids, at most some hundreds, in this order."""
        query = select(tables.Request).where(tables.Request.id.in_(ids))
        found = self._database.read(lambda session: {row.id: rows.view(row) for row in session.scalars(query)})
        return tuple(found[id_] for id_ in ids if id_ in found)

    def answered(self, *, statuses: Collection[str], due_by: date | None, offset: int, limit: int) -> Page:
        """Return those of the answered requests that match, due first.

        Args:
            statuses: Only with one of these; none: all.
            due_by: Only those due on this day or before.
            offset: How many to leave out at the beginning.
            limit: How many to return at most.
        """
        wanted: list[ColumnElement[bool]] = [tables.Request.status.not_in(UNANSWERED)]
        if statuses:
            wanted.append(tables.Request.status.in_(statuses))
        if due_by is not None:
            wanted.append(tables.Request.due <= due_by)
        query = select(tables.Request).where(*wanted).order_by(*rows.DUE_FIRST, tables.Request.id)
        count = select(func.count()).select_from(tables.Request).where(*wanted)
        return self._database.read(
            lambda session: Page(
                requests=tuple(rows.view(row) for row in session.scalars(query.offset(offset).limit(limit))),
                total=session.scalar(count) or 0,
            )
        )

    def by_status(self) -> dict[str, int]:
        """Return how many requests there are in each status that any is in."""
        query = select(tables.Request.status, func.count()).group_by(tables.Request.status)
        return self._database.read(lambda session: {status: number for status, number in session.execute(query)})
