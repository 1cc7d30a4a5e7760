"""Folding as in infra/identifiers/normalise.py at the speed of C, without offsets: most rows hold nothing sought."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from infra.identifiers.normalise import SEPARATORS, Folded, fold, fold_character
from infra.search.rows import END

ROW_END = "\n"
"""Stands between folded rows: no folded text holds it, and no identifier."""
FILLER = b"\xff"
"""Stands for the further bytes of a separator that is not ASCII."""
_FAR_SEPARATORS = [character.encode() for character in SEPARATORS if not character.isascii()]
_FEW = 128
"""Where one byte of so many is left out, it is cheaper to put the others together piece by piece."""
_SPACE_AND_NEXT = re.compile(r"\s[^\x00-\x7f]")
_MARKED_SPACE = b"\r"
"""Stands for a space that carries a mark, which is in no run of spaces; no folded text holds it."""

_NOT_PLAIN = re.compile(r"[^!-~](?:(?<! )|(?= ))[^!-~]*")
"""Anything but single spaces among what is not visible ASCII."""

ASCII_TABLE = bytes(ord(fold_character(chr(c).lower())) if c < 128 else c for c in range(END)) + ROW_END.encode()
"""Folds ASCII bytes one to one; `END`, put after rows, becomes `ROW_END`."""


class Runs(NamedTuple):
    """Stretches of folded bytes that are not one to one those they came from.

    `starts` and `ends` are in the folded bytes, before runs of spaces become one; a byte after n of the runs stood
    `shifts[n]` further on. `inner` are the places, before folding, of all but the first byte of each character.
    """

    starts: list[int]
    ends: list[int]
    shifts: list[int]
    inner: npt.NDArray[np.int64]


def folded_together(joined: bytes) -> tuple[bytes, Runs]:
    """UTF-8 with `END` after each row, folded, with `ROW_END` there; runs of spaces are left as they are.

    Only what is not ASCII is looked at in turn. A space that carries a mark is `_MARKED_SPACE`.
    """
    data = joined.translate(ASCII_TABLE)
    runs = Runs([], [], [0], np.empty(0, np.int64))
    if data.isascii():
        return data, runs
    characters = np.frombuffer(data, np.uint8)
    places = np.flatnonzero(characters >= 0x80)
    gaps = np.flatnonzero(np.diff(places) > 1)
    starts, ends = places[np.r_[0, gaps + 1]].tolist(), (places[np.r_[gaps, -1]] + 1).tolist()
    others = [data[start:end] for start, end in zip(starts, ends, strict=True)]
    parts: list[bytes] = []
    last = at = 0
    for start, end, changes in zip(starts, ends, map(_changes, others), strict=True):
        if not changes:
            continue
        with_base = start > last and data[start - 1] != ord(ROW_END) and _begins_with_mark(data[start:end])
        base = start - with_base
        run = _folded_run(data[base:end])
        parts += (data[last:base], run)
        at += base - last
        runs.starts.append(at)
        at += len(run)
        runs.ends.append(at)
        runs.shifts.append(end - at)
        last = end
    parts.append(data[last:])
    return b"".join(parts), runs._replace(inner=places[characters[places] & 0xC0 == 0x80])


@lru_cache(maxsize=1 << 14)
def _changes(run: bytes) -> bool:
    """Whether folding changes these characters, or the one in front of them goes with them."""
    return _begins_with_mark(run) or _folded_run(run) != run


def single_spaced(data: bytes) -> tuple[bytes, npt.NDArray[np.int64]]:
    """The data with one space for each run of them, and where in the data those stood that are left out."""
    characters = np.frombuffer(data, np.uint8)
    space = characters == ord(" ")
    again = space[1:] & space[:-1]
    dropped = np.flatnonzero(again) + 1
    if len(dropped) > len(data) // _FEW:
        data = data[:1] + characters[1:][~again].tobytes()
    elif len(dropped):
        edges = zip([0, *(dropped + 1).tolist()], [*dropped.tolist(), len(data)], strict=True)
        data = b"".join([data[start:end] for start, end in edges])
    return data.replace(_MARKED_SPACE, b" "), dropped


@lru_cache(maxsize=1 << 14)
def _begins_with_mark(run: bytes) -> bool:
    """Whether the character in front of these is folded with them."""
    normal = unicodedata.normalize("NFKC", run.decode("utf-8", "surrogatepass"))
    return unicodedata.combining(normal[0]) != 0


@lru_cache(maxsize=1 << 14)
def _folded_run(run: bytes) -> bytes:
    normal = unicodedata.normalize("NFKC", run.decode("utf-8", "surrogatepass"))
    marked = _SPACE_AND_NEXT.sub(_with_marked_space, normal)
    folded = odd().sub(lambda odd: fold_character(odd[0]), marked.casefold())
    return folded.encode("utf-8", "surrogatepass")


def _with_marked_space(pair: re.Match[str]) -> str:
    """A space that carries a mark is in no run of spaces."""
    return _MARKED_SPACE.decode() + pair[0][1] if unicodedata.combining(pair[0][1]) else pair[0]


class Offsets:
    """The way back from the folded text to `text`.

    Most of a text folds one to one. Only the stretches in between, from the visible ASCII character in front of
    something else to the next visible ASCII character, are folded with their offsets.
    """

    def __init__(self, text: str) -> None:
        self._folded, self._original, self._stretches = [0], [0], [""]  # where parts begin, and what is no plain part
        for hit in _NOT_PLAIN.finditer(text):
            low, high = hit.span()
            low -= low > 0 and text[low - 1] == " "
            low -= low > 0 and text[low - 1] > " "
            stretch = text[low:high]
            start = self._folded[-1] + low - self._original[-1]
            self._folded += (start, start + len(_folded_stretch(stretch).text))
            self._original += (low, high)
            self._stretches += (stretch, "")

    def span(self, start: int, end: int) -> tuple[int, int] | None:
        """As `fold(text).span(start, end)`."""
        low, high = self._low(start), self._high(end)
        return None if low is None or high is None else (low, high)

    def _low(self, start: int) -> int | None:
        part = bisect_right(self._folded, start) - 1
        start -= self._folded[part]
        if self._stretches[part]:
            folded = _folded_stretch(self._stretches[part])
            span = folded.span(start, len(folded.text))
            return None if span is None else self._original[part] + span[0]
        return self._original[part] + start

    def _high(self, end: int) -> int | None:
        part = bisect_right(self._folded, end - 1) - 1
        end -= self._folded[part]
        if self._stretches[part]:
            span = _folded_stretch(self._stretches[part]).span(0, end)
            return None if span is None else self._original[part] + span[1]
        return self._original[part] + end


@lru_cache(maxsize=1 << 12)
def _folded_stretch(stretch: str) -> Folded:
    return fold(stretch)


def without_far_separators(words: bytes) -> bytes:
    """Folded text with a hyphen and `FILLER` for each separator of numbers that is not ASCII; as many bytes.

    Args:
        words: UTF-8 that ends in two bytes of ASCII or more.
    """
    characters = np.frombuffer(words, np.uint8)
    places = np.flatnonzero(characters >= 0xC0)
    seen = sum(characters[places + n].astype(np.int64) << (16 - 8 * n) for n in range(3))
    changed = characters.copy()
    for separator in _FAR_SEPARATORS:
        further = 8 * (3 - len(separator))
        found = places[seen >> further == int.from_bytes(separator, "big")]
        for n in range(len(separator)):
            changed[found + n] = FILLER[0] if n else ord("-")
    return changed.tobytes()


@cache
def odd() -> re.Pattern[str]:
    """Matches what folding may change after Unicode normalisation: white space, digits, invisible characters.

    Written as what it does not match below U+10000, because a class of these alone is one table lookup a character.
    """
    keeps = _MARKED_SPACE[0]
    fine = [code for code in range(0x10000) if code == keeps or fold_character(chr(code)) == chr(code)]
    ranges: list[list[int]] = []
    for code in fine:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return re.compile("[^" + "".join(f"\\u{low:04x}-\\u{high:04x}" for low, high in ranges) + "]")
