"""The history of a request as people are shown it: what happened when, who did it and why, which dates moved.

The fields come from the `detail` of the event. Only those that are named here are shown: they hold no personal data.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from infra.requests.reasons import Reason, of_event
from infra.requests.records import Event

_OTHERS = ("duplicate_of", "instead_of", "because_of")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One event of a request.

    Attributes:
        at: When it was.
        event: Its name in the audit log.
        by: Who decided or handed in; None where the program did.
        reason: Why.
        before: The date that was moved, as it was.
        after: The date as it is since then; of an alarm, the day by which something has to be done.
        other: The request that it has to do with.
        batch_id: The batch that did it.
    """

    at: datetime
    event: str
    by: str | None
    reason: Reason | None
    before: date | None
    after: date | None
    other: str | None
    batch_id: str | None

    @property
    def why(self) -> str:
        """Reason, dates and the other request in one sentence; empty where there is none of them."""
        moved = f"{self.before} → {self.after}" if self.before else f"day {self.after}" if self.after else None
        other = f"because of {self.other}" if self.other else None
        return "; ".join(part for part in (self.reason and str(self.reason), moved, other) if part)


def line(event: Event) -> Line:
    """Return an event of the audit log as a line of the history of its request."""
    detail = event.detail
    others = (detail[name] for name in _OTHERS if detail.get(name))
    return Line(
        at=event.at,
        event=event.event,
        by=detail.get("by"),
        reason=of_event(detail),
        before=_day(detail.get("from")),
        after=_day(detail.get("to") or detail.get("day")),
        other=next(others, None),
        batch_id=event.batch_id,
    )


def _day(text: object) -> date | None:
    try:
        return date.fromisoformat(str(text))
    except ValueError:  # none, or another kind of value under this name
        return None
