"""Spellings of one identifier are known as one: in comparison and in masks."""

from __future__ import annotations

import pytest

from infra.identifiers.masking import masked
from infra.identifiers.normalise import identity

SAME = [
    ("PHONE_NUMBER", "+44 20 7946 0018", "+44 (0)20 7946 0018", "a trunk prefix in brackets"),
    ("PHONE_NUMBER", "+33 1 99 00 53 12", "0033 1 99 00 53 12", "00 for the plus"),
    ("PHONE_NUMBER", "01 99 00 53 12", "+33 1 99 00 53 12", "national, parted as in one country alone"),
    ("PHONE_NUMBER", "+1 415-555-0132 x341", "+1 415 555 0132;ext=341", "extensions"),
    ("IP_ADDRESS", "2001:db8::9", "2001:0DB8:0:0:0:0:0:9", "version 6"),
    ("IP_ADDRESS", "192.0.2.17", "::ffff:192.0.2.17", "version 4 as version 6"),
    ("EMAIL_ADDRESS", "user@m\u00fcnchen.example", "user@xn--mnchen-3ya.example", "a host in ASCII"),
    ("EMAIL_ADDRESS", "hal@example.com", "hal%40example.com", "percent-encoded"),
    ("EMAIL_ADDRESS", "hal@example.com", "hal\uff20example.com", "a full-width sign"),
    ("URL", "https://m\u00fcnchen.example/a", "xn--mnchen-3ya.example/a", "a URL"),
    ("US_SSN", "219-09-9998", "\uff12\uff11\uff19\u201109\u20119998", "full-width digits"),
]
DIFFERENT = [
    ("PHONE_NUMBER", "415-555-0132 x341", "415-555-0132 x342", "another extension"),
    ("PHONE_NUMBER", "+44 20 7946 0018", "+49 20 7946 0018", "another country"),
    ("IP_ADDRESS", "2001:db8::9", "2001:db8::90", "another group"),
    ("EMAIL_ADDRESS", "user@m\u00fcnchen.example", "user@munchen.example", "a letter without its mark"),
]


@pytest.mark.parametrize(("type_", "one", "other", "why"), SAME, ids=[f"{row[0]} {row[3]}" for row in SAME])
def test_two_spellings_are_one_identifier_and_have_one_mask(type_: str, one: str, other: str, why: str) -> None:
    assert identity(type_, one) == identity(type_, other)
    assert masked(type_, one) == masked(type_, other) or type_ == "URL"  # a scheme is no part of a mask


@pytest.mark.parametrize(("type_", "one", "other", "why"), DIFFERENT, ids=[f"{row[0]} {row[3]}" for row in DIFFERENT])
def test_two_identifiers_stay_two(type_: str, one: str, other: str, why: str) -> None:
    assert identity(type_, one) != identity(type_, other)
