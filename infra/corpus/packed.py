"""Files read in order whose first bytes were looked at, and what gzip files hold."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from typing import Any

from infra.corpus.encoding import GZIP, HEAD, form_of
from infra.corpus.shard import Unusable

CUT_GZIP = "no whole gzip file (cut short or damaged)"


def unpacked(handle: Any, size: int, tap: Callable[[int, bytes], None]) -> tuple[Any, str]:
    """What a gzip file holds, to be read, and its encoding."""
    inside = Peeked(_Unpacked(handle, tap))
    form = form_of(inside.head, size)
    if form == GZIP:
        raise Unusable(f"a gzip file inside a gzip file, {size:,} bytes, not text")
    return inside, form


class Peeked:
    """A file read in order, whose first bytes were looked at."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self.head: bytes = handle.read(HEAD)
        self._at = 0

    def read(self, size: int) -> bytes:
        data = self.head[self._at : self._at + size]
        if len(data) < size:
            data += self._handle.read(size - len(data))
        self._at += len(data)
        return data

    def tell(self) -> int:
        return self._at


class _Unpacked:
    """What a gzip file holds, its own bytes told to the tap; one that was cut short gives all that came before."""

    def __init__(self, handle: Any, tap: Callable[[int, bytes], None]) -> None:
        self._file = gzip.GzipFile(mode="rb", fileobj=_Tee(handle, tap))
        self._cut = False

    def read(self, size: int) -> bytes:
        parts: list[bytes] = []
        try:
            while size > 0 and not self._cut and (part := self._file.read1(size)):
                parts.append(part)
                size -= len(part)
        except (gzip.BadGzipFile, EOFError, zlib.error):
            self._cut = True
        if self._cut and not parts:
            raise Unusable(CUT_GZIP)
        return b"".join(parts)


class _Tee:
    """A file whose reader is listened to."""

    def __init__(self, handle: Any, tap: Callable[[int, bytes], None]) -> None:
        self._handle, self._tap = handle, tap

    def read(self, size: int = -1) -> bytes:
        at = self._handle.tell()
        data: bytes = self._handle.read(size)
        self._tap(at, data)
        return data

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self._handle.seek(offset, whence))
