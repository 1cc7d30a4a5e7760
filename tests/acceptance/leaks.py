"""Finds invented identifiers in whatever a run left behind, in every form a program might have written them.

Two searches over every byte: one that ignores case (text, UTF-16, hex, escapes) and one that does not (base64, raw
digests). What is packed is unpacked and searched too: zip, tar, gzip, zlib, bz2, xz, the cells of SQLite tables, the
columns of Parquet and Arrow files. A leak is reported by its place, its type and its form, never by its value.
"""

from __future__ import annotations

import base64
import bz2
import gzip
import hashlib
import io
import lzma
import re
import sqlite3
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ahocorasick_rs import BytesAhoCorasick

_DEEPEST = 5  # containers inside containers
_LINE_BREAKS = re.compile(rb"\\n|\\r|[\r\n]")
_NUMERIC = {"US_SSN": (3, 2, 4), "PHONE_NUMBER": (3, 3, 4)}


@dataclass(frozen=True, slots=True, order=True)
class Leak:
    """Where something was found, of what type, in what form."""

    where: str
    type: str
    form: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    needle: bytes
    type: str
    form: str
    whole_number: bool = False  # a bare digit string counts only where no other digit touches it


def spellings(type_: str, value: str) -> dict[str, str]:
    """The ways to write one identifier: as invented, and normalised. Case is the search's business."""
    if type_ == "EMAIL_ADDRESS":
        return {"raw": value, "local part": value.partition("@")[0]}
    if type_ not in _NUMERIC:
        return {"raw": value}
    digits = "".join(character for character in value if character.isdigit())
    cuts = _NUMERIC[type_]
    parts = [digits[sum(cuts[:n]) : sum(cuts[: n + 1])] for n in range(len(cuts))]
    named = {"dashed": "-", "spaced": " ", "dotted": "."}
    return {"raw": value, "digits": digits, **{name: joiner.join(parts) for name, joiner in named.items()}}


def _escaped(text: str, form: str, every: bool) -> bytes:
    return "".join(c if c.isalnum() and not every else form.format(ord(c)) for c in text).encode()


# Forms in which case means nothing (the haystack is lowered), and those in which it does.
ANY_CASE: dict[str, Callable[[str], bytes]] = {
    "utf-8": str.encode,
    "utf-16": lambda text: text.encode("utf-16-le")[:-1],  # without the last byte it stands in both byte orders
    "utf-32": lambda text: text.encode("utf-32-le")[:-3],
    "hex": lambda text: text.encode().hex().encode(),
    "url-encoded": lambda text: quote(text, safe="").encode(),
    "url-encoded, unreserved too": lambda text: _escaped(text, "%{:02x}", False),
    "url-encoded, every character": lambda text: _escaped(text, "%{:02x}", True),
    "json-escaped": lambda text: _escaped(text, "\\u{:04x}", False),
    "json-escaped, every character": lambda text: _escaped(text, "\\u{:04x}", True),
    "html-escaped": lambda text: _escaped(text, "&#{};", False),
    "html-escaped, hex": lambda text: _escaped(text, "&#x{:x};", False),
    "quoted-printable": lambda text: _escaped(text, "={:02x}", False),
    # A plain hash of an SSN is the SSN. The first 16 digits: cut-off digests are digests too.
    "md5": lambda text: hashlib.md5(text.encode()).hexdigest()[:16].encode(),
    "sha1": lambda text: hashlib.sha1(text.encode()).hexdigest()[:16].encode(),
    "sha256": lambda text: hashlib.sha256(text.encode()).hexdigest()[:16].encode(),
}
EXACT: dict[str, Callable[[str], list[bytes]]] = {
    "base64": lambda text: base64_forms(text.encode()),
    "base64 of utf-16": lambda text: base64_forms(text.encode("utf-16-le")),
    "sha256, raw": lambda text: [hashlib.sha256(text.encode()).digest()],
    "sha256, base64": lambda text: [base64.b64encode(hashlib.sha256(text.encode()).digest())[:40]],
}


def base64_forms(data: bytes) -> list[bytes]:
    """What stays the same of `data` in base64, wherever in a longer text it begins: one form for each alignment."""
    forms = []
    for before in range(3):
        encoded = base64.b64encode(b"\0" * before + data)
        stable = encoded[(0, 2, 3)[before] : len(encoded) - (0, 3, 2)[(before + len(data)) % 3]]
        forms += [stable, stable.translate(bytes.maketrans(b"+/", b"-_"))]
    return sorted(set(forms))


