r"""Other ways to read a text: what a mail program, a browser or a line wrapper has put in the place of characters.

decoded   quoted-printable (`=40`, a soft line break `=\r\n`), HTML entities (`&#64;`, `&commat;`, `&nbsp;`) and
          percent-encoding (`%40`) are read as what they stand for, once: `&amp;#64;` is `&#64;`.
unwrapped a line break inside an address is left out: behind one of the signs `@ . - _ + /` or in front of `@` or `.`,
          where a word beside it holds `@`, `://` or `www.`, or goes on from such a break. In "jane.\nroe@example.com"
          it counts as nothing, and also in "Thanks.\nroe@example.com": but there the text as written tells.

An escape is ambiguous: `x=20` is also an assignment. So these are further readings beside the text as written, never in
its place, and an `=` with two decimal digits is no escape in front of a third.
"""

from __future__ import annotations

import html.entities
import re
import string
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import AnyStr

import numpy as np
import numpy.typing as npt

from infra.search.folding import ASCII_TABLE
from infra.search.rows import END, Rows

_QUOTED = r"(?:[0-9]{2}(?![0-9])|[0-9][A-F]|[A-F][0-9A-F])"
_ESCAPE = re.compile(
    r"[=%&](?:"
    r"(?<==)[ \t]*\r?\n"
    rf"|(?<==){_QUOTED}(?:={_QUOTED})*"
    r"|(?<=%)[0-9A-Fa-f]{2}(?:%[0-9A-Fa-f]{2})*"
    r"|(?<=&)(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});)"
)
_ESCAPE_BYTES = re.compile(_ESCAPE.pattern.encode())
_BREAK = re.compile(r"(?:\r\n|\r|\n)[ \t]*(?=\S)")
_SPACE = re.compile(r"\s")
_SIGNS = "@.-_+/"

# What each byte behind a mark may be, for a first look at many rows.
_CODE, _BLANK, _LINE_END = (np.uint8(1 << bit) for bit in range(3))
_SETS = (b"#" + (string.digits + string.ascii_letters).encode(), b" \t", b"\r\n")
_CLASSES = np.array([sum(1 << bit for bit, of in enumerate(_SETS) if byte in of) for byte in range(256)], np.uint8)
_IDLE = frozenset(string.punctuation) - set(".-_+@:()/")
"""Signs beside which an identifier stands alone, as beside `&` and `;`, whatever its type."""
_OPEN_BEFORE = frozenset((*range(0x80, END), ord(";")))
_AT_ONCE = 1 << 14
_WHITE = b" \t\r\n"
_LONG_WORD = 4096
"""Bytes after which the first look takes a word to go on as far as may be."""

Piece = tuple[int, int, int, int]
"""Where a piece of the reading begins in it and in its text, and its length in both."""
Token = tuple[int, list[tuple[str, int]]]
"""Where something is replaced: in parts, characters and the width that they take the place of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Another reading of a text; its pieces lie side by side and say where each of its characters came from."""

    text: str = field(repr=False)
    pieces: tuple[Piece, ...] = field(repr=False)

    def span(self, start: int, end: int) -> tuple[int, int] | None:
        """The span of `text[start:end]` in the text that was read; None where an edge falls inside one escape."""
        first, last = self._origin(start), self._origin(end - 1)
        splits_first = start > 0 and self._origin(start - 1)[0] == first[0]
        splits_last = end < len(self.text) and self._origin(end)[0] == last[0]
        return None if splits_first or splits_last else (first[0], last[1])

    def _origin(self, position: int) -> tuple[int, int]:
        at, origin, length, width = self.pieces[bisect_right(self.pieces, position, key=lambda piece: piece[0]) - 1]
        if length == width:
            return origin + position - at, origin + position - at + 1
        return origin, origin + width


def may_be_disguised(text: str) -> bool:
    """Whether `text` holds a character without which it has no other reading; fast."""
    return _may_hold_escapes(text) or _may_hold_breaks(text)


class Neighbours:
    """Which byte stands behind which in the forms that are sought, and which begins or ends one."""

    def __init__(self, forms: Sequence[bytes]) -> None:
        self._follows = np.zeros((256, 256), np.bool_)
        for first in range(0, len(forms), _AT_ONCE):
            joined = np.frombuffer(b"\n" + b"\n".join(forms[first : first + _AT_ONCE]) + b"\n", np.uint8)
            self._follows[joined[:-1], joined[1:]] = True

    def may_hold(self, before: int, character: str, behind: int) -> bool:
        """Whether a form may hold this character of ASCII between these bytes of the text, which is not folded yet.

        What is not ASCII may fold to anything, and behind an escape or in front of one it is not known what stands.
        """
        code = ord(character)
        if 0x80 <= behind < END:
            return True
        holds_before = before in _OPEN_BEFORE or self._follows[ASCII_TABLE[before], code]
        holds_behind = behind == ord("&") or self._follows[code, ASCII_TABLE[behind]]
        return bool((holds_before or self._follows[10, code]) and (holds_behind or self._follows[code, 10]))


