from __future__ import annotations

import html.entities
import re
import string
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from infra.identifiers import boundaries
from infra.identifiers.ip import address_of, ipv6_in, suffix_end
from infra.identifiers.normalise import MAX_SEPARATORS, SEPARATORS, fold, reduced, same_case, stream_of
from infra.identifiers.readings import may_be_disguised, readings, undisguised
from infra.search import Found, Search, forms_of
from infra.search.batch import Batch
from infra.search.disguises import disguised
from infra.search.folding import Offsets
from infra.search.patterns import PADDING, Patterns
from infra.search.refusals import too_common, unsearchable
from infra.search.rows import Rows


@dataclass(frozen=True)
class Wanted:
    type: str
    value: str = field(repr=False)


Row = list[tuple[str, int, int]]
"""Characters with their place in the original text."""


def search(wanted: dict[str, list[Wanted]]) -> Search:
    return Search(cast(Any, wanted))


def spots(wanted: Sequence[Wanted], text: str) -> list[tuple[int, int, int]]:
    found = search({"r": list(wanted)}).in_texts([text])
    return sorted((place.start, place.end, place.identifier) for _, place in found)


# The slow obvious search: every reading, every form, every position, one character at a time.


def slow_readings(text: str) -> Iterator[Row]:
    row = [(character, place, place + 1) for place, character in enumerate(text)]
    yield row
    for step in (slow_decoded, slow_unwrapped):
        changed = step(row)
        if changed != row:
            row = changed
            yield row


def slow_decoded(row: Row) -> Row:
    text, place, found = "".join(character for character, _, _ in row), 0, []
    while place < len(text):
        for read in (slow_soft_break, slow_quoted, slow_percent, slow_entity, slow_colour, slow_backslash):
            units = read(text, place)
            if units:
                break
        for characters, width in units or [(text[place], 1)]:
            found += [(character, row[place][1], row[place + width - 1][2]) for character in characters]
            place += width
    return found


Units = list[tuple[str, int]]


def slow_soft_break(text: str, place: int) -> Units:
    end = place + 1
    while end < len(text) and text[end] in " \t":
        end += 1
    for line_end in ("\r\n", "\n"):
        if text[place] == "=" and text.startswith(line_end, end):
            return [("", end + len(line_end) - place)]
    return []


def slow_bytes(raw: bytes) -> Units:
    try:
        return [(character, 3 * len(character.encode())) for character in raw.decode()]
    except UnicodeDecodeError:
        return [(chr(byte), 3) for byte in raw]


def slow_quoted(text: str, place: int) -> Units:
    raw = b""
    while text[place : place + 1] == "=" and re.fullmatch("[0-9A-F]{2}", text[place + 1 : place + 3]):
        if text[place + 1 : place + 3].isdecimal() and text[place + 3 : place + 4] in set("0123456789"):
            break
        raw += bytes.fromhex(text[place + 1 : place + 3])
        place += 3
    return slow_bytes(raw)


def slow_percent(text: str, place: int) -> Units:
    raw = b""
    while text[place : place + 1] == "%" and re.fullmatch("[0-9A-Fa-f]{2}", text[place + 1 : place + 3]):
        raw += bytes.fromhex(text[place + 1 : place + 3])
        place += 3
    return slow_bytes(raw)


def slow_entity(text: str, place: int) -> Units:
    found = re.match("&(#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});", text[place:])
    if not found:
        return []
    name = found[1]
    if name.startswith("#"):
        code = int(name[2:], 16) if name[1] in "xX" else int(name[1:])
        valid = 0 < code < 0x110000 and not 0xD800 <= code < 0xE000
        return [(chr(code), len(found[0]))] if valid else []
    known = html.entities.html5.get(f"{name};")
    return [(known, len(found[0]))] if known else []


