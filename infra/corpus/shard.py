"""A shard: the stretch of one corpus file that is read in one go, and what of it could not be read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from infra.corpus.address import kind_of

SHARD_BYTES = 32 << 20
MAX_ROW_BYTES = 16 << 20
"""A longer row is set aside: it is no document, and it must not decide how much memory a scan takes."""


class Unusable(Exception):
    """The file holds no text that could be read; its text says why and quotes nothing.

    `detail` is what may be shown to the user alone, such as names of columns.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.detail = detail


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A file of a corpus as it was listed."""

    file: str
    """Relative to the corpus folder."""
    path: str
    """Where the file system has it."""
    bytes: int
    version: str
    """Entity tag or time of change."""

    @property
    def kind(self) -> str | None:
        return kind_of(self.file)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard(SourceFile):
    """A stretch of one file, small enough to be done again; picklable, and enough to be read in another process.

    `begin` and `end` (exclusive) count bytes of text, and row groups of Parquet. A line belongs to the shard in which
    it begins. `bytes` and `version` are of the whole file when it was planned.
    """

    number: int
    """From 0, in reading order."""
    begin: int
    end: int
    rows: int | None = None
    """Known beforehand for Parquet alone."""

    def __str__(self) -> str:
        return f"shard {self.number} ({self.file!r}, {self.begin} to {self.end})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """Something that was set aside, by place and reason and without its content.

    `row` counts from 0 within the file, and within the shard as long as only the shard was read; `byte` is where the
    line begins. `rows` is how many rows are meant, None where nobody knows. `partly`: what stands there was given as a
    row, but not all that it means can be found in it.
    """

    file: str
    reason: str
    rows: int | None
    row: int | None = None
    byte: int | None = None
    partly: bool = False
    detail: str = field(default="", compare=False)
    """For the user's own terminal."""

    def __str__(self) -> str:
        row = "" if self.row is None else f", row {self.row}"
        byte = "" if self.byte is None else f" (byte {self.byte})"
        several = "" if self.rows in (1, None) else f" ({self.rows} rows)"
        return f"{self.file!r}{row}{byte}: {self.reason}{several}{self.detail and f' ({self.detail})'}"


def unread_summary(unread: Iterable[Unread]) -> str:
    """What could not be read, counted, such as "2 rows and 1 file or part of a file"; "" where all was read."""
    entries = list(unread)
    parts = sum(entry.rows is None for entry in entries)
    counted = []
    for partly, extent in ((False, ""), (True, " in part")):
        rows = sum(entry.rows or 0 for entry in entries if entry.partly is partly)
        counted += [f"{rows} row{'' if rows == 1 else 's'}{extent}"] if rows else []
    counted += [f"{parts} file{'s' if parts > 1 else ''} or part{'s' if parts > 1 else ''} of a file"] if parts else []
    return " and ".join(counted)


class UnreadLog:
    """Collects what one shard sets aside: each reason is named a few times and then only counted."""

    NAMED = 20

    def __init__(self, file: str) -> None:
        self._file = file
        self._named: dict[str, list[Unread]] = {}
        self._more: dict[str, int] = {}

    def add(
        self,
        reason: str,
        *,
        rows: int | None = 1,
        row: int | None = None,
        byte: int | None = None,
        partly: bool = False,
    ) -> None:
        named = self._named.setdefault(reason, [])
        if rows is None or len(named) < self.NAMED:
            named.append(Unread(file=self._file, reason=reason, rows=rows, row=row, byte=byte, partly=partly))
        else:
            self._more[reason] = self._more.get(reason, 0) + rows

    def entries(self) -> tuple[Unread, ...]:
        """By reason in the order of their first row; what was only counted stands last."""
        named = [entry for entries in self._named.values() for entry in entries]
        more = [
            Unread(file=self._file, reason=f"{why}, further on", rows=n, partly=self._named[why][0].partly)
            for why, n in self._more.items()
        ]
        return (*named, *more)
