"""Where a batch of texts holds what is sought: in its words, and in its words without the separators of numbers.

Every byte is looked up in one table that says all that is asked of it, and the answers are taken apart for whole
batches at a time.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from infra.normalise import MAX_SEPARATORS, Stream
from infra.search.batch import Batch
from infra.search.patterns import Ints, Patterns

_SEPARATORS = b" -./()"
_WORD_BYTES = b"0123456789abcdefghijklmnopqrstuvwxyz"
_FIRST, _WORD, _APART = np.uint8(1), np.uint8(2), np.uint8(4)

Flags = npt.NDArray[np.bool_]


class StreamSearch:
    """Finds the patterns of one stream in batches."""

    def __init__(self, stream: Stream, patterns: Patterns) -> None:
        self._is_words = stream == "words"
        self._patterns = patterns
        sets = (patterns.first_bytes, _WORD_BYTES, _SEPARATORS)
        self._table = bytes(sum(1 << bit for bit, of in enumerate(sets) if byte in of) for byte in range(256))

    def find(self, batch: Batch) -> Ints:
        """Pattern, start and end (N×3), in characters of `batch.text`, not yet checked for what stands around them."""
        stream = batch.words if self._is_words else batch.numbers
        classes = np.frombuffer(stream.translate(self._table), np.uint8)
        starts = np.flatnonzero(_begins(classes))
        if self._is_words:
            hits = self._patterns.matches(stream, starts)
        elif len(starts):
            hits = self._among_separators(stream, starts, np.flatnonzero(classes & _APART))
        else:
            return np.empty((0, 3), np.int64)
        if len(hits):
            hits[:, 1] = batch.characters(hits[:, 1], stream)
            hits[:, 2] = batch.characters(hits[:, 2] - 1, stream) + 1
        return hits

    def _among_separators(self, stream: bytes, starts: Ints, separators: Ints) -> Ints:
        """Matches in `stream` without the `separators`, where at most `MAX_SEPARATORS` stand in one place."""
        data = stream.translate(None, _SEPARATORS)
        hits = self._patterns.matches(data, starts - np.searchsorted(separators, starts))
        if not len(hits):
            return hits
        # where in `data` each separator stood: in front of the byte with this number
        stood = separators - np.arange(len(separators))
        wide = stood[MAX_SEPARATORS:][stood[MAX_SEPARATORS:] == stood[: max(len(stood) - MAX_SEPARATORS, 0)]]
        starts, lasts = hits[:, 1], hits[:, 2] - 1
        tight = np.searchsorted(wide, starts, side="right") == np.searchsorted(wide, lasts, side="right")
        hits = hits[tight]
        hits[:, 1] += np.searchsorted(stood, hits[:, 1], side="right")
        hits[:, 2] += np.searchsorted(stood, hits[:, 2] - 1, side="right")
        return hits


def _begins(classes: npt.NDArray[np.uint8]) -> Flags:
    """Where a form may begin: at its first byte, and not inside an ASCII word."""
    begins = (classes & _FIRST).astype(np.bool_)
    begins[1:] &= ~(classes[1:] & classes[:-1] & _WORD).astype(np.bool_)
    return begins