def slow_colour(text: str, place: int) -> Units:
    found = re.match(r"(?:\x1b|\\{1,8}(?:e|033|33|x1[bB]|u001[bB]))?\[[0-9;]{1,14}m", text[place:]) or re.match(
        r"(?:\x1b|\\{1,8}(?:e|033|33|x1[bB]|u001[bB]))\[[0-9;?]{0,14}[A-Za-z]", text[place:]
    )
    return [("", len(found[0]))] if found else []


CONTROL = {"n": "\n", "r": "\r", "t": "\t"}


def slow_backslash(text: str, place: int) -> Units:
    slashes = place
    while text[slashes : slashes + 1] == "\\" and slashes - place < 8:
        slashes += 1
    if slashes == place:
        return []
    following = text[slashes : slashes + 1]
    if following in CONTROL:
        return [(CONTROL[following], slashes + 1 - place)]
    if following and following in f" {string.punctuation}" and following != "\\":
        return [("", slashes - place), (following, 1)]
    if found := re.match(r"([01][0-7]{2}|[23][0-7]{2}(?![0-9]))", text[slashes:]):
        return [(chr(int(found[1], 8)), slashes + 3 - place)]
    return slow_hex_bytes(text, place) or slow_code(text, place, slashes)


def slow_hex_bytes(text: str, place: int) -> Units:
    raw, widths = b"", []
    while found := re.match(r"\\{1,8}x([0-9A-Fa-f]{2})", text[place:]):
        raw += bytes.fromhex(found[1])
        widths.append(len(found[0]))
        place += len(found[0])
    try:
        decoded = raw.decode()
    except UnicodeDecodeError:
        return [(chr(byte), width) for byte, width in zip(raw, widths, strict=True)]
    units: Units = []
    for character in decoded:
        taken = len(character.encode())
        units.append((character, sum(widths[:taken])))
        del widths[:taken]
    return units


def slow_code(text: str, place: int, slashes: int) -> Units:
    for form in (r"u([0-9A-Fa-f]{4})", r"u\{([0-9A-Fa-f]{1,6})\}", r"U([0-9A-Fa-f]{8})"):
        found = re.match(form, text[slashes:])
        if not found:
            continue
        code, end = int(found[1], 16), slashes + len(found[0])
        second = re.match(r"\\{1,8}u([dD][c-fC-F][0-9A-Fa-f]{2})", text[end:]) if form[2] == "[" else None
        if second:
            both = 0x10000 + (code - 0xD800) * 0x400 + int(second[1], 16) - 0xDC00
            return [(chr(both), end - place + len(second[0]))] if 0xD800 <= code < 0xDC00 else []
        return [(chr(code), end - place)] if code < 0x110000 and not 0xD800 <= code < 0xE000 else []
    return []


def slow_unwrapped(row: Row) -> Row:
    kept: Row = []
    place, joined = 0, False  # whether what was kept since the last blank goes on over a line end
    while place < len(row):
        end = place
        while end < len(row) and row[end][0] in " \t":
            end += 1
        if end < len(row) and row[end][0] in "\r\n":
            end += 2 if "".join(c for c, _, _ in row[end : end + 2]) == "\r\n" else 1
            while end < len(row) and row[end][0] in " \t":
                end += 1
            before, after = slow_word(reversed(kept)), slow_word(row[end:])
            beside = before and after and (before[0] in "@.-_+/" or after[0] in "@.")
            if beside and (joined or slow_anchor(before[::-1]) or slow_anchor(after)):
                place, joined = end, True
                continue
        if row[place][0].isspace():
            joined = False
        kept.append(row[place])
        place += 1
    return kept


def slow_word(row: Any) -> str:
    word = ""
    for character, _, _ in row:
        if character.isspace():
            break
        word += character
    return word


def slow_anchor(word: str) -> bool:
    return "@" in word or "://" in word or "www." in word or "WWW." in word


def slow_search(wanted: Sequence[Wanted], text: str) -> list[tuple[int, int, int]]:
    found = {match for row in slow_readings(text) for match in slow_matches(wanted, row)}
    kept: list[tuple[int, int, int]] = []
    for start, end, number in sorted(found, key=lambda m: (m[2], m[0], -m[1])):
        if not (kept and kept[-1][2] == number and start < kept[-1][1]):
            kept.append((start, end, number))
    return sorted(kept)


