"""Where a batch of rows holds what is sought: in its words, and in its words without the separators of numbers.

Every byte is looked up in one table that says all that is asked of it, and the answers are taken apart for whole
batches at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from infra.identifiers.boundaries import LABELS
from infra.identifiers.normalise import MAX_SEPARATORS, Stream
from infra.search.batch import Batch
from infra.search.folding import FILLER
from infra.search.patterns import PADDING, Ints, Patterns, joined, moved, stretches, words_at

STREAMS: tuple[Stream, ...] = ("words", "compact")
_SEPARATORS = b" -./()"
_DROPPED = _SEPARATORS + FILLER
_IS_SEPARATOR = bytes(byte in _SEPARATORS for byte in range(256))
_IS_DROPPED = bytes(byte in _DROPPED for byte in range(256))
_BYTES_OF_SEPARATOR = 3
_LETTERS, _DIGITS = b"abcdefghijklmnopqrstuvwxyz", b"0123456789"
_EXTENSION_BYTES = b"xe"
"""With what an extension begins that touches its number, as in `x341`."""
_LETTER, _DIGIT, _EXTENDS, _WORDS, _COMPACT = (np.uint8(1 << bit) for bit in range(5))
_WORD = _LETTER | _DIGIT
_ENDS_LABEL = np.zeros(1 << 16, np.bool_)
"""Whether two bytes, the first in the lower half of their number, end a label."""
for _label in (label for labels in LABELS.values() for label in labels):
    _ENDS_LABEL[int.from_bytes(_label[-2:].encode(), "little")] = True
_IBAN = b"iban"


class Streams:
    """Finds the patterns of both streams in batches."""

    def __init__(self, patterns: Mapping[Stream, Patterns]) -> None:
        self._patterns = patterns
        self._pairs = _pairs(patterns.get("compact"))
        firsts = [patterns[stream].first_bytes if stream in patterns else b"" for stream in STREAMS]
        self._has_ibans = any(byte in _LETTERS for byte in firsts[1])
        sets = [_LETTERS, _DIGITS, _EXTENSION_BYTES, *firsts]
        self._table = bytes(sum(1 << bit for bit, of in enumerate(sets) if byte in of) for byte in range(256))

    def find(self, batch: Batch) -> Iterator[tuple[Stream, Ints]]:
        """Of each stream pattern, start and end (N×3), in bytes of `batch.words`.

        What stands around them is not checked yet, but that no ASCII letter or digit goes on at either edge.
        """
        classes = np.frombuffer(batch.words.translate(self._table), np.uint8)
        starts = np.flatnonzero(_begins(classes))
        ibans = _behind_iban(batch.words, classes) if self._has_ibans else starts[:0]
        starts = np.union1d(starts, ibans) if len(ibans) else starts
        here = classes[starts]
        for stream, patterns in self._patterns.items():
            if stream == "words":
                hits = patterns.matches(batch.words, starts[here & _WORDS != 0])
            else:
                hits = _in_numbers(patterns, self._pairs, batch, starts[here & _COMPACT != 0])
            yield stream, hits[~_goes_on(batch.words, classes, hits)]


def _goes_on(words: bytes, classes: npt.NDArray[np.uint8], hits: Ints) -> npt.NDArray[np.bool_]:
    """Whether a word goes on at an edge of each hit: not where a label ends there or an extension may begin."""
    first, last = hits[:, 1], hits[:, 2]
    before = (classes[first - 1] & _WORD != 0) & (classes[first] & _WORD != 0)
    behind = (classes[last - 1] & _WORD != 0) & (classes[last] & _WORD != 0)
    before &= ~_ENDS_LABEL[words_at(words, first - 2) & np.uint64(0xFFFF)]
    behind &= ~((classes[last] & _EXTENDS != 0) & (classes[last - 1] & _DIGIT != 0))
    found: npt.NDArray[np.bool_] = before | behind
    return found


def _behind_iban(words: bytes, classes: npt.NDArray[np.uint8]) -> Ints:
    """Where an IBAN may touch its label, as in `ibande89370400440532013000`."""
    characters = np.frombuffer(words, np.uint8)
    labels = np.flatnonzero((characters[:-1] == _IBAN[0]) & (characters[1:] == _IBAN[1]))
    named = words_at(words, labels) & np.uint64(0xFFFFFFFF) == int.from_bytes(_IBAN, "little")
    begins = (labels == 0) | (classes[labels - 1] & _LETTER == 0)
    found: Ints = labels[named & begins] + len(_IBAN)
    return found


def _begins(classes: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Where a form may begin: at its first byte, and not inside the letters or the digits of an ASCII word."""
    inside = classes[1:] & classes[:-1]
    inside &= _WORD
    inside -= np.uint8(1)  # no bit within letters, only theirs within digits, every bit elsewhere
    inside &= classes[1:]
    begins = np.empty(len(classes), np.bool_)
    begins[0] = classes[0] & (_WORDS | _COMPACT) != 0
    np.greater_equal(inside, _WORDS, out=begins[1:])
    return begins


