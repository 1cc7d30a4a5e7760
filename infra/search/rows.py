"""Rows of text as one piece of UTF-8: no Python string is made of a row in which nothing is found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

END = 0xFF
"""The byte after each row: no UTF-8 holds it."""
_END = bytes([END])


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Consecutive rows; row i is `data[bounds[i] : bounds[i + 1] - 1]`, and `END` stands after it."""

    data: bytes = field(repr=False)
    bounds: npt.NDArray[np.int64] = field(repr=False)

    @classmethod
    def of(cls, texts: Sequence[str]) -> Rows:
        """These texts, which may hold lone surrogates."""
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        bounds = np.cumsum([0, *(len(text) + 1 for text in encoded)], dtype=np.int64)
        return cls(data=_END.join([*encoded, b""]), bounds=bounds)

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def text(self, number: int) -> str:
        """Row `number` as a string."""
        return self.data[self.bounds[number] : self.bounds[number + 1] - 1].decode("utf-8", "surrogatepass")

    def containing(self, places: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The numbers of the rows in which these bytes of `data` stand."""
        return np.searchsorted(self.bounds, places, side="right") - 1

    def and_also(self, texts: Sequence[str]) -> Rows:
        """These rows, and the texts as further ones after them."""
        more = Rows.of(texts)
        bounds = np.concatenate([self.bounds, more.bounds[1:] + len(self.data)])
        return Rows(data=self.data + more.data, bounds=bounds)


def of_texts(texts: Sequence[str], characters: int) -> Iterator[tuple[int, Rows]]:
    """The texts in portions of about so many characters or of one text; each with the number of its first."""
    first, size = 0, 0
    for number, text in enumerate(texts):
        if size + len(text) > characters and number > first:
            yield first, Rows.of(texts[first:number])
            first, size = number, 0
        size += len(text)
    if first < len(texts):
        yield first, Rows.of(texts[first:])


def of_array(array: Any, size: int) -> Iterator[tuple[int, Rows]]:
    """The same of a pyarrow array of strings, in portions of about `size` bytes; null is an empty row."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not len(array):
        return
    array = array.cast(pa.large_binary())
    if array.null_count:
        array = array.fill_null(b"")
    offsets = np.frombuffer(array.buffers()[1], np.int64)[array.offset : array.offset + len(array) + 1]
    listed = pa.list_(pa.large_binary())
    # made of buffers, because pyarrow imports pandas to look at a value of Python
    end_of_row = pa.Array.from_buffers(
        pa.large_binary(), 1, [None, pa.py_buffer(np.array([0, 1])), pa.py_buffer(_END)]
    )[0]
    first = 0
    while first < len(array):
        end = max(int(np.searchsorted(offsets, offsets[first] + size, side="right")) - 1, first + 1)
        edges = [None, pa.py_buffer(np.array([0, end - first], np.int32))]
        rows = pa.Array.from_buffers(listed, 1, edges, children=[array.slice(first, end - first)])
        bounds = offsets[first : end + 1] - offsets[first] + np.arange(end - first + 1)
        yield first, Rows(data=pc.binary_join(rows, end_of_row)[0].as_py() + _END, bounds=bounds)
        first = end