def slow_matches(wanted: Sequence[Wanted], row: Row) -> Iterator[tuple[int, int, int]]:
    text = "".join(character for character, _, _ in row)
    folded = fold(text)
    yield from slow_addresses(wanted, row, folded)
    for number, one in enumerate(wanted):
        places = [p for p, c in enumerate(folded.text) if stream_of(one.type) == "words" or c not in SEPARATORS]
        stream = "".join(folded.text[place] for place in places)
        for form in forms_of(cast(Any, one)):
            for at in range(len(stream) - len(form) + 1):
                used = places[at : at + len(form)]
                far = any(q - p > MAX_SEPARATORS + 1 for p, q in pairwise(used))
                if stream[at : at + len(form)] == form and not (far and stream_of(one.type) == "compact"):
                    span = slow_checked(one, text, folded, used[0], used[-1] + 1)
                    if span and slow_whole(row, *span):
                        yield row[span[0]][1], row[span[1] - 1][2], number


def slow_addresses(wanted: Sequence[Wanted], row: Row, folded: Any) -> Iterator[tuple[int, int, int]]:
    for start, end, address in ipv6_in(folded.text):
        span = folded.span(start, suffix_end(folded.text, end))
        for number, one in enumerate(wanted):
            if one.type == "IP_ADDRESS" and address_of(one.value) == address and span and slow_whole(row, *span):
                yield row[span[0]][1], row[span[1] - 1][2], number


def slow_checked(one: Wanted, text: str, folded: Any, start: int, end: int) -> tuple[int, int] | None:
    start = boundaries.with_opening(folded.text, start, end, one.type)
    span = folded.span(start, end)
    if span is None or not boundaries.stands_alone(folded.text, start, end, one.type):
        return None
    written = text[slice(*span)]
    right = reduced(one.type, fold(written).text) in forms_of(cast(Any, one))
    if one.type == "IP_ADDRESS":
        span = folded.span(start, suffix_end(folded.text, end))
    cases = (one.value, undisguised(one.value))
    return span if right and any(same_case(one.type, value, written) for value in cases) else None


def slow_whole(row: Row, start: int, end: int) -> bool:
    """Whether no edge falls inside one escape that stands for several characters."""
    splits_first = start > 0 and row[start - 1][1] == row[start][1]
    return not splits_first and not (end < len(row) and row[end][1] == row[end - 1][1])


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


@given(
    st.lists(
        st.text(st.sampled_from("aZ9 -.\t\n\u00a0\u200be\u0301\u0327qİßﬁ½…가\u1161\u0663ﾊﾞ\u0345\x00\u00a8"), max_size=9)
    )
)
def test_texts_folded_together_are_each_folded_as_alone(texts: list[str]) -> None:
    words = Batch(Rows.of(texts)).words.decode("utf-8", "surrogatepass")
    assert words == "".join(f"{fold(text).text}\n" for text in texts) + PADDING.decode()


@given(
    st.text(st.sampled_from("aZ9  -.\t\n\u00a0\u200be\u0301\u0327qİßﬁ½…가\u1161\u0663ﾊﾞ\u0345\x00\u00a8"), max_size=12),
    st.data(),
)
def test_offsets_lead_back_as_those_of_folding_do(text: str, data: st.DataObject) -> None:
    folded = fold(text)
    if folded.text:
        start = data.draw(st.integers(0, len(folded.text) - 1))
        end = data.draw(st.integers(start + 1, len(folded.text)))
        assert Offsets(text).span(start, end) == folded.span(start, end)


