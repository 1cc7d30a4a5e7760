"""Small corpora of every kind of file, and digests of them computed the obvious way; no tests here."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from infra.corpus import Corpus, ShardSurvey, Survey

ROWS = ["Jane Roe, SSN 219-41-5522", "", "line separator\u2028inside, é 한 😀", "trailing space ", "a\x0bb"]
MARKER = "marker-7f3a@example.com"
KINDS = ("txt", "jsonl", "parquet", "txt.gz", "jsonl.gz")


def write_txt(path: Path, rows: Sequence[str]) -> Path:
    path.write_bytes("".join(f"{row}\n" for row in rows).encode())
    return path


def write_jsonl(path: Path, rows: Sequence[str], column: str = "text") -> Path:
    path.write_text("".join(json.dumps({column: row, "id": i}) + "\n" for i, row in enumerate(rows)))
    return path


def write_parquet(
    path: Path, rows: Sequence[object], column: str = "text", kind: pa.DataType | None = None, **options: Any
) -> Path:
    pq.write_table(pa.table({column: pa.array(rows, kind or pa.string())}), path, **options)
    return path


def write(path: Path, rows: Sequence[str], group: int = 3) -> Path:
    if path.name.endswith(".gz"):
        plain = write(path.with_name(f"plain.{path.name.removesuffix('.gz')}"), rows)
        path.write_bytes(gzip.compress(plain.read_bytes(), mtime=0))
        plain.unlink()
        return path
    if path.suffix == ".parquet":
        return write_parquet(path, rows, row_group_size=group)
    return write_txt(path, rows) if path.suffix == ".txt" else write_jsonl(path, rows)


def digest_of(*paths: Path) -> str:
    """What `sha256sum FILES | sha256sum` prints."""
    printed = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in paths)
    return "sha256:" + hashlib.sha256(printed.encode()).hexdigest()


def keyed(name: str) -> str:
    return hmac.new(b"key", name.encode(), "sha256").hexdigest()


def rows_digest(rows: Sequence[str]) -> str:
    """The digest of a shard's rows as its definition says, row after row."""
    encoded = [row.encode() for row in rows]
    return hashlib.sha256(b"".join(len(e).to_bytes(8, "big") + e for e in encoded)).hexdigest()


def in_file(survey: Survey, row: int) -> tuple[str, int]:
    """The file of a row of the corpus, and its number within that file."""
    shard, within = survey.in_shard(row)
    return survey.shards[shard].shard.file, survey.first_rows_in_file[shard] + within


def surveys_of(corpus: Corpus) -> list[ShardSurvey]:
    return [corpus.read(shard).read_through() for shard in corpus.shards]
