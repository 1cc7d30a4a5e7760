"""A slow obvious search: every reading, every form, every position, one character at a time; no tests here."""

from __future__ import annotations

import html.entities
import re
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, cast

from infra.identifiers import boundaries
from infra.identifiers.ip import address_of, ipv6_in, suffix_end
from infra.identifiers.normalise import MAX_SEPARATORS, SEPARATORS, fold, reduced, same_case, stream_of
from infra.identifiers.readings import undisguised
from infra.search import Search, forms_of


@dataclass(frozen=True)
class Wanted:
    type: str
    value: str = field(repr=False)
    number: int = 0


Row = list[tuple[str, int, int]]
"""Characters with their place in the original text."""


def numbered(wanted: Mapping[str, Sequence[Wanted]]) -> Any:
    """The identifiers of requests with their numbers, as a request has them that was not narrowed."""
    return {name: [replace(each, number=number) for number, each in enumerate(some)] for name, some in wanted.items()}


def search(wanted: Mapping[str, Sequence[Wanted]]) -> Search:
    return Search(numbered(wanted))


def spots(wanted: Sequence[Wanted], text: str) -> list[tuple[int, int, int]]:
    found = search({"r": list(wanted)}).in_texts([text])
    return sorted((place.start, place.end, place.identifier) for _, place in found)


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
                    if span and slow_whole(row, *span) and not slow_goes_on(one, row, *span):
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


LEADING = 16  # characters before a phone number in which the sign of a country code may stand


def slow_goes_on(one: Wanted, row: Row, start: int, end: int) -> bool:
    """Whether a match is a part of something longer, once the escapes beside it are read; not those within it."""
    near = slow_decoded(row)
    inside = [
        place for place, (_, first, last) in enumerate(near) if row[start][1] <= first and last <= row[end - 1][2]
    ]
    if not inside or [near[place] for place in inside] != row[start:end]:
        return False
    first, last = inside[0], inside[-1] + 1
    before, after = slow_meaning(row, near, start - 1, first - 1), slow_meaning(row, near, end, last)
    leading = (
        one.type == "PHONE_NUMBER" and near[max(first - LEADING, 0) : first] != row[max(start - LEADING, 0) : start]
    )
    if "" in (before, after) or not (before or after or leading):
        return False
    text = "".join(character for character, _, _ in near)
    folded = fold(text)
    starts = [place for place, at in enumerate(folded.starts) if at == first]
    ends = [place for place, at in enumerate(folded.ends) if at == last]
    return bool(starts and ends) and slow_checked(one, text, folded, starts[0], ends[-1] + 1) is None


def slow_meaning(row: Row, near: Row, at: int, place: int) -> str | None:
    """The sign that an escape beside a match stands for; "" for no sign that tells, None where there is no escape."""
    if not 0 <= at < len(row) or (0 <= place < len(near) and near[place] == row[at]):
        return None
    if not 0 <= place < len(near) or near[place][0].isalnum():
        return ""
    character, first, last = near[place]
    slashed = any(sign == "\\" and end == first for sign, _, end in row)
    mark = next(sign for sign, start, _ in row if start == first)
    tells = slashed or (last - first > 1 and (mark not in "=%" or character in " +-.@_"))
    return character if tells else ""
