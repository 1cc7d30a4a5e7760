"""One reading of a text: what the search for known identifiers finds, detection finds, and at the same place."""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path

import pytest

from infra.detection import Detector
from infra.requests.records import Identifier
from infra.search import Search

sys.path.append(str(Path(__file__).parents[2]))

from disguises import disguises

TEXTS = Path(__file__).parents[2] / "cases" / "texts.jsonl"
CASES = [json.loads(line) for line in TEXTS.read_text(encoding="utf-8").splitlines()]


@cache
def detector() -> Detector:
    return Detector()


def scanned(text: str, type_: str) -> list[tuple[int, int]]:
    return [(found.start, found.end) for found in detector().find(text) if found.type == type_]


def located(text: str, type_: str, value: str) -> list[tuple[int, int]]:
    search = Search({"r": [Identifier(type=type_, value=value)]})
    return [(found.start, found.end) for _, found in search.in_texts([text])]


@pytest.mark.parametrize("case", CASES, ids=[f"{case['kind']} {number}" for number, case in enumerate(CASES)])
def test_a_reported_case_is_scanned_and_located(case: dict[str, object]) -> None:
    text, type_, start, end = str(case["text"]), str(case["type"]), int(str(case["start"])), int(str(case["end"]))
    assert scanned(text, type_) == [(start, end)]
    for value in case["identifiers"]:  # type: ignore[attr-defined]
        ((first, last),) = located(text, type_, value)
        number_alone = type_ == "PHONE_NUMBER" and value[-3:] != "341"
        assert first == start and (last == end or (number_alone and last < end)), ascii(value)


