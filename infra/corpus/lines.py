"""Whole lines out of a stretch of a file, in blocks of about a mebibyte and in constant memory.

A line belongs to the stretch in which it begins, so that stretches that cover a file give each line once. A line that
is longer than the bound is passed over in pieces and only its place is told. Lines are cut as they are stored, in any
encoding of `WIDTHS`: a line end counts where a code unit begins, and places are bytes of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from infra.corpus.encoding import MARKS, UTF8, WIDTHS

CHUNK = 1 << 20
_MARK_OF = {encoding: mark for mark, encoding in MARKS.items()}


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines with their ends; only the last line of a file may lack one. `byte`: where the first begins."""

    byte: int
    data: bytes
    encoding: str = UTF8

    def utf8(self) -> bytes | None:
        """All lines as UTF-8 without a byte order mark, None where they do not decode; UTF-8 itself is not checked."""
        data = self.data
        if self.encoding != UTF8:
            try:
                data = data.decode(self.encoding).encode()
            except UnicodeDecodeError:
                return None
        return data.removeprefix(_MARK_OF[UTF8]) if self.byte == 0 else data

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Where each line begins, and the line as it is stored, without its end (LF or CRLF) and the mark."""
        end, carriage = "\n".encode(self.encoding), "\r".encode(self.encoding)
        at = 0
        while at < len(self.data):
            cut = _line_end(self.data, at, end)
            line = self.data[at : cut if cut >= 0 else None]
            body = line.removeprefix(_MARK_OF[self.encoding]) if self.byte + at == 0 else line
            yield self.byte + at, body.removesuffix(carriage) if cut >= 0 else body
            at += len(line) + len(end)


@dataclass(frozen=True, slots=True)
class LongLine:
    """A line of more than the bound, which begins at `byte`."""

    byte: int


def line_blocks(
    file: Any, begin: int, end: int, *, longest: int, tap: Callable[[int, bytes], None], encoding: str = UTF8
) -> Iterator[Block | LongLine]:
    """The lines that begin within a stretch of a file, in order.

    Args:
        file: seekable where `begin` is not 0; read in order from there.
        begin: first byte of the stretch.
        end: byte after the stretch. What begins or ends within a code unit begins or ends after it.
        longest: bytes of the longest line that is held in memory; one of up to `CHUNK` more may still be in a block.
        tap: told every piece that was read, with its place; together these cover the whole stretch, and possibly more.
        encoding: a key of `WIDTHS`.
    """
    cutter = _Cutter(begin, end, longest, encoding)
    if begin:
        file.seek(cutter.at)
    while not cutter.done and (chunk := file.read(CHUNK)):
        tap(cutter.at, chunk)
        yield from cutter.add(chunk)
    yield from cutter.rest()


class _Cutter:
    """Cuts what is read, piece by piece, after the last whole line. `at`: how far the file was read."""

    def __init__(self, begin: int, end: int, longest: int, encoding: str) -> None:
        self._encoding, self._newline = encoding, "\n".encode(encoding)
        self._width = WIDTHS[encoding]
        begin, self._end = begin + -begin % self._width, end + -end % self._width
        self.at, self.done = max(begin - self._width, 0), False
        self._longest = longest + len(_MARK_OF[encoding]) + self._width  # the mark and CR are not of the row
        self._held = self._odd = b""
        self._passing = begin > 0  # the line that holds the unit before `begin` is another stretch's

    def add(self, chunk: bytes) -> Iterator[Block | LongLine]:
        self.at += len(chunk)
        chunk = self._odd + chunk
        whole = len(chunk) - len(chunk) % self._width
        chunk, self._odd = chunk[:whole], chunk[whole:]
        if self._passing:
            found = _line_end(chunk, 0, self._newline)
            data, self._passing = chunk[found + self._width :] if found >= 0 else b"", found < 0
        else:
            data = self._held + chunk
        first = self.at - len(self._odd) - len(data)
        cut, self.done = self._whole(data, self._end - first)
        if cut:
            yield Block(first, data[:cut], self._encoding)
        self._held = b"" if self.done else data[cut:]
        if len(self._held) > self._longest:
            yield LongLine(first + cut)
            self._held, self._passing, self.done = b"", True, self.at - len(self._odd) >= self._end

    def rest(self) -> Iterator[Block]:
        """The last line of a file that ends without a line end."""
        left = self._held if self.done or self._passing else self._held + self._odd
        if left:
            yield Block(self.at - len(left), left, self._encoding)

    def _whole(self, data: bytes, room: int) -> tuple[int, bool]:
        """How many bytes are whole lines that begin within the first `room` bytes; whether no other begins there."""
        if room <= 0:
            return 0, True
        last = _line_end(data, room - self._width, self._newline)
        if last >= 0:
            return last + self._width, True
        return _last_line_end(data, self._newline) + self._width, False


def _line_end(data: bytes, at: int, newline: bytes) -> int:
    """Where the first line end at or after `at` stands in whole code units, or -1."""
    found = data.find(newline, at)
    while found >= 0 and found % len(newline):
        found = data.find(newline, found + 1)
    return found


def _last_line_end(data: bytes, newline: bytes) -> int:
    """Where the last one stands; minus a unit where there is none, so that nothing lies before its end."""
    found = data.rfind(newline)
    while found >= 0 and found % len(newline):
        found = data.rfind(newline, 0, found + len(newline) - 1)
    return found if found >= 0 else -len(newline)
