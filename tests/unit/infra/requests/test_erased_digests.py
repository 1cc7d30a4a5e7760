"""Digests of what was erased: one for all spellings of a value, none that tells or joins anything without the key."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.keys.vault import Vault
from infra.requests import ErasedDigest, ErasedList, Identifier
from infra.requests.erased import digests_of
from infra.requests.records import IDENTIFIER_TYPES

KEY = bytes(range(32))
VAULT = Vault(KEY)
DIGITS = st.text("0123456789", min_size=9, max_size=9)
BETWEEN = st.sampled_from(["", "-", " ", ".", "\u2011", "\u00a0"])
KINDS = ("demand", "subject", "submission", "line", "address", "key check")

SAME = [
    ("US_SSN", "219-41-5522", "219 41 5522", "other separators"),
    ("US_SSN", "219-41-5522", "\uff12\uff11\uff19415522", "full-width digits"),
    ("EMAIL_ADDRESS", "Hal@Example.com", "hal%40example.com", "case and percent-encoding"),
    ("PHONE_NUMBER", "+44 20 7946 0018", "+44 (0)20 7946 0018", "a trunk prefix in brackets"),
    ("IP_ADDRESS", "2001:db8::9", "2001:0DB8:0:0:0:0:0:9", "zeros of an address"),
    ("URL", "https://www.example.com/hal/", "example.com/hal", "a scheme"),
    ("PERSON", "Ada  Lo", "ADA LO", "case and spaces of a name"),
    ("CUSTOM", " Heron 7 ", "Heron\u00a07", "spaces of an own string"),
]
DIFFERENT = [
    (("US_SSN", "219-41-5522"), ("US_SSN", "219-41-5523"), "another digit"),
    (("US_SSN", "219415522"), ("CUSTOM", "219415522"), "another type"),
    (("CUSTOM", "Heron 7"), ("CUSTOM", "heron 7"), "the case of an own string"),
]
# Digests that stand in stores. If one moves, every stored one of its type can never match again: keep the form that
# made them, or look for both.
STORED = {
    ("US_SSN", "219-41-5522"): "6c1b702a322fc848",
    ("EMAIL_ADDRESS", "hal@example.com"): "1b7a30fc22c8cf0c",
    ("PHONE_NUMBER", "+1 212-555-0142"): "dda1f57693442b57",
    ("CREDIT_CARD", "4111 1111 1111 1111"): "b50e8936b2611730",
    ("IBAN_CODE", "GB82 WEST 1234 5698 7654 32"): "e08de4dd641f9582",
    ("URL", "https://example.com/hal"): "a7df1f5ab6bb63bb",
    ("IP_ADDRESS", "192.0.2.17"): "d648f33fb089c3dc",
    ("PERSON", "Ada Lo"): "27d914111c1a5dca",
    ("CUSTOM", "Heron 7"): "3a42b0d181fd18bb",
}


def digest(type_: str, value: str, vault: Vault = VAULT) -> str:
    return digests_of(vault, Identifier(type=type_, value=value))[0]


@pytest.mark.parametrize(("type_", "one", "other", "why"), SAME, ids=[row[3] for row in SAME])
def test_two_spellings_have_one_digest(type_: str, one: str, other: str, why: str) -> None:
    assert digest(type_, one) == digest(type_, other)


@pytest.mark.parametrize(("one", "other", "why"), DIFFERENT, ids=[row[2] for row in DIFFERENT])
def test_two_identifiers_have_two_digests(one: tuple[str, str], other: tuple[str, str], why: str) -> None:
    assert digest(*one) != digest(*other)


@pytest.mark.parametrize("identifier", STORED, ids=lambda identifier: identifier[0])
def test_digests_that_stand_in_stores_stay_as_they_are(identifier: tuple[str, str]) -> None:
    assert digest(*identifier)[:16] == STORED[identifier]


@given(digits=DIGITS, one=BETWEEN, other=BETWEEN)
def test_however_a_number_is_parted_its_digest_is_one_and_does_not_hold_it(digits: str, one: str, other: str) -> None:
    written = [between.join((digits[:3], digits[3:5], digits[5:])) for between in (one, other)]
    first, second = (digest("US_SSN", each) for each in written)
    assert first == second
    assert digits not in first and len(first) == 64


@given(value=st.text(min_size=1), type_=st.sampled_from(["US_SSN", "PERSON", "CUSTOM", "EMAIL_ADDRESS"]))
def test_no_digest_of_a_request_is_one_of_what_was_erased(value: str, type_: str) -> None:
    """Of the same text, under the same key: their kinds keep them apart. So does the key from another installation."""
    mine = digest(type_, value)
    assert mine not in {VAULT.pseudonym(value, kind=kind) for kind in KINDS}
    assert mine != digest(type_, value, Vault(bytes(32)))


@given(value=st.text() | st.text("0123456789 +()-.:/@%#x\u00a0\ud800"), type_=st.sampled_from(IDENTIFIER_TYPES))
def test_whatever_a_model_generates_has_a_digest_under_every_type(value: str, type_: str) -> None:
    """A list is asked under each of its types, and a detector's finding may be no value of that type at all."""
    assert len(digest(type_, value)) == 64


def test_a_list_finds_a_value_under_whatever_type_it_was_erased_and_names_the_latest_day() -> None:
    number = digest("US_SSN", "219-41-5522")
    days = (date(2026, 11, 3), date(2026, 11, 20))
    listed = ErasedList(
        VAULT,
        [
            *(ErasedDigest(digest=number, model=f"m{day.day}", type="US_SSN", erased_on=day) for day in days),
            ErasedDigest(digest=digest("CUSTOM", "Heron 7"), model="m3", type="CUSTOM", erased_on=days[0]),
        ],
    )
    assert len(listed) == 2 and listed.by_type == {"US_SSN": 1, "CUSTOM": 1}
    (found,) = listed.find("219 41 5522")
    assert (found.type, found.erased_on) == ("US_SSN", days[1])
    assert listed.find("219 41 5522", {"CUSTOM"}) == [] == listed.find("219 41 5523")
    assert "219" not in repr(found).replace(number, "")
