"""Pages and counts of requests, for those who look at many: the database sorts and counts, not the program."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import ColumnElement, case, func, select

from infra.requests import rows, tables
from infra.requests.batch_store import BatchStore
from infra.requests.records import RequestView

ENDED = ("completed", "rejected", "duplicate", "withdrawn")
"""What nobody has to do anything about; every other status is open, also those that wait for a human."""
AT_RISK_DAYS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Some requests, and how many match."""

    requests: tuple[RequestView, ...]
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many requests there are: by status, open ones past their due date, and open ones due soon."""

    by_status: dict[str, int]
    overdue: int
    at_risk: int


class Overview:
    """Reads the requests of a store."""

    def __init__(self, store: BatchStore) -> None:
        self._database = store._database  # the package's own: one engine a store

    def page(
        self, *, statuses: Collection[str] = (), due_by: date | None = None, offset: int = 0, limit: int = 50
    ) -> Page:
        """Return the requests that match, the open ones first, due first.

        Args:
            statuses: Only with one of these; none: all.
            due_by: Only those due on this day or before.
            offset: How many to leave out at the beginning.
            limit: How many to return at most.
        """
        wanted: list[ColumnElement[bool]] = []
        if statuses:
            wanted.append(tables.Request.status.in_(statuses))
        if due_by is not None:
            wanted.append(tables.Request.due <= due_by)
        closed = case((tables.Request.status.in_(ENDED), 1), else_=0)
        query = select(tables.Request).where(*wanted).order_by(closed, *rows.DUE_FIRST, tables.Request.id)
        count = select(func.count()).select_from(tables.Request).where(*wanted)
        return self._database.read(
            lambda session: Page(
                requests=tuple(rows.view(row) for row in session.scalars(query.offset(offset).limit(limit))),
                total=session.scalar(count) or 0,
            )
        )

    def counts(self, today: date) -> Counts:
        """Return how many requests there are on a day; those at risk are due within `AT_RISK_DAYS`."""
        by_status = select(tables.Request.status, func.count()).group_by(tables.Request.status)
        open_ = tables.Request.status.not_in(ENDED)
        overdue = select(func.count()).where(open_, tables.Request.due < today)
        soon = today + timedelta(days=AT_RISK_DAYS)
        at_risk = select(func.count()).where(open_, tables.Request.due >= today, tables.Request.due <= soon)
        return self._database.read(
            lambda session: Counts(
                by_status={status: number for status, number in session.execute(by_status)},
                overdue=session.scalar(overdue) or 0,
                at_risk=session.scalar(at_risk) or 0,
            )
        )
