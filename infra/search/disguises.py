"""Which rows of a batch may have another reading (infra/identifiers/readings.py): many rows at once, in C."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from infra.identifiers.escapes import MARKS, PATTERN, stands_for
from infra.identifiers.normalise import SEPARATORS
from infra.identifiers.readings import SIGNS
from infra.search.folding import ASCII_TABLE
from infra.search.rows import END, Rows

_ESCAPE_BYTES = re.compile(PATTERN.encode())

# What each byte after a mark may be, for a first look at many rows.
_CODE, _BLANK, _LINE_END, _ESCAPED, _COLOUR = (np.uint8(1 << bit) for bit in range(5))
_SETS = (
    b"#" + (string.digits + string.ascii_letters).encode(),
    b" \t",
    b"\r\n",
    b"nrtuUxe0123 " + string.punctuation.encode(),
    b";" + string.digits.encode(),
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
_BEFORE_CODE = (b"=", b"&", b"%")
_ROW_END = bytes([END])
_LINE_END_BYTE = re.compile(rb"[\n\r\xff]")
_RARE = 256
"""A byte that stands once in so many is no longer sought one by one."""
_LONG_WORD = 4096
"""Bytes after which the first look takes a word to go on as far as may be."""


class Neighbours:
    """Which byte stands after which in the forms that are sought, and which begins or ends one."""

    def __init__(self, forms: Sequence[bytes]) -> None:
        self._follows = np.zeros((256, 256), np.bool_)
        for first in range(0, len(forms), _AT_ONCE):
            joined = np.frombuffer(b"\n" + b"\n".join(forms[first : first + _AT_ONCE]) + b"\n", np.uint8)
            self._follows[joined[:-1], joined[1:]] = True

    def may_hold(self, before: int, character: str, behind: int) -> bool:
        """Whether a form may hold this character of ASCII between these bytes of the text, which is not folded yet.

        What is not ASCII may fold to anything, and after an escape or in front of one it is not known what stands.
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
    escapes = _one_a_row(data, _escapes(data), sought)
    places = np.array([*escapes, *_broken(data)], np.int64)
    return sorted(set(rows.containing(places).tolist()))


def _one_a_row(data: bytes, places: Iterable[int], sought: Neighbours | None) -> Iterator[int]:
    """Of the places the first that matters of each row: one is enough to have its row read again."""
    before = after = 0  # the row that is known to be read again
    for at in places:
        if (at >= after or at < before) and _matters(data, at, sought):
            yield at
            before, after = data.rfind(_ROW_END, 0, at) + 1, data.find(_ROW_END, at)


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


def _escapes(data: bytes) -> Iterator[int]:
    """Where an escape may begin: a mark with two characters of a code after it, or in front of a line end."""
    characters = np.frombuffer(data, np.uint8)
    places = np.array([at for mark in _BEFORE_CODE for at in _places(data, mark)], np.int64)
    first = _CLASSES[characters[places + 1]]
    second = _CLASSES[characters[np.minimum(places + 2, len(data) - 1)]]
    soft = (first & _LINE_END != 0) | ((first & _BLANK != 0) & (second & (_BLANK | _LINE_END) != 0))
    yield from places[(first & second & _CODE != 0) | soft].tolist()
    yield from _places(data, b"\x1b")
    for mark, followed_by in ((b"[", _COLOUR), (b"\\", _ESCAPED)):
        places = np.array(_places(data, mark), np.int64)
        yield from places[_CLASSES[characters[places + 1]] & followed_by != 0].tolist()


def _broken(data: bytes) -> Iterator[int]:
    """Anchors whose word may go on over a line end."""
    ends = _LineEnds(data)
    for anchor in _anchors(data):
        low, high = ends.before(anchor), ends.behind(anchor)
        if (low is not None and _beside_sign(data, low)) or (high is not None and _beside_sign(data, high)):
            yield anchor


class _LineEnds:
    """The line ends next to a place, if the word at that place may reach one; none where the row ends there."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def before(self, at: int) -> int | None:
        """The last one in front of this place, if the word here may be the first after it."""
        data = self._data
        space = data.rfind(b" ", max(at - _LONG_WORD, 0), at)
        if space < 0:
            return self._sought(at, behind=False)
        found = max(data.rfind(b"\n", space, at), data.rfind(b"\r", space, at), data.rfind(_ROW_END, space, at))
        if found < 0:
            while data[space - 1] in b" \t":
                space -= 1
            found = space - 1
        return found if data[found] in b"\n\r" else None

    def behind(self, at: int) -> int | None:
        """The first one after this place, if the word here may be the last in front of it."""
        data = self._data
        space = data.find(b" ", at, at + _LONG_WORD)
        if space < 0:
            return self._sought(at, behind=True)
        found = _LINE_END_BYTE.search(data, at, space)
        if found is not None:
            return None if found[0] == _ROW_END else found.start()
        while data[space + 1] in b" \t":
            space += 1
        return space + 1 if data[space + 1] in b"\n\r" else None

    def _sought(self, at: int, *, behind: bool) -> int | None:
        number = int(np.searchsorted(self._all, at)) - (not behind)
        found = int(self._all[number]) if number >= 0 else -1
        return found if found >= 0 and self._data[found] != END else None

    @cached_property
    def _all(self) -> npt.NDArray[np.int64]:
        characters = np.frombuffer(self._data, np.uint8)
        return np.flatnonzero((characters == ord("\n")) | (characters == ord("\r")) | (characters == END))


def _anchors(data: bytes) -> list[int]:
    """Where `@`, `://`, `www.` or `WWW.` stands, by its last character that is no slash."""
    characters = np.frombuffer(data, np.uint8)
    slashes = np.array(_places(data, b"/"), np.int64)
    slashes = slashes[(characters[slashes - 1] == ord(":")) & (characters[slashes + 1] == ord("/"))]
    dots = np.flatnonzero((characters[1:] == ord(".")) & (characters[:-1] | 32 == ord("w"))) + 1
    found = _places(data, b"@")
    found += (slashes - 1).tolist()
    found += (at for at in dots.tolist() if data[at - 3 : at] in (b"www", b"WWW"))
    return found


def _beside_sign(data: bytes, line_end: int) -> bool:
    """Whether a sign for which a break is left out may stand beside this line end."""
    before = data[max(line_end - 8, 0) : line_end].rstrip(_WHITE)
    after = data[line_end : line_end + 8].lstrip(_WHITE)
    return not before or not after or before[-1] in SIGNS.encode() or after[0] in b"@."


def _places(data: bytes, one: bytes) -> list[int]:
    """Where this byte stands, in ascending order; byte by byte only as long as it is rare."""
    found: list[int] = []
    most = len(data) // _RARE
    at = data.find(one)
    while at >= 0 and len(found) < most:
        found.append(at)
        at = data.find(one, at + 1)
    if at >= 0:
        found += (np.flatnonzero(np.frombuffer(data, np.uint8, offset=at) == one[0]) + at).tolist()
    return found