def disguised(rows: Rows, sought: Neighbours | None = None) -> list[int]:
    """The numbers of the rows that may have another reading: of all that have one, and few others.

    With `sought`, of all that have one in which a form may stand that does not stand in the row as written: an entity
    for a sign that ties nothing, where no form may hold it, changes nothing.
    """
    data = rows.data
    escapes = [at for at in _escapes(data).tolist() if _matters(data, at, sought)]
    places = np.array([*escapes, *_broken(data)], np.int64)
    return sorted(set(rows.containing(places).tolist()))


def _matters(data: bytes, at: int, sought: Neighbours | None) -> bool:
    hit = _ESCAPE_BYTES.match(data, at)
    if hit is None or data[at] != ord("&"):
        return hit is not None
    stands_for = _entity(hit[0].decode())
    if stands_for is None or stands_for not in _IDLE or sought is None:
        return stands_for is not None
    return sought.may_hold(data[at - 1], stands_for, data[hit.end()])


def _escapes(data: bytes) -> npt.NDArray[np.int64]:
    """Where an escape may begin: a mark with two characters of a code behind it, or in front of a line end."""
    characters = np.frombuffer(data, np.uint8)
    places = np.flatnonzero((characters == ord("=")) | (characters - np.uint8(ord("%")) <= 1))
    first = _CLASSES[characters[places + 1]]
    second = _CLASSES[characters[np.minimum(places + 2, len(data) - 1)]]
    soft = (first & _LINE_END != 0) | ((first & _BLANK != 0) & (second & (_BLANK | _LINE_END) != 0))
    found: npt.NDArray[np.int64] = places[(first & second & _CODE != 0) | soft]
    return found


def _broken(data: bytes) -> Iterator[int]:
    """Anchors whose word may go on over a line end."""
    characters = np.frombuffer(data, np.uint8)
    anchors = _anchors(data, characters)
    if not anchors:
        return
    ends = np.flatnonzero((characters == ord("\n")) | (characters == ord("\r")) | (characters == END))
    following = np.searchsorted(ends, anchors)
    for anchor, low, high in zip(anchors, ends[following - 1].tolist(), ends[following].tolist(), strict=True):
        back = low < anchor and data[low] != END and _reaches_back(data, low, anchor) and _beside_sign(data, low)
        if back or (data[high] != END and _reaches_on(data, anchor, high) and _beside_sign(data, high)):
            yield anchor


def _anchors(data: bytes, characters: npt.NDArray[np.uint8]) -> list[int]:
    """Where `@`, `://`, `www.` or `WWW.` stands, by its last character that is no slash."""
    colons, dots = np.flatnonzero(characters == ord(":")), np.flatnonzero(characters == ord("."))
    colons = colons[characters[colons + 1] == ord("/")]
    dots = dots[characters[dots - 1] | 32 == ord("w")]
    found = _places(data, b"@")
    found += (at for at in colons.tolist() if data.startswith(b"://", at))
    found += (at for at in dots.tolist() if data[at - 3 : at] in (b"www", b"WWW"))
    return sorted(found)


def _reaches_back(data: bytes, line_end: int, anchor: int) -> bool:
    """Whether the word of the anchor may be the first behind this line end."""
    space = data.rfind(b" ", max(line_end, anchor - _LONG_WORD), anchor)
    return space < 0 or data[space - 1] in _WHITE


def _reaches_on(data: bytes, anchor: int, line_end: int) -> bool:
    """Whether the word of the anchor may be the last in front of this line end."""
    space = data.find(b" ", anchor, min(line_end, anchor + _LONG_WORD))
    return space < 0 or data[space + 1] in _WHITE


def _beside_sign(data: bytes, line_end: int) -> bool:
    """Whether a sign for which a break is left out may stand beside this line end."""
    before = data[max(line_end - 8, 0) : line_end].rstrip(_WHITE)
    after = data[line_end : line_end + 8].lstrip(_WHITE)
    return not before or not after or before[-1] in _SIGNS.encode() or after[0] in b"@."


