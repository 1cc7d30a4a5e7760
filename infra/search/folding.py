"""The folded text of infra/normalise.py at the speed of C, without offsets: most rows hold nothing that is sought."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import islice

import numpy as np
import numpy.typing as npt

from infra.normalise import SEPARATORS, Folded, fold, fold_character

ROW_END = "\n"
"""Stands between folded rows: no folded text holds it, and no identifier."""
NUL = "\x00"
_FAR_SEPARATORS = "".join(character for character in SEPARATORS if not character.isascii())
_SPACE_AND_NEXT = re.compile(r"\s[^\x00-\x7f]")
_MARKED_SPACE = "\r"
"""Stands for a space that carries a mark, which is in no run of spaces; no folded text holds it."""

_NOT_PLAIN = re.compile(r"[^!-~](?:(?<! )|(?= ))[^!-~]*")
"""Anything but single spaces among what is not visible ASCII."""

ASCII_TABLE = bytes(
    ord(ROW_END) if c == 0 else ord(fold_character(chr(c).lower())) if c < 128 else c for c in range(256)
)
"""Folds ASCII bytes one to one; NUL, put between rows, becomes `ROW_END`."""


def folded_texts(texts: Sequence[str]) -> list[str]:
    """`fold(text).text` of each."""
    if not texts:
        return []
    joined = NUL.encode().join([text.encode("utf-8", "surrogatepass") for text in texts])
    pieces = _folded_together(joined).split(ROW_END)
    if len(pieces) == len(texts):
        return pieces
    waiting = iter(pieces)  # some texts hold NUL, which folds to itself
    return [NUL.join(islice(waiting, text.count(NUL) + 1)) for text in texts]


def _folded_together(joined: bytes) -> str:
    """Texts with NUL between them, folded, with `ROW_END` between them; only what is not ASCII is looked at in turn."""
    data = joined.translate(ASCII_TABLE)
    places = np.flatnonzero(np.frombuffer(data, np.uint8) >= 0x80)
    far = np.diff(places) > 1
    starts, ends = places[np.r_[places[:1] >= 0, far]], places[np.r_[far, places[:1] >= 0]] + 1
    parts: list[bytes] = []
    last = 0
    for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
        run, base = data[start:end], start
        if _begins_with_mark(run) and start > last and data[start - 1] >= 32:
            base = start - 1
        parts += (data[last:base], _folded_run(data[base:end]))
        last = end
    folded, _ = single_spaced(b"".join([*parts, data[last:]]))
    return folded.decode("utf-8", "surrogatepass").replace(_MARKED_SPACE, " ")


def single_spaced(data: bytes) -> tuple[bytes, npt.NDArray[np.int64]]:
    """The data with one space for each run of them, and where in the data those stood that are left out."""
    characters = np.frombuffer(data, np.uint8)
    space = characters == ord(" ")
    again = space[1:] & space[:-1]
    dropped = np.flatnonzero(again) + 1
    if not len(dropped):
        return data, dropped
    return data[:1] + characters[1:][~again].tobytes(), dropped


@lru_cache(maxsize=1 << 14)
def _begins_with_mark(run: bytes) -> bool:
    """Whether the character in front of these is folded with them."""
    normal = unicodedata.normalize("NFKC", run.decode("utf-8", "surrogatepass"))
    return unicodedata.combining(normal[0]) != 0


@lru_cache(maxsize=1 << 14)
def _folded_run(run: bytes) -> bytes:
    normal = unicodedata.normalize("NFKC", run.decode("utf-8", "surrogatepass"))
    marked = _SPACE_AND_NEXT.sub(_with_marked_space, normal)
    folded = _odd().sub(lambda odd: fold_character(odd[0]), marked.casefold())
    return folded.encode("utf-8", "surrogatepass")


def _with_marked_space(pair: re.Match[str]) -> str:
    """A space that carries a mark is in no run of spaces."""
    return _MARKED_SPACE + pair[0][1] if unicodedata.combining(pair[0][1]) else pair[0]


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


def without_far_separators(folded: str) -> str:
    """The text with every separator of numbers that is not ASCII as a hyphen; as many characters."""
    if folded.isascii():
        return folded
    for separator in _FAR_SEPARATORS:
        folded = folded.replace(separator, "-")
    return folded


@cache
def _odd() -> re.Pattern[str]:
    """Matches what folding may change after Unicode normalisation: white space, digits, invisible characters.

    Written as what it does not match below U+10000, because a class of these alone is one table lookup a character.
    """
    keeps = ord(_MARKED_SPACE)
    fine = [code for code in range(0x10000) if code == keeps or fold_character(chr(code)) == chr(code)]
    ranges: list[list[int]] = []
    for code in fine:
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return re.compile("[^" + "".join(f"\\u{low:04x}-\\u{high:04x}" for low, high in ranges) + "]")
