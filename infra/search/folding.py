"""The folded text of infra/normalise.py at the speed of C, without offsets: most rows hold nothing that is sought."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from functools import cache, lru_cache
from itertools import accumulate, pairwise

from infra.normalise import SEPARATORS, Folded, fold, fold_character

ROW_END = "\n"
"""Stands between folded rows: no folded text holds it, and no identifier."""
NUL = "\x00"
_FAR_SEPARATORS = "".join(character for character in SEPARATORS if not character.isascii())
_RUN = re.compile(rb"[\x80-\xff]+")
_BASE_AND_RUN = re.compile(rb"[ -~]?[\x80-\xff]+")
_SPACES = re.compile(b"  +")
_SPACE_AND_NEXT = re.compile(r"\s[^\x00-\x7f]")
_MARKED_SPACE = b"\r"
"""Stands for a space that carries a mark, which is in no run of spaces; no folded text holds it."""

_SAFE_CUT = re.compile(r"(?<=[!-~])[!-~]")
"""Between two visible ASCII characters nothing is folded together."""
_BLOCK = 128

ASCII_TABLE = bytes(
    ord(ROW_END) if c == 0 else ord(fold_character(chr(c).lower())) if c < 128 else c for c in range(256)
)
"""Folds ASCII bytes one to one; NUL, put between rows, becomes `ROW_END`."""
_ASCII_BUT_NUL = b"\0" + ASCII_TABLE[1:]


def folded_text(text: str) -> str:
    """`fold(text).text`."""
    lower = text.encode("utf-8", "surrogatepass").translate(_ASCII_BUT_NUL)
    try:
        folded = _RUN.sub(lambda hit: _folded_run(hit[0], False), lower)
    except _ComposesError:
        folded = _BASE_AND_RUN.sub(lambda hit: _folded_run(hit[0], True), lower)
    if b"  " in folded:
        folded = _SPACES.sub(b" ", folded)
    return folded.replace(_MARKED_SPACE, b" ").decode("utf-8", "surrogatepass")


class _ComposesError(Exception):
    """A run begins with a mark, so the ASCII character in front of it is folded with it."""


@lru_cache(maxsize=1 << 14)
def _folded_run(run: bytes, with_base: bool) -> bytes:
    normal = unicodedata.normalize("NFKC", run.decode("utf-8", "surrogatepass"))
    if not with_base and unicodedata.combining(normal[0]):
        raise _ComposesError
    marked = _SPACE_AND_NEXT.sub(_with_marked_space, normal)
    folded = _odd().sub(lambda odd: fold_character(odd[0]), marked.casefold())
    return folded.encode("utf-8", "surrogatepass")


def _with_marked_space(pair: re.Match[str]) -> str:
    return _MARKED_SPACE.decode() + pair[0][1] if unicodedata.combining(pair[0][1]) else pair[0]


class Offsets:
    """The way back from `folded_text(text)` to `text`: only the blocks that are asked for are folded with offsets."""

    def __init__(self, text: str) -> None:
        self._cuts = [0]
        while self._cuts[-1] < len(text):
            safe = _SAFE_CUT.search(text, self._cuts[-1] + _BLOCK)
            self._cuts.append(safe.start() if safe else len(text))
        self._blocks = [text[start:end] for start, end in pairwise(self._cuts)]
        self._ends = list(accumulate(len(folded_text(block)) for block in self._blocks))

    def span(self, start: int, end: int) -> tuple[int, int] | None:
        """As `fold(text).span(start, end)`."""
        first, last = bisect_right(self._ends, start), bisect_right(self._ends, end - 1)
        begins, ends = self._block(first), self._block(last)
        low = begins.span(start - self._before(first), end - self._before(first) if first == last else len(begins.text))
        high = low if first == last else ends.span(0, end - self._before(last))
        return None if low is None or high is None else (self._cuts[first] + low[0], self._cuts[last] + high[1])

    def _before(self, block: int) -> int:
        return self._ends[block - 1] if block else 0

    def _block(self, number: int) -> Folded:
        return fold(self._blocks[number])


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
