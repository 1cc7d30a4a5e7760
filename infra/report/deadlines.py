"""The deadline of each request, as dates: what was due, when it was closed, and what the two laws' clocks say.

A record names the regime that a request was stored under, and whether it was extended; those of earlier versions do
not. So the dates of both laws are shown, unextended, whatever the regime.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from infra.report.figures import Figure, digest
from infra.requests.outcomes import plural
from infra.requests.regimes import regimes

CLOSED = {"completed", "rejected", "duplicate"}
MARKS = {"completed": "✓", "rejected": "–", "failed": "✗", "duplicate": "="}


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """One row of the deadlines table; `late` is None when a date is missing."""

    id: Figure
    status: str
    mark: str
    received: date | None
    regime: str
    due: date | None
    month_ends: date | None
    ccpa_ends: date | None
    closed: date | None
    standing: str
    late: bool | None
    late_for_month: bool | None
    done: str


def deadline(request: dict[str, Any], *, closed_at: Any, version_after: Any) -> Deadline:
    """Return the standing of one request on the day the batch was closed (`closed_at`), never on today's date."""
    status = str(request.get("status") or "unknown")
    received, due, as_of = parse(request.get("received")), parse(request.get("due")), parse(closed_at)
    closed = (parse(request.get("closed_at")) or as_of) if status in CLOSED else None
    month_ends = _by_law("gdpr", received)
    return Deadline(
        id=digest(request.get("id"), keep=16),
        status=status,
        mark=MARKS.get(status, "…"),
        received=received,
        regime=_regime(request),
        due=due,
        month_ends=month_ends,
        ccpa_ends=_by_law("ccpa", received),
        closed=closed,
        standing=_standing(due, closed or as_of, is_closed=closed is not None),
        late=_after(closed or as_of, due),
        late_for_month=_after(closed or as_of, month_ends),
        done=_done(request, status, version_after),
    )


def summary(deadlines: list[Deadline]) -> str:
    """One sentence that a privacy officer can repeat."""
    if not deadlines:
        return "The batch holds no request."
    closed = [row for row in deadlines if row.closed]
    late, unknown = sum(row.late is True for row in deadlines), sum(row.late is None for row in deadlines)
    in_month = sum(row.late_for_month is False for row in closed)
    requests = plural(len(deadlines), "request")
    sentence = f"{len(closed):,} of {requests} closed, {in_month:,} within one month of receipt; " if closed else ""
    sentence = sentence or f"None of {requests} closed; "
    sentence += f"{len(deadlines) - len(closed) or 'none'} still open; "
    sentence += f"{late:,} past the due date" if late else "none past the due date"
    return sentence + (f"; {unknown:,} without the dates to tell." if unknown else ".")


def parse(value: Any) -> date | None:
    """The calendar date of an ISO date or time, or None."""
    try:
        return date.fromisoformat(str(value)[:10])
    except ValueError:
        return None


def _by_law(regime: str, received: date | None) -> date | None:
    try:
        return regimes()[regime].due_date(received) if received else None
    except OverflowError:  # a record may hold any date
        return None


def _regime(request: dict[str, Any]) -> str:
    known = regimes().get(str(request.get("regime")))
    if known is None:
        return "not recorded"
    extended = parse(request.get("extended_on"))
    return f"{known.name}, extended on {extended}" if extended else known.name


def _after(day: date | None, limit: date | None) -> bool | None:
    return day > limit if day and limit else None


def _standing(due: date | None, day: date | None, *, is_closed: bool) -> str:
    if not due or not day:
        return "unknown: a date is missing"
    days = (due - day).days
    if is_closed:
        if days < 0:
            return f"closed {plural(-days, 'day')} late"
        return f"in time, {plural(days, 'day')} to spare" if days else "in time, on the last day"
    return f"open, overdue by {plural(-days, 'day')}" if days < 0 else f"open, {plural(days, 'day')} left"


def _done(request: dict[str, Any], status: str, version_after: Any) -> str:
    reason = str(request.get("reason") or "no reason recorded")
    if status == "completed":
        return _completed(request, version_after)
    return {
        "rejected": f"Not carried out: {reason}",
        "failed": f"Not carried out: {reason}",
        "duplicate": f"Folded into an earlier request: {reason}",
    }.get(status, "Not carried out yet: back in the queue")


def _completed(request: dict[str, Any], version_after: Any) -> str:
    before, after = request.get("memorised_before"), request.get("memorised_after")
    kinds = {str(outcome.get("kind")) for outcome in request.get("outcomes") or []}
    if not kinds and request.get("occurrences") == 0:
        return "Closed by an earlier version of this program, without a record of any probe"
    if kinds == {"not_memorised"} or (not kinds and before == 0 and request.get("occurrences")):
        return "Found in the corpus, but not memorised by the model; nothing to edit"
    if version_after is None:
        return "Closed without an edited version"
    if before is None or after is None:
        return f"Edited out of version {version_after}; effect not recorded"
    if before == 0:
        return f"Edited out of version {version_after}; greedy decoding reproduced none of it before either"
    return f"Edited; version {version_after} reproduces {after:,} of the {before:,} memorised"
