"""The audit log of the request store: written, read, checked, and how far each place was told of it."""

from __future__ import annotations

import builtins
from collections.abc import Iterable
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from infra.requests import chain, clock, leases, published, replay, rotation, rows, tables
from infra.requests.batch_store import BatchStore
from infra.requests.records import Event
from revs.errors import OperationFailed

_TOLD = "told:"  # + what stands for a place


class LogStore(BatchStore):
    """The part of `RequestStore` that keeps the log."""

    def record(
        self,
        event: str,
        *,
        batch_id: str | None = None,
        request_id: str | None = None,
        detail: dict[str, Any] | None = None,
    ) -> None:
        """Append a line to the audit log. Only safe values: ids, counts, digests, dates, decisions.

        Raises:
            BadInput: There is no such batch or request.
        """

        def work(session: Session) -> None:
            if batch_id is not None:
                rows.batch_row(session, batch_id)
                leases.guard(session, batch_id)
            if request_id is not None:
                rows.request_row(session, request_id)
            rows.log(session, event, batch_id=batch_id, request_id=request_id, detail=detail)

        self._database.write(work)

    def events(
        self, batch_id: str | None = None, request_id: str | None = None, event: str | None = None
    ) -> builtins.list[Event]:
        """Return the lines of the audit log that match, oldest first."""
        query = rows.matching(tables.Event, batch_id=batch_id, request_id=request_id, event=event).order_by(
            tables.Event.id
        )
        return self._database.read(lambda session: [rows.record(Event, row) for row in session.scalars(query)])

    def log_problems(self, heads: Iterable[chain.Head] = ()) -> builtins.list[str]:
        """Return what is wrong with the audit log, a line each: changed, moved, missing or cut off. Reads all of it.

        Also what of requests, batches, outcomes and tokens is not as the log says.

        Args:
            heads: Ends of the log that were kept elsewhere: without one a log whose end was cut off with care passes.
        """
        noted = builtins.list(heads)

        def work(session: Session) -> builtins.list[str]:
            in_use = not rotation.is_due(session, self._key_checks)
            found = chain.problems(session, self._vault.event_macs, noted, in_use=in_use)
            return [*found, *published.problems(session, noted), *replay.problems(session)]

        return self._database.read(work)

    def log_head(self) -> chain.Head:
        """Return the end of the audit log with the root over all of it, to be kept elsewhere. Reads all of it.

        Raises:
            OperationFailed: It is no longer on record.
        """
        head = self._database.read(published.head)
        if head is None:
            raise OperationFailed("where the audit log ends is no longer on record: restore the request store")
        return head

    def log_lines(self) -> builtins.list[str]:
        """Return the lines of the log as others may see them: see `published`."""
        return self._database.read(lambda session: [line.decode() for _, _, line in published.lines(session)])

    def prove(self, event_id: int, *, upto: int | None = None) -> dict[str, Any]:
        """Return the proof that an event is in the log as it ended at event `upto`; None: as it ends now.

        Raises:
            BadInput: There is no such event.
        """
        return self._database.read(lambda session: published.prove(session, event_id, upto=upto))

    def prove_beginning(self, count: int, *, upto: int | None = None) -> dict[str, Any]:
        """Return the proof that the log as it ended at event `count` is the beginning of that which ends at `upto`.

        Raises:
            BadInput: The log has no such event.
        """
        return self._database.read(lambda session: published.prove_beginning(session, count, upto=upto))

    def log_urgency(self) -> int:
        """Log `request.at_risk` and `request.overdue` of unanswered requests; return how many were new.

        Each once for a day by which something has to be done: an extension, or receipt confirmed late, begins anew.
        """

        def work(session: Session) -> int:
            urgent = [
                (each.id, "request.overdue" if each.is_overdue else "request.at_risk", str(each.next_day))
                for each in clock.timeliness(session, self._clock, self._clock.today())
                if each.is_overdue or each.state == "at_risk"
            ]
            query = select(tables.Event).where(tables.Event.event.in_(("request.overdue", "request.at_risk")))
            logged = {(row.request_id, row.event, row.detail.get("day")) for row in session.scalars(query)}
            new = [each for each in urgent if each not in logged]
            for request_id, event, day in new:
                rows.log(session, event, request_id=request_id, detail={"day": day})
            return len(new)

        return self._database.write(work)

    def events_after(self, event_id: int) -> builtins.list[Event]:
        """Return the lines of the log after one of them, oldest first."""
        query = select(tables.Event).where(tables.Event.id > event_id).order_by(tables.Event.id)
        return self._database.read(lambda session: [rows.record(Event, row) for row in session.scalars(query)])

    def told(self, place: str) -> int:
        """Return up to which line of the log a place was told; a place that is new is told from now on."""

        def work(session: Session) -> int:
            row = session.get(tables.Meta, _TOLD + place)
            if row is None:
                head = chain.head_of(session)
                row = tables.Meta(name=_TOLD + place, value=str(head.count if head else 0))
                session.add(row)
            return int(row.value)

        return self._database.write(work)

    def note_told(self, place: str, event_id: int) -> None:
        """Put on record up to which line of the log a place was told."""
        self._database.write(lambda session: session.merge(tables.Meta(name=_TOLD + place, value=str(event_id))))

    def pseudonym_of_place(self, address: str) -> str:
        """Return what stands for a place that is told, so that the store does not name it."""
        return self._vault.pseudonym(address, kind="told place")[:24]
