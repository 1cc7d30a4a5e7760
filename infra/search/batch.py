"""Rows folded together, so that what is done to all of them is done at the speed of C, and the way back."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from functools import cached_property

import numpy as np

from infra.search.folding import Offsets, folded_together, single_spaced, without_far_separators
from infra.search.patterns import PADDING, Ints
from infra.search.rows import Rows

Place = tuple[int, int, int]
"""The number of a row, and a span of its characters."""

_LOOK_BEFORE, _LOOK_BEHIND = 128, 48
"""Bytes on both sides of a match that decide if it stands alone; infra/identifiers/boundaries.py looks at fewer."""


class Batch:
    """The folded text of some rows.

    `words` are its bytes: each row is followed by `ROW_END`, and they end in `PADDING`. `numbers` are as many bytes, in
    which every separator of numbers that is not ASCII is a hyphen and `FILLER`.
    """

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self._bounds: list[int] = rows.bounds.tolist()
        folded, self._runs = folded_together(rows.data)
        self._inner = self._runs.inner.data  # bisect reads few numbers of a buffer faster than numpy does
        folded, dropped = single_spaced(folded)
        # how many bytes are left in front of each that is left out
        self._dropped: list[int] = (dropped - np.arange(len(dropped))).tolist()
        self.words = folded + PADDING
        self.numbers = without_far_separators(self.words) if len(self._runs.inner) else self.words
        self._last: tuple[int, str, Offsets] | None = None
        self._read: tuple[int, str] | None = None

    def around(self, start: int, end: int) -> tuple[str, int, int]:
        """The text near the bytes `words[start:end]`, and where they begin and end in it."""
        words = self.words
        low, high = max(start - _LOOK_BEFORE, 0), min(end + _LOOK_BEHIND, len(words))
        while words[low] & 0xC0 == 0x80:
            low += 1
        while high < len(words) and words[high] & 0xC0 == 0x80:
            high += 1
        near = words[low:high]
        text = near.decode("utf-8", "surrogatepass")
        if len(text) == len(near):
            return text, start - low, end - low
        first = len(near[: start - low].decode("utf-8", "surrogatepass"))
        return text, first, first + len(near[start - low : end - low].decode("utf-8", "surrogatepass"))

    def origin(self, start: int, end: int) -> tuple[Place, str] | None:
        """Where the bytes `words[start:end]` came from, and what is written there.

        None where an edge falls inside one original character.
        """
        low, last = self._unfolded(start), self._unfolded(end - 1)
        if low is None or last is None or self.words[end - 1] == ord(" "):
            return self._origin_of_folded(start, end)
        number = bisect_right(self._bounds, low) - 1
        inner = self._inner
        ahead = self._bounds[number] + bisect_left(inner, low) - bisect_left(inner, self._bounds[number])
        written = self.rows.data[low : last + 1].decode("utf-8", "surrogatepass")
        return (number, low - ahead, low - ahead + len(written)), written

    def row(self, number: int) -> str:
        """The text of a row; of the row that was asked for last at once."""
        if self._read is None or self._read[0] != number:
            self._read = number, self.rows.text(number)
        return self._read[1]

    def _unfolded(self, at: int) -> int | None:
        """Where in the data the byte `words[at]` stood; None where more may have been folded into one character."""
        if self.words[at] >= 0x80:
            return None
        at += bisect_right(self._dropped, at)
        runs = self._runs
        run = bisect_right(runs.ends, at)
        if run < len(runs.starts) and runs.starts[run] <= at:
            return None
        return at + runs.shifts[run]

    def _origin_of_folded(self, start: int, end: int) -> tuple[Place, str] | None:
        first = self.words.rfind(b"\n", 0, start) + 1
        row_end = self._unfolded(first - 1) if first else -1
        assert row_end is not None
        number = bisect_right(self._bounds, row_end + 1) - 1
        if self._last is None or self._last[0] != number:
            text = self.rows.text(number)
            self._last = number, text, Offsets(text)
        _, text, offsets = self._last
        inner = np.searchsorted(self._inner_of_words, (first, start, end))
        span = offsets.span(int(start - first - inner[1] + inner[0]), int(end - first - inner[2] + inner[0]))
        return None if span is None else ((number, *span), text[slice(*span)])

    @cached_property
    def _inner_of_words(self) -> Ints:
        return np.flatnonzero((np.frombuffer(self.words, np.uint8) & 0xC0) == 0x80)
