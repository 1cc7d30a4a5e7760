"""Escapes, entities and line breaks inside an identifier: which hide it and which only look like it."""

from __future__ import annotations

from typing import Any

import pytest
from slow_search import Wanted, search, spots

DISGUISED = [
    ("EMAIL_ADDRESS", "jane=40example.com", "quoted-printable"),
    ("EMAIL_ADDRESS", "jane@exam=\r\nple.com", "a soft line break"),
    ("EMAIL_ADDRESS", "jane@exam= \nple.com", "a soft line break behind a blank"),
    ("EMAIL_ADDRESS", "jane&#64;example.com", "a decimal entity"),
    ("EMAIL_ADDRESS", "jane&#x40;example&#X2E;com", "hexadecimal entities"),
    ("EMAIL_ADDRESS", "jane&commat;example&period;com", "named entities"),
    ("EMAIL_ADDRESS", "jane&ZeroWidthSpace;@example.com", "an entity for an invisible character"),
    ("EMAIL_ADDRESS", "jane%40example.com", "percent-encoding"),
    ("EMAIL_ADDRESS", "jane%EF%BC%A0example.com", "percent-encoding of a full-width sign"),
    ("EMAIL_ADDRESS", "jane@\n  example.com", "a line break behind the sign"),
    ("EMAIL_ADDRESS", "jane\r\n@example.com", "a line break in front of the sign"),
    ("EMAIL_ADDRESS", "jane\n@example.com", "a bare line feed in front of the sign"),
    ("EMAIL_ADDRESS", "jane@example.\ncom", "a line break behind a dot"),
    ("EMAIL_ADDRESS", "jane=40\nexample.\r\ncom", "escapes and two line breaks"),
    ("US_SSN", "219&#45;41&#8209;5522", "entities for hyphens"),
    ("US_SSN", "219=2D41=\n-5522", "quoted-printable in a number"),
    ("PERSON", "Zo=C3=AB&nbsp;Roe", "UTF-8 in quoted-printable"),
    ("PERSON", "Zo=EB%20Roe", "Latin-1 in quoted-printable"),
    ("URL", "https://example.com/\njane-roe?a=1&amp;b=2", "a line break and an entity"),
    ("URL", "example.com%2Fjane%2Droe?a=1&b=2", "a percent-encoded path"),
    ("IP_ADDRESS", "192&period;0.2.17", "an entity in an IP address"),
]
VALUES = {
    "EMAIL_ADDRESS": "jane@example.com",
    "US_SSN": "219-41-5522",
    "PERSON": "Zoë Roe",
    "URL": "https://example.com/jane-roe?a=1&b=2",
    "IP_ADDRESS": "192.0.2.17",
}


@pytest.mark.parametrize(("type_", "written", "why"), DISGUISED, ids=[row[2] for row in DISGUISED])
def test_a_disguised_identifier_is_found_as_written(type_: str, written: str, why: str) -> None:
    text = f"so, ({written}) and on"
    assert [text[start:end] for start, end, _ in spots([Wanted(type_, VALUES[type_])], text)] == [written]


NOT_DISGUISED = [
    ("US_SSN", "id=20219415522", "an assignment of a number is no quoted-printable blank"),
    ("US_SSN", "x=4021941552299", "nor an at sign"),
    ("EMAIL_ADDRESS", "jane=4Oexample.com", "the letter O"),
    ("EMAIL_ADDRESS", "jane&commatexample.com", "an entity without its end"),
    ("EMAIL_ADDRESS", "jane@exam\nple.com", "a line break in the middle of a word"),
    ("EMAIL_ADDRESS", "jane%4", "a cut escape"),
    ("EMAIL_ADDRESS", "jane&amp;#64;example.com", "escaped twice"),
    ("EMAIL_ADDRESS", "mary=2Ejane@example.com.au", "a longer address"),
]


@pytest.mark.parametrize(("type_", "text", "why"), NOT_DISGUISED, ids=[row[2] for row in NOT_DISGUISED])
def test_what_only_looks_like_an_escape_hides_nothing(type_: str, text: str, why: str) -> None:
    assert spots([Wanted(type_, VALUES[type_])], text) == []


def test_an_identifier_that_is_given_with_escapes_is_found_with_and_without_them() -> None:
    wanted = [Wanted("URL", "https://example.com/a%20b")]
    for text in ("see example.com/a%20b now", "see example.com/a b now", "see =\nexample.com/a%20b now"):
        assert len(spots(wanted, text)) == 1


def test_a_text_without_escapes_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    import infra.search

    def never(text: str) -> Any:
        raise AssertionError("read again")

    monkeypatch.setattr(infra.search, "readings", never)
    texts = ["a = b, 100 %, R & D; 5% of jane@example.com.\nNext line: x == y", "ü = ö"]
    assert len(list(search({"r": [Wanted("EMAIL_ADDRESS", "jane@example.com")]}).in_texts(texts[1:]))) == 0
    with pytest.raises(AssertionError, match="read again"):
        list(search({"r": [Wanted("EMAIL_ADDRESS", "jane@example.com")]}).in_texts([*texts, "jane&#64;x"]))