# The place is marked; the identifiers are ways in which a request may write what stands there.
E, S, T, U, P, C, B, I = (  # noqa: E741
    "EMAIL_ADDRESS", "US_SSN", "PHONE_NUMBER", "URL", "PERSON", "CREDIT_CARD", "IBAN_CODE", "IP_ADDRESS",
)  # fmt: skip
MAIL = "ada.lowen@example.com"
FOUND = [
    # extensions
    (T, "Desk <415-555-0132 x341>.", ["415-555-0132 x341", "+1 415 555 0132 ext. 341"], "a blank and x"),
    (T, "Desk <415.555.0132 ext 341>, ok", ["415-555-0132x341"], "ext without a dot"),
    (T, "Desk <(415) 555-0132 #341> on", ["415-555-0132 ext. 341"], "a number sign"),
    (T, "tel:<+1-415-555-0132;ext=341>", ["415-555-0132;ext=341"], "a telephone URI"),
    (T, "Desk <415-555-0132, ext. 341>", ["415-555-0132 x341"], "a comma"),
    (T, "Desk <415-555-0132 extension 341> on", ["415-555-0132 x341"], "the whole word"),
    (T, "Buro <+49 30 23125001 ext. 17>", ["030 23125001 x17", "+49 30 23125001 x17"], "another country"),
    # national and international
    (T, "call <+49 30 23125001>", ["030 23125001", "(030) 23125001", "030/23125001"], "Germany"),
    (T, "call <030 23125001>", ["+49 30 23125001", "0049 30 23125001"], "Germany, the other way"),
    (T, "call <+33 1 99 00 12 34>", ["01 99 00 12 34", "01.99.00.12.34", "+33 (0)1 99 00 12 34"], "France"),
    (T, "call <+61 2 5550 1234>", ["(02) 5550 1234"], "Australia"),
    (T, "call <(02) 5550 1234>", ["+61 2 5550 1234"], "Australia, the other way"),
    (T, "call <+46 31 390 12 34>", ["031-390 12 34"], "Sweden"),
    (T, "call <+44 7700 900123>", ["07700 900123"], "a mobile of the United Kingdom"),
    (T, "call <+39 06 6912 1234>", ["06 6912 1234"], "Italy, which keeps the zero"),
    (T, "call <+34 912 34 56 78>", ["912 34 56 78", "912345678"], "Spain, which has no prefix"),
    (T, "call <+81 3 1234 5678>", ["03-1234-5678"], "Japan"),
    (T, "call <+1 212-555-0143>", ["(212) 555-0143", "1-212-555-0143", "2125550143"], "the United States"),
    # IPv6
    (I, "from <2001:0DB8::0009> on", ["2001:db8::9"], "zeros in front and capitals"),
    (I, "from <2001:db8:0:0::9>, on", ["2001:db8::9", "2001:db8:0:0:0:0:0:9"], "two of four groups left out"),
    (I, "[<2001:db8::9>]:443", ["2001:db8::9"], "brackets and a port"),
    (I, "from <::ffff:192.0.2.9> on", ["192.0.2.9", "::ffff:c000:209"], "version 4 as version 6"),
    (I, "via <fe80::9%eth0> on", ["fe80::9", "fe80::9%eth0", "FE80:0::9"], "a zone"),
    (I, "host <2001:db8::9>. Then", ["2001:db8::9"], "a full stop"),
    (I, "peer (<2001:db8::9>), ok", ["2001:db8:0::9"], "a bracket and a comma"),
    (I, "host:<2001:db8::9>:refused", ["2001:db8::9"], "a word behind a colon on both sides"),
    (I, "from <2001:db8:1:2:3:4:192.0.2.1> on", ["2001:db8:1:2:3:4:c000:201"], "six groups and version 4"),
    # hosts
    (E, "to <user@m\u00fcnchen.example> now", ["user@xn--mnchen-3ya.example"], "the other way"),
    (E, "to <user@XN--MNCHEN-3YA.example> now", ["user@m\u00fcnchen.example", "user@MU\u0308NCHEN.example"], "case"),
    (U, "see <https://xn--mnchen-3ya.example/a> now", ["https://m\u00fcnchen.example/a"], "a URL"),
    (U, "see <https://m\u00fcnchen.example/a> now", ["xn--mnchen-3ya.example/a"], "a URL, the other way"),
    (E, "to <user@stra\u00dfe.example> now", ["user@xn--strae-oqa.example"], "a sharp s"),
    # escapes
    (E, f'{{"a":"\\t<{MAIL}>\\r\\n"}}', [MAIL], "a tab and a line end of JSON"),
    (E, f"x\\\\n<{MAIL}>\\\\ny", [MAIL], "JSON within JSON"),
    (E, "to <ada.lowen\\u0040example.com>;", [MAIL], "the sign in JSON"),
    (E, "to <ada.lowen\\x40example.com>;", [MAIL], "the sign in a program"),
    (E, "to <ada\\.lowen@example\\.com>$", [MAIL], "an expression"),
    (E, f"a&lt;<{MAIL}>&gt;b", [MAIL], "named entities"),
    (E, "to <ada.lowen&#64;example&period;com> on", [MAIL], "entities inside"),
    (E, "to <ada.lowen=40example.com> on", [MAIL], "quoted-printable"),
    (E, "<ada.lowen@exam=\nple.com> on", [MAIL], "a soft line break"),
    (E, f"x=3C<{MAIL}>=3E", [MAIL], "quoted-printable brackets"),
    (E, f"q=%3C<{MAIL}>%3E", [MAIL], "percent-encoded brackets"),
    (E, f"\\u001b[1;32m<{MAIL}>\\u001b[0m", [MAIL], "an escaped colour"),
    (E, f"[31m<{MAIL}>[0m", [MAIL], "a colour without its ESC"),
    (E, f"to=<{MAIL}>&x=1", [MAIL], "an assignment is no escape"),
    (E, "to=<ADA@EXAMPLE.COM> on", ["ada@example.com"], "what might be quoted-printable is the address"),
    (U, "see <https:\\/\\/example.com\\/a\\/b> on", ["https://example.com/a/b"], "slashes of JSON"),
    (U, "go <https%3A%2F%2Fexample.com%2Fa> on", ["https://example.com/a"], "a URL percent-encoded"),
    (U, "go <https://example.com/a%20b?x=20&y=2> on", ["https://example.com/a%20b?x=20&y=2"], "escapes of its own"),
    (S, "SSN\\t<219-09-9998>\\n", ["219-09-9998"], "a number between tabs"),
    (S, "SSN:&nbsp;<219&#8209;09&#x2011;9998>", ["219-09-9998"], "entities for hyphens"),
    (S, "SSN \x1b[1m<219-09-9998>\x1b[0m", ["219-09-9998"], "a number in bold"),
    (T, "call \\n<+1 415 555 0132>\\n", ["(415) 555-0132"], "a number between line feeds"),
    # blanks, digits, invisible characters
    (T, "call <+1\u00a0415\u202f555\u20090132> on", ["+1 415 555 0132"], "no-break and thin spaces"),
    (C, "card <4111\u20071111\u20071111\u20071111> on", ["4111111111111111"], "figure spaces"),
    (B, "IBAN <DE89\u202f3704\u202f0044\u202f0532\u202f0130\u202f00>", ["DE89370400440532013000"], "narrow spaces"),
    (B, "IBAN <DE89\u20113704\u20110044\u20110532\u20110130\u201100>", ["DE89370400440532013000"], "hard hyphens"),
    (E, "to <\uff41\uff44\uff41@example.com> on", ["ada@example.com"], "full-width letters"),
    (E, "to <ada\uff20example.com> on", ["ada@example.com"], "a full-width sign"),
    (E, "to <jose\u0301@example.com> on", ["jos\u00e9@example.com"], "a letter and its mark"),
    (E, "to <novak@pr\u030ci\u0301klad.example> on", ["novak@p\u0159\u00edklad.example"], "marks in a host"),
    (E, "to <anne\u2011marie@example.com> on", ["anne-marie@example.com"], "a non-breaking hyphen"),
    (E, "to <ada.low\u00aden@example.com> on", [MAIL], "a soft hyphen"),
    (E, "to <ada.lowen\u2060@\ufeffexample.com> on", [MAIL], "word joiner and byte order mark"),
    (S, "SSN <219\u201309\u20139998> on", ["219-09-9998"], "en dashes"),
    (S, "SSN <219\u221209\u22129998> on", ["219-09-9998"], "minus signs"),
    (S, "SSN <\u0662\u0661\u0669-\u0660\u0669-\u0669\u0669\u0669\u0668> on", ["219-09-9998"], "Arabic digits"),
    (C, "card <4111\u200b1111\u200b1111\u200b1111> on", ["4111111111111111"], "zero-width spaces"),
    (I, "from <\uff11\uff19\uff12.0.2.17> on", ["192.0.2.17"], "full-width digits"),
    (U, "see <https://example.com/a\u200b/b> on", ["https://example.com/a/b"], "a zero-width space in a path"),
    # labels that touch, and lines
    (S, "ITIN900-70-1234 SSN<219-09-9998>", ["219-09-9998"], "the second of two"),
    (T, "Tel<+49 30 23125001>", ["030 23125001"], "in front of a plus"),
    (T, "Fax<030 23125001>", ["+49 30 23125001"], "in front of a zero"),
    (C, "Visa<4111 1111 1111 1111> ok", ["4111111111111111"], "a brand"),
    (I, "IP<192.0.2.17> ok", ["192.0.2.17"], "two letters"),
    (I, "ip<2001:db8::9> ok", ["2001:db8::9"], "two letters, version 6"),
    (U, "URL<https://example.com/a> ok", ["https://example.com/a"], "a URL"),
    (B, "iban<GB33 BUKB 2020 1555 5555 55> ok", ["GB33BUKB20201555555555"], "lower case"),
    (B, "IBAN <GB33 BUKB\r\n  2020 1555\r\n  5555 55> ok", ["GB33BUKB20201555555555"], "three lines"),
    (B, "IBAN <DE89\n3704 0044 0532 0130 00> ok", ["DE89370400440532013000"], "behind the check digits"),
    (C, "card <4111 1111\n1111 1111> ok", ["4111111111111111"], "two lines"),
    (C, "card <3782 822463\r\n10005> ok", ["378282246310005"], "American Express over two lines"),
]  # fmt: skip


