"""The search against a slow obvious one, on random identifiers in random disguises, however their rows are cut."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from slow_search import Wanted, numbered, search, slow_readings, slow_search, spots

from infra.identifiers.normalise import fold, reduced
from infra.identifiers.readings import may_be_disguised, readings
from infra.search import Found, Search
from infra.search.disguises import disguised
from infra.search.rows import Rows


def escaped(*ways: str) -> Any:
    """Some characters of a value in one of these ways."""

    def write(draw: Any, value: str) -> str:
        way = draw(st.sampled_from(ways))
        chosen = draw(st.sets(st.integers(0, max(len(value) - 1, 0)), max_size=3))
        return "".join(way.format(c=c, n=ord(c)) if i in chosen and c.isascii() else c for i, c in enumerate(value))

    return write


def inserted(*what: str) -> Any:
    def write(draw: Any, value: str) -> str:
        at = draw(st.integers(0, len(value)))
        return value[:at] + draw(st.sampled_from(what)) + value[at:]

    return write


DISGUISES = (
    lambda draw, value: value,
    lambda draw, value: draw(st.sampled_from([value.upper(), value.title(), value.lower()])),
    lambda draw, value: value.replace("-", draw(st.sampled_from(["", " ", "\u2011", " - ", ".", "\n", "·", "    "]))),
    lambda draw, value: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" and draw(st.booleans()) else c for c in value),
    escaped("={n:02X}", "&#{n};", "&#x{n:x};", "%{n:02x}"),
    escaped("={n:02X}", "%{n:02X}"),
    escaped("\\u{n:04x}", "\\x{n:02x}", "\\{n:03o}", "\\\\u{n:04X}", "\\{c}"),
    inserted("\\n", "\\t", "\\u003c", "\\x3c", "\x1b[32m", "[0m", "\\u001b[1;32m", "\\"),
    lambda draw, value: draw(st.sampled_from(["\\n", "\\u003c", "\x1b[32m", "&lt;", "=3C", "%3C", "\\\\t"])) + value,
    inserted("\u200b", "\u00ad", "=\r\n", "=\n", "\n", "\r\n  ", "&shy;", "=E2=80=8B", "=C2=AD", "%E2%80%8B"),
    inserted("&amp;", "&lt;", "&#39;", "'", "&amp;&amp;", "=26", "&lt;\u0338"),
    lambda draw, value: value.replace("::", draw(st.sampled_from([":0:0:0:0:0:", "::0:", ":0::", "::ffff:"]))),
    lambda draw, value: draw(st.sampled_from(["ssn", "tel", "iban", "ip", "IBAN", "xtel"])) + value,
    lambda draw, value: value + draw(st.sampled_from(["x341", " ext. 3", "/64", "%eth0", ":", "."])),
    lambda draw, value: value.replace("@", draw(st.sampled_from(["=40", "&commat;", "@\n", "@=\n", "＠", "%40"]))),
    lambda draw, value: value.replace(" ", draw(st.sampled_from(["&nbsp;", "\u00a0", "\n", "  ", "=20", "%20"]))),
)
IDENTIFIERS = st.one_of(
    st.from_regex(r"[2-5][0-9]{2}-[1-9][0-9]-[1-9][0-9]{3}", fullmatch=True).map(lambda v: Wanted("US_SSN", v)),
    st.from_regex(r"[a-c][a-c0-9.]{0,4}[a-c]@example\.(com|org)", fullmatch=True).map(
        lambda v: Wanted("EMAIL_ADDRESS", v)
    ),
    st.from_regex(r"\+1 202-555-01[0-9]{2}", fullmatch=True).map(lambda v: Wanted("PHONE_NUMBER", v)),
    st.from_regex(r"https://example\.com/[a-c&%=2]{1,4}-x", fullmatch=True).map(lambda v: Wanted("URL", v)),
    st.just(Wanted("IBAN_CODE", "DE89370400440532013000")),
    st.just(Wanted("IP_ADDRESS", "2001:db8::17")),
    st.just(Wanted("IP_ADDRESS", "192.0.2.17")),
    st.just(Wanted("IP_ADDRESS", "::ffff:192.0.2.17")),
    st.text("aé\u0301İßﬁ½ 한x-&='<", min_size=4, max_size=8).map(lambda v: Wanted("CUSTOM", v)),
    st.text("Aé\u0301ñ 田x", min_size=4, max_size=8).map(lambda v: Wanted("PERSON", v)),
).filter(lambda one: len(reduced(one.type, fold(one.value).text)) >= 4)
FILLER = st.text("ab1 -.+(/)\n\r\t\x00\u200b\u00a0é\u0301ﬁ한@:=%&;34\\nux[m\x1b", max_size=8)


@st.composite
def documents(draw: st.DrawFn) -> tuple[list[Wanted], list[str]]:
    """What is sought, and rows with it in random disguises, one on another."""
    wanted = draw(st.lists(IDENTIFIERS, min_size=1, max_size=3))
    rows = []
    for _ in range(draw(st.integers(1, 4))):
        text = draw(FILLER)
        for one in draw(st.lists(st.sampled_from(wanted), max_size=2)):
            value = one.value
            for disguise in draw(st.lists(st.sampled_from(DISGUISES), max_size=2)):
                value = disguise(draw, value)
            text += draw(st.sampled_from(["", " ", ": "])) + value + draw(FILLER)
        rows.append(text)
    return wanted, rows


@settings(max_examples=400, deadline=None)  # the first phone number reads the numbering plans
@given(documents())
@example(([Wanted("EMAIL_ADDRESS", "a.b@example.com")], ["x\na.\nb=40=\r\nexample&period;com"]))
@example(([Wanted("CUSTOM", "a\u0301bcd")], ["\x00 a\u0301bcd \x00", "plain"]))
@example(([Wanted("IBAN_CODE", "DE89370400440532013000")], ["DE89370400440532013000\\.1"]))  # goes on, once read
def test_the_search_finds_what_the_slow_obvious_one_finds(drawn: tuple[list[Wanted], list[str]]) -> None:
    wanted, rows = drawn
    assert [spots(wanted, row) for row in rows] == [slow_search(wanted, row) for row in rows]


@given(documents(), st.data())
def test_how_rows_are_batched_does_not_matter(drawn: tuple[list[Wanted], list[str]], data: st.DataObject) -> None:
    wanted, rows = drawn
    seeker = search({"r": wanted})
    alone = [(number, place) for number, row in enumerate(rows) for _, place in seeker.in_texts([row])]
    assert list(seeker.in_texts(rows)) == alone
    cut = data.draw(st.integers(0, len(rows)))
    parts = ((0, rows[:cut]), (cut, rows[cut:]))
    assert [(first + n, place) for first, part in parts for n, place in seeker.in_texts(part)] == alone


@settings(deadline=None)  # the first import of pyarrow takes longer
@given(documents(), st.data())
def test_an_array_of_arrow_is_searched_as_its_texts(drawn: tuple[list[Wanted], list[str]], data: st.DataObject) -> None:
    import pyarrow as pa

    wanted, rows = drawn
    texts = [data.draw(st.sampled_from([row, None])) for row in rows]
    array = pa.array(["in front", *texts], data.draw(st.sampled_from([pa.string(), pa.large_string()])))
    seeker = search({"r": wanted})
    assert list(seeker.in_array(array[:0])) == []
    assert list(seeker.in_array(array[1:])) == list(seeker.in_texts([text or "" for text in texts]))


def test_an_escape_that_can_be_in_nothing_that_is_sought_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    import infra.search

    read: list[str] = []
    monkeypatch.setattr(infra.search, "readings", lambda text: read.append(text) or ())
    seeker = search({"r": [Wanted("PERSON", "Barnes & Noble"), Wanted("URL", "example.com/?a=1&b=2")]})
    texts = ["R&amp;D", "if x&lt;y: z", "A &amp; B", "a=1&amp;b=2", "x&commat;y", "so&nbsp;on"]
    list(seeker.in_texts(texts))
    assert read == texts[2:]


HELD = [
    ("<abcd", "x&lt;abcd", "begins a form"),
    ("abcd<", "abcd&lt;x", "ends a form"),
    ("ab<cd", "ab&lt;cd", "inside a form"),
    ("ab \u226e cd", "ab &lt;\u0338 cd", "makes one character with the mark behind it"),
    ("ab&<cd", "ab&amp;&lt;cd", "behind another entity"),
    ("a\u00e9<cd", "a\u00e9&lt;cd", "behind a letter that is not ASCII"),
    ("ab<\u00e9d", "ab&lt;\u00e9d", "in front of one"),
]


@pytest.mark.parametrize(("value", "written", "why"), HELD, ids=[row[2] for row in HELD])
def test_an_entity_for_a_sign_of_a_form_is_read(value: str, written: str, why: str) -> None:
    wanted = [Wanted("CUSTOM", value)]
    assert spots(wanted, f"so, {written} on") == slow_search(wanted, f"so, {written} on") != []


@given(documents())
def test_a_portion_of_few_characters_finds_the_same(drawn: tuple[list[Wanted], list[str]]) -> None:
    import infra.search

    wanted, rows = drawn
    seeker = search({"r": wanted})
    whole, characters = list(seeker.in_texts(rows)), infra.search.BATCH_CHARACTERS
    infra.search.BATCH_CHARACTERS = 5
    try:
        assert list(seeker.in_texts(rows)) == whole
    finally:
        infra.search.BATCH_CHARACTERS = characters


@given(documents())
def test_the_first_look_misses_no_text_with_another_reading(drawn: tuple[list[Wanted], list[str]]) -> None:
    rows = drawn[1]
    have = [number for number, row in enumerate(rows) if list(readings(row))]
    assert set(have) <= set(disguised(Rows.of(rows))), "the first look at many texts"
    assert all(may_be_disguised(rows[number]) for number in have), "the first look at one"


@given(documents())
def test_every_reading_gives_the_characters_of_the_slow_one_with_their_places(
    drawn: tuple[list[Wanted], list[str]],
) -> None:
    for text in drawn[1]:
        slow = list(slow_readings(text))[1:]
        assert [reading for reading, _ in readings(text)] == ["".join(c for c, _, _ in row) for row in slow]


def test_a_search_and_what_it_finds_show_no_value() -> None:
    seeker = search({"r": [Wanted("US_SSN", "219-41-5522")]})
    assert "219" not in repr(seeker) + repr(list(seeker.in_texts(["219-41-5522"])))


def test_a_search_finds_the_same_in_another_process() -> None:
    import pickle

    wanted = {"r": [Wanted("US_SSN", "219-41-5522")]}
    again = Search(pickle.loads(pickle.dumps(numbered(wanted))))
    assert list(again.in_texts(["219415522"])) == [
        (0, Found(request_id="r", identifier=0, type="US_SSN", start=0, end=9))
    ]
