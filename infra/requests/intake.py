"""Request files: CSV with a header, or JSON. A bad line spoils itself only; its reason never shows a value."""

from __future__ import annotations

import csv
import sys
from collections.abc import Collection, Iterable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from infra.requests import documents
from infra.requests.clock import Clock
from infra.requests.fields import Malformed, parse_identifier
from infra.requests.opendsr import read_demands
from infra.requests.reasons import Reason, malformed
from infra.requests.records import Entry
from revs.errors import BadInput

MAX_BYTES = 16 * 1024 * 1024  # of a request file, some 80,000 requests: all of it is in memory several times
MAX_LINES = 500_000
_BOM = b"\xef\xbb\xbf"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_PACKED = (b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"7z\xbc\xaf", b"\x28\xb5\x2f\xfd")
_REQUIRED = ("subject", "received", "type", "value")
_COLUMNS = frozenset({*_REQUIRED, "due", "regime", "model"})
_OF_ALL_ROWS = ("due", "regime")  # columns in which the rows of a request must agree; blank counts
FORMATS = {".csv": True, ".tsv": True, ".jsonl": False, ".ndjson": False, ".json": False}  # suffix → is CSV


def read_source(path: Path | str) -> bytes:
    """Return the bytes of a request file; "-" is standard input. Of a larger one no more is read than shows that it is.

    Raises:
        BadInput: There is no such file, it cannot be read, or it is larger than `MAX_BYTES`.
    """
    try:
        with nullcontext(sys.stdin.buffer) if str(path) == "-" else Path(path).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise BadInput(f"the request file {path} cannot be read ({error.strerror}); give an existing file") from None
    refuse_too_large(len(data), name=str(path))
    return data


def refuse_too_large(size: int, *, name: str) -> None:
    """Raise BadInput where a request file has more bytes than `MAX_BYTES`."""
    if size > MAX_BYTES:
        raise BadInput(f"{name} is larger than {MAX_BYTES // 1024**2} MiB; split it into several files")


def parse_requests(
    data: bytes,
    *,
    name: str,
    model: str,
    clock: Clock,
    models: Collection[str] | None = None,
    must_name: bool = False,
) -> list[Entry]:
    """Split a request file into its requests, in the order of the file, malformed ones included.

    Args:
        data: The bytes of the file: UTF-8, with or without a byte order mark.
        name: Its path or "-": the suffix tells the format; without a known one, the first line does.
        model: The model of requests that name none.
        clock: Gives regime and due date of requests that have none.
        models: The models that there are; a request for another is malformed. None: any.
        must_name: Whether a request that names no model is malformed.

    Raises:
        BadInput: The file as a whole cannot be used: empty, no text in UTF-8, broken JSON, a CSV without its columns.
    """
    _refuse_what_is_no_text(data, name)
    rows = data.removeprefix(_BOM).splitlines()
    lines = [(number, raw) for number, raw in enumerate(rows, start=1) if raw.strip()]
    if not lines:
        raise BadInput(f"{name} holds no deletion request; write one request a line (JSON Lines) or a CSV table")
    parse = _Parser(model=model, clock=clock, models=models, must_name=must_name)
    if _is_csv(name, lines[0][1]):
        return _parse_csv(lines, name, parse)
    return _bounded(map(parse.document, documents.split(lines, name=name)), name)


def _bounded(parts: Iterable[list[Entry]], name: str) -> list[Entry]:
    """All of the parts: one request that names a hundred models is a hundred."""
    entries: list[Entry] = []
    for part in parts:
        entries += part
        documents.refuse_too_many(len(entries), name)
    return entries


def _refuse_what_is_no_text(data: bytes, name: str) -> None:
    refuse_too_large(len(data), name=name)
    if data.startswith(_UTF16) or b"\0" in data[:2]:
        raise BadInput(f"{name} is UTF-16 text, or none at all; save it as UTF-8")
    if data.startswith(_PACKED):
        raise BadInput(f"{name} is a packed file or a spreadsheet; unpack it, or save it as CSV or JSON Lines in UTF-8")
    if data.count(b"\n") + data.count(b"\r") > MAX_LINES:
        raise BadInput(f"{name} has more than {MAX_LINES:,} lines; split it into several files")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parser:
    model: str
    clock: Clock
    models: Collection[str] | None
    must_name: bool

    def document(self, found: documents.Document) -> list[Entry]:
        try:
            return self.entries(found.line, found.raw, documents.parse(found.raw))
        except Malformed as error:
            return [Entry(line=found.line, raw=found.raw, reason=error.reason.at(**{found.place: found.line}))]

    def entries(self, number: int, raw: bytes, fields: dict[str, object]) -> list[Entry]:
        """One for each model that the request names."""
        demands = read_demands(
            fields, model=self.model, clock=self.clock, models=self.models, must_name=self.must_name
        )  # fmt: skip
        return [Entry(line=number, raw=raw, demand=demand) for demand in demands]


