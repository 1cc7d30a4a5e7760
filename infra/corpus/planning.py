"""Cutting a corpus into shards without reading its text: file sizes, and the footers of Parquet files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial

from infra.corpus.parquet import RowGroup, row_groups
from infra.corpus.shard import MAX_ROW_BYTES, SHARD_BYTES, Shard, SourceFile, Unread, Unusable
from infra.corpus.source import Changed, Listing, listing, opened
from revs.errors import BadInput

_FOOTERS_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Listing):
    """The files of a corpus and the shards they are cut into. `unread`: files that no shard could be planned for."""

    source: str
    text_column: str
    longest: int
    shards: tuple[Shard, ...]

    def place(self, file: str) -> str:
        """A file by its number, for messages that are recorded: names of files may be data themselves."""
        number = next((number for number, each in enumerate(self.files, start=1) if each.file == file), 0)
        return f"file {number} of {len(self.files)}"


def plan(
    source: str, *, text_column: str = "text", shard_bytes: int = SHARD_BYTES, longest: int = MAX_ROW_BYTES
) -> Plan:
    """Plan how a corpus is read.

    Args:
        source: file, folder or address (infra/corpus/source.py).
        text_column: name of the column with the text, in JSON Lines and Parquet.
        shard_bytes: bytes of text in a shard, 1 or more; a row group of Parquet is never split.
        longest: bytes of the longest row that is read, 1 or more.

    Raises:
        BadInput: there is no corpus at `source`, or a number is below 1.
    """
    if shard_bytes < 1 or longest < 1:
        raise BadInput(f"shards of {shard_bytes} bytes and rows of at most {longest}: both must be 1 or more")
    found = listing(source)
    with ThreadPoolExecutor(_FOOTERS_AT_ONCE) as pool:
        parts = list(pool.map(partial(_shards_of, source, text_column, shard_bytes), found.files))
    shards = [shard for part in parts if not isinstance(part, Unread) for shard in part]
    return Plan(
        source=source,
        name=found.name,
        text_column=text_column,
        longest=longest,
        files=found.files,
        shards=tuple(replace(shard, number=number) for number, shard in enumerate(shards)),
        unread=(*found.unread, *(part for part in parts if isinstance(part, Unread))),
        ignored=found.ignored,
    )


def _shards_of(source: str, text_column: str, shard_bytes: int, file: SourceFile) -> list[Shard] | Unread:
    if file.kind != "parquet":
        step = max(file.bytes, 1) if str(file.kind).endswith(".gz") else shard_bytes
        cuts = range(0, max(file.bytes, 1), step)
        return [_shard(file, begin, min(begin + step, file.bytes), None) for begin in cuts]
    try:
        with opened(source, file) as handle:
            groups = row_groups(handle, text_column)
    except Unusable as error:
        return Unread(file=file.file, reason=str(error), rows=None, detail=error.detail)
    except OSError as error:
        return Unread(file=file.file, reason=why(error), rows=None)
    starts = list(_runs(groups, shard_bytes))
    ends = [*starts[1:], len(groups)]
    return [
        _shard(file, begin, end, sum(group.rows for group in groups[begin:end]))
        for begin, end in zip(starts, ends, strict=True)
    ]


def why(error: OSError) -> str:
    """Why a file could not be read, without its name or content."""
    if isinstance(error, Changed):
        return "changed between planning and reading"
    if isinstance(error, FileNotFoundError):
        return "vanished between planning and reading"
    return f"cannot be read ({error.strerror})"


def _runs(groups: Iterable[RowGroup], shard_bytes: int) -> Iterator[int]:
    """The first row group of each run that reaches `shard_bytes`; at least one run."""
    yield 0
    size = 0
    for number, group in enumerate(groups):
        if size >= shard_bytes:
            yield number
            size = 0
        size += group.bytes


def _shard(file: SourceFile, begin: int, end: int, rows: int | None) -> Shard:
    return Shard(**asdict(file), number=0, begin=begin, end=end, rows=rows)
