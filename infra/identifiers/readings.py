r"""Other ways to read a text: without its escapes, and without the line breaks inside its addresses.

decoded   its escapes (infra/identifiers/escapes.py) are read as what they stand for.
unwrapped a line break inside an address is left out: after one of the signs `@ . - _ + /` or in front of `@` or `.`,
          where a word beside it holds `@`, `://` or `www.`, or goes on from such a break. In "jane.\nroe@example.com"
          it counts as nothing, and also in "Thanks.\nroe@example.com": but there the text as written tells.

Both are ambiguous, so these are further readings beside the text as written, never in its place. The search for known
identifiers (infra/search/) and detection (infra/detection/) read a text in these same ways, and give places in the
text as written.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from infra.identifiers.escapes import Units, escapes, may_hold_escapes, places

_BREAK = re.compile(r"(?:\r\n|\r|\n)[ \t]*(?=\S)")
_MAY_JOIN = re.compile(r"[\r\n](?:(?<=[@.\-_+/ \t].)|(?=\n?[ \t]*[@.]))", re.DOTALL)
"""A line end beside a sign or a blank, found at the speed of C: most are not."""
_SPACE = re.compile(r"\s")
SIGNS = "@.-_+/"
"""Signs after which a line break inside an address is left out."""

Piece = tuple[int, int, int, int]
"""Where a piece of the reading begins in it and in its text, and its length in both."""
Token = tuple[int, Units]
"""Where something is replaced: in parts, characters and the width that they take the place of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Another reading of a text.

    Its pieces lie side by side and say where each of its characters came from; `tokens` are what was replaced, by
    start and end in the text that was read, with what it was read as.
    """

    text: str = field(repr=False)
    pieces: tuple[Piece, ...] = field(repr=False)
    tokens: tuple[tuple[int, int, str], ...] = field(default=(), repr=False)

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


Steps = tuple[Reading, ...]


def span_of(steps: Steps, start: int, end: int) -> tuple[int, int] | None:
    """The span in the text as written of one in the last of these steps; None where an edge falls inside an escape."""
    span: tuple[int, int] | None = (start, end)
    for step in reversed(steps):
        if span is not None:
            span = step.span(*span)
    return span


def readings(text: str) -> Iterator[tuple[str, Steps]]:
    """The further readings of `text`, each with the steps that lead to it; none where they would not differ."""
    steps: Steps = ()
    for read in (decoded, unwrapped):
        reading = read(text)
        if reading is not None:
            text, steps = reading.text, (*steps, reading)
            yield text, steps


def may_be_disguised(text: str) -> bool:
    """Whether `text` holds a character without which it has no other reading; fast."""
    return may_hold_escapes(text) or _may_hold_breaks(text)


def undisguised(text: str) -> str:
    """The last reading of `text`; `text` itself where it has no other."""
    return [text, *(reading for reading, _ in readings(text))][-1]


def decoded(text: str) -> Reading | None:
    """`text` with its escapes resolved, or None where it has none."""
    tokens = list(escapes(text)) if may_hold_escapes(text) else []
    return spliced(text, tokens) if tokens else None


def unwrapped(text: str) -> Reading | None:
    """`text` without the line breaks inside its addresses, or None where it has none."""
    if not (_may_hold_breaks(text) and _MAY_JOIN.search(text)):
        return None
    anchors = places(text, "@", "://", "www.", "WWW.")
    tokens: list[Token] = []
    joined = -1  # the end of the last break that was left out: what follows it goes on with an address
    for candidate in _MAY_JOIN.finditer(text):
        start, end = _break(text, candidate.start())
        if start == end:
            continue
        if (joined >= 0 and not _SPACE.search(text, joined, start)) or _beside(text, anchors, start, end):
            tokens.append((start, (("", end - start),)))
            joined = end
    return spliced(text, tokens) if tokens else None


def spliced(text: str, tokens: Sequence[Token]) -> Reading:
    """`text` with its tokens replaced, which are in ascending order."""
    parts: list[str] = []
    pieces: list[Piece] = []
    replaced: list[tuple[int, int, str]] = []
    at = position = 0
    for start, units in (*tokens, (len(text), ())):
        if start > position:
            parts.append(text[position:start])
            pieces.append((at, position, start - position, start - position))
            at += start - position
        position = start
        for part, width in units:
            if part:
                parts.append(part)
                pieces.append((at, position, len(part), width))
                at += len(part)
            position += width
        replaced.append((start, position, units[0][0] if len(units) == 1 else "".join(part for part, _ in units)))
    replaced.pop()  # the end of the text stands for nothing
    return Reading(text="".join(parts), pieces=tuple(pieces), tokens=tuple(replaced))


def _break(text: str, at: int) -> tuple[int, int]:
    """The line break at `at` with the blanks around it; nothing where it is not beside a sign and between words."""
    start = at
    while start > 0 and text[start - 1] in " \t":
        start -= 1
    hit = _BREAK.match(text, at) if start > 0 and not text[start - 1].isspace() else None
    beside = hit is not None and (text[start - 1] in SIGNS or text[hit.end()] in "@.")
    return (start, hit.end()) if hit and beside else (at, at)


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