def _pairs(patterns: Patterns | None) -> npt.NDArray[np.bool_]:
    """With which two bytes, the first in the lower half of their number, a form may begin among separators."""
    pairs = np.zeros((256, 256), np.bool_)
    for first, second in patterns.first_pairs if patterns else ():
        pairs[[second, *_SEPARATORS], first] = True
    return pairs.reshape(-1)


def _in_numbers(patterns: Patterns, begins: npt.NDArray[np.bool_], batch: Batch, starts: Ints) -> Ints:
    """Matches without separators. Few places begin a number, so only what is near them is read."""
    stream = batch.numbers
    starts = starts[begins[words_at(stream, starts) & np.uint64(0xFFFF)]]
    if not len(starts):
        return np.empty((0, 3), np.int64)
    width = 1 if stream is batch.words else _BYTES_OF_SEPARATOR
    reach = np.full(len(starts), patterns.longest * (MAX_SEPARATORS * width + 1))
    lows, highs = stretches(starts, reach, len(stream))
    near = joined(stream, lows, highs) + PADDING
    # a stretch begins with a start, and each stands one `ROW_END` further on than what is left out between them
    behind = np.searchsorted(lows, starts, side="right") - 1
    gone = lows - np.cumsum(highs - lows + 1) + (highs - lows + 1)
    hits = _among_separators(patterns, near, starts - gone[behind])
    hits[:, 1:] += moved(lows, highs, hits[:, 1])[:, None]
    return hits


def _among_separators(patterns: Patterns, data: bytes, starts: Ints) -> Ints:
    """Matches in `data` without its separators, where at most `MAX_SEPARATORS` stand in one place."""
    dropped = np.flatnonzero(np.frombuffer(data.translate(_IS_DROPPED), np.bool_))
    hits = patterns.matches(data.translate(None, _DROPPED), starts - np.searchsorted(dropped, starts))
    stood = dropped - np.arange(len(dropped))  # in front of which byte that is left each stood
    separators = np.flatnonzero(np.frombuffer(data.translate(_IS_SEPARATOR), np.bool_))
    before = separators - np.searchsorted(dropped, separators)
    wide = before[MAX_SEPARATORS:][before[MAX_SEPARATORS:] == before[: max(len(before) - MAX_SEPARATORS, 0)]]
    starts, lasts = hits[:, 1], hits[:, 2] - 1
    tight = np.searchsorted(wide, starts, side="right") == np.searchsorted(wide, lasts, side="right")
    kept: Ints = hits[tight]
    kept[:, 1] += np.searchsorted(stood, kept[:, 1], side="right")
    kept[:, 2] += np.searchsorted(stood, kept[:, 2] - 1, side="right")
    return kept