@pytest.mark.parametrize("count", [1, 40, 3000])
def test_every_form_that_begins_at_a_start_is_matched_whatever_its_length(count: int) -> None:
    forms = [f"f{number:x}".encode() * (1 + number % 90) + b"tail" for number in range(count)]
    patterns = Patterns(forms)
    data = b"-".join(forms)
    import numpy as np

    starts = np.cumsum([0, *(len(form) + 1 for form in forms[:-1])])
    hits = patterns.matches(data + PADDING, starts)
    assert {(p, s) for p, s, _ in hits.tolist()} >= set(enumerate(starts.tolist()))
    assert all(data[s:e] == forms[p] for p, s, e in hits.tolist())


def test_a_form_longer_than_a_table_can_say_is_found() -> None:
    long = "https://example.com/" + "jane" * 200
    assert spots([Wanted("URL", long), Wanted("URL", "example.com/jo")], f"see {long}, ok") == [(4, 4 + len(long), 0)]


def test_a_search_and_what_it_finds_show_no_value() -> None:
    seeker = search({"r": [Wanted("US_SSN", "219-41-5522")]})
    assert "219" not in repr(seeker) + repr(list(seeker.in_texts(["219-41-5522"])))


def test_an_identifier_that_is_left_out_leaves_the_others_their_numbers() -> None:
    wanted = {"r": [Wanted("CUSTOM", "x"), Wanted("US_SSN", "219-41-5522")]}
    seeker = Search(cast(Any, wanted), leave_out=unsearchable(cast(Any, wanted)))
    assert [found.identifier for _, found in seeker.in_texts(["x 219415522 x"])] == [1]


UNSEARCHABLE = [
    ("x", False, "one letter"),
    ("ref <|end|> 7781", False, "a special token within it"),
    ("<|END|>", False, "a special token in capitals, which a corpus may hold as it is"),
    ("ref end 7781", True, "words of a special token are not the token"),
]


@pytest.mark.parametrize(("value", "sought", "why"), UNSEARCHABLE, ids=[row[2] for row in UNSEARCHABLE])
def test_an_identifier_is_refused_by_its_own_number_and_reason(value: str, sought: bool, why: str) -> None:
    wanted = {"r": [Wanted("EMAIL_ADDRESS", "zz@example.com"), Wanted("CUSTOM", value)]}
    reasons = unsearchable(cast(Any, wanted), special_tokens=["<|end|>", ""])
    assert set(reasons) == (set() if sought else {("r", 1)})
    assert value not in " ".join(reasons.values()) or len(value) == 1


def test_a_search_finds_the_same_in_another_process() -> None:
    import pickle

    wanted = {"r": [Wanted("US_SSN", "219-41-5522")]}
    again = Search(pickle.loads(pickle.dumps(cast(Any, wanted))))
    assert list(again.in_texts(["219415522"])) == [
        (0, Found(request_id="r", identifier=0, type="US_SSN", start=0, end=9))
    ]


COMMON = [
    ({("r", 0, "PERSON"): 11}, 100, {("r", 0)}, "more than a tenth"),
    ({("r", 0, "PERSON"): 10}, 100, set(), "a tenth is not more than a tenth"),
    ({("r", 0, "PERSON"): 99}, 99, set(), "too few rows to judge by"),
    (
        {("r", 0, "PERSON"): 5, ("r", 1, "CUSTOM"): 50, ("s", 0, "URL"): 1},
        200,
        {("r", 1)},
        "only this identifier, not its request",
    ),
    ({}, 0, set(), "nothing read"),
]


@pytest.mark.parametrize(("hit", "rows", "refused", "why"), COMMON, ids=[row[3] for row in COMMON])
def test_an_identifier_that_stands_nearly_everywhere_is_refused(
    hit: dict[Any, int], rows: int, refused: set[tuple[str, int]], why: str
) -> None:
    assert set(too_common(hit, rows)) == refused


def test_the_reason_names_the_identifier_by_its_number_and_the_share() -> None:
    (reason,) = too_common({("r", 3, "CUSTOM"): 450}, 1000).values()
    assert reason == "stands in 450 of 1000 rows, at most 100 can be one person's; complete it"
