"""One column of text out of Parquet files: the footer when planning, runs of row groups when reading."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from infra.corpus.rows import Rows, column_rows
from infra.corpus.shard import Unusable

DAMAGED = "no whole Parquet file (cut short or damaged)"
BATCH_BYTES = 1 << 20
_BATCH_ROWS = 1 << 16
_BUFFER = 1 << 20
"""Pages come through a buffer of this size, so that a row group may be larger than memory."""


@dataclass(frozen=True, slots=True)
class RowGroup:
    """What a footer gives of one row group: its rows, and the bytes of the text column when decompressed."""

    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Gap:
    """Consecutive rows that cannot be read."""

    rows: int
    reason: str


def row_groups(file: Any, column: str) -> list[RowGroup]:
    """The row groups of a file, from its footer.

    Raises:
        Unusable: the footer is damaged, or `column` is missing or no column of strings.
    """
    reader = _reader(file)
    _check_column(reader.schema_arrow, column)
    groups = (reader.metadata.row_group(number) for number in range(reader.metadata.num_row_groups))
    return [RowGroup(group.num_rows, _text_bytes(group, column)) for group in groups]


def parquet_rows(file: Any, begin: int, end: int, column: str, longest: int) -> Iterator[tuple[int | None, Rows | Gap]]:
    """The rows of row groups `begin` to `end` (exclusive), with the row group's number where one begins.

    What is damaged in a row group costs the rest of that one alone.

    Raises:
        Unusable: as `row_groups`.
    """
    reader = _reader(file)
    _check_column(reader.schema_arrow, column)
    for number in range(begin, end):
        group, done = reader.metadata.row_group(number), 0
        size = max(1, min(_BATCH_ROWS, BATCH_BYTES * group.num_rows // max(_text_bytes(group, column), 1)))
        for array in _arrays(reader, number, column, size):
            yield None if done else number, column_rows(array, column, longest)
            done += len(array)
        if done < group.num_rows:
            yield None if done else number, Gap(group.num_rows - done, DAMAGED)


def _arrays(reader: Any, number: int, column: str, size: int) -> Iterator[Any]:
    """The column in one row group, up to what is damaged."""
    import pyarrow as pa

    try:
        for batch in reader.iter_batches(size, row_groups=[number], columns=[column], use_threads=False):
            yield batch.column(0)
    except (pa.ArrowException, OSError) as error:  # its text may hold data
        if isinstance(error, OSError) and error.errno is not None:
            raise


def _reader(file: Any) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(file, buffer_size=_BUFFER, pre_buffer=False, page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise Unusable(DAMAGED) from None


def _check_column(schema: Any, column: str) -> None:
    if column not in schema.names:
        raise Unusable(f"no text column {column!r}", f"columns: {', '.join(map(repr, schema.names))}")
    if schema.names.count(column) > 1:
        raise Unusable(f"several columns {column!r}")
    kind = schema.field(column).type
    if not _is_text(kind):
        raise Unusable(f"column {column!r} is {kind}, not string")


def _is_text(kind: Any) -> bool:
    import pyarrow.types as types

    value = kind.value_type if types.is_dictionary(kind) else kind
    return bool(types.is_string(value) or types.is_large_string(value) or types.is_string_view(value))


def _text_bytes(group: Any, column: str) -> int:
    chunks = (group.column(number) for number in range(group.num_columns))
    return sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema == column)
