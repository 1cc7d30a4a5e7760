"""A training corpus: rows of text, numbered from 0, with an exact digest.

Read from `.txt` (one row a line), `.jsonl` or `.parquet`, or from a folder of these. The rows live in one Hugging Face
`Dataset` built from Arrow tables in memory: nothing is written to a cache, because a cached copy of the corpus is one
more copy of the personal data in it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from revs.errors import BadInput

if TYPE_CHECKING:
    from datasets import Dataset

BATCH_ROWS = 10_000
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusFile:
    """One file of a corpus; `file` is relative to the corpus folder."""

    file: str
    rows: int
    bytes: int
    sha256: str


class Corpus:
    """Rows of text, numbered from 0. Its repr and its errors never show a row."""

    def __init__(
        self, *, name: str, dataset: Dataset, digest: str, files: tuple[CorpusFile, ...], ignored: tuple[str, ...]
    ):
        self.name = name
        self.dataset = dataset
        self.digest = digest
        self.files = files
        self.ignored = ignored

    @classmethod
    def open(cls, path: str | Path, *, text_column: str = "text") -> Corpus:
        """Read a corpus file, or every .txt, .jsonl and .parquet file under a folder in order of their relative paths.

        Raises:
            BadInput: the path is missing or of another kind, a file is damaged or not UTF-8, a row has no text in
                `text_column` (.jsonl, .parquet), or there is no text at all. The message names file and row.
        """
        import pyarrow as pa
        from datasets import Dataset

        root = Path(path)
        paths, ignored = _corpus_files(root)
        collector = _Collector()
        files = tuple(_read_file(file, root, text_column, collector) for file in paths)
        if not collector.has_text:
            raise BadInput(
                f"corpus {str(root)!r} holds no text ({collector.rows} rows); name a file or folder with text"
            )
        digest = collector.digest.hexdigest()
        table = pa.Table.from_batches(collector.finish(), schema=_schema())
        name = root.stem if root.is_file() else root.resolve().name
        # With a fingerprint given, datasets does not serialise all rows only to hash them.
        dataset = Dataset(table, fingerprint=digest)
        return cls(name=name, dataset=dataset, digest=f"sha256:{digest}", files=files, ignored=ignored)

    def __repr__(self) -> str:
        return f"Corpus(name={self.name!r}, rows={len(self)}, digest={self.digest!r})"

    def __len__(self) -> int:
        return len(self.dataset)

    def __iter__(self) -> Iterator[tuple[int, str]]:
        row = 0
        for batch in self.dataset.iter(batch_size=BATCH_ROWS):
            for text in batch["text"]:
                yield row, text
                row += 1

    def text(self, row: int) -> str:
        """The text of one row, from 0."""
        return self.texts([row])[row]

    def texts(self, rows: Iterable[int]) -> dict[int, str]:
        """The texts of the given rows (each once, in ascending order); IndexError outside 0..len-1."""
        wanted = sorted(set(rows))
        if wanted and not 0 <= wanted[0] <= wanted[-1] < len(self):
            raise IndexError(f"rows {wanted[0]} to {wanted[-1]} are not all within 0..{len(self) - 1}")
        return dict(zip(wanted, self.dataset[wanted]["text"], strict=True)) if wanted else {}

    def manifest(self) -> dict[str, Any]:
        """What the evidence says of the corpus: name, digest, rows, its files with SHA-256, and the files left out."""
        files = [{"file": f.file, "rows": f.rows, "bytes": f.bytes, "sha256": f.sha256} for f in self.files]
        return {
            "name": self.name,
            "digest": self.digest,
            "rows": len(self),
            "files": files,
            "ignored": list(self.ignored),
        }


class _Collector:
    """Keeps rows as Arrow batches, and digests each as its length (8 bytes, big endian) and its UTF-8 bytes."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()
        self.rows = 0
        self.has_text = False
        self._batches: list[Any] = []
        self._pending: list[bytes] = []

    def add(self, row: bytes) -> None:
        self.digest.update(len(row).to_bytes(8, "big"))
        self.digest.update(row)
        self.rows += 1
        self.has_text = self.has_text or bool(row.strip())
        self._pending.append(row)
        if len(self._pending) == BATCH_ROWS:
            self._flush()

    def finish(self) -> list[Any]:
        self._flush()
        return self._batches

    def _flush(self) -> None:
        import pyarrow as pa

        texts = pa.array(self._pending, pa.large_binary()).cast(pa.large_string())
        self._batches.append(pa.record_batch([texts], schema=_schema()))
        self._pending = []


def _schema() -> Any:
    import pyarrow as pa

    return pa.schema([("text", pa.large_string())])


