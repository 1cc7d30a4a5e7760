"""What is sought, ready to be found: an automaton over all forms, asked only about stretches where one may begin.

An Aho-Corasick automaton reads about 40 MB/s with 10⁵ patterns and 10 MB/s with 10⁶: its states no longer fit in the
caches. Nearly all of a text can be ruled out for less. A match begins where a word begins, so at each such place the
next bytes (the whole of a form of 4 to 7 bytes, else its first 8 or 12) are hashed into a table that holds the length
of the longest form with this hash, 0 where there is none. Which of these tables need be asked is told by one more, of
the first 4 bytes. What is left, from the place on for that length, is read by the automaton, which decides. No form is
missed, and where all of a text is left the speed is the automaton's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from infra.search.folding import ROW_END

KEY_BYTES = (4, 5, 6, 7, 8, 12)
"""How many first bytes of a form are hashed: the largest of these that it has."""
PADDING = ROW_END.encode() * KEY_BYTES[-1]
_SLOTS = (12, 26)
"""Least and most binary digits of a slot number."""
_SPARSE = 5
"""With so many more binary digits than the number of forms has, at most 1 slot in 32 is taken."""
_LONG = 0xFF
"""Stands for the length of the longest form."""
_ODD_NUMBERS = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """What is known of the forms whose first `key` bytes have a hash: 0 where there is none with this hash."""

    key: int
    shift: np.uint64
    known: npt.NDArray[np.uint8]

    @classmethod
    def empty(cls, key: int, forms: int) -> _Table:
        digits = min(max(forms.bit_length() + _SPARSE, _SLOTS[0]), _SLOTS[1])
        return cls(key=key, shift=np.uint64(64 - digits), known=np.zeros(1 << digits, np.uint8))

    def slots(self, low: Words, high: Words) -> Ints:
        """The slot of each of these first bytes, given as two numbers: the first eight, and those from the fifth on."""
        return _slots(low, high, self.key, self.shift)


class Patterns:
    """Byte strings, each at least `KEY_BYTES[0]` long and without `ROW_END`, sought together; equal ones each match."""

    def __init__(self, forms: Sequence[bytes]) -> None:
        from ahocorasick_rs import BytesAhoCorasick, Implementation

        # a DFA is faster on few patterns and grows beyond bounds on many
        self._automaton: Any = BytesAhoCorasick(forms, implementation=Implementation.ContiguousNFA)
        self.first_bytes = bytes({form[0] for form in forms})
        self.first_pairs = frozenset(form[:2] for form in forms)
        self.longest = max(map(len, forms))
        self._prefixes, self._tables = _tables(forms)

    def matches(self, data: bytes, starts: Ints) -> Ints:
        """Pattern, start and end (N×3) of every form that begins at one of `starts`; others may be among them.

        Args:
            data: folded text that ends in `PADDING`.
            starts: places in it, ascending.
        """
        starts, reaches = self._reaches(data, starts)
        if not len(starts):
            return np.empty((0, 3), np.int64)
        lows, highs = stretches(starts, reaches, len(data))
        text = joined(data, lows, highs)
        hits = np.array(self._automaton.find_matches_as_indexes(text, overlapping=True), np.int64).reshape(-1, 3)
        hits[:, 1:] += moved(lows, highs, hits[:, 1])[:, None]
        return hits

    def _reaches(self, data: bytes, starts: Ints) -> tuple[Ints, Ints]:
        """The starts at which a form may begin, and how far from each it may reach, in bytes."""
        low = words_at(data, starts)
        asked = self._prefixes.known[self._prefixes.slots(low, low)]
        kept = np.flatnonzero(asked)
        starts, low, asked = starts[kept], low[kept], asked[kept]
        high = words_at(data, starts + 4)
        reaches = np.zeros(len(starts), np.uint8)
        for number, table in enumerate(self._tables):
            here = np.flatnonzero(asked & np.uint8(1 << number))
            reaches[here] = np.maximum(reaches[here], table.known[table.slots(low[here], high[here])])
        kept = np.flatnonzero(reaches)
        found = reaches[kept].astype(np.int64)
        return starts[kept], np.where(found == _LONG, self.longest, found)


def _tables(forms: Sequence[bytes]) -> tuple[_Table, list[_Table]]:
    """Which tables hold a form with these first four bytes, one binary digit for each, and these tables."""
    lengths = np.fromiter(map(len, forms), np.int64, len(forms))
    offsets = np.cumsum(lengths) - lengths
    blob = b"".join(forms) + PADDING
    low, high = words_at(blob, offsets), words_at(blob, offsets + 4)
    prefixes = _Table.empty(KEY_BYTES[0], len(np.unique(low & np.uint64(0xFFFFFFFF))))
    tables: list[_Table] = []
    for key, longer in pairwise((*KEY_BYTES, np.inf)):
        chosen = np.flatnonzero((lengths >= key) & (lengths < longer))
        if len(chosen):
            of = low[chosen], high[chosen]
            table = _Table.empty(int(key), len(chosen))
            np.maximum.at(table.known, table.slots(*of), np.minimum(lengths[chosen], _LONG).astype(np.uint8))
            prefixes.known[prefixes.slots(*of)] |= np.uint8(1 << len(tables))
            tables.append(table)
    return prefixes, tables


def words_at(data: bytes, places: Ints) -> Words:
    """The eight bytes at each place as one number."""
    overlapping: Words = np.ndarray((max(len(data) - 7, 0),), "<u8", data, 0, (1,))
    return overlapping[places]


def _slots(low: Words, high: Words, key: int, shift: np.uint64) -> Ints:
    if key < 8:
        low = low & np.uint64((1 << (8 * key)) - 1)
    mixed = low * _ODD_NUMBERS[0]
    if key > 8:
        mixed = (mixed ^ (mixed >> np.uint64(32))) + high * _ODD_NUMBERS[1]
    return (mixed >> shift).astype(np.int64)


def stretches(starts: Ints, reaches: Ints, end: int) -> tuple[Ints, Ints]:
    """The union of `[start, start + reach)` as separate stretches, cut at `end`."""
    ends = np.maximum.accumulate(np.minimum(starts + reaches, end))
    first = np.concatenate([[True], starts[1:] > ends[:-1]])
    last = np.concatenate([first[1:], [True]])
    return starts[first], ends[last]


def moved(lows: Ints, highs: Ints, places: Ints) -> Ints:
    """How much further on in the data each of the places of what was `joined` stands."""
    starts = np.cumsum(highs - lows + 1) - (highs - lows + 1)
    offsets: Ints = (lows - starts)[np.searchsorted(starts, places, side="right") - 1]
    return offsets


def joined(data: bytes, lows: Ints, highs: Ints) -> bytes:
    """The stretches of `data`, with `ROW_END` between them."""
    return ROW_END.encode().join([data[low:high] for low, high in zip(lows.tolist(), highs.tolist(), strict=True)])
