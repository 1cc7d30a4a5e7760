"""The law's clock: when a request is due, how long it was extended, whether it is in time.

What a request was promised is frozen when it is stored. Days are those of the installation's time zone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, tzinfo
from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from infra.requests import rows, tables
from infra.requests.records import UNANSWERED, RequestStatus
from infra.requests.regimes import Regime, frozen, of_days, regimes
from revs.errors import BadInput

if TYPE_CHECKING:
    from infra.settings import Settings

State = Literal["on_time", "at_risk", "overdue"]
Acknowledgement = Literal["not_asked", "done", "due", "overdue"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """How an installation counts time.

    Attributes:
        regime: Of requests that name none.
        days: What the regime `days` comes to; None: what `regimes.yaml` says.
        zone: Whose days are meant by "today".
        at_risk_days: With how many days left, or fewer, a request is at risk.
    """

    regime: str = "gdpr"
    days: int | None = None
    zone: tzinfo = field(default=UTC)
    at_risk_days: int = 7

    @classmethod
    def of(cls, settings: Settings) -> Clock:
        """Return the clock of an installation: `REVS_REQUEST_DAYS`, where it is set, comes before `REVS_REGIME`.

        Raises:
            BadInput: There is no regime of that name.
        """
        days = settings.request_days
        if settings.regime.casefold() not in regimes():
            raise BadInput(f"REVS_REGIME={settings.regime}: is not one of {names()}; correct or unset it")
        return cls(
            regime="days" if days is not None else settings.regime,
            days=days,
            zone=ZoneInfo(settings.time_zone),
            at_risk_days=settings.at_risk_days,
        )

    def named(self, name: str | None = None) -> Regime:
        """Return a regime by its name in any case; None: the installation's.

        Raises:
            KeyError: There is none.
        """
        id_ = (self.regime if name is None else name).strip().casefold()
        return of_days(self.days) if id_ == "days" and self.days is not None else regimes()[id_]

    def day(self, moment: datetime) -> date:
        """Return which day it is at a moment."""
        return moment.astimezone(self.zone).date()

    def today(self) -> date:
        """Return which day it is now."""
        return self.day(rows.now())


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeliness:
    """How a pending request stands on a day; safe to show, log and report."""

    id: str
    model: str
    status: RequestStatus
    regime: str
    received: date
    due: date
    days_left: int  # negative: so many days late
    state: State
    extended: bool
    acknowledge_by: date | None
    acknowledgement: Acknowledgement

    @property
    def is_overdue(self) -> bool:
        """Whether a day has passed by which something had to be done."""
        return self.state == "overdue" or self.acknowledgement == "overdue"

    @property
    def next_day(self) -> date:
        """The first day by which something still has to be done."""
        to_acknowledge = self.acknowledge_by if self.acknowledgement in ("due", "overdue") else None
        return min(self.due, to_acknowledge or self.due)


def names() -> str:
    """Return the names of the regimes, for a message."""
    return ", ".join(sorted(regimes()))


def state(due: date, today: date, *, at_risk_days: int) -> State:
    """Return how a due date stands on a day; the due day itself is in time."""
    left = (due - today).days
    if left < 0:
        return "overdue"
    return "at_risk" if left <= at_risk_days else "on_time"


def extended_due(policy: Regime, *, received: date, due: date) -> date:
    """Return the due date with the extension, which runs from the due date, or from the law's where that is earlier.

    Never earlier than `due`: a request may have been promised a later day than the law's last.

    Raises:
        OverflowError: It is beyond the calendar.
    """
    if policy.extension is None:
        return due
    return max(due, policy.extension.after(first_period_ends(policy, received=received, due=due)))


def first_period_ends(policy: Regime, *, received: date, due: date) -> date:
    """Return the last day to announce an extension: a later day that a request names for itself does not move it."""
    return min(due, policy.due_date(received))


def extend(session: Session, clock: Clock, request_id: str, *, reason: str, by: str) -> date:
    """Extend the period of a request as `RequestStore.extend` says; returns the new due date."""
    row = rows.request_row(session, request_id)
    policy = _may_extend(row, reason)
    if row.extended_at is not None:
        raise BadInput(
            f"request {request_id} was extended on {clock.day(row.extended_at)}; a period can be extended once"
        )
    ends = first_period_ends(policy, received=row.received, due=row.due)
    if clock.today() > ends:
        raise BadInput(
            f"the first period of request {request_id} ended on {ends}; an extension has to be announced by then, so "
            "answer the request now"
        )
    before = row.due
    try:
        row.due = extended_due(policy, received=row.received, due=before)
    except OverflowError:
        raise BadInput(f"request {request_id} is due on {before}, and the calendar ends before the extension") from None
    row.extended_at = rows.now()
    detail = {"from": f"{before}", "to": f"{row.due}", "reason": reason, "by": by}
    at = row.extended_at
    rows.log(session, "request.extended", batch_id=row.batch_id, request_id=request_id, detail=detail, at=at)
    return row.due


def noticed_due(clock: Clock, first: tables.Request, other: tables.Request) -> date:
    """Return when a duplicate is due beside a first request that may have been extended.

    The notice of the extension covers it if the person had it in the duplicate's own first period, after it came in:
    then it is extended as well. Without that the same file again would undo an extension; with no such condition what
    was asked anew, or had come before the first one did, would be late.
    """
    policy = frozen(other.policy)
    if first.extended_at is None or policy is None:
        return other.due
    ends = first_period_ends(policy, received=other.received, due=other.due)
    if not other.received <= clock.day(first.extended_at) <= ends:
        return other.due
    try:
        return extended_due(policy, received=other.received, due=other.due)
    except OverflowError:
        return other.due


def _may_extend(row: tables.Request, reason: str) -> Regime:
    """Return the policy of a request that has an extension for this reason; BadInput where it has not."""
    if row.status not in UNANSWERED:
        raise BadInput(f"request {row.id} is {row.status}; only one that is still to be answered can be extended")
    policy = frozen(row.policy)
    if policy is None or policy.extension is None:
        raise BadInput(f"the regime of request {row.id}, {row.regime}, has no extension; answer it by {row.due}")
    if reason not in policy.extension.reasons:  # not shown: somebody may have written a sentence about the person
        codes = ", ".join(policy.extension.reasons)
        raise BadInput(f"the reason to extend request {row.id} is not a code of regime {row.regime}; name one: {codes}")
    return policy


def acknowledge(session: Session, request_id: str, *, by: str) -> datetime:
    """Put on record that the receipt of a request was confirmed to the person; returns when, the first time."""
    row = rows.request_row(session, request_id)
    if row.acknowledged_at is None:
        at = row.acknowledged_at = rows.now()
        rows.log(
            session, "request.acknowledged", batch_id=row.batch_id, request_id=request_id, detail={"by": by}, at=at
        )
    return row.acknowledged_at


def timeliness(session: Session, clock: Clock, today: date) -> list[Timeliness]:
    """Return how every pending request stands on a day, the most urgent first."""
    query = select(tables.Request).where(tables.Request.status.in_(UNANSWERED)).order_by(*rows.DUE_FIRST)
    asked = _acknowledgements_of_duplicates(session)
    return most_urgent_first(
        [
            standing(row, today, at_risk_days=clock.at_risk_days, also_by=asked.get(row.id))
            for row in session.scalars(query)
        ]
    )


def _acknowledgements_of_duplicates(session: Session) -> dict[str, date]:
    """By when receipt has to be confirmed under the law of a duplicate, by the request it is one of: the first day."""
    found: dict[str, date] = {}
    request = tables.Request
    pending = select(request.id).where(request.status.in_(UNANSWERED))  # not all that ever were: a check stays cheap
    query = select(request.duplicate_of, request.policy, request.received).where(
        request.status == "duplicate", request.duplicate_of.in_(pending)
    )
    for first, kept, received in session.execute(query):
        policy = frozen(kept)
        if first is not None and policy is not None and (by := policy.acknowledge_by(received)) is not None:
            found[first] = min(by, found.get(first, by))
    return found


def most_urgent_first(found: Sequence[Timeliness]) -> list[Timeliness]:
    """Return them by the first day by which something has to be done; those of a day stay in order."""
    return sorted(found, key=lambda each: each.next_day)


def standing(row: tables.Request, today: date, *, at_risk_days: int, also_by: date | None = None) -> Timeliness:
    """Return how one request stands on a day; `also_by`: until when a duplicate of it asks to confirm its receipt."""
    policy = frozen(row.policy)
    own = policy.acknowledge_by(row.received) if policy else None
    acknowledge_by = min((day for day in (own, also_by) if day is not None), default=None)
    return Timeliness(
        id=row.id,
        model=row.model,
        status=row.status,
        regime=row.regime,
        received=row.received,
        due=row.due,
        days_left=(row.due - today).days,
        state=state(row.due, today, at_risk_days=at_risk_days),
        extended=row.extended_at is not None,
        acknowledge_by=acknowledge_by,
        acknowledgement=_acknowledgement(acknowledge_by, today, is_done=row.acknowledged_at is not None),
    )


def _acknowledgement(by: date | None, today: date, *, is_done: bool) -> Acknowledgement:
    if is_done:
        return "done"
    if by is None:
        return "not_asked"
    return "overdue" if today > by else "due"
