"""Reading one shard: batches of rows in constant memory, and afterwards what was read and what was not.

A function of source, shard and text column alone, so that a shard can be read by any process that reaches the source.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from infra.corpus.encoding import GZIP, HEAD, form_of
from infra.corpus.lines import LongLine, line_blocks
from infra.corpus.packed import CUT_GZIP, Peeked, unpacked
from infra.corpus.parquet import Gap, parquet_rows
from infra.corpus.planning import why
from infra.corpus.rows import TOO_LONG, RowDigest, Rows, holds_text, jsonl_rows, rows_with_nul, text_rows
from infra.corpus.shard import MAX_ROW_BYTES, Shard, SourceFile, Unread, UnreadLog, Unusable
from infra.corpus.source import first_bytes, opened

HOLDS_NUL = "holds NUL characters, which may part what stands there"
_HASHED_AT_ONCE = 1 << 20


_Piece = tuple[int | None, Rows | Gap | LongLine]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Consecutive rows of one shard, about a mebibyte of them.

    `array` is a pyarrow large_string array of valid UTF-8, null where a row was set aside; `first` is the number of its
    first row within the shard. Iteration gives (row within the shard, text) and leaves out what was set aside.
    """

    first: int
    array: Any

    def __len__(self) -> int:
        return len(self.array)

    def __iter__(self) -> Iterator[tuple[int, str]]:
        rows = enumerate(self.array.to_pylist(), start=self.first)
        return rows if self.array.null_count == 0 else ((row, text) for row, text in rows if text is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardSurvey:
    """What a shard holds: evidence, and small enough to be a task's result. Rows set aside are counted in `rows`."""

    shard: Shard
    rows: int
    digest: str
    """SHA-256 over the rows (infra/corpus/rows.py)."""
    has_text: bool
    intact: bool
    """Whether the file was, before and after, the one that was planned, and was there to be read.

    Where it was not, trying again may help; what is damaged in a file that is intact stays so.
    """
    sha256: str | None
    """Of the whole file's bytes, where they came by; None otherwise."""
    marks: tuple[tuple[int, int], ...]
    """Places from which reading can start again: a row within the shard, and the byte or row group it begins at."""
    unread: tuple[Unread, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, without any text."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ShardSurvey:
        """What `to_dict` wrote."""
        made: dict[str, Any] = {
            "shard": Shard(**data["shard"]),
            "marks": tuple((row, place) for row, place in data["marks"]),
            "unread": tuple(Unread(**unread) for unread in data["unread"]),
        }
        return cls(**{**data, **made})


class ShardReader:
    """The rows of one shard, to be iterated over once: the batches first, then `.survey` is known.

    Nothing that is wrong with the file ends in an exception.

    Args:
        source: the address that the shard was planned for.
        shard: what to read.
        text_column: as it was planned.
        longest: bytes of the longest row that is not set aside.
        hasher: SHA-256 of the file's bytes up to this shard, where the shards of a text file are read in order.
    """

    def __init__(
        self, source: str, shard: Shard, *, text_column: str = "text", longest: int = MAX_ROW_BYTES, hasher: Any = None
    ) -> None:
        self.shard = shard
        self._source, self._column, self._longest = source, text_column, longest
        is_text = shard.kind != "parquet"
        self._hasher = hasher if not is_text or hasher or shard.begin else hashlib.sha256()
        self._log, self._digest = UnreadLog(shard.file), RowDigest()
        self._marks: list[tuple[int, int]] = []
        self._rows, self._has_text, self._intact, self._done = 0, False, False, False

    def __iter__(self) -> Iterator[Batch]:
        shard = self.shard
        try:
            with opened(self._source, shard) as handle:
                for piece in self._pieces(handle):
                    yield from self._taken(*piece)
            self._intact = True
        except Unusable as error:  # it is the planned file, but not all of its bytes came by
            self._intact, self._hasher = True, None
            if not shard.begin or shard.rows is not None:  # what is no text is named once, not in each of its shards
                self._set_aside_the_rest(str(error))
        except OSError as error:
            self._set_aside_the_rest(why(error))
        self._done = True

    @property
    def survey(self) -> ShardSurvey:
        """What was read; known once the iteration has come to its end."""
        assert self._done, f"{self.shard} was not read to its end"
        hashed = self._intact and self._hasher is not None and self.shard.end == self.shard.bytes
        return ShardSurvey(
            shard=self.shard,
            rows=self._rows,
            digest=self._digest.hexdigest(),
            has_text=self._has_text,
            intact=self._intact,
            sha256=self._hasher.hexdigest() if hashed else None,
            marks=tuple(self._marks),
            unread=self._log.entries(),
        )

    def read_through(self) -> ShardSurvey:
        """Read it to its end for the survey alone."""
        for _ in self:
            pass
        return self.survey

    def _pieces(self, handle: Any) -> Iterator[_Piece]:
        """The shard's rows piece by piece, each with where it begins, if reading can start there."""
        shard, longest = self.shard, self._longest
        tap: Callable[[int, bytes], None] = self._tap
        if shard.kind == "parquet":
            yield from parquet_rows(handle, shard.begin, shard.end, self._column, longest)
            return
        handle, form = self._looked_at(handle)
        begin, end, packed = shard.begin, shard.end, form == GZIP
        if packed:
            if shard.begin or shard.end < shard.bytes:  # named as if it were plain, and cut so
                self._hasher = None
            if shard.begin:
                return
            (handle, form), begin, end, tap = unpacked(handle, shard.bytes, tap), 0, sys.maxsize, _nothing
        for block in line_blocks(handle, begin, end, longest=longest, tap=tap, encoding=form):
            mark = None if packed else block.byte
            if isinstance(block, LongLine):
                yield mark, block
            elif str(shard.kind).startswith("jsonl"):
                yield mark, jsonl_rows(block, self._column, longest)
            else:
                yield mark, text_rows(block, longest)

    def _looked_at(self, handle: Any) -> tuple[Any, str]:
        """The handle, to be read from the shard's beginning, and what the file is by its first bytes."""
        shard = self.shard
        if shard.begin:
            handle.seek(shard.begin)  # what cannot be sought in is not read again for its head
            return handle, form_of(first_bytes(self._source, shard, HEAD), shard.bytes)
        peeked = Peeked(handle)
        if peeked.head and not shard.bytes:
            raise Unusable("holds more than the 0 bytes that the file system tells")
        if not peeked.head and str(shard.kind).endswith(".gz"):
            raise Unusable(CUT_GZIP)
        return peeked, form_of(peeked.head, shard.bytes)

    def _taken(self, mark: int | None, rows: Rows | Gap | LongLine) -> Iterator[Batch]:
        if mark is not None:
            self._marks.append((self._rows, mark))
        if isinstance(rows, Gap):
            self._skip(rows.rows, rows.reason)
        elif isinstance(rows, LongLine):
            self._skip(1, TOO_LONG.format(self._longest), rows.byte)
        elif len(rows.array):
            for index, byte, reason in rows.bad:
                self._log.add(reason, row=self._rows + index, byte=byte)
            for index in rows_with_nul(rows.array):
                self._log.add(HOLDS_NUL, row=self._rows + int(index), partly=True)
            self._digest.update(rows.array)
            self._has_text = self._has_text or holds_text(rows.array)
            batch = Batch(self._rows, rows.array)
            self._rows += len(batch)
            yield batch

    def _skip(self, rows: int, reason: str, byte: int | None = None) -> None:
        self._log.add(reason, rows=rows, row=self._rows, byte=byte)
        self._digest.skip(rows)
        self._rows += rows

    def _set_aside_the_rest(self, reason: str) -> None:
        left = (self.shard.rows or 0) - self._rows
        if left > 0:
            self._skip(left, reason)
        else:
            self._log.add(reason, rows=None, row=self._rows)

    def _tap(self, at: int, data: bytes) -> None:
        """Hash what belongs to this shard of the bytes that were read for it."""
        if self._hasher is not None:
            begin, end = self.shard.begin, self.shard.end
            whole = begin <= at and at + len(data) <= end
            self._hasher.update(data if whole else data[max(begin - at, 0) : max(end - at, 0)])


def file_digest(source: str, file: SourceFile) -> str | None:
    """SHA-256 over the bytes of a file; None if it is no longer the one that was listed, or cannot be read."""
    sha256 = hashlib.sha256()
    try:
        with opened(source, file) as handle:
            while chunk := handle.read(_HASHED_AT_ONCE):
                sha256.update(chunk)
    except OSError:
        return None
    return sha256.hexdigest()


def _nothing(_at: int, _data: bytes) -> None:
    """The bytes of a packed file are hashed as they are stored, not as they unpack."""
