"""Which rows of a batch may have another reading (infra/readings.py): a first look at many rows, at the speed of C."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from infra.escapes import MARKS, PATTERN, stands_for
from infra.normalise import SEPARATORS
from infra.readings import SIGNS
from infra.search.folding import ASCII_TABLE
from infra.search.rows import END, Rows

_ESCAPE_BYTES = re.compile(PATTERN.encode())
_COLOUR = re.compile(rb"\[[0-9;]{1,14}m")

# What each byte behind a mark may be, for a first look at many rows.
_CODE, _BLANK, _LINE_END, _ESCAPED = (np.uint8(1 << bit) for bit in range(4))
_SETS = (
    b"#" + (string.digits + string.ascii_letters).encode(),
    b" \t",
    b"\r\n",
    b"nrtuUxe0123 " + string.punctuation.encode(),
)
_CLASSES = np.array([sum(1 << bit for bit, of in enumerate(_SETS) if byte in of) for byte in range(256)], np.uint8)
_IDLE = frozenset(string.punctuation) - set(".-_+@:()/")
"""Signs beside which an identifier stands alone, as beside `&` and `;`, whatever its type."""
_MARKS = frozenset(MARKS.encode())
_CODED = b"\\%=[&"
_BESIDE_SEPARATORS = b" -./()\t\r\n"
_UNKNOWN = (b"", *(bytes([byte]) for byte in (*_MARKS, *_BESIDE_SEPARATORS)))
_LONGEST = 24
"""Bytes in front of an escape in which another one may end."""
_OPEN_BEFORE = frozenset((*range(0x80, END), ord(";")))
_AT_ONCE = 1 << 14
_WHITE = b" \t\r\n"
_LONG_WORD = 4096
"""Bytes after which the first look takes a word to go on as far as may be."""


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
        holds_behind = behind in _MARKS or self._follows[code, ASCII_TABLE[behind]]
        return bool((holds_before or self._follows[10, code]) and (holds_behind or self._follows[code, 10]))

    def may_begin(self, first: int, second: bytes) -> bool:
        """Whether a form may begin with these bytes of the text, which is not folded yet."""
        if first >= 0x80 or first in _MARKS or not second.isascii():
            return True
        if not self._follows[10, ASCII_TABLE[first]]:
            return False
        # a separator may stand within a number, and an escape or what is not ASCII for anything
        return second in _UNKNOWN or bool(self._follows[ASCII_TABLE[first], ASCII_TABLE[second[0]]])

    def may_part(self, before: int, behind: int) -> bool:
        """Whether a separator of numbers between these bytes of the text may stand within a form."""
        if any(byte >= 0x80 or byte in _MARKS or byte in _BESIDE_SEPARATORS for byte in (before, behind)):
            return True
        return bool(self._follows[ASCII_TABLE[before], ASCII_TABLE[behind]])


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
    """Whether something may be found in the reading without the escape at this place that is not found with it."""
    hit = _ESCAPE_BYTES.match(data, at)
    meaning = _meaning(hit[0]) if hit else None
    if hit is None or meaning is None:
        return False
    if sought is None or data[at] not in b"&\\" or len(meaning) != 1 or not meaning.isascii() or meaning.isalnum():
        return True
    before, behind = data[at - 1], data[hit.end()]
    if data[at] == ord("&"):
        return meaning not in _IDLE or sought.may_hold(before, meaning, behind)
    if chr(data[hit.end() - 1]).isalnum() and sought.may_begin(behind, data[hit.end() + 1 : hit.end() + 2]):
        return True  # what ends in a letter or a digit seems to go on with what follows
    known = not any(mark in data[max(at - _LONGEST, 0) : at] for mark in _CODED)
    parts = (meaning.isspace() or meaning in SEPARATORS) and sought.may_part(before, behind)
    return not known or parts or sought.may_hold(before, " " if meaning.isspace() else meaning, behind)


@lru_cache(maxsize=1 << 12)  # few escapes stand in a text, again and again
def _meaning(escape: bytes) -> str | None:
    return stands_for(escape.decode())


def _escapes(data: bytes) -> npt.NDArray[np.int64]:
    """Where an escape may begin: a mark with two characters of a code behind it, or in front of a line end."""
    characters = np.frombuffer(data, np.uint8)
    places = np.flatnonzero((characters == ord("=")) | (characters - np.uint8(ord("%")) <= 1))
    first = _CLASSES[characters[places + 1]]
    second = _CLASSES[characters[np.minimum(places + 2, len(data) - 1)]]
    soft = (first & _LINE_END != 0) | ((first & _BLANK != 0) & (second & (_BLANK | _LINE_END) != 0))
    found: npt.NDArray[np.int64] = places[(first & second & _CODE != 0) | soft]
    further = [*_places(data, b"\x1b"), *(hit.start() for hit in _COLOUR.finditer(data))]
    if b"\\" in data:
        places = np.flatnonzero(characters == ord("\\"))
        further += places[_CLASSES[characters[places + 1]] & _ESCAPED != 0].tolist()
    return np.concatenate([found, np.array(further, np.int64)]) if further else found


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
    return not before or not after or before[-1] in SIGNS.encode() or after[0] in b"@."


def _places(data: bytes, one: bytes) -> list[int]:
    """Where this stands, in ascending order; faster than an expression where it is rare."""
    found = []
    at = data.find(one)
    while at >= 0:
        found.append(at)
        at = data.find(one, at + 1)
    return found
