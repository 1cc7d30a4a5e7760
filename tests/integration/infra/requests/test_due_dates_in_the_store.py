"""The law's clock on stored requests, in both databases: what was promised, extended, confirmed, and what is late."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import create_engine
from stored_requests import BECAUSE, KEY, complete, line, opened

from infra.keys.vault import Vault
from infra.requests import Clock, IdentifierOutcome, RequestStore, clock, regimes, rows
from revs.errors import BadInput

OFFICER = "a privacy officer"
Now = Callable[[str], None]


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Now:
    """Sets the time: a day at noon in UTC, or a moment."""

    def at(moment: str) -> None:
        found = datetime.fromisoformat(moment if "T" in moment else f"{moment}T12:00:00+00:00").astimezone(UTC)
        monkeypatch.setattr(rows, "now", lambda: found)

    at("2026-11-10")
    return at


@pytest.fixture
def both(url: str, now: Now) -> Iterator[RequestStore]:
    store = RequestStore(url, Vault(KEY))
    yield store
    store.close()


def hand_in(store: RequestStore, number: int = 1, **changes: Any) -> str:
    """A request, received on 2 November unless the changes say otherwise; the id of the row, duplicate or not."""
    intake = store.add(json.loads(line(number, **changes)), model="demo")
    return (*intake.accepted, *intake.duplicates)[0]


def events(store: RequestStore, request_id: str) -> list[str]:
    return [event.event for event in store.events(request_id=request_id)]


# ---- what was promised


def test_the_policy_of_the_day_is_frozen_with_the_request(both: RequestStore, monkeypatch: pytest.MonkeyPatch) -> None:
    id_ = hand_in(both, regime="ccpa")
    today = regimes.regimes()
    another = today["ccpa"].model_copy(update={"extension": None, "acknowledge_business_days": 1})
    for module in (regimes, clock):
        monkeypatch.setattr(module, "regimes", lambda: {**today, "ccpa": another})
    assert regimes.frozen(both.get(id_).policy) == today["ccpa"]
    assert both.get(id_).regime == "ccpa"
    assert both.extend(id_, reason="reasonably_necessary", by=OFFICER) == date(2027, 1, 31)
    (found,) = both.timeliness()
    assert found.acknowledge_by == date(2026, 11, 16)


def test_a_malformed_request_has_the_installations_regime_and_the_day_of_its_zone(url: str, now: Now) -> None:
    now("2026-11-30T23:30:00")
    store = RequestStore(url, Vault(KEY), Clock(regime="ccpa", zone=ZoneInfo("Pacific/Kiritimati")))
    store.add({"subject": "nobody"}, model="demo")
    (view,) = store.list()
    assert (view.status, view.regime, view.received, view.due) == (
        "rejected", "ccpa", date(2026, 12, 1), date(2027, 1, 15),
    )  # fmt: skip
    store.close()


# ---- extended


def test_an_extension_moves_the_due_date_once_and_is_on_record(both: RequestStore) -> None:
    id_ = hand_in(both)
    assert both.extend(id_, reason="complexity", by=OFFICER) == date(2027, 2, 2)
    view = both.get(id_)
    assert (view.due, view.extended_at) == (date(2027, 2, 2), rows.now())
    (event,) = [each for each in both.events(request_id=id_) if each.event == "request.extended"]
    assert event.detail == {"from": "2026-12-02", "to": "2027-02-02", "reason": "complexity", "by": OFFICER}
    with pytest.raises(BadInput, match=f"request {id_} was extended on 2026-11-10; a period can be extended once"):
        both.extend(id_, reason="number", by=OFFICER)
    assert both.get(id_) == view


@pytest.mark.parametrize(
    ("moment", "zone", "allowed"),
    [
        ("2026-12-02T23:59:59+00:00", "UTC", True),  # the last day, to its end
        ("2026-12-03T00:00:00+00:00", "UTC", False),
        ("2026-12-02T23:30:00+00:00", "Europe/Vienna", False),  # it is the third there already
        ("2026-12-03T06:00:00+00:00", "America/Los_Angeles", True),  # and still the second there
    ],
)
def test_an_extension_is_announced_in_the_first_period_as_the_installations_days_go(
    url: str, now: Now, moment: str, zone: str, allowed: bool
) -> None:
    store = RequestStore(url, Vault(KEY), Clock(zone=ZoneInfo(zone)))
    id_ = hand_in(store)
    now(moment)
    if allowed:
        assert store.extend(id_, reason="number", by=OFFICER) == date(2027, 2, 2)
    else:
        with pytest.raises(BadInput, match=f"the first period of request {id_} ended on 2026-12-02"):
            store.extend(id_, reason="number", by=OFFICER)
        assert (store.get(id_).due, store.get(id_).extended_at) == (date(2026, 12, 2), None)
    store.close()


@pytest.mark.parametrize(
    ("changes", "reason", "said"),
    [
        ({}, "she asked for so much", "is not a code of regime gdpr; name one: complexity, number"),
        ({}, "reasonably_necessary", "is not a code of regime gdpr"),  # that of another law
        ({"regime": "ccpa"}, "complexity", "is not a code of regime ccpa; name one: reasonably_necessary"),
        ({"regime": "drop"}, "complexity", "drop, has no extension; answer it by 2026-12-17"),
        ({"regime": "days"}, "complexity", "days, has no extension; answer it by 2026-12-02"),
        ({"due": "2026-11-09"}, "complexity", "ended on 2026-11-09"),  # a day of its own, which is over
        ({"received": "9999-11-02"}, "complexity", "the calendar ends before the extension"),
    ],
)
def test_an_extension_that_the_regime_does_not_give_changes_nothing(
    both: RequestStore, changes: dict[str, Any], reason: str, said: str
) -> None:
    id_ = hand_in(both, **changes)
    before = both.get(id_)
    with pytest.raises(BadInput, match=said) as caught:
        both.extend(id_, reason=reason, by=OFFICER)
    assert "asked for so much" not in str(caught.value)
    assert both.get(id_) == before
    assert events(both, id_) == ["request.received"]


def test_what_is_pending_or_with_a_human_can_be_extended_and_what_is_closed_cannot(both: RequestStore) -> None:
    with_a_human, in_work, other = (hand_in(both, number) for number in (1, 2, 3))
    both.fail(with_a_human, BECAUSE)
    both.reject(other, BECAUSE)
    batch = opened(both)
    for id_ in (with_a_human, in_work):
        assert both.extend(id_, reason="complexity", by=OFFICER) == date(2027, 2, 2)
    with pytest.raises(BadInput, match="is rejected; only one that is still to be answered"):
        both.extend(other, reason="complexity", by=OFFICER)
    complete(both, batch.id)
    with pytest.raises(BadInput, match="is completed"):
        both.extend(in_work, reason="complexity", by=OFFICER)
    with pytest.raises(BadInput, match="there is no request R-00000000"):
        both.extend("R-00000000", reason="complexity", by=OFFICER)


# ---- handed in again


@pytest.mark.parametrize(
    ("again", "received", "due", "why"),
    [
        ({}, "2026-11-02", "2027-02-02", "the same request once more"),
        ({"received": "2026-11-08"}, "2026-11-02", "2027-02-02", "asked again before the notice, which tells of both"),
        ({"received": "2026-10-20"}, "2026-10-20", "2027-01-20", "a correction: the notice was in time for it"),
        ({"received": "2026-10-05"}, "2026-10-05", "2026-11-05", "a correction by which the notice came too late"),
        ({"received": "2026-11-11"}, "2026-11-02", "2026-12-11", "asked anew after the notice, which was not for that"),
        ({"regime": "drop"}, "2026-11-02", "2026-12-17", "under another law, which has no extension"),
        ({"regime": "ccpa"}, "2026-11-02", "2027-01-31", "under another law, whose own extension ends earlier"),
        ({"due": "2026-11-12"}, "2026-11-02", "2027-01-12", "with an earlier day of its own, extended from there"),
    ],
)
def test_after_an_extension_the_earlier_date_by_law_still_wins(
    both: RequestStore, again: dict[str, Any], received: str, due: str, why: str
) -> None:
    first = hand_in(both)
    both.extend(first, reason="complexity", by=OFFICER)  # on the 10th
    duplicate = hand_in(both, **again, model="demo")
    assert both.get(duplicate).duplicate_of == first
    view = both.get(first)
    assert (f"{view.received}", f"{view.due}") == (received, due), why
    assert view.extended_at is not None
    moved = {"request.received_moved_back": received != "2026-11-02", "request.due_moved_forward": due != "2027-02-02"}
    assert {what: what in events(both, first) for what in moved} == moved


def test_without_an_extension_a_duplicate_gives_its_earlier_dates_as_ever(both: RequestStore) -> None:
    first = hand_in(both)
    hand_in(both, received="2026-10-20")
    hand_in(both, received="2026-11-09")
    assert (both.get(first).received, both.get(first).due) == (date(2026, 10, 20), date(2026, 11, 20))


def test_a_failed_request_that_is_folded_into_a_newer_one_gives_it_its_dates(both: RequestStore) -> None:
    older = hand_in(both)
    both.fail(older, BECAUSE)
    newer = hand_in(both, received="2026-11-09")
    assert both.extend(newer, reason="number", by=OFFICER) == date(2027, 2, 9)
    assert both.retry(older) == newer
    assert (both.get(newer).received, both.get(newer).due) == (date(2026, 11, 2), date(2027, 2, 2))


# ---- confirmed


def test_a_confirmation_of_receipt_is_recorded_once(both: RequestStore, now: Now) -> None:
    id_ = hand_in(both, regime="ccpa")
    assert both.timeliness()[0].acknowledgement == "due"
    first = both.acknowledge(id_, by=OFFICER)
    now("2026-11-12")
    assert both.acknowledge(id_, by="somebody else") == first == both.get(id_).acknowledged_at
    assert events(both, id_).count("request.acknowledged") == 1
    assert both.events(request_id=id_)[-1].detail == {"by": OFFICER}
    assert both.timeliness()[0].acknowledgement == "done"
    with pytest.raises(BadInput, match="there is no request R-00000000"):
        both.acknowledge("R-00000000", by=OFFICER)


# ---- what is late


def test_every_pending_request_stands_in_line_by_what_has_to_be_done_first(both: RequestStore) -> None:
    late = hand_in(both, 1, received="2026-10-01")
    unconfirmed = hand_in(both, 2, regime="ccpa", received="2026-10-19")
    confirmed = hand_in(both, 3, regime="ccpa", received="2026-10-19")
    near = hand_in(both, 4, received="2026-10-17")
    today = hand_in(both, 5, received="2026-10-10")
    with_a_human = hand_in(both, 6)
    both.acknowledge(confirmed, by=OFFICER)
    both.fail(with_a_human, BECAUSE)
    both.reject(hand_in(both, 7), BECAUSE)
    hand_in(both, 6, received="2026-11-04", regime="gdpr")  # the same demand anew, beside the failed one
    found = both.timeliness()
    assert [(each.id, each.days_left, each.state, each.acknowledgement) for each in found][:6] == [
        (late, -9, "overdue", "not_asked"),
        (unconfirmed, 23, "on_time", "overdue"),  # by 2 November
        (today, 0, "at_risk", "not_asked"),
        (near, 7, "at_risk", "not_asked"),
        (with_a_human, 22, "on_time", "not_asked"),
        (confirmed, 23, "on_time", "done"),
    ]
    assert len(found) == 7
    assert [each.id for each in found if each.is_overdue] == [late, unconfirmed]
    assert {each.state for each in both.timeliness(date(2027, 6, 1))} == {"overdue"}


def test_a_request_in_work_stays_in_line_and_a_completed_one_leaves_it(both: RequestStore) -> None:
    id_ = hand_in(both)
    batch = opened(both)
    assert [(each.id, each.status) for each in both.timeliness()] == [(id_, "processing")]
    complete(both, batch.id)
    assert both.timeliness() == []


def test_the_setting_says_when_a_request_is_at_risk(url: str, now: Now) -> None:
    for days, state in ((21, "on_time"), (22, "at_risk")):
        store = RequestStore(url, Vault(KEY), Clock(at_risk_days=days))
        hand_in(store)
        assert [each.state for each in store.timeliness()] == [state]
        store.close()


# ---- the DROP

NOWHERE = {"rows": 9, "unread": "", "without_corpus": {"openings": 5, "said_no": {}, "verdict": "not memorised"}}


@pytest.mark.parametrize(
    ("kinds", "detail", "status"),
    [
        (("edited", "edited"), {}, "deleted"),
        (("edited", "not_memorised"), {}, "deleted"),
        (("not_memorised", "not_memorised"), {}, "deleted"),
        (("not_found", "not_found"), NOWHERE, "not_found"),
        (("not_found", "not_found"), NOWHERE | {"unread": "2 rows"}, None),
        (("not_found", "not_found"), NOWHERE | {"without_corpus": {"openings": 5, "verdict": "undecided"}}, None),
        (("not_found", "not_found"), {"rows": 9, "unread": ""}, None),  # the model was not asked
        (("edited", "not_found"), NOWHERE, None),
        (("refused", "refused"), {}, None),  # too common to be sought is no exemption
        (("memorised", "edited"), {}, None),
        (("edited",), {}, None),  # one has no outcome
    ],
)
def test_the_drop_is_told_no_more_than_is_known(
    both: RequestStore, kinds: tuple[Any, ...], detail: dict[str, Any], status: str | None
) -> None:
    id_ = hand_in(both, regime="drop")
    duplicate = hand_in(both, regime="drop", received="2026-11-05")
    hand_in(both, 2)
    assert {each.status for each in both.drop_statuses()} == {None}
    batch = opened(both)
    types = ("US_SSN", "EMAIL_ADDRESS")
    outcomes = [
        IdentifierOutcome(request_id=id_, number=number, type=type_, kind=kind, detail=detail)
        for number, (type_, kind) in enumerate(zip(types, kinds, strict=False))
    ]
    both.close_batch(batch.id, status="completed", outcome={}, outcomes=outcomes)
    found = both.drop_statuses()
    assert [(each.id, each.status) for each in found] == [(id_, status), (duplicate, status)]
    assert found[0].closed == date(2026, 11, 10)
    assert [each.id for each in both.drop_statuses(date(2026, 11, 3))] == [duplicate]


def test_a_store_reads_the_columns_it_wrote_and_no_value_is_in_them(both: RequestStore, url: str) -> None:
    id_ = hand_in(both)
    both.extend(id_, reason="complexity", by=OFFICER)
    engine = create_engine(url)
    with engine.connect() as connection:
        (row,) = connection.exec_driver_sql("SELECT regime, policy FROM requests").all()
    engine.dispose()
    assert row[0] == "gdpr"
    assert "219-41" not in str(row)


def test_a_duplicate_under_another_law_keeps_its_day_for_the_acknowledgement(both: RequestStore) -> None:
    first = hand_in(both)
    assert both.timeliness()[0].acknowledgement == "not_asked"
    assert both.get(hand_in(both, regime="ccpa")).duplicate_of == first
    (stands,) = both.timeliness()
    assert (stands.id, stands.acknowledge_by, stands.acknowledgement) == (first, date(2026, 11, 16), "due")
    both.acknowledge(first, by=OFFICER)
    assert both.timeliness()[0].acknowledgement == "done"
