"""Whole lines out of a stretch of a file, in blocks of about a mebibyte and in constant memory.

A line belongs to the stretch in which it begins, so that stretches that cover a file give each line once. A line that
is longer than the bound is passed over in pieces and only its place is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

CHUNK = 1 << 20
BOM = b"\xef\xbb\xbf"
_NOT_OF_THE_ROW = len(BOM) + len(b"\r")


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines with their ends; only the last line of a file may lack one. `byte`: where the first begins."""

    byte: int
    data: bytes

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Where each line begins, and the line without its end (LF or CRLF) and without a byte order mark."""
        byte = self.byte
        for line in BytesIO(self.data):
            body = line.removeprefix(BOM) if byte == 0 else line
            yield byte, body[:-2] if body.endswith(b"\r\n") else body.removesuffix(b"\n")
            byte += len(line)


@dataclass(frozen=True, slots=True)
class LongLine:
    """A line of more than the bound, which begins at `byte`."""

    byte: int


def line_blocks(
    file: Any, begin: int, end: int, *, longest: int, tap: Callable[[int, bytes], None]
) -> Iterator[Block | LongLine]:
    """The lines that begin within a stretch of a file, in order.

    Args:
        file: seekable where `begin` is not 0; read in order from there.
        begin: first byte of the stretch.
        end: byte behind the stretch.
        longest: bytes of the longest line that is held in memory; one of up to `CHUNK` more may still be in a block.
        tap: told every piece that was read, with its place; together these cover the whole stretch, and possibly more.
    """
    cutter = _Cutter(begin, end, longest)
    if begin:
        file.seek(cutter.at)
    while not cutter.done and (chunk := file.read(CHUNK)):
        tap(cutter.at, chunk)
        yield from cutter.add(chunk)
    yield from cutter.rest()


class _Cutter:
    """Cuts what is read, piece by piece, behind the last whole line. `at`: how far the file was read."""

    def __init__(self, begin: int, end: int, longest: int) -> None:
        self.at, self.done = max(begin - 1, 0), False
        self._end, self._longest = end, longest
        self._held = b""
        self._passing = begin > 0  # the line that holds the byte before `begin` is another stretch's

    def add(self, chunk: bytes) -> Iterator[Block | LongLine]:
        self.at += len(chunk)
        if self._passing:
            cut = chunk.find(b"\n") + 1
            data, self._passing = chunk[cut:] if cut else b"", not cut
        else:
            data = self._held + chunk
        first = self.at - len(data)
        cut, self.done = _whole(data, self._end - first)
        if cut:
            yield Block(first, data[:cut])
        self._held = b"" if self.done else data[cut:]
        if len(self._held) > self._longest + _NOT_OF_THE_ROW:
            yield LongLine(first + cut)
            self._held, self._passing, self.done = b"", True, self.at >= self._end

    def rest(self) -> Iterator[Block]:
        """The last line of a file that ends without a line end."""
        if self._held:
            yield Block(self.at - len(self._held), self._held)


def _whole(data: bytes, room: int) -> tuple[int, bool]:
    """How many bytes are whole lines that begin within the first `room` bytes, and whether no other begins there."""
    if room <= 0:
        return 0, True
    last = data.find(b"\n", room - 1)
    return (last + 1, True) if last >= 0 else (data.rfind(b"\n") + 1, False)
