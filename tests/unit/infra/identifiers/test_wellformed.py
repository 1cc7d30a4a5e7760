"""A value is taken only in the form of its type; what is wrong with it is said without showing it."""

from __future__ import annotations

import pytest

from infra.requests.fields import Malformed, parse_identifier
from infra.requests.records import Identifier
from tasks.stages.requests import _well_formed

TAKEN = [
    ("PHONE_NUMBER", "+1 202 555 0143", "international"),
    ("PHONE_NUMBER", "0012025550143", "international behind 00"),
    ("PHONE_NUMBER", "(202) 555-0143", "national of the United States"),
    ("PHONE_NUMBER", "415.555.0000", "three groups that end in zeros"),
    ("PHONE_NUMBER", "020 7946 0018", "national of the United Kingdom"),
    ("PHONE_NUMBER", "01 99 00 53 12", "national of France"),
    ("PHONE_NUMBER", "030/23125001", "a slash, as in Germany"),
    ("PHONE_NUMBER", "+33 (0)1 99 00 12 34", "a trunk prefix in brackets"),
    ("PHONE_NUMBER", "(415)-555-0132x341", "an extension"),
    ("PHONE_NUMBER", "415-555-0132 ext. 341", "an extension in words"),
    ("PHONE_NUMBER", "tel:+1-415-555-0132;ext=341", "a telephone URI"),
    ("PHONE_NUMBER", "\uff0b\uff11 415 555 0132", "full-width signs"),
    ("US_SSN", "219-41-5522", "hyphens"),
    ("US_SSN", "900123456", "a range that is never issued, for whoever asks"),
    ("US_SSN", "219\u201141\u20115522", "non-breaking hyphens"),
    ("CREDIT_CARD", "4111 1111 1111 1111", "groups"),
    ("CREDIT_CARD", "378282246310005", "fifteen digits"),
    ("IBAN_CODE", "DE89 3704 0044 0532 0130 00", "groups"),
    ("IBAN_CODE", "gb33bukb20201555555555", "lower case"),
    ("EMAIL_ADDRESS", "ada.lowen@example.com", "plain"),
    ("EMAIL_ADDRESS", "user@m\u00fcnchen.example", "a host in its own script"),
    ("EMAIL_ADDRESS", "user@xn--mnchen-3ya.example", "the same in ASCII"),
    ("EMAIL_ADDRESS", "hal%40example.com", "percent-encoded, as copied"),
    ("URL", "https://example.com/a%20b?x=1#y", "a path and a query"),
    ("URL", "example.com/z", "no scheme"),
    ("URL", "http://[2001:db8::9]:8080/", "an address in brackets"),
    ("IP_ADDRESS", "192.0.2.17", "version 4"),
    ("IP_ADDRESS", "2001:db8::0009", "version 6 with zeros"),
    ("IP_ADDRESS", "fe80::9%eth0", "a zone"),
    ("PERSON", "Zorblatt 9", "any text"),
    ("CUSTOM", "4.15556E+09", "an own string is taken as it is"),
]
REFUSED = [
    ("PHONE_NUMBER", "4.15556E+09", "spreadsheet", "a rounded number"),
    ("PHONE_NUMBER", "4,15556E+09", "spreadsheet", "a rounded number with a comma"),
    ("PHONE_NUMBER", "4.15556e9", "spreadsheet", "without a plus"),
    ("PHONE_NUMBER", "'4155550132", "spreadsheet", "an apostrophe that marks text"),
    ("PHONE_NUMBER", '="4155550132"', "spreadsheet", "a formula"),
    ("PHONE_NUMBER", "4155550132.0", "spreadsheet", "a fraction of nothing"),
    ("PHONE_NUMBER", "#REF!", "spreadsheet", "the name of an error"),
    ("PHONE_NUMBER", "#N/A", "spreadsheet", "the name of another"),
    ("PHONE_NUMBER", "call me 4155550132", "holds more", "words beside the number"),
    ("PHONE_NUMBER", "415-555-0132, 415-555-0133", "holds more", "two numbers"),
    ("PHONE_NUMBER", "555-01", "too few digits", "a part of a number"),
    ("PHONE_NUMBER", "555-0132", "too few digits", "a local number, which somebody has in every area"),
    ("PHONE_NUMBER", "2023-05-17", "reads as a date", "a date"),
    ("PHONE_NUMBER", "17.05.2023", "reads as a date", "a date with dots"),
    ("CREDIT_CARD", "0000000000000000", "one digit again", "no card's, whatever its check digit"),
    ("US_SSN", "000-00-0000", "one digit again", "a form that nobody filled in"),
    ("US_SSN", "-219415522", "holds more", "a sign"),
    ("EMAIL_ADDRESS", "mailto:ada@example.com", "without anything around it", "a scheme"),
    ("EMAIL_ADDRESS", "ada,bo@example.com", "without anything around it", "a list"),
    ("EMAIL_ADDRESS", "'ada@example.com", "without anything around it", "a spreadsheet's mark"),
    ("URL", "1.5", "not written as a URL", "a number"),
    ("URL", "ada@example.com", "not written as a URL", "an e-mail address"),
    ("IP_ADDRESS", "0.0.0.0", "nobody's address", "no address in particular"),
    ("IP_ADDRESS", "::1", "nobody's address", "the machine itself"),
    ("PERSON", "4.15556E+09", "spreadsheet", "a rounded number is no name"),
    ("PERSON", "#REF!", "spreadsheet", "an error is no name"),
    ("PHONE_NUMBER", "+999 123 456 789", "no phone number", "a country that does not exist"),
    ("PHONE_NUMBER", "12345678901234567890", "no phone number", "too many digits"),
    ("US_SSN", "2.19416E+08", "spreadsheet", "a rounded number"),
    ("US_SSN", "'219415522", "spreadsheet", "an apostrophe"),
    ("US_SSN", "219415522.0", "spreadsheet", "a fraction of nothing"),
    ("US_SSN", "12345678", "zero in front", "a lost zero"),
    ("US_SSN", "219-41-55223", "10 digits", "one digit more"),
    ("US_SSN", "SSN 219-41-5522", "holds more", "a label"),
    ("CREDIT_CARD", "1.23457E+15", "spreadsheet", "a rounded number"),
    ("CREDIT_CARD", "4111 1111 1111 1112", "check digit", "a mistyped digit"),
    ("CREDIT_CARD", "4111111111111110", "spreadsheet", "the sixteenth digit lost"),
    ("CREDIT_CARD", "4111 1111", "8 digits", "half of it"),
    ("IBAN_CODE", "DE89 3704 0044 0532 0130 01", "check digits", "a mistyped digit"),
    ("IBAN_CODE", "DE89 3704 0044 0532 0130", "in its country it has 22", "two characters short"),
    ("IBAN_CODE", "XX89 3704 0044 0532 0130 00", "no country", "no country"),
    ("IBAN_CODE", "IBAN: DE89 3704 0044 0532 0130 00", "not written as an IBAN", "a label"),
    ("EMAIL_ADDRESS", "ada.lowen at example.com", "e-mail", "words for the sign"),
    ("EMAIL_ADDRESS", "Ada Lowen <ada.lowen@example.com>", "without anything around it", "a name before it"),
    ("EMAIL_ADDRESS", "ada.lowen@localhost", "e-mail", "no domain"),
    ("URL", "see example.com/z", "URL", "a word before it"),
    ("URL", "wen", "URL", "a word"),
    ("IP_ADDRESS", "192.0.2.256", "no IP address", "a part too large"),
    ("IP_ADDRESS", "2001:db8:::9", "no IP address", "three colons"),
]


@pytest.mark.parametrize(("type_", "value", "why"), TAKEN, ids=[f"{row[0]} {row[2]}" for row in TAKEN])
def test_a_value_in_the_form_of_its_type_is_taken(type_: str, value: str, why: str) -> None:
    assert parse_identifier({"type": type_, "value": value}).value == value
    assert _well_formed(Identifier(type=type_, value=value))


@pytest.mark.parametrize(("type_", "value", "said", "why"), REFUSED, ids=[f"{row[0]} {row[3]}" for row in REFUSED])
def test_a_value_in_another_form_is_refused_with_the_remedy_and_without_the_value(
    type_: str, value: str, said: str, why: str
) -> None:
    with pytest.raises(Malformed, match=said) as caught:
        parse_identifier({"type": type_, "value": value}, within="identifiers[3]")
    message = str(caught.value)
    assert message.startswith(f"identifiers[3].value ({type_}) ")
    assert value not in message
    assert not _well_formed(Identifier(type=type_, value=value))
