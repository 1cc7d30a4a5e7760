"""Rows of text as Arrow arrays: what is text is kept, what is not becomes null and is named with the reason."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from infra.corpus.encoding import UTF8
from infra.corpus.lines import Block
from infra.corpus.shard import MAX_ROW_BYTES

UNDECODED = "not {}"
EIGHT_BIT = "8-bit text in a file of {}"
TOO_LONG = "longer than {} bytes"
_SKIPPED_AT_ONCE = 1 << 16
_EIGHT_BIT = re.compile(rb"[\t\n\r -~]{12}\Z")
"""What was appended to a file of UTF-16 by a program that writes UTF-8; as UTF-16 it would be six rare characters."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Consecutive rows: a large_string array, null where `bad` gives the index, the byte of the line and the reason."""

    array: Any
    bad: tuple[tuple[int, int | None, str], ...] = ()


def text_rows(block: Block, longest: int = MAX_ROW_BYTES) -> Rows:
    """Every line is a row, empty ones too."""
    data = _whole(block, longest)
    array = None if data is None else _split(data)
    if array is not None and _all_text(array, longest):
        return Rows(array)
    return _gathered((byte, _utf8(line, longest, block.encoding)) for byte, line in block.lines())


def jsonl_rows(block: Block, column: str, longest: int = MAX_ROW_BYTES) -> Rows:
    """Every line that is not blank is a row."""
    import orjson
    import pyarrow as pa

    whole = _whole(block, longest) if len(block.data) <= longest else None
    if whole is not None:
        loads = orjson.loads
        try:
            lines = whole.split(b"\n")
            array = pa.array([loads(line)[column] for line in lines if line and not line.isspace()], pa.large_string())
            if array.null_count == 0:
                return Rows(array)
        except (ValueError, LookupError, TypeError, pa.ArrowException):
            pass  # line by line, to name those that are bad
    texts = ((byte, _utf8(line, longest, block.encoding)) for byte, line in block.lines())
    return _gathered(
        (byte, text if isinstance(text, str) else _record(text, column))
        for byte, text in texts
        if isinstance(text, str) or text.strip()
    )


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


def rows_with_nul(array: Any) -> list[int]:
    """Which rows hold NUL characters: valid, and still hardly text; they part what they stand in."""
    import numpy as np
    import pyarrow.compute as pc

    data = array.buffers()[2]
    if data is None or not data.size or np.frombuffer(data, np.uint8).all():
        return []
    return list(np.flatnonzero(pc.fill_null(pc.match_substring(array, "\0"), False).to_numpy(zero_copy_only=False)))


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


def _split(data: bytes) -> Any:
    """The lines of UTF-8 as an array, not validated."""
    import numpy as np
    import pyarrow as pa

    data = data.replace(b"\r\n", b"\n") if b"\r" in data else data
    data = data if data.endswith(b"\n") else data + b"\n"
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))
    offsets = np.concatenate([[0], ends - np.arange(len(ends))]).astype(np.int64)
    buffers = pa.py_buffer(offsets.tobytes()), pa.py_buffer(data.replace(b"\n", b""))
    return pa.LargeStringArray.from_buffers(len(ends), *buffers)


def _whole(block: Block, longest: int) -> bytes | None:
    """All lines of a block as UTF-8, where they can be looked at together."""
    if block.encoding != UTF8 and (len(block.data) > longest or _EIGHT_BIT.search(block.data)):
        return None  # the bound is one on bytes as they are stored
    return block.utf8()


def _utf8(line: bytes, longest: int, encoding: str = UTF8) -> bytes | str:
    if len(line) > longest:
        return TOO_LONG.format(longest)
    try:
        text = line.decode(encoding)
    except UnicodeDecodeError:
        return UNDECODED.format(_called(encoding))
    if encoding == UTF8:
        return line
    return EIGHT_BIT.format(_called(encoding)) if _EIGHT_BIT.search(line) else text.encode()


def _called(encoding: str) -> str:
    return encoding.upper().removesuffix("-LE").removesuffix("-BE")


def _record(line: bytes, column: str) -> bytes | str:
    """The text of one line of JSON as UTF-8, or why it has none."""
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
    """What the line holds; NaN in other columns, which Python writes and JSON does not know, is let pass."""
    import orjson

    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return json.loads(line.decode())  # of bytes it would guess the encoding
