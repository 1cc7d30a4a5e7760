"""Requests in the form of OpenDSR 2.0: what is taken as which request, and what is set aside, without its values."""

from __future__ import annotations

import json
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.requests.clock import Clock
from infra.requests.intake import parse_requests
from infra.requests.records import Demand, Entry, Identifier

EMAIL = {"identity_type": "email", "identity_value": "zorblatt@example.com", "identity_format": "raw"}
PHONE = {"identity_type": "phone", "identity_value": "+1 212 555 0143", "identity_format": "raw"}
ID = "a7551968-d5d6-44b2-9831-815ac9017798"
GOOD: dict[str, Any] = {
    "regulation": "gdpr",
    "subject_request_id": ID,
    "subject_request_type": "erasure",
    "submitted_time": "2026-11-02T15:00:00Z",
    "subject_identities": [EMAIL],
    "api_version": "2.0",
    "status_callback_urls": ["https://controller.example.com/callbacks"],
    "extensions": {"processor.example.com": {"property_id": "123456"}},
}
OURS = {"subject": "customer 17", "received": "2026-11-02", "identifiers": [{"type": "US_SSN", "value": "219-41-5522"}]}
SECRETS = ("zorblatt", "Zorblatt", "555", ID, "219-41")


def parse(document: Any, *, name: str = "r.json", zone: str = "UTC", **options: Any) -> list[Entry]:
    text = document if isinstance(document, str) else json.dumps(document)
    return parse_requests(text.encode(), name=name, model="demo", clock=Clock(zone=ZoneInfo(zone)), **options)


def demand(document: Any, **options: Any) -> Demand:
    (entry,) = parse(document, **options)
    assert entry.demand is not None, entry.reason
    return entry.demand


def changed(**changes: Any) -> dict[str, Any]:
    return {name: value for name, value in (GOOD | changes).items() if value != "ABSENT"}


def test_an_erasure_request_is_taken_as_the_same_request_in_our_own_form() -> None:
    found = demand(changed(subject_identities=[EMAIL, PHONE]))
    assert (found.subject, found.received, found.due, found.regime.id) == (
        *(ID, date(2026, 11, 2), date(2026, 12, 2), "gdpr"),
    )
    assert found.model == "demo"
    assert found.identifiers == (
        Identifier(type="EMAIL_ADDRESS", value="zorblatt@example.com"),
        Identifier(type="PHONE_NUMBER", value="+1 212 555 0143"),
    )
    assert demand(changed(regulation="CCPA", subject_request_type="Erasure")).regime.id == "ccpa"


@pytest.mark.parametrize(
    ("time", "zone", "day"),
    [
        ("2026-11-02T23:30:00Z", "UTC", 2),
        ("2026-11-02T23:30:00Z", "Europe/Vienna", 3),  # the installation's day
        ("2026-11-03T00:30:00+02:00", "UTC", 2),
        ("2026-11-02t15:00:00.123456789z", "UTC", 2),
    ],
)
def test_the_submitted_time_is_a_day_of_the_installation(time: str, zone: str, day: int) -> None:
    assert demand(changed(submitted_time=time), zone=zone).received == date(2026, 11, day)


@pytest.mark.parametrize("text", [json.dumps(GOOD), json.dumps(GOOD, indent=2), json.dumps([GOOD], indent=1)])
@pytest.mark.parametrize("name", ["r.json", "r.jsonl", "-"])
def test_it_is_read_however_its_lines_are_broken_and_beside_our_own(text: str, name: str) -> None:
    assert demand(text, name=name).subject == ID
    if not text.startswith("["):
        both = parse(f"{json.dumps(OURS)}\n{text}\n{json.dumps(OURS | {'subject': 'customer 18'})}", name=name)
        assert [entry.demand and entry.demand.subject for entry in both] == ["customer 17", ID, "customer 18"]


def test_where_there_are_several_models_it_is_for_each_of_them_because_it_cannot_name_one() -> None:
    models = ["demo", "other"]
    every = parse(GOOD, models=models, must_name=True)
    assert [entry.demand and entry.demand.model for entry in every] == models
    assert demand(GOOD, models=models).model == "demo", "an operator named one"
    (ours,) = parse(OURS, models=models, must_name=True)
    assert ours.reason and "model is missing" in str(ours.reason)