def marked(text: str) -> tuple[str, int, int]:
    start, end = text.index("<"), text.index(">")
    return text[:start] + text[start + 1 : end] + text[end + 1 :], start, end - 1


@pytest.mark.parametrize(("type_", "text", "values", "why"), FOUND, ids=[f"{r[0]} {r[3]}" for r in FOUND])
def test_what_stands_in_a_text_is_scanned_and_located_at_one_place(
    type_: str, text: str, values: list[str], why: str
) -> None:
    text, start, end = marked(text)
    assert (start, end) in scanned(text, type_), "scan"
    for value in values:
        assert located(text, type_, value) == [(start, end)], ascii(value)


NOT_LOCATED = [
    (T, "Desk 415-555-0132 x999", "415-555-0132 x341", "another extension"),
    (T, "Desk 415-555-01321", "415-555-0132", "a longer number"),
    (T, "call +49 20 7946 0018", "020 7946 0018", "the same digits in another country"),
    (T, "call (207) 946-0018", "020 7946 0018", "the same digits without the prefix"),
    (T, "call (207) 946-0018", "+44 20 7946 0018", "the same digits of another country"),
    (T, "call +49 912 34 56 78", "912 34 56 78", "behind the code of another country"),
    (T, "desk: 4155 5609", "+1 415 555 6091", "the first digits"),
    (T, "Desk 415-555-0132&nbsp;x999", "415-555-0132 x341", "another extension behind an entity"),
    (T, "Desk 415-555-0132\\u0020x999", "415-555-0132 x341", "another extension behind an escaped blank"),
    (T, "call %2B44%20415 555 0132", "+1 415 555 0132", "an escaped country code"),
    (T, "call &#43;44 415 555 0132", "+1 415 555 0132", "a country code behind an entity"),
    (T, "call 0044 415 555 0132", "415-555-0132", "another country behind zeros"),
    (T, "call 44-415-555-0132", "415-555-0132", "another country without a sign"),
    (T, "call 212-555-0132", "555-0132", "a number with an area code"),
    (I, "from 2001:db8::9:1", "2001:db8::9", "a longer address"),
    (I, "from 2001:db8::90", "2001:db8::9", "a longer group"),
    (I, "from 2001:db8:0:9::", "2001:db8::9", "another place of the zeros"),
    (I, "from ::ffff:192.0.2.17", "192.0.2.1", "version 4 in version 6, a longer part"),
    (E, "to user@m\u00fcnchen.example.com now", "user@xn--mnchen-3ya.example", "a longer host"),
    (E, "to user@munchen.example now", "user@m\u00fcnchen.example", "a letter without its mark"),
    (E, "to \\u0062ada.lowen@example.com", "da.lowen@example.com", "a part of it"),
    (E, "to x\\u002eada.lowen@example.com.au\\n", "ada.lowen@example.com", "a longer host in front of an escape"),
    (E, "to ada.lowen@example.com%2Ecz now", "ada.lowen@example.com", "a longer host, percent-encoded"),
    (E, "to ada.lowen@example.com&#46;cz now", "ada.lowen@example.com", "a longer host behind an entity"),
    (E, "to ada.lowen@example.com=2Ecz now", "ada.lowen@example.com", "a longer host, quoted-printable"),
    (E, "to ada.lowen@example.com\\u002ecz now", "ada.lowen@example.com", "a longer host, escaped"),
    (E, "to x&period;ada.lowen@example.com now", "ada.lowen@example.com", "a longer name behind an entity"),
    (S, "XSSN219-09-9998", "219-09-9998", "a label within a word"),
    (S, "LESSON219-09-9998", "219-09-9998", "letters that are no label"),
    (S, "SSN219-09-99981", "219-09-9998", "a longer number behind a label"),
    (B, "SIBANDE89370400440532013000", "DE89370400440532013000", "a label within a word"),
    (S, "SSN 219-09-\u00ad99981", "219-09-9998", "a longer number with a soft hyphen"),
    (C, "card 4111 1111\n\n\n\n5555 1111 1111", "4111111111111111", "another number in between"),
]