def _is_csv(name: str, first: bytes) -> bool:
    known = FORMATS.get(Path(name).suffix.lower())
    return _header(first) is not None if known is None else known


def _header(first: bytes) -> tuple[str, list[str]] | None:
    """Return delimiter and column names, or None when the line is no header of a request table."""
    for delimiter in (",", ";", "\t"):
        try:
            columns = [name.strip().lower() for name in _cells(first, delimiter)]
        except Malformed:
            continue
        named = [name for name in columns if name]
        if set(_REQUIRED) <= set(named) <= _COLUMNS and len(named) == len(set(named)):
            return delimiter, columns
    return None


def _cells(raw: bytes, delimiter: str) -> list[str]:
    # One line at a time: a quote left open must not swallow the requests below it. Where a cell has a line break in it,
    # both halves of its line have an odd number of quotes; neither is a row.
    if raw.count(b'"') % 2:
        raise Malformed("no_csv_row")
    try:
        return next(csv.reader([documents.decode(raw)], delimiter=delimiter, strict=True))
    except csv.Error:
        raise Malformed("no_csv_row") from None


@dataclass(slots=True, kw_only=True)
class _Group:
    """Rows of a CSV file that make one request."""

    line: int
    rows: list[bytes] = field(default_factory=list, repr=False)
    fields: dict[str, object] = field(default_factory=dict, repr=False)
    identifiers: list[object] = field(default_factory=list, repr=False)
    reason: Reason | None = None

    def add(self, number: int, raw: bytes, row: dict[str, str]) -> None:
        self.rows.append(raw)
        identifier: dict[str, object] = {"type": row.pop("type"), "value": row.pop("value")}
        self.identifiers.append(identifier)
        try:
            parse_identifier(identifier)
        except Malformed as error:
            self.reason = self.reason or error.reason.at(line=number)
        for name in _OF_ALL_ROWS:
            if row.get(name, "") != self.fields.setdefault(name, row.get(name, "")):
                self.reason = self.reason or malformed("differs", field=name, other=self.line).at(line=number)
        self.fields.update(row)

    def entries(self, parse: _Parser) -> list[Entry]:
        raw = b"\n".join(self.rows)
        if self.reason:
            return [Entry(line=self.line, raw=raw, reason=self.reason)]
        fields = {name: value for name, value in self.fields.items() if value}
        try:
            return parse.entries(self.line, raw, {**fields, "identifiers": self.identifiers})
        except Malformed as error:
            return [Entry(line=self.line, raw=raw, reason=error.reason.at(line=self.line))]


def _parse_csv(lines: list[documents.Line], name: str, parse: _Parser) -> list[Entry]:
    header = _header(lines[0][1])
    if header is None:
        raise BadInput(
            f"the first line of {name} is not the CSV header subject, received, due, regime, model, type, "
            "value (due, regime and model may be left out); add it"
        )
    entries: list[Entry] = []
    groups: dict[tuple[str, ...], _Group] = {}
    for number, raw in lines[1:]:
        try:
            row = _row(raw, *header)
        except Malformed as error:
            entries.append(Entry(line=number, raw=raw, reason=error.reason.at(line=number)))
            documents.refuse_too_many(len(entries), name)
            continue
        if row:  # rows that agree on subject, received date and model are one request
            tie = (row["subject"], row["received"], row.get("model") or parse.model)
            groups.setdefault(tie, _Group(line=number)).add(number, raw, row)
            documents.refuse_too_many(len(entries) + len(groups), name)
    entries += _bounded((group.entries(parse) for group in groups.values()), name)
    if not entries:
        raise BadInput(f"{name} holds no deletion request below its header; add one")
    return sorted(entries, key=lambda entry: entry.line)


def _row(raw: bytes, delimiter: str, columns: list[str]) -> dict[str, str]:
    """Return the cells of a line by column; none where all are blank."""
    cells = _cells(raw, delimiter)
    if not any(cell.strip() for cell in cells):
        return {}
    if len(cells) < len(columns) or any(cell.strip() for cell in cells[len(columns) :]):
        raise Malformed("columns", columns=len(columns))
    return {name: cell.strip() for name, cell in zip(columns, cells, strict=False) if name}
