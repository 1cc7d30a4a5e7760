"""The regimes of deletion requests: what each law gives of time, read from `regimes.yaml`, and the days it comes to."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Self

import yaml
from dateutil import rrule
from dateutil.relativedelta import relativedelta
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

_FILE = Path(__file__).with_name("regimes.yaml")
_Code = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
_Text = Annotated[str, StringConstraints(min_length=1, max_length=200)]
_WEEKDAYS = (rrule.MO, rrule.TU, rrule.WE, rrule.TH, rrule.FR)


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Period(_Record):
    """Calendar months or days, one of the two."""

    months: int = Field(default=0, ge=0, le=120)
    days: int = Field(default=0, ge=0, le=3650)

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.months > 0) == (self.days > 0):
            raise ValueError("a period is a number of months or a number of days")
        return self

    def after(self, day: date) -> date:
        """Return its last day, where `day` is the one from which it runs.

        Months end on the same day of the month, or on the last of a shorter one (Regulation 1182/71, Art. 3(2)(c)).
        That a period of that regulation never ends on a weekend or holiday (Art. 3(4)) is left out: it would need the
        holidays of the controller's country, and without it the date is never later than the law's.

        Raises:
            OverflowError: There is no such day in the calendar.
        """
        try:
            last: date = day + relativedelta(months=self.months, days=self.days)
        except ValueError:  # beyond the year 9999
            raise OverflowError("beyond the last day of the calendar") from None
        return last


class Extension(Period):
    """How much longer it may take, and for which reasons, as codes."""

    reasons: tuple[_Code, ...] = Field(min_length=1, strict=False)


class Regime(_Record):
    """What a law gives of time. A stored request keeps one as JSON: a new field needs a default.

    Attributes:
        id: Its name in request files and settings.
        name: For people.
        statute: Where it stands.
        decides: Who answers the person.
        due: From the day the request was received.
        extension: From the end of `due`, announced by then; None where there is none.
        acknowledge_business_days: Within how many of them receipt is confirmed; None where nothing asks for it.
    """

    id: _Code
    name: _Text
    statute: _Text
    decides: _Text
    due: Period
    extension: Extension | None = None
    acknowledge_business_days: int | None = Field(default=None, ge=1, le=100)

    def due_date(self, received: date) -> date:
        """Return the last day in time, unextended; OverflowError where the calendar ends before."""
        return self.due.after(received)

    def acknowledge_by(self, received: date) -> date | None:
        """Return the last day to confirm receipt, None where nothing asks for it.

        Business days are Monday to Friday. The regulation does not say which holidays count, and the calendars of
        California, of the Union and of a business differ; without any the date is never later than with one, so what
        is confirmed by it is in time. It also spares a library whose tables need an update a year.
        """
        if self.acknowledge_business_days is None:
            return None
        first = received + timedelta(days=1)
        days = rrule.rrule(rrule.DAILY, dtstart=first, byweekday=_WEEKDAYS, count=self.acknowledge_business_days)
        *_, last = days
        found: date = last.date()
        return found

    def frozen_as_json(self) -> dict[str, object]:
        """Return it as a stored request keeps it."""
        return self.model_dump(mode="json")


@cache
def regimes() -> Mapping[str, Regime]:
    """Return the regimes of `regimes.yaml` by id."""
    return read(_FILE.read_text(encoding="utf-8"))


def read(text: str) -> Mapping[str, Regime]:
    """Return the regimes that a YAML text describes.

    Raises:
        ValidationError: It has a field that is missing, unknown or not what it must be.
    """
    described = yaml.safe_load(text)
    return MappingProxyType({id_: Regime.model_validate({"id": id_, **fields}) for id_, fields in described.items()})


def of_days(number: int) -> Regime:
    """Return the regime `days` with another number."""
    return regimes()["days"].model_copy(update={"due": Period(days=number)})


def frozen(policy: Mapping[str, object]) -> Regime | None:
    """Return the regime that a stored request keeps; None for those stored before there were regimes."""
    return Regime.model_validate(policy) if policy else None
