from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from slow_search import Wanted, numbered

from infra.corpus import Corpus
from infra.detection import Detector, Finding, Findings
from infra.identifiers.normalise import normal_form, search_forms
from infra.search.occurrences import Detection, Occurrence, confirm, detected, locate
from infra.search.refusals import unsearchable
from revs.errors import BadInput


class Rows:
    """The face of a corpus that location uses."""

    def __init__(self, *rows: str) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[tuple[int, str]]:
        return iter(enumerate(self.rows))

    def text(self, row: int) -> str:
        return self.rows[row]

    def texts(self, rows: Any) -> dict[int, str]:
        return {row: self.rows[row] for row in rows}


class MarkedDetector:
    """Finds every `<...>` as an e-mail address of score 0.9, and counts the texts it read."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def find(self, text: str) -> list[Finding]:
        self.read.append(text)
        start, end = text.find("<"), text.find(">")
        return [Finding(start=start, end=end + 1, type="EMAIL_ADDRESS", score=0.9)] if 0 <= start < end else []


def find(wanted: dict[str, list[Wanted]], *rows: str) -> list[Occurrence]:
    return locate(cast(Corpus, Rows(*rows)), numbered(wanted))


def written(type_: str, value: str, text: str) -> list[str]:
    return [text[o.start : o.end] for o in find({"r": [Wanted(type_, value)]}, text)]


SSN, MAIL, PHONE, SITE = "219-41-5522", "a@example.com", "+1 202-555-0143", "https://example.com/jane"

STANDS = [
    ("US_SSN", SSN, "SSN:219-41-5522, born", "219-41-5522", "punctuation around"),
    ("US_SSN", SSN, "no.219415522.", "219415522", "no separators, a full stop"),
    ("US_SSN", SSN, "is 219 - 41 - 5522 today", "219 - 41 - 5522", "three separators at a time"),
    ("US_SSN", SSN, "id\u200b 2\u200b19\u201141\u20115522", "2\u200b19\u201141\u20115522", "invisible, typographic"),
    ("US_SSN", SSN, "7 219-41-5522 8", "219-41-5522", "other numbers after spaces"),
    ("US_SSN", SSN, "号码219-41-5522是", "219-41-5522", "a script without spaces"),
    ("US_SSN", SSN, "219-41-\n5522", "219-41-\n5522", "broken over two lines"),
    ("US_SSN", SSN, "a 219     41 \t 5522 b", "219     41 \t 5522", "columns: a run of white space is one separator"),
    ("EMAIL_ADDRESS", MAIL, "mailto:A@Example.COM.", "A@Example.COM", "other case, a full stop"),
    ("EMAIL_ADDRESS", MAIL, "<a@example.com>", "a@example.com", "angle brackets"),
    ("EMAIL_ADDRESS", MAIL, "to=a@example.com&x=1", "a@example.com", "a query string"),
    ("PHONE_NUMBER", PHONE, "call (202) 555-0143 now", "(202) 555-0143", "national, with its bracket"),
    ("PHONE_NUMBER", PHONE, "call +1 (202) 555.0143", "+1 (202) 555.0143", "the longest form, with its plus"),
    ("PHONE_NUMBER", "202-555-0143", "fax +1-202-555-0143", "+1-202-555-0143", "a country code joined by a hyphen"),
    ("PHONE_NUMBER", "+44 20 7946 0958", "ring 020 7946 0958", "020 7946 0958", "trunk prefix instead of country code"),
    ("PHONE_NUMBER", "+44 20 7946 0958", "+44 (0)20 7946 0958", "+44 (0)20 7946 0958", "both"),
    ("CREDIT_CARD", "4111111111111111", "card 4111-1111 1111 1111", "4111-1111 1111 1111", "mixed separators"),
    (
        "IBAN_CODE",
        "DE89370400440532013000",
        "to DE89 3704 0044 0532 0130 00 now",
        "DE89 3704 0044 0532 0130 00",
        "groups",
    ),
    ("URL", SITE, "see http://www.example.com/Jane/photos", "http://www.example.com/Jane", "a page below it"),
    ("URL", SITE, "(example.com/jane)", "example.com/jane", "without scheme"),
    ("IP_ADDRESS", "192.0.2.17", "from 192.0.2.17:8080/", "192.0.2.17", "a port"),
    ("IP_ADDRESS", "2001:db8::17", "addr 2001:0db8:0000:0000:0000:0000:0000:0017", None, "the long spelling"),
    ("PERSON", "Jane  Roe", "JANE\nROE's", "JANE\nROE", "capitals, a line break, a genitive"),
    ("PERSON", "Zoë Roe", "Zoe\u0308 Roe", "Zoe\u0308 Roe", "decomposed"),
    ("CUSTOM", "C-4711", "#C-4711;", "C-4711", "punctuation around"),
    ("CUSTOM", "#4711", "no#4711", "#4711", "an own string that begins with a sign"),
]
STANDS_NOT = [
    ("US_SSN", SSN, "9219-41-55221", "digits on both sides"),
    ("US_SSN", SSN, "219-41-55221", "a digit after"),
    ("US_SSN", SSN, "9\u200b219-41-5522", "a digit before, past an invisible character"),
    ("US_SSN", SSN, "219-41-5522-7", "a longer number joined by a hyphen"),
    ("US_SSN", SSN, "7.219-41-5522", "a longer number joined by a dot"),
    ("US_SSN", SSN, "x219415522y", "a part of a word"),
    ("US_SSN", SSN, "219 -- 41 -- 5522", "too many separators at a time"),
    ("US_SSN", SSN, "219,41,5522", "a list of numbers"),
    ("EMAIL_ADDRESS", MAIL, "aa@example.com", "a longer local part"),
    ("EMAIL_ADDRESS", MAIL, "x.a@example.com", "a longer local part with a dot"),
    ("EMAIL_ADDRESS", MAIL, "x+a@example.com", "a longer local part with a plus"),
    ("EMAIL_ADDRESS", MAIL, "a@example.com.au", "another domain below .au"),
    ("EMAIL_ADDRESS", MAIL, "a@example.com-shop.org", "another domain with a hyphen"),
    ("EMAIL_ADDRESS", MAIL, "a@example.community", "another top-level domain"),
    ("EMAIL_ADDRESS", MAIL, "a@example.com\u0301", "a mark that makes another letter"),
    ("PHONE_NUMBER", PHONE, "1234-202-555-0143", "a longer number, no country code"),
    ("PHONE_NUMBER", PHONE, "12025550143-99", "a longer number after"),
    ("URL", SITE, "example.com/janet", "another page"),
    ("URL", "example.com", "jane@example.com", "the domain of an address"),
    ("URL", "example.com", "blog.example.com", "another host"),
    ("IP_ADDRESS", "192.0.2.17", "192.0.2.170", "another address"),
    ("IP_ADDRESS", "192.0.2.17", "1.192.0.2.17", "a version number"),
    ("IP_ADDRESS", "2001:db8::17", "2001:db8::17:1", "a longer address"),
    ("PERSON", "Jane Roe", "Mary-Jane Roe", "another name"),
    ("PERSON", "Mark", "a mark on it", "a word that is no name"),
    ("CUSTOM", "C-4711", "C-4711-2", "a longer number"),
    ("CUSTOM", "C-4711", "c-4711", "case counts in own strings"),
    ("CUSTOM", "100f", "100\ufb01", "ends inside a ligature"),
]


@pytest.mark.parametrize(("type_", "value", "text", "expected", "why"), STANDS, ids=[f"{r[0]} {r[4]}" for r in STANDS])
def test_it_is_found_as_written(type_: str, value: str, text: str, expected: str | None, why: str) -> None:
    assert written(type_, value, text) == [expected or text.split(" ", 1)[1]]


@pytest.mark.parametrize(("type_", "value", "text", "why"), STANDS_NOT, ids=[f"{r[0]} {r[3]}" for r in STANDS_NOT])
def test_a_part_of_something_else_is_not_found(type_: str, value: str, text: str, why: str) -> None:
    assert written(type_, value, text) == []


def test_one_identifier_is_found_in_every_row_and_every_time() -> None:
    found = find({"r": [Wanted("US_SSN", SSN)]}, f"{SSN} and {SSN}", "nothing", f"again 219415522 {SSN}")
    assert [(o.row, o.start) for o in found] == [(0, 0), (0, 16), (2, 6), (2, 16)]


def test_two_requests_for_one_identifier_both_get_its_occurrences() -> None:
    found = find(
        {"b": [Wanted("US_SSN", "219 41 5522")], "a": [Wanted("URL", SITE), Wanted("US_SSN", SSN)]}, f"x {SSN}"
    )
    assert [(o.request_id, o.identifier, o.start, o.end) for o in found] == [("a", 1, 2, 13), ("b", 0, 2, 13)]


def test_overlapping_identifiers_are_all_found() -> None:
    wanted = {"r": [Wanted("PERSON", "Jane Roe"), Wanted("PERSON", "Roe Smith"), Wanted("PERSON", "Jane Roe Smith")]}
    found = find(wanted, "Jane Roe Smith")
    assert [(o.identifier, o.start, o.end) for o in found] == [(0, 0, 8), (2, 0, 14), (1, 5, 14)]


def test_one_string_under_two_types_keeps_the_rules_of_each() -> None:
    wanted = {"r": [Wanted("US_SSN", "219415522"), Wanted("CUSTOM", "219415522")]}
    assert [o.identifier for o in find(wanted, "219-41-5522 219415522")] == [0, 0, 1]


def test_no_identifiers_give_no_occurrences() -> None:
    assert find({}, "text") == []
    assert find({"r": []}, "text") == []


@pytest.mark.parametrize("value", ["", "a", "1-2 3", "\u200babc", "   "])
def test_an_identifier_of_less_than_four_characters_is_refused_by_request(value: str) -> None:
    wanted = {"good": [Wanted("US_SSN", SSN)], "bad-17": [Wanted("US_SSN", SSN), Wanted("CUSTOM", "abcd")]}
    wanted["bad-17"].append(Wanted("PHONE_NUMBER" if value == "1-2 3" else "CUSTOM", value))
    with pytest.raises(BadInput, match=r"bad-17: identifier 2 .* 4 are needed") as caught:
        find(wanted, "text")
    assert "good" not in str(caught.value)
    assert not value.strip() or len(value) == 1 or value not in str(caught.value)
    assert list(unsearchable(numbered(wanted))) == [("bad-17", 2)]


def test_a_long_list_of_refused_requests_is_cut_and_counted() -> None:
    with pytest.raises(BadInput, match=r"; and 5 more identifiers"):
        find({f"r{i}": [Wanted("CUSTOM", "x")] for i in range(15)}, "text")


IDENTIFIERS = st.one_of(
    st.from_regex(r"[2-5][0-9]{2}-[1-9][0-9]-[1-9][0-9]{3}", fullmatch=True).map(lambda v: Wanted("US_SSN", v)),
    st.from_regex(r"[a-z][a-z0-9.]{0,6}[a-z]@example\.(com|org)", fullmatch=True).map(
        lambda v: Wanted("EMAIL_ADDRESS", v)
    ),
    st.from_regex(r"\+1 202-555-01[0-9]{2}", fullmatch=True).map(lambda v: Wanted("PHONE_NUMBER", v)),
    st.from_regex(r"https://example\.com/[a-z]{1,6}", fullmatch=True).map(lambda v: Wanted("URL", v)),
    st.text("aé\u0301İßﬁ½ 한x-", min_size=4, max_size=8).map(lambda v: Wanted("CUSTOM", v)),
    st.text("Aé\u0301ñ 田x", min_size=4, max_size=8).map(lambda v: Wanted("PERSON", v)),
).filter(lambda wanted: len(normal_form(wanted.type, wanted.value)) >= 4 and wanted.value[0] != "\u0301")
FILLER = st.text("ab1 -.+(/\n\u200bé\u0301ﬁ한@:", max_size=8)


@st.composite
def spelled(draw: st.DrawFn, wanted: Wanted) -> str:
    """The identifier with other separators, other case and invisible characters, as its type allows."""
    value = wanted.value
    if wanted.type in {"US_SSN", "PHONE_NUMBER"}:
        value = value.replace("-", draw(st.sampled_from(["", " ", "-", "\u2011", " - ", "."])))
    if wanted.type in {"EMAIL_ADDRESS", "URL"}:
        value = draw(st.sampled_from([value, value.upper(), value.title()]))
    cut = draw(st.integers(0, len(value)))
    return value[:cut] + draw(st.sampled_from(["", "\u200b", "\u00ad"])) + value[cut:]


@given(st.lists(IDENTIFIERS, min_size=1, max_size=4), st.data())
def test_what_is_found_normalises_to_the_identifier(wanted: list[Wanted], data: st.DataObject) -> None:
    parts = [data.draw(FILLER)]
    for one in wanted:
        parts += [data.draw(spelled(one)), data.draw(FILLER)]
    text = "".join(parts)
    for occurrence in find({"r": wanted}, text):
        one = wanted[occurrence.identifier]
        assert normal_form(one.type, text[occurrence.start : occurrence.end]) in search_forms(one.type, one.value)


@given(IDENTIFIERS, st.data())
def test_an_identifier_between_spaces_is_always_found(wanted: Wanted, data: st.DataObject) -> None:
    spelling = data.draw(spelled(wanted)) if wanted.type not in {"CUSTOM", "PERSON"} else wanted.value
    before = data.draw(st.text("ab. é\u200b", max_size=6))
    text = f"{before} ; {spelling} ; {data.draw(FILLER)}"
    start = len(before) + 3
    found = find({"r": [wanted]}, text)
    assert any(start <= o.start and o.end <= start + len(spelling) for o in found)


def test_an_identifier_that_begins_with_a_mark_on_a_space_is_found() -> None:
    (found,) = find({"r": [Wanted(type="CUSTOM", value=" \u0301AAA")]}, "so ;  \u0301AAA ; and on")
    assert "so ;  \u0301AAA ; and on"[found.start : found.end].strip() == "\u0301AAA"


@given(IDENTIFIERS, st.lists(IDENTIFIERS, max_size=5), FILLER, FILLER)
def test_other_identifiers_do_not_change_what_is_found(
    one: Wanted, others: list[Wanted], left: str, right: str
) -> None:
    text = left + one.value + right + "".join(other.value for other in others)
    alone = find({"r": [one]}, text)
    assert [o for o in find({"r": [one], "s": others}, text) if o.request_id == "r"] == alone


def occurrence(row: int, start: int, end: int, type_: str = "EMAIL_ADDRESS") -> Occurrence:
    return Occurrence(request_id="r", identifier=0, type=type_, row=row, start=start, end=end)


def test_confirm_reads_each_row_once_and_keeps_the_order() -> None:
    corpus, detector = Rows("a <b> c", "plain", "<d>"), MarkedDetector()
    asked = [occurrence(2, 0, 3), occurrence(0, 3, 4), occurrence(1, 0, 5), occurrence(0, 5, 7)]
    found = confirm(cast(Corpus, corpus), asked, cast(Detector, detector))
    assert found == [
        Detection(occurrence=asked[0], detected_type="EMAIL_ADDRESS", score=0.9),
        Detection(occurrence=asked[1], detected_type="EMAIL_ADDRESS", score=0.9),
        Detection(occurrence=asked[2], detected_type=None, score=0.0),
        Detection(occurrence=asked[3], detected_type=None, score=0.0),  # touches the finding, does not overlap it
    ]
    assert sorted(detector.read) == sorted(corpus.rows)


def test_confirm_prefers_the_finding_of_the_same_type() -> None:
    class Two:
        def find(self, text: str) -> list[Finding]:
            ssn = Finding(start=0, end=3, type="US_SSN", score=0.5)
            return [Finding(start=0, end=4, type="PHONE_NUMBER", score=0.9), ssn]

    found = confirm(cast(Corpus, Rows("1234")), [occurrence(0, 0, 4, "US_SSN")], cast(Detector, Two()))
    assert (found[0].detected_type, found[0].score) == ("US_SSN", 0.5)


def test_what_the_detector_finds_in_a_row_belongs_to_no_request() -> None:
    class Two:
        def find_all(self, text: str) -> Findings:
            better = Finding(start=4, end=8, type="EMAIL_ADDRESS", score=0.9)
            return Findings(findings=(Finding(start=5, end=8, type="URL", score=0.5), better))

    found = detected(3, "row <m3>", cast(Detector, Two()))
    assert found == [Occurrence(request_id="", identifier=-1, type="EMAIL_ADDRESS", row=3, start=4, end=8)]


def test_no_value_stands_in_a_repr() -> None:
    found = find({"r": [Wanted("US_SSN", SSN)]}, SSN)
    assert "219" not in repr(found)
