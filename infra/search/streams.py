"""Where a batch of texts holds what is sought: in its words, and in its words without the separators of numbers.

Every byte is looked up in one table that says all that is asked of it, and the answers are taken apart for whole
batches at a time.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from infra.normalise import MAX_SEPARATORS, Stream
from infra.search.batch import Batch
from infra.search.patterns import PADDING, Ints, Patterns, joined, moved, stretches

_SEPARATORS = b" -./()"
_IS_SEPARATOR = bytes(byte in _SEPARATORS for byte in range(256))
_WORD_BYTES = b"0123456789abcdefghijklmnopqrstuvwxyz"
STREAMS: tuple[Stream, ...] = ("words", "compact")
_WORD = np.uint8(1 << len(STREAMS))

Bytes = npt.NDArray[np.uint8]


class Classes:
    """What each byte of a stream may be: the first of a form, of either stream, or of a word."""

    def __init__(self, patterns: Mapping[Stream, Patterns]) -> None:
        sets = [patterns[stream].first_bytes if stream in patterns else b"" for stream in STREAMS]
        self._table = bytes(
            sum(1 << bit for bit, of in enumerate([*sets, _WORD_BYTES]) if byte in of) for byte in range(256)
        )

    def of(self, batch: Batch) -> dict[Stream, Bytes]:
        """The classes of a batch's bytes in each stream; looked up once where both streams are the same bytes."""
        words = np.frombuffer(batch.words.translate(self._table), np.uint8)
        same = batch.numbers is batch.words
        numbers = words if same else np.frombuffer(batch.numbers.translate(self._table), np.uint8)
        return {"words": words, "compact": numbers}


class StreamSearch:
    """Finds the patterns of one stream in batches."""

    def __init__(self, stream: Stream, patterns: Patterns) -> None:
        self._is_words = stream == "words"
        self._first = np.uint8(1 << STREAMS.index(stream))
        self._patterns = patterns

    def find(self, batch: Batch, classes: Bytes) -> Ints:
        """Pattern, start and end (N×3), in characters of `batch.text`, not yet checked for what stands around them."""
        stream = batch.words if self._is_words else batch.numbers
        starts = np.flatnonzero(_begins(classes, self._first))
        hits = self._patterns.matches(stream, starts) if self._is_words else self._in_numbers(stream, starts)
        if len(hits):
            hits[:, 1] = batch.characters(hits[:, 1], stream)
            hits[:, 2] = batch.characters(hits[:, 2] - 1, stream) + 1
        return hits

    def _in_numbers(self, stream: bytes, starts: Ints) -> Ints:
        """The same in `stream` without separators. Few places begin a number, so only what is near them is read."""
        if not len(starts):
            return np.empty((0, 3), np.int64)
        reach = np.full(len(starts), self._patterns.longest * (MAX_SEPARATORS + 1))
        lows, highs = stretches(starts, reach, len(stream))
        near = joined(stream, lows, highs) + PADDING
        # a stretch begins with a start, and each stands one `ROW_END` further on than what is left out between them
        behind = np.searchsorted(lows, starts, side="right") - 1
        gone = lows - np.cumsum(highs - lows + 1) + (highs - lows + 1)
        hits = self._among_separators(near, starts - gone[behind])
        hits[:, 1:] += moved(lows, highs, hits[:, 1])[:, None]
        return hits

    def _among_separators(self, data: bytes, starts: Ints) -> Ints:
        """Matches in `data` without its separators, where at most `MAX_SEPARATORS` stand in one place."""
        separators = np.flatnonzero(np.frombuffer(data.translate(_IS_SEPARATOR), np.bool_))
        hits = self._patterns.matches(data.translate(None, _SEPARATORS), starts - np.searchsorted(separators, starts))
        # in front of which byte that is left each separator stood
        stood = separators - np.arange(len(separators))
        wide = stood[MAX_SEPARATORS:][stood[MAX_SEPARATORS:] == stood[: max(len(stood) - MAX_SEPARATORS, 0)]]
        starts, lasts = hits[:, 1], hits[:, 2] - 1
        tight = np.searchsorted(wide, starts, side="right") == np.searchsorted(wide, lasts, side="right")
        kept: Ints = hits[tight]
        kept[:, 1] += np.searchsorted(stood, kept[:, 1], side="right")
        kept[:, 2] += np.searchsorted(stood, kept[:, 2] - 1, side="right")
        return kept


def _begins(classes: Bytes, first: np.uint8) -> npt.NDArray[np.bool_]:
    """Where a form may begin: at its first byte, and not inside an ASCII word."""
    begins: npt.NDArray[np.bool_] = (classes & first) != 0
    begins[1:] &= (classes[1:] & classes[:-1] & _WORD) == 0
    return begins