@pytest.mark.parametrize(("type_", "text", "value", "why"), NOT_LOCATED, ids=[f"{r[0]} {r[3]}" for r in NOT_LOCATED])
def test_what_only_looks_like_an_identifier_is_not_located(type_: str, text: str, value: str, why: str) -> None:
    assert located(text, type_, value) == []


NOT_SCANNED = [
    (T, "1920x1080 and 1024x768", "sizes"),
    (T, "model 4155x341", "too few digits in front of an extension"),
    (S, "LESSON219-09-9998", "letters that are no label"),
    (S, "SSN000-12-3456", "an area that does not exist behind a label"),
    (C, "card 4111 1111\n1111 1112", "a wrong checksum over two lines"),
    (C, "years 1990 1991\n1992 1993", "years over two lines"),
    (B, "IBAN DE89 3704 0044\n0532 0130 01", "a wrong checksum over two lines"),
    (B, "LIBANDE89370400440532013000", "a label within a word"),
    (I, "std\\:\\:vector and a\\:\\:b", "names of a program, escaped"),
    (I, "node1::5 and xface::1", "names that end in digits"),
    (I, "at 10:20:30: done", "a time in front of a colon"),
    (I, "rows[1::3]: all", "a slice in front of a colon"),
    (E, "git\\u0040example.com:team/project.git", "a place to copy from, escaped"),
    (E, "a\\n@b.c\\n", "a decorator"),
    (U, "setup\\.py and README\\.md", "files, escaped"),
    (T, "pp. 1606\u20134462", "pages with an en dash"),
    (T, "\uff12\uff10\uff12\uff13-05-17", "a date in full-width digits"),
]


@pytest.mark.parametrize(("type_", "text", "why"), NOT_SCANNED, ids=[f"{r[0]} {r[2]}" for r in NOT_SCANNED])
def test_what_only_looks_like_personal_data_is_not_scanned(type_: str, text: str, why: str) -> None:
    assert scanned(text, type_) == []


VALUES = {
    E: MAIL,
    S: "219-09-9998",
    T: "+1 415-555-0132",
    U: "https://example.com/~wen/cv",
    C: "4111 1111 1111 1111",
    B: "DE89 3704 0044 0532 0130 00",
    I: "192.0.2.17",
}
LABELS = {S: "SSN", T: "phone", C: "card", B: "IBAN"}
DISGUISED = [(type_, name, written) for type_, value in VALUES.items() for name, written in disguises(type_, value)]


@pytest.mark.parametrize(("type_", "name", "written"), DISGUISED, ids=[f"{d[0]} {d[1]}" for d in DISGUISED])
def test_every_disguise_is_seen_through_alike(type_: str, name: str, written: str) -> None:
    text = f"so, {LABELS.get(type_, 'it')} {written} and on"
    found = located(text, type_, VALUES[type_])
    assert len(found) == 1, "located"
    places = scanned(text, type_)
    number_alone = "extension" in name
    assert [p for p in places if p == found[0] or (number_alone and p[0] == found[0][0])], (places, found)
