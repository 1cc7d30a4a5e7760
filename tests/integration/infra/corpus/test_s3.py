"""Corpora in an object store, over the S3 protocol, from a server on this machine."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra.corpus import Corpus
from revs.errors import BadInput

BUCKET = "corpora"


@pytest.fixture
def s3(aws: None) -> Iterator[Any]:
    """A client's file system, with its endpoint and keys in the environment as a user has them."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    fs = s3fs.S3FileSystem()
    fs.mkdir(BUCKET)
    yield fs
    fs.invalidate_cache()
    fs.rm(BUCKET, recursive=True)
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files of every kind, with a bad row and a file that is none."""
    folder = tmp_path / "payroll"
    (folder / "b").mkdir(parents=True)
    pq.write_table(pa.table({"text": [f"parquet {n}" for n in range(50)]}), folder / "a.parquet", row_group_size=8)
    (folder / "b" / "x.jsonl").write_text("".join(json.dumps({"text": f"json {n}"}) + "\n" for n in range(50)) + "{\n")
    (folder / "c.txt").write_text("".join(f"line {n}\n" for n in range(50)))
    (folder / "d.txt.gz").write_bytes(gzip.compress(b"packed\n" * 50))
    (folder / "readme.md").write_text("no corpus")
    return folder


def test_the_same_bytes_give_the_same_corpus_as_on_a_disk(s3: Any, folder: Path) -> None:
    s3.put(str(folder), f"{BUCKET}/payroll", recursive=True)
    here = Corpus.open(folder, shard_bytes=400)
    there = Corpus.open(f"s3://{BUCKET}/payroll", shard_bytes=400)
    assert len(there.shards) == len(here.shards) > 6
    assert list(there) == list(here)
    assert there.manifest(str) == here.manifest(str)
    assert there.manifest(str)["unread"] and there.plan.ignored == ("readme.md",)
    assert there.texts([0, 77, 123]) == here.texts([0, 77, 123])
    alone = Corpus.open(f"s3://{BUCKET}/payroll/c.txt")
    assert alone.plan.name == "c" and [file.file for file in alone.survey().files] == ["c.txt"]


def test_an_object_that_vanishes_or_changes_after_planning_is_set_aside(s3: Any, folder: Path) -> None:
    s3.put(str(folder), f"{BUCKET}/payroll", recursive=True)
    corpus = Corpus.open(f"s3://{BUCKET}/payroll/")
    s3.rm(f"{BUCKET}/payroll/a.parquet")
    s3.pipe(f"{BUCKET}/payroll/c.txt", b"other text\n")
    assert {text.split()[0] for _, text in corpus} == {"json", "packed"}
    assert [(u.file, u.reason.split()[0], u.rows) for u in corpus.unread if u.file != "b/x.jsonl"] == [
        ("a.parquet", "vanished", 50),
        ("c.txt", "changed", None),
    ]
    again = Corpus.open(f"s3://{BUCKET}/payroll")  # no listing of the first planning is left
    assert "other" in {text.split()[0] for _, text in again}


def test_a_missing_bucket_and_a_server_that_is_not_there_are_refused(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    with pytest.raises(BadInput, match="corpus 's3://nowhere/c' does not exist; check the path"):
        Corpus.open("s3://nowhere/c")
    with monkeypatch.context() as patched:
        patched.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        patched.setenv("AWS_MAX_ATTEMPTS", "1")
        s3fs.S3FileSystem.clear_instance_cache()
        with pytest.raises(
            BadInput, match=r"cannot be reached \(\w+\); check the address, your rights and the network"
        ):
            Corpus.open(f"s3://{BUCKET}/payroll")
    s3fs.S3FileSystem.clear_instance_cache()
