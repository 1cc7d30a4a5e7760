"""What the regimes of `regimes.yaml` come to in days, and what the file may not say."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from infra.requests import Clock
from infra.requests.clock import extended_due, first_period_ends, state
from infra.requests.regimes import Regime, frozen, of_days, read, regimes
from infra.settings import load_settings
from revs.errors import BadInput

received_days = st.dates(date(1970, 1, 1), date(9000, 1, 1))
any_regime = st.sampled_from(sorted(regimes())).map(lambda name: regimes()[name]) | st.integers(1, 3650).map(of_days)


@pytest.mark.parametrize(
    ("regime", "received", "due", "extended"),
    [
        ("gdpr", date(2026, 11, 2), date(2026, 12, 2), date(2027, 2, 2)),
        ("gdpr", date(2026, 1, 31), date(2026, 2, 28), date(2026, 4, 28)),  # from the shorter month on: never late
        ("gdpr", date(2028, 1, 31), date(2028, 2, 29), date(2028, 4, 29)),  # a leap year
        ("gdpr", date(2028, 1, 30), date(2028, 2, 29), date(2028, 4, 29)),
        ("gdpr", date(2026, 1, 28), date(2026, 2, 28), date(2026, 4, 28)),
        ("gdpr", date(2026, 8, 31), date(2026, 9, 30), date(2026, 11, 30)),
        ("gdpr", date(2026, 12, 31), date(2027, 1, 31), date(2027, 3, 31)),
        ("gdpr", date(2028, 2, 29), date(2028, 3, 29), date(2028, 5, 29)),
        ("gdpr", date(2100, 1, 31), date(2100, 2, 28), date(2100, 4, 28)),  # a century is no leap year
        ("gdpr", date(2000, 1, 31), date(2000, 2, 29), date(2000, 4, 29)),  # unless four of them are
        ("ccpa", date(2026, 11, 2), date(2026, 12, 17), date(2027, 1, 31)),
        ("ccpa", date(2028, 1, 31), date(2028, 3, 16), date(2028, 4, 30)),
        ("drop", date(2026, 11, 2), date(2026, 12, 17), date(2026, 12, 17)),  # no extension
        ("days", date(2026, 11, 2), date(2026, 12, 2), date(2026, 12, 2)),
    ],
)
def test_a_regime_comes_to_these_days(regime: str, received: date, due: date, extended: date) -> None:
    policy = regimes()[regime]
    assert policy.due_date(received) == due
    assert extended_due(policy, received=received, due=due) == extended


@pytest.mark.parametrize(
    ("received", "by"),
    [
        (date(2026, 11, 2), date(2026, 11, 16)),  # a Monday; Veterans Day counts, which can only be early
        (date(2026, 11, 6), date(2026, 11, 20)),  # a Friday
        (date(2026, 11, 7), date(2026, 11, 20)),  # on a Saturday, a Sunday: the Monday after is the first day
        (date(2026, 11, 8), date(2026, 11, 20)),
        (date(2028, 2, 25), date(2028, 3, 10)),
    ],
)
def test_receipt_under_the_ccpa_is_confirmed_within_ten_weekdays(received: date, by: date) -> None:
    assert regimes()["ccpa"].acknowledge_by(received) == by


def test_no_other_regime_asks_for_a_confirmation() -> None:
    assert [id_ for id_, regime in regimes().items() if regime.acknowledge_by(date(2026, 11, 2))] == ["ccpa"]
    assert {id_: regime.id for id_, regime in regimes().items()} == {id_: id_ for id_ in regimes()}


@pytest.mark.parametrize(
    ("promised", "ends", "extended"),
    [
        (date(2026, 11, 12), date(2026, 11, 12), date(2027, 1, 12)),  # earlier than the law's: it is what runs
        (date(2026, 12, 20), date(2026, 12, 2), date(2027, 2, 2)),  # later: the law's month still ends when it ends
        (date(2027, 6, 1), date(2026, 12, 2), date(2027, 6, 1)),  # so late that the extension adds nothing
    ],
)
def test_a_due_date_of_its_own_moves_no_period_of_the_law_to_later(promised: date, ends: date, extended: date) -> None:
    gdpr, received = regimes()["gdpr"], date(2026, 11, 2)
    assert first_period_ends(gdpr, received=received, due=promised) == ends
    assert extended_due(gdpr, received=received, due=promised) == extended


@given(any_regime, received_days)
def test_nothing_is_due_before_it_was_received_and_a_policy_survives_the_store(regime: Regime, day: date) -> None:
    assert regime.due_date(day) > day
    assert (regime.acknowledge_by(day) or regime.due_date(day)) > day
    assert frozen(regime.frozen_as_json()) == regime


@given(any_regime, received_days, st.integers(0, 400))
def test_an_extension_never_shortens(regime: Regime, day: date, promised: int) -> None:
    due = day + timedelta(days=promised)
    extended = extended_due(regime, received=day, due=due)
    assert extended >= due
    assert extended_due(regime, received=day, due=regime.due_date(day)) >= regime.due_date(day)
    assert first_period_ends(regime, received=day, due=due) <= due


@given(any_regime, received_days, received_days)
def test_what_came_earlier_is_not_due_later(regime: Regime, one: date, other: date) -> None:
    first, second = sorted((one, other))
    due = [regime.due_date(day) for day in (first, second)]
    assert due == sorted(due)
    assert [regime.acknowledge_by(day) or day for day in (first, second)] == sorted(
        regime.acknowledge_by(day) or day for day in (first, second)
    )
    assert extended_due(regime, received=first, due=due[0]) <= extended_due(regime, received=second, due=due[1])


@given(st.integers(1, 200), st.integers(-300, 300))
def test_the_due_day_itself_is_in_time(at_risk: int, left: int) -> None:
    today = date(2026, 11, 23)
    found = state(today + timedelta(days=left), today, at_risk_days=at_risk)
    assert found == ("overdue" if left < 0 else "at_risk" if left <= at_risk else "on_time")


@pytest.mark.parametrize(("moment", "zone", "day"), [
    ("2026-11-30T23:30:00+00:00", "UTC", "2026-11-30"),
    ("2026-11-30T23:30:00+00:00", "Europe/Vienna", "2026-12-01"),
    ("2026-11-30T10:30:00+00:00", "Pacific/Pago_Pago", "2026-11-29"),  # −11
    ("2026-11-30T10:30:00+00:00", "Pacific/Kiritimati", "2026-12-01"),  # +14: two days at one moment
    ("2026-03-29T00:59:59+00:00", "Europe/Vienna", "2026-03-29"),  # the night the clocks change
])  # fmt: skip
def test_a_day_is_that_of_the_zone(moment: str, zone: str, day: str) -> None:
    assert f"{Clock(zone=ZoneInfo(zone)).day(datetime.fromisoformat(moment))}" == day


@given(st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)))
def test_from_minus_11_to_plus_14_days_differ_by_two_at_most_and_go_with_the_sun(moment: datetime) -> None:
    zones = [f"Etc/GMT{-hours:+d}" for hours in range(-11, 15)]  # the sign of these names is the other way round
    days = [Clock(zone=ZoneInfo(zone)).day(moment) for zone in zones]
    assert days == sorted(days)
    assert days[-1] - days[0] <= timedelta(days=2)
    assert days[11] == moment.date()


# ---- the installation


@pytest.mark.parametrize(
    ("variables", "regime", "due"),
    [
        ({}, "gdpr", date(2026, 2, 28)),
        ({"REVS_REGIME": "ccpa"}, "ccpa", date(2026, 3, 17)),
        ({"REVS_REGIME": "DROP"}, "drop", date(2026, 3, 17)),
        ({"REVS_REGIME": "days"}, "days", date(2026, 3, 2)),
        ({"REVS_REQUEST_DAYS": "10"}, "days", date(2026, 2, 10)),
        ({"REVS_REQUEST_DAYS": "10", "REVS_REGIME": "ccpa"}, "days", date(2026, 2, 10)),
    ],
)
def test_the_regime_of_an_installation(
    variables: dict[str, str], regime: str, due: date, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    for name in ("REVS_REGIME", "REVS_REQUEST_DAYS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    clock = Clock.of(load_settings(tmp_path))
    assert (clock.named().id, clock.named().due_date(date(2026, 1, 31))) == (regime, due)
    assert clock.named("ccpa").due_date(date(2026, 1, 31)) == date(2026, 3, 17)


def test_a_regime_that_there_is_not_is_named_with_those_there_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("REVS_REGIME", "hipaa")
    with pytest.raises(
        BadInput, match=r"^REVS_REGIME=hipaa: is not one of ccpa, days, drop, gdpr; correct or unset it$"
    ):
        Clock.of(load_settings(tmp_path))


# ---- the file


GOOD = "gdpr: {name: GDPR, statute: Art. 12, decides: the controller, due: {months: 1}}"


@pytest.mark.parametrize(
    ("was", "instead"),
    [
        ("due: {months: 1}", "due: {months: 0}"),
        ("due: {months: 1}", "due: {months: 1, days: 3}"),
        ("due: {months: 1}", "due: {months: -1}"),
        ("due: {months: 1}", "due: {months: '1'}"),
        ("due: {months: 1}", "due: {weeks: 4}"),
        ("due: {months: 1}", "due: 30"),
        ("due: {months: 1}", "due: {months: 1}, extension: {months: 2}"),  # without a reason nobody may extend
        ("due: {months: 1}", "due: {months: 1}, extension: {months: 2, reasons: []}"),
        ("due: {months: 1}", "due: {months: 1}, extension: {months: 2, reasons: [it was complex]}"),
        ("due: {months: 1}", "due: {months: 1}, acknowledge_business_days: 0"),
        ("due: {months: 1}", "due: {months: 1}, note: none"),
        (", due: {months: 1}", ""),
        ("statute: Art. 12", "statute: ''"),
        ("gdpr:", "The law:"),
    ],
)
def test_a_file_that_says_something_else_is_refused(was: str, instead: str) -> None:
    assert set(read(GOOD)) == {"gdpr"}
    assert was in GOOD
    with pytest.raises(ValidationError):
        read(GOOD.replace(was, instead))