REFUSED = [
    (changed(subject_request_type="access"), "subject_request_type is not erasure; access and portability are not"),
    (changed(subject_request_type="portability"), "subject_request_type is not erasure"),
    (changed(subject_request_type="Zorblatt"), "subject_request_type is not erasure"),
    (changed(subject_request_type="ABSENT"), "subject_request_type is not erasure"),
    (changed(subject_request_type=["erasure"]), "subject_request_type is not erasure"),
    (changed(regulation="lgpd"), "regulation is missing or not one of gdpr, ccpa"),
    (changed(regulation="ABSENT"), "regulation is missing or not one of gdpr, ccpa"),
    (changed(subject_request_id="Zorblatt"), "subject_request_id is missing or not a UUID"),
    (changed(subject_request_id="6fa459ea-ee8a-1ca4-894e-db77e160355e"), "subject_request_id is missing or not a UUID"),
    (changed(submitted_time="2026-11-02"), "submitted_time is missing or not a time such as"),
    (changed(submitted_time="2026-11-02T15:00:00"), "submitted_time is missing or not a time"),  # of which zone?
    (changed(submitted_time="2026-02-31T15:00:00Z"), "submitted_time is missing or not a time"),
    (changed(submitted_time="0001-01-01T00:00:00+14:00"), "submitted_time is missing or not a time"),
    (changed(submitted_time=1793631600), "submitted_time is missing or not a time"),
    (changed(submitted_time="9999-12-31T00:00:00Z"), "submitted_time is too far in the future"),
    (changed(subject_identities="ABSENT"), "subject_identities is missing or not a list"),
    (changed(subject_identities=[]), "subject_identities is missing or not a list"),
    (changed(subject_identities=[EMAIL, "Zorblatt"]), "subject_identities[1] is not an object with identity_format"),
    (changed(subject_identities=[EMAIL | {"note": "Zorblatt"}]), "subject_identities[0] is not an object"),
    (
        changed(subject_identities=[EMAIL, EMAIL | {"identity_type": "ios_advertising_id"}]),
        "subject_identities[1].identity_type is none that can be sought in text: email, phone",
    ),
    (changed(subject_identities=[EMAIL | {"identity_type": ["email"]}]), "subject_identities[0].identity_type is none"),
    (
        changed(subject_identities=[EMAIL | {"identity_format": "sha256"}]),
        "subject_identities[0].identity_format is not raw; what is hashed cannot be sought",
    ),
    (
        changed(subject_identities=[EMAIL | {"identity_value": "Zorblatt"}]),
        "subject_identities[0].identity_value (EMAIL_ADDRESS) is not written as an e-mail address",
    ),
    (changed(subject_identities=[EMAIL | {"identity_value": 17}]), "subject_identities[0].identity_value is missing"),
    (changed(due="2027-01-01"), "has a field that is none of OpenDSR 2.0"),
    (changed(subject="customer Zorblatt"), "has a field that is none of OpenDSR 2.0"),
]


@pytest.mark.parametrize(("document", "reason"), REFUSED, ids=[row[1][:40] for row in REFUSED])
def test_what_cannot_be_fulfilled_is_set_aside_with_a_reason_that_shows_no_value(
    document: dict[str, Any], reason: str
) -> None:
    good, bad, _ = parse(f"{json.dumps(GOOD)}\n{json.dumps(document)}\n{json.dumps(OURS)}", name="r.jsonl")
    assert good.demand and bad.demand is None and bad.reason is not None
    assert str(bad.reason).startswith(f"line 2: {reason}")
    assert not any(secret in str(bad.reason) for secret in SECRETS)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text().map(lambda text: text + "Zorblatt"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.sampled_from([*EMAIL]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.sampled_from(["regulation", "subject_request_id", "submitted_time", "subject_identities"]), JSON)
def test_whatever_a_field_holds_it_ends_in_a_reason_without_it(field: str, value: Any) -> None:
    (entry,) = parse(changed(**{field: value}), name="r.jsonl")
    assert (
        entry.demand is None and entry.reason and "Zorblatt" not in str(entry.reason) and "\n" not in str(entry.reason)
    )
