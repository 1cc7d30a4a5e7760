"""Several texts folded into one, so that what is done to all of it is done at the speed of C.

ASCII texts are folded byte by byte together. A text with other characters is folded on its own, and its offsets are
worked out only where something was found in it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from infra.search.folding import ASCII_TABLE, NUL, ROW_END, Offsets, folded_texts, single_spaced, without_far_separators
from infra.search.patterns import PADDING, Ints

Place = tuple[int, int, int]
"""The number of a text, and a span in it."""


class PlainBatch:
    """ASCII texts without NUL. `text` is their folded text, each followed by `ROW_END`.

    `words` are its bytes and end in `PADDING`; `numbers` are as many bytes with ASCII separators alone.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self._offsets = [0, *accumulate(len(text) + 1 for text in texts)]
        folded = NUL.join([*texts, ""]).encode("ascii").translate(ASCII_TABLE)
        folded, dropped = single_spaced(folded)
        # how many bytes are left in front of each that is left out
        self._dropped = dropped - np.arange(len(dropped)) if len(dropped) else None
        self.words = self.numbers = folded + PADDING
        self.text = self.words.decode("ascii")

    def characters(self, places: Ints, _stream: bytes) -> Ints:
        """Where in `text` the bytes at `places` of a stream stand."""
        return places

    def span(self, start: int, end: int) -> Place | None:
        """Where `text[start:end]` came from; None where an edge falls inside one original character."""
        if self._dropped is not None:
            # a run of white space ends where the next character begins
            end += int(np.searchsorted(self._dropped, end - (self.text[end - 1] != " "), side="right"))
            start += int(np.searchsorted(self._dropped, start, side="right"))
        number = bisect_right(self._offsets, start) - 1
        return number, start - self._offsets[number], end - self._offsets[number]


class MixedBatch:
    """The same of any texts."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        rows = folded_texts(texts)
        self._offsets = [0, *accumulate(len(row) + 1 for row in rows)]
        self._last: tuple[int, Offsets] | None = None
        self.text = ROW_END.join([*rows, PADDING.decode()])
        self.words = self.text.encode("utf-8", "surrogatepass")
        self.numbers = without_far_separators(self.text).encode("utf-8", "surrogatepass")

    def characters(self, places: Ints, stream: bytes) -> Ints:
        """Where in `text` the bytes at `places` of a stream stand."""
        numbers = self._words_numbered if stream is self.words else self._numbers_numbered
        return numbers[places].astype(np.int64)

    def span(self, start: int, end: int) -> Place | None:
        """Where `text[start:end]` came from; None where an edge falls inside one original character."""
        number = bisect_right(self._offsets, start) - 1
        offset = self._offsets[number]
        span = self._row(number).span(start - offset, end - offset)
        return None if span is None else (number, *span)

    def _row(self, number: int) -> Offsets:
        if self._last is None or self._last[0] != number:
            self._last = number, Offsets(self.texts[number])
        return self._last[1]

    @cached_property
    def _words_numbered(self) -> npt.NDArray[np.int32]:
        return _character_numbers(self.words)

    @cached_property
    def _numbers_numbered(self) -> npt.NDArray[np.int32]:
        return _character_numbers(self.numbers)


Batch = PlainBatch | MixedBatch


def batches(texts: Sequence[str]) -> list[tuple[list[int], Batch]]:
    """The texts in a batch of the plain ones and a batch of the others, with the numbers they had."""
    plain = [number for number, text in enumerate(texts) if text.isascii() and NUL not in text]
    others = sorted(set(range(len(texts))).difference(plain)) if len(plain) < len(texts) else []
    found: list[tuple[list[int], Batch]] = []
    if plain:
        found.append((plain, PlainBatch([texts[number] for number in plain])))
    if others:
        found.append((others, MixedBatch([texts[number] for number in others])))
    return found


def _character_numbers(data: bytes) -> npt.NDArray[np.int32]:
    """For each byte of UTF-8 the number of its character."""
    is_first = (np.frombuffer(data, np.uint8) & 0xC0) != 0x80
    return np.cumsum(is_first, dtype=np.int32) - 1
