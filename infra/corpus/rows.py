"""Rows of text as Arrow arrays: what is text is kept, what is not becomes null and is named with the reason."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from infra.corpus.lines import BOM, Block
from infra.corpus.shard import MAX_ROW_BYTES

NOT_UTF8 = "not UTF-8"
TOO_LONG = "longer than {} bytes"
_SKIPPED_AT_ONCE = 1 << 16


@dataclass(frozen=True, slots=True)
class Rows:
    """Consecutive rows: a large_string array, null where `bad` gives the index, the byte of the line and the reason."""

    array: Any
    bad: tuple[tuple[int, int | None, str], ...] = ()


def text_rows(block: Block, longest: int = MAX_ROW_BYTES) -> Rows:
    """Every line is a row, empty ones too."""
    import numpy as np
    import pyarrow as pa

    data = block.data.removeprefix(BOM) if block.byte == 0 else block.data
    data = data.replace(b"\r\n", b"\n") if b"\r" in data else data
    data = data if data.endswith(b"\n") else data + b"\n"
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))
    offsets = np.concatenate([[0], ends - np.arange(len(ends))]).astype(np.int64)
    buffers = pa.py_buffer(offsets.tobytes()), pa.py_buffer(data.replace(b"\n", b""))
    array = pa.LargeStringArray.from_buffers(len(ends), *buffers)
    if _all_text(array, longest):
        return Rows(array)
    return _gathered((byte, _utf8(line, longest)) for byte, line in block.lines())


def jsonl_rows(block: Block, column: str, longest: int = MAX_ROW_BYTES) -> Rows:
    """Every line that is not blank is a row."""
    import orjson
    import pyarrow as pa

    if len(block.data) <= longest:
        loads = orjson.loads
        try:
            lines = block.data.split(b"\n")
            array = pa.array([loads(line)[column] for line in lines if line and not line.isspace()], pa.large_string())
            if array.null_count == 0:
                return Rows(array)
        except (ValueError, LookupError, TypeError, pa.ArrowException):
            pass  # line by line, to name those that are bad
    lines_of_text = ((byte, line) for byte, line in block.lines() if len(line) > longest or line.strip())
    return _gathered((byte, _record(line, column, longest)) for byte, line in lines_of_text)


def column_rows(array: Any, name: str, longest: int = MAX_ROW_BYTES) -> Rows:
    """Rows of a column of strings as Parquet has them: perhaps null, perhaps not UTF-8."""
    import pyarrow as pa

    plain = array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
    encoded = plain.cast(pa.large_binary())
    array = pa.LargeStringArray.from_buffers(len(encoded), *encoded.buffers()[1:], offset=encoded.offset)
    if encoded.null_count == 0 and _all_text(array, longest):
        return Rows(array)
    texts = encoded.to_pylist()
    return _gathered((None, f"{name!r} is null" if text is None else _utf8(text, longest)) for text in texts)


class RowDigest:
    """SHA-256 over rows, each as its length (8 bytes, big endian) and its UTF-8; an unread row has length 2⁶⁴ − 1."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()

    def update(self, array: Any) -> None:
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        rows = array.cast(pa.large_binary())
        lengths = pc.fill_null(pc.binary_length(rows), -1).to_numpy().astype(">i8").tobytes()
        prefixes = pa.FixedSizeBinaryArray.from_buffers(pa.binary(8), len(rows), [None, pa.py_buffer(lengths)])
        empty = pa.scalar(b"", pa.large_binary())
        joined = pc.binary_join_element_wise(prefixes.cast(pa.large_binary()), rows.fill_null(b""), empty)
        if len(joined):
            _, offsets, data = joined.buffers()
            self._sha256.update(memoryview(data)[: np.frombuffer(offsets, np.int64)[len(joined)]])

    def skip(self, rows: int) -> None:
        for begin in range(0, rows, _SKIPPED_AT_ONCE):
            self._sha256.update(b"\xff" * 8 * min(_SKIPPED_AT_ONCE, rows - begin))

    def hexdigest(self) -> str:
        return self._sha256.hexdigest()


def holds_text(array: Any) -> bool:
    """Whether any row is more than white space."""
    return any(text and not text.isspace() for text in array.to_pylist())


def _all_text(array: Any, longest: int) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        array.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return len(array) == 0 or pc.max(pc.binary_length(array)).as_py() <= longest


def _gathered(rows: Iterable[tuple[int | None, bytes | str]]) -> Rows:
    """Rows one by one: bytes are text, a string is the reason why there is none."""
    import pyarrow as pa

    texts: list[bytes | None] = []
    bad: list[tuple[int, int | None, str]] = []
    for index, (byte, row) in enumerate(rows):
        if isinstance(row, str):
            bad.append((index, byte, row))
        texts.append(row if isinstance(row, bytes) else None)
    return Rows(pa.array(texts, pa.large_binary()).cast(pa.large_string()), tuple(bad))


def _utf8(line: bytes, longest: int) -> bytes | str:
    if len(line) > longest:
        return TOO_LONG.format(longest)
    try:
        line.decode()
    except UnicodeDecodeError:
        return NOT_UTF8
    return line


def _record(line: bytes, column: str, longest: int) -> bytes | str:
    """The text of one line of JSON as UTF-8, or why it has none."""
    checked = _utf8(line, longest)
    if isinstance(checked, str):
        return checked
    try:
        record = _parsed(line)
    except (ValueError, RecursionError):  # its text may quote the line
        return "not valid JSON"
    if not isinstance(record, dict):
        return "not a JSON object"
    if column not in record:
        return f"no text column {column!r}"
    text = record[column]
    if not isinstance(text, str):
        return f"{column!r} is {'null' if text is None else type(text).__name__ + ', not a string'}"
    try:
        return text.encode()
    except UnicodeEncodeError:
        return "half a surrogate pair"


def _parsed(line: bytes) -> object:
    """What the line says; NaN in other columns, which Python writes and JSON does not know, is let pass."""
    import orjson

    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return json.loads(line)