@dataclass(slots=True)
class Scanner:
    """Searches bytes, files and folders for identifiers, given as (type, value)."""

    any_case: list[Pattern]
    exact: list[Pattern]
    bytes_read: int = 0
    files_read: int = 0
    _searches: tuple[BytesAhoCorasick, BytesAhoCorasick] = field(init=False)

    def __post_init__(self) -> None:
        self._searches = (
            BytesAhoCorasick([pattern.needle for pattern in self.any_case]),
            BytesAhoCorasick([pattern.needle for pattern in self.exact]),
        )

    @classmethod
    def of(cls, identifiers: Iterable[tuple[str, str]]) -> Scanner:
        """A scanner for every spelling and form of these identifiers."""
        any_case, exact = [], []
        for type_, value in identifiers:
            for name, text in spellings(type_, value).items():
                for form, encode in ANY_CASE.items():
                    whole = encode(text).isdigit()
                    needle = encode(text).lower()
                    any_case.append(Pattern(needle=needle, type=type_, form=f"{name}, {form}", whole_number=whole))
                for form, encodings in EXACT.items():
                    exact += [Pattern(needle=needle, type=type_, form=f"{name}, {form}") for needle in encodings(text)]
        return cls(any_case, exact)

    def tree(self, root: Path, *, skip: Iterable[Path] = ()) -> list[Leak]:
        """Every leak below `root`, in names and in contents; folders and files in `skip` are left out."""
        left_out = set(skip)
        found: set[Leak] = set()
        for path in sorted(root.rglob("*")):
            if left_out.intersection((path, *path.parents)):
                continue
            where = str(path.relative_to(root))
            found.update(self._search(where.encode(), f"name of {where}"))
            if path.is_file():
                self.files_read += 1
                found.update(self.content(path.read_bytes(), where))
                if path.suffix == ".db" or path.read_bytes()[:15] == b"SQLite format 3":
                    found.update(self._database(path, where))
        return sorted(found)

    def content(self, data: bytes, where: str, *, depth: int = 0) -> Iterator[Leak]:
        """Leaks in these bytes, and in what is packed inside them."""
        self.bytes_read += len(data)
        yield from self._search(data, where)
        if depth < _DEEPEST:
            for name, inner in unpacked(data):
                yield from self.content(inner, f"{where}!{name}", depth=depth + 1)

    def _search(self, data: bytes, where: str) -> Iterator[Leak]:
        lowered = data.lower()
        for number, start, end in self._searches[0].find_matches_as_indexes(lowered, overlapping=True):
            pattern = self.any_case[number]
            touched = lowered[max(0, start - 1) : start] + lowered[end : end + 1]
            if not (pattern.whole_number and re.search(rb"[0-9]", touched)):
                yield Leak(where, pattern.type, pattern.form)
        for haystack in {data, _LINE_BREAKS.sub(b"", data)}:  # mail breaks base64 into lines
            for number, _, _ in self._searches[1].find_matches_as_indexes(haystack, overlapping=True):
                yield Leak(where, self.exact[number].type, self.exact[number].form)

    def _database(self, path: Path, where: str) -> Iterator[Leak]:
        """Leaks in every cell, as a reader of the tables sees them, what is still in the write-ahead log included."""
        with tempfile.TemporaryDirectory() as scratch:  # opening a database changes it: read a copy
            copy = Path(scratch) / "copy.db"
            for suffix in ("", "-wal"):
                if (source := Path(f"{path}{suffix}")).exists():
                    Path(f"{copy}{suffix}").write_bytes(source.read_bytes())
            connection = sqlite3.connect(copy)
            try:
                connection.text_factory = bytes
                tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
                for (table,) in tables:
                    for cells in connection.execute(f'SELECT * FROM "{table.decode()}"'):
                        for cell in cells:
                            data = cell if isinstance(cell, bytes) else str(cell).encode()
                            yield from self.content(data, f"{where}, table {table.decode()}")
            finally:
                connection.close()


def unpacked(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and content of everything packed in `data`; nothing where it is of no packed kind, or is damaged."""
    for magic, offset, unpack in _PACKED:
        if data[offset : offset + len(magic)] == magic:
            try:
                yield from unpack(data)
            except _DAMAGED:
                continue


def _zip(data: bytes) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            yield name, name.encode() + b"\n" + archive.read(name)


def _tar(data: bytes) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        for member in archive:
            file = archive.extractfile(member)
            yield member.name, member.name.encode() + b"\n" + (file.read() if file else b"")


def _stream(name: str, decompress: Callable[[bytes], bytes]) -> Callable[[bytes], Iterator[tuple[str, bytes]]]:
    return lambda data: iter([(name, decompress(data))])


def _parquet(data: bytes) -> Iterator[tuple[str, bytes]]:
    import pyarrow.parquet as pq

    yield "columns", _columns(pq.read_table(io.BytesIO(data)))


def _arrow_file(data: bytes) -> Iterator[tuple[str, bytes]]:
    import pyarrow as pa

    yield "columns", _columns(pa.ipc.open_file(io.BytesIO(data)).read_all())


def _arrow_stream(data: bytes) -> Iterator[tuple[str, bytes]]:
    import pyarrow as pa

    yield "columns", _columns(pa.ipc.open_stream(io.BytesIO(data)).read_all())


def _columns(table: Any) -> bytes:
    cells = (cell for column in table.columns for cell in column.to_pylist())
    return b"\n".join(cell if isinstance(cell, bytes) else str(cell).encode() for cell in cells)


def _damaged() -> tuple[type[Exception], ...]:
    import pyarrow as pa

    return (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error, tarfile.TarError,
            lzma.LZMAError, pa.ArrowException)  # fmt: skip


_DAMAGED = _damaged()
_PACKED: tuple[tuple[bytes, int, Callable[[bytes], Iterator[tuple[str, bytes]]]], ...] = (
    (b"PK\x03\x04", 0, _zip),
    (b"ustar", 257, _tar),
    (b"\x1f\x8b", 0, _stream("gzip", gzip.decompress)),
    (b"BZh", 0, _stream("bz2", bz2.decompress)),
    (b"\xfd7zXZ", 0, _stream("xz", lzma.decompress)),
    *((bytes([0x78, level]), 0, _stream("zlib", zlib.decompress)) for level in (0x01, 0x5E, 0x9C, 0xDA)),
    (b"PAR1", 0, _parquet),
    (b"ARROW1", 0, _arrow_file),
    (b"\xff\xff\xff\xff", 0, _arrow_stream),
)