def readings(text: str) -> Iterator[tuple[str, tuple[Reading, ...]]]:
    """The further readings of `text`, each with the steps that lead to it; none where they would not differ."""
    steps: tuple[Reading, ...] = ()
    for read in (decoded, unwrapped):
        reading = read(text)
        if reading is not None:
            text, steps = reading.text, (*steps, reading)
            yield text, steps


def undisguised(text: str) -> str:
    """The last reading of `text`; `text` itself where it has no other."""
    for read in (decoded, unwrapped):
        reading = read(text)
        text = text if reading is None else reading.text
    return text


def decoded(text: str) -> Reading | None:
    """`text` with its escapes resolved, or None where it has none."""
    if not _may_hold_escapes(text):
        return None
    tokens: list[Token] = []
    done = 0
    for at in _places(text, "=", "%", "&"):
        hit = _ESCAPE.match(text, at) if at >= done else None
        units = _units(hit[0]) if hit else None
        if hit and units is not None:
            tokens.append((at, units))
            done = hit.end()
    return _spliced(text, tokens) if tokens else None


def unwrapped(text: str) -> Reading | None:
    """`text` without the line breaks inside its addresses, or None where it has none."""
    anchors = _places(text, "@", "://", "www.", "WWW.") if _may_hold_breaks(text) else []
    if not anchors:
        return None
    tokens: list[Token] = []
    joined = -1  # the end of the last break that was left out: what follows it goes on with an address
    for at in _places(text, "\n", "\r"):
        start, end = _break(text, at)
        if start == end:
            continue
        if (joined >= 0 and not _SPACE.search(text, joined, start)) or _beside(text, anchors, start, end):
            tokens.append((start, [("", end - start)]))
            joined = end
    return _spliced(text, tokens) if tokens else None


def _places(text: AnyStr, *of: AnyStr) -> list[int]:
    """Where any of these strings stands, in ascending order; faster than an expression where they are few."""
    places = []
    for one in of:
        at = text.find(one)
        while at >= 0:
            places.append(at)
            at = text.find(one, at + 1)
    return sorted(places) if len(of) > 1 else places


def _break(text: str, at: int) -> tuple[int, int]:
    """The line break at `at` with the blanks around it; nothing where it is not beside a sign and between words."""
    start = at
    while start > 0 and text[start - 1] in " \t":
        start -= 1
    hit = _BREAK.match(text, at) if start > 0 and not text[start - 1].isspace() else None
    beside = hit is not None and (text[start - 1] in _SIGNS or text[hit.end()] in "@.")
    return (start, hit.end()) if hit and beside else (at, at)


def _may_hold_escapes(text: str) -> bool:
    return "=" in text or "&" in text or "%" in text


def _may_hold_breaks(text: str) -> bool:
    if not ("\n" in text or "\r" in text):
        return False
    return "@" in text or "://" in text or "www." in text or "WWW." in text


def _beside(text: str, anchors: list[int], start: int, end: int) -> bool:
    """Whether the word that ends at `start` or the one that begins at `end` holds an anchor."""
    after = bisect_left(anchors, end)
    if after < len(anchors) and not _SPACE.search(text, end, anchors[after]):
        return True
    return after > 0 and not _SPACE.search(text, anchors[after - 1], start)


def _units(escape: str) -> list[tuple[str, int]] | None:
    """What an escape stands for, in parts: characters, and how much of the escape they take; None: it is no escape."""
    if escape[0] == "&":
        stands_for = _entity(escape)
        return None if stands_for is None else [(stands_for, len(escape))]
    if escape[-1] == "\n":
        return [("", len(escape))]
    raw = bytes.fromhex(escape.replace(escape[0], ""))
    try:
        return [(character, 3 * len(character.encode())) for character in raw.decode()]
    except UnicodeDecodeError:
        return [(character, 3) for character in raw.decode("latin-1")]


def _entity(escape: str) -> str | None:
    name = escape[1:-1]
    if name[0] != "#":
        return html.entities.html5.get(f"{name};")
    code = int(name[2:], 16) if name[1] in "xX" else int(name[1:])
    return chr(code) if 0 < code < 0x110000 and not 0xD800 <= code < 0xE000 else None


def _spliced(text: str, tokens: list[Token]) -> Reading:
    """`text` with its tokens replaced, which are in ascending order."""
    parts: list[str] = []
    pieces: list[Piece] = []
    at = position = 0

    def put(part: str, width: int) -> None:
        nonlocal at, position
        if part:
            parts.append(part)
            pieces.append((at, position, len(part), width))
        at, position = at + len(part), position + width

    for start, units in tokens:
        put(text[position:start], start - position)
        for part, width in units:
            put(part, width)
    put(text[position:], len(text) - position)
    return Reading(text="".join(parts), pieces=tuple(pieces))