def _corpus_files(root: Path) -> tuple[list[Path], tuple[str, ...]]:
    """The files to read, in order, and the relative paths of the ones left out."""
    if not root.exists():
        raise BadInput(f"corpus {str(root)!r} does not exist; check the path")
    if root.is_file():
        if root.suffix.lower() not in _READERS:
            raise BadInput(f"corpus {str(root)!r} is no {_kinds()} file; convert it to one of these")
        return [root], ()
    found = sorted((p for p in root.rglob("*") if p.is_file()), key=lambda p: p.relative_to(root).as_posix())
    taken = [p for p in found if p.suffix.lower() in _READERS and not _hidden(p.relative_to(root))]
    if not taken:
        raise BadInput(f"corpus folder {str(root)!r} holds no {_kinds()} file; name a folder that does")
    left_out = set(found) - set(taken)
    return taken, tuple(p.relative_to(root).as_posix() for p in found if p in left_out)


def _hidden(relative: Path) -> bool:
    return any(part.startswith(".") for part in relative.parts)


def _kinds() -> str:
    return ", ".join(list(_READERS)[:-1]) + " or " + list(_READERS)[-1]


def _read_file(path: Path, root: Path, text_column: str, collector: _Collector) -> CorpusFile:
    before = collector.rows
    name = path.name if path == root else path.relative_to(root).as_posix()
    try:
        for row in _READERS[path.suffix.lower()](path, text_column):
            collector.add(row)
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        size = path.stat().st_size
    except OSError as error:
        raise BadInput(
            f"corpus file {name!r} cannot be read ({error.strerror}); check the file and its rights"
        ) from None
    return CorpusFile(file=name, rows=collector.rows - before, bytes=size, sha256=sha256)


def _read_text(path: Path, _text_column: str) -> Iterator[bytes]:
    """Every line is a row, empty ones too, so that row n is line n + 1."""
    for number, line in _lines(path):
        _check_utf8(line, path, number - 1, f" (line {number})")
        yield line


def _read_jsonl(path: Path, text_column: str) -> Iterator[bytes]:
    row = 0
    for number, line in _lines(path):
        if not line.strip():
            continue
        where = f"corpus file {path.name!r}, row {row} (line {number})"
        _check_utf8(line, path, row, f" (line {number})")
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):  # its text may quote the line
            raise BadInput(f"{where}: not valid JSON; write one JSON object per line") from None
        yield _text_bytes(record, text_column, where)
        row += 1


def _text_bytes(record: object, text_column: str, where: str) -> bytes:
    if not isinstance(record, dict):
        raise BadInput(f"{where}: not a JSON object; write one JSON object per line")
    if text_column not in record:
        raise BadInput(f"{where}: no text column {text_column!r}; name the right one with text_column")
    text = record[text_column]
    if not isinstance(text, str):
        raise BadInput(f"{where}: {text_column!r} is {type(text).__name__}, not a string; give text or drop the row")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise BadInput(f"{where}: half a surrogate pair at character {error.start}; repair the \\u escape") from None


def _read_parquet(path: Path, text_column: str) -> Iterator[bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, memory_map=True) as file:
            _check_column(file.schema_arrow, path, text_column)
            row = 0
            for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=[text_column]):
                for text in batch.column(0).cast(pa.large_binary()).to_pylist():
                    if text is None:
                        raise BadInput(f"corpus file {path.name!r}, row {row}: {text_column!r} is null; drop the row")
                    _check_utf8(text, path, row, "")
                    yield text
                    row += 1
    except (pa.ArrowException, OSError) as error:  # its text may hold data
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = f"corpus file {path.name!r} is no whole Parquet file (cut short or damaged); copy it again"
        raise BadInput(reason) from None


def _check_column(schema: Any, path: Path, text_column: str) -> None:
    import pyarrow as pa

    if text_column not in schema.names:
        names = ", ".join(map(repr, schema.names))
        raise BadInput(f"corpus file {path.name!r} has no text column {text_column!r} but {names}; name one of these")
    kind = schema.field(text_column).type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise BadInput(
            f"corpus file {path.name!r}: column {text_column!r} is {kind}, not string; name a column of text"
        )


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Numbered lines, from 1, without their end (LF or CRLF) and without a byte order mark."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            body = line.removeprefix(_BOM) if number == 1 else line
            yield number, body[:-2] if body.endswith(b"\r\n") else body.removesuffix(b"\n")


def _check_utf8(row: bytes, path: Path, number: int, line: str) -> None:
    try:
        row.decode()
    except UnicodeDecodeError as error:
        where = f"corpus file {path.name!r}, row {number}{line}"
        raise BadInput(f"{where}: not UTF-8 at byte {error.start}; convert the file to UTF-8") from None


_READERS: dict[str, Callable[[Path, str], Iterator[bytes]]] = {
    ".txt": _read_text,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
