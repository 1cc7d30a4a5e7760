r"""Other ways to read a text: what a mail program, a browser or a line wrapper has put in the place of characters.

decoded   quoted-printable (`=40`, a soft line break `=\r\n`), HTML entities (`&#64;`, `&commat;`, `&nbsp;`) and
          percent-encoding (`%40`) are read as what they stand for, once: `&amp;#64;` is `&#64;`.
unwrapped a line break inside an address is left out: beside one of the signs `@ . - _ + /`, in a word that, put
          together, holds an `@` or begins as a URL does. In "jane.\nroe@example.com" it counts as nothing, in
          "Thanks.\nroe@example.com" too; the text as written is read as well, so nothing is lost by it.

An escape is ambiguous: `x=20` is also an assignment. So these are further readings beside the text as written, never in
its place, and an `=` with two decimal digits is no escape in front of a third.
"""

from __future__ import annotations

import html.entities
import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

_ESCAPE = re.compile(
    r"=[ \t]*\r?\n"
    r"|(?:=(?:[0-9]{2}(?![0-9])|[0-9][A-F]|[A-F][0-9A-F]))+"
    r"|(?:%[0-9A-Fa-f]{2})+"
    r"|&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});"
)
_BREAK = re.compile(r"[ \t]*(?:\r\n|\r|\n)[ \t]*(?=\S)")
_SIGNS = frozenset("@.-_+/")
_ADDRESS = re.compile(r"[^@]+@|(?:https?://|www\.)", re.IGNORECASE)
_WORD_END = re.compile(r"\s|\Z")

Piece = tuple[int, int, int, int]
"""Where a piece of the reading begins in it and in its text, and its length in both."""


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
    if "=" in text or "&" in text or "%" in text:
        return True
    return ("\n" in text or "\r" in text) and ("@" in text or "://" in text or "www." in text.lower())


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
    if not ("=" in text or "&" in text or "%" in text):
        return None
    tokens = [(hit.start(), units) for hit in _ESCAPE.finditer(text) if (units := _units(hit[0])) is not None]
    return _spliced(text, tokens) if tokens else None


def unwrapped(text: str) -> Reading | None:
    """`text` without the line breaks inside its addresses, or None where it has none."""
    if not may_be_disguised(text):
        return None
    tokens: list[tuple[int, list[tuple[str, int]]]] = []
    joined = -1  # the end of the last break that was left out: what follows it goes on with an address
    for hit in _BREAK.finditer(text):
        first = max(joined, _word_start(text, hit.start()))
        before, after = text[first : hit.start()], text[hit.end() : _word_end(text, hit.end())]
        beside = before[-1:] in _SIGNS or (bool(before) and after[0] in "@.")
        if beside and (first == joined or _ADDRESS.match(before + after)):
            tokens.append((hit.start(), [("", hit.end() - hit.start())]))
            joined = hit.end()
    return _spliced(text, tokens) if tokens else None


def _word_start(text: str, end: int) -> int:
    start = end
    while start > 0 and not text[start - 1].isspace():
        start -= 1
    return start


def _word_end(text: str, start: int) -> int:
    found = _WORD_END.search(text, start)
    return found.start() if found else len(text)


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


def _spliced(text: str, tokens: list[tuple[int, list[tuple[str, int]]]]) -> Reading:
    """`text` with parts replaced: at each position (ascending), characters and the width that they take the place of."""
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
