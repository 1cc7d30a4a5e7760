"""Corpora on a disk: every kind of file gives the same rows, in bounded memory, and leaves no copy of the text."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_corpora import (
    KINDS,
    MARKER,
    ROWS,
    digest_of,
    keyed,
    rows_digest,
    write,
    write_jsonl,
    write_parquet,
    write_txt,
)

from infra.corpus import Corpus, Shard, ShardReader, lines, plan
from infra.corpus.survey import assemble
from revs.errors import BadInput


@pytest.mark.parametrize("kind", [*KINDS, "large.parquet", "view.parquet", "dictionary.parquet"])
def test_the_same_rows_are_read_from_every_kind_of_file(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"corpus.{kind}"
    types = {"large": pa.large_string(), "view": pa.string_view()}
    if kind == "dictionary.parquet":
        pq.write_table(pa.table({"text": pa.array(ROWS).dictionary_encode()}), path)
    elif kind in KINDS:
        write(path, ROWS)
    else:
        write_parquet(path, ROWS, kind=types[kind.split(".")[0]])
    corpus = Corpus.open(path)
    assert list(corpus) == list(enumerate(ROWS))
    assert len(corpus) == len(ROWS)
    assert [corpus.text(row) for row in range(len(ROWS))] == ROWS
    assert corpus.texts([3, 0, 3]) == {0: ROWS[0], 3: ROWS[3]}
    assert corpus.texts([]) == {}
    assert corpus.digest == digest_of(path)
    assert corpus.unread == ()


PIECES = [b"\n", b"\n", b"\r\n", b"\r", b" ", b"\xff", b"\xc3\xa9", b"ab", b'{"text": "a"}', b'{"text": "\\ud800"}',
          b'{"text": "b", "n": NaN}', b'{"text": null}', b'{"body": 1}', b"[1]", b"\xef\xbb\xbf", b"x" * 30,
          ]  # fmt: skip


def read_slowly(data: bytes, kind: str, longest: int) -> list[str | None]:
    """One row after another, by the definition; None where there is no text."""
    found: list[str | None] = []
    *whole, last = data.split(b"\n")
    for number, ended in enumerate([*(line.removesuffix(b"\r") for line in whole), *([last] if last else [])]):
        line = ended if number else ended.removeprefix(b"\xef\xbb\xbf")
        if kind == "jsonl" and not line.strip() and len(line) <= longest:
            continue
        try:
            assert len(line) <= longest
            text = line.decode() if kind == "txt" else json.loads(line.decode())["text"]
            text.encode()
            found.append(text)
        except (AssertionError, ValueError, LookupError, TypeError, AttributeError):
            found.append(None)
    return found


@settings(deadline=None, max_examples=150)
@given(
    pieces=st.lists(st.sampled_from(PIECES), max_size=25),
    kind=st.sampled_from(["txt", "jsonl"]),
    shard_bytes=st.integers(1, 50),
    chunk=st.integers(1, 50),
    longest=st.integers(5, 60),
)
def test_broken_lines_cost_themselves_alone_whatever_the_file_is_cut_into(
    pieces: list[bytes], kind: str, shard_bytes: int, chunk: int, longest: int
) -> None:
    data = b"".join(pieces)
    expected = read_slowly(data, kind, longest)
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patched:
        patched.setattr(lines, "CHUNK", chunk)
        path = Path(name) / f"c.{kind}"
        path.write_bytes(data)
        planned = plan(str(path), shard_bytes=shard_bytes, longest=longest)
        surveys, found = [], []
        for shard in planned.shards:
            reader = ShardReader(planned.source, shard, longest=longest)
            batches = [text for batch in reader for text in batch.array.to_pylist()]
            survey = reader.survey
            gaps = {u.row for u in survey.unread if u.row is not None}
            texts = iter(batches)
            found += [None if row in gaps else next(t for t in texts if t is not None) for row in range(survey.rows)]
            surveys.append(survey)
        assert found == expected
        if any(text and not text.isspace() for text in expected):
            whole = assemble(planned, surveys, {"c.txt": "", "c.jsonl": ""})
            assert {u.row for u in whole.unread} == {row for row, text in enumerate(expected) if text is None}
            assert all(data[u.byte :].lstrip(b"\r ") or u.byte == 0 for u in whole.unread if u.byte is not None)


def test_text_lines_may_end_in_crlf_begin_with_a_mark_and_lack_a_last_end(tmp_path: Path) -> None:
    path = tmp_path / "c.txt"
    path.write_bytes("\ufeffone\r\ntwo\n\nthree".encode())
    assert [text for _, text in Corpus.open(path)] == ["one", "two", "", "three"]


def test_blank_lines_of_jsonl_are_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "one"}\r\n\n{"text": "two"}\n\n')
    assert list(Corpus.open(path)) == [(0, "one"), (1, "two")]


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        ("c.txt", b"12345\r\nab\n", ["12345", "ab"]),  # exactly the bound: the end of the line does not count
        ("c.txt", b"\xef\xbb\xbf12345\r\nab\n", ["12345", "ab"]),  # nor does the byte order mark
        ("c.txt", b"123456\nab\n", [None, "ab"]),
        ("c.jsonl", b"      \n     \n1\n", [None, None]),  # too long to be looked at, blank or not
    ],
)
def test_the_bound_on_a_row_does_not_depend_on_how_the_file_comes(
    name: str, content: bytes, rows: list[str | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).write_bytes(content)
    planned = plan(str(tmp_path / name))
    for chunk in range(1, len(content) + 1):
        monkeypatch.setattr(lines, "CHUNK", chunk)
        reader = ShardReader(planned.source, planned.shards[0], longest=5)
        found = {row: text for batch in reader for row, text in batch}
        assert [found.get(row) for row in range(reader.survey.rows)] == rows, chunk


def test_another_text_column_is_read_by_its_name(tmp_path: Path) -> None:
    for path in (write_jsonl(tmp_path / "c.jsonl", ROWS, "body"), write_parquet(tmp_path / "c.parquet", ROWS, "body")):
        assert [text for _, text in Corpus.open(path, text_column="body")] == ROWS


@pytest.mark.parametrize("row", [-1, 5])
def test_a_row_outside_the_corpus_is_an_index_error(row: int, tmp_path: Path) -> None:
    with pytest.raises(IndexError, match=r"not all within 0\.\.4"):
        Corpus.open(write_txt(tmp_path / "c.txt", ROWS)).text(row)
    with pytest.raises(IndexError, match=r"not within 0\.\.4"):
        Corpus.open(tmp_path / "c.txt").survey().in_shard(row)


def test_a_folder_is_read_in_the_order_of_its_paths_and_says_what_it_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    (folder / "b").mkdir(parents=True)
    (folder / ".cache").mkdir()
    write_txt(folder / "c.TXT", ["third"])
    write_jsonl(folder / "b" / "x.jsonl", ["second"])
    write_parquet(folder / "a.parquet", ["first", "first again"])
    write_txt(folder / ".cache" / "old.txt", ["hidden"])
    (folder / "circle").symlink_to(folder, target_is_directory=True)
    (folder / "readme.md").write_text("no corpus")
    corpus = Corpus.open(folder)
    assert [text for _, text in corpus] == ["first", "first again", "second", "third"]
    manifest = corpus.manifest(keyed)
    assert json.loads(json.dumps(manifest)) == manifest
    names = ["a.parquet", "b/x.jsonl", "c.TXT"]
    labels = [f"file {n} of 3 ({keyed(name)[:12]})" for n, name in enumerate(names, start=1)]
    printed = "".join(f"{hashlib.sha256((folder / n).read_bytes()).hexdigest()}  {n}\n" for n in names)
    assert corpus.digest == "sha256:" + hashlib.sha256(printed.encode()).hexdigest()
    assert manifest == {
        "name": f"corpus {keyed('corpus')[:12]}",
        "digest": f"hmac-sha256:{keyed(corpus.digest.removeprefix('sha256:'))}",
        "rows": 4,
        "files": [
            {
                "file": label,
                "rows": rows,
                "bytes": (folder / name).stat().st_size,
                "digest": f"hmac-sha256:{keyed(hashlib.sha256((folder / name).read_bytes()).hexdigest())}",
            }
            for label, name, rows in zip(labels, names, [2, 1, 1], strict=True)
        ],
        "shards": [
            {"file": label, "begin": 0, "end": end, "rows": len(r), "digest": f"hmac-sha256:{keyed(rows_digest(r))}"}
            for label, end, r in zip(
                labels,
                [1, (folder / "b" / "x.jsonl").stat().st_size, 6],
                [["first", "first again"], ["second"], ["third"]],
                strict=True,
            )
        ],
        "ignored": [
            f"other file {n} of 2 ({keyed(name)[:12]})" for n, name in enumerate([".cache/old.txt", "readme.md"], 1)
        ],
        "unread": [],
    }
    assert corpus.plan.ignored == (".cache/old.txt", "readme.md")


def test_a_single_row_costs_a_block_and_not_the_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "CHUNK", 64)
    write_txt(tmp_path / "a.txt", [f"row {n}" for n in range(1000)])
    write_parquet(tmp_path / "b.parquet", [f"row {n}" for n in range(1000)], row_group_size=10)
    corpus = Corpus.open(tmp_path)
    assert len(corpus) == 2000
    read: list[Shard] = []
    original = ShardReader

    def counted(source: str, shard: Shard, **options: Any) -> Any:
        read.append(shard)
        return original(source, shard, **options)

    monkeypatch.setattr("infra.corpus.access.ShardReader", counted)
    assert corpus.texts([500, 1505, 499]) == {499: "row 499", 500: "row 500", 1505: "row 505"}
    assert [(shard.file, shard.end - shard.begin < 65) for shard in read] == [("a.txt", True), ("b.parquet", True)]
    assert (read[1].begin, read[1].end) == (50, 51)
    assert corpus.text(498) == "row 498" and len(read) == 2, "the block is still there"


def test_neither_repr_nor_manifest_shows_a_row(tmp_path: Path) -> None:
    corpus = Corpus.open(write_txt(tmp_path / "c.txt", [MARKER]))
    list(corpus)
    assert MARKER not in repr(corpus) + json.dumps(corpus.manifest(keyed)) + repr(corpus.survey())


READ_IN_A_FRESH_PROCESS = """
import sys
from infra.corpus import Corpus
for path in sys.argv[1:]:
    corpus = Corpus.open(path, shard_bytes=300_000)
    assert sum("marker" in text for _, text in corpus) == 20_000, path
    assert corpus.texts(range(5)) and corpus.text(7)
"""


def test_reading_leaves_no_copy_of_the_text_in_any_cache_or_temporary_folder(tmp_path: Path) -> None:
    rows = [f"{MARKER} {i}" for i in range(20_000)]
    paths = [write(tmp_path / f"c.{kind}", rows, 9_000) for kind in KINDS]
    away = {name: tmp_path / "away" / name for name in ("HOME", "TMPDIR", "HF_HOME", "HF_DATASETS_CACHE", "cwd")}
    for folder in away.values():
        folder.mkdir(parents=True)
    environment = os.environ | {name: str(folder) for name, folder in away.items() if name != "cwd"}
    environment["XDG_CACHE_HOME"] = str(away["HOME"] / ".cache")
    environment["PYTHONPATH"] = str(Path(__file__).parents[4])
    command = [sys.executable, "-W", "error", "-c", READ_IN_A_FRESH_PROCESS, *map(str, paths)]
    done = subprocess.run(command, env=environment, cwd=away["cwd"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert MARKER not in done.stdout + done.stderr
    left = [path for path in (tmp_path / "away").rglob("*") if path.is_file()]
    assert [
        path for path in left if path.suffix in {".arrow", ".parquet"} or MARKER.encode() in path.read_bytes()
    ] == []


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_memory_does_not_grow_with_the_corpus(kind: str, tmp_path: Path) -> None:
    """In small; tests/benchmarks/corpus.py does it over 50 and 500 MB."""
    sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))
    from corpus import read  # type: ignore[import-not-found]  # on the path only since the line above

    peaks = []
    for megabytes in (10, 50):
        rows = ["a row of text, as long as most " * 10] * (megabytes * 1_000_000 // 310)
        path = tmp_path / f"{megabytes}.{kind}"
        write_parquet(path, rows, row_group_size=20_000, use_dictionary=False) if kind == "parquet" else write_jsonl(
            path, rows
        )
        found = read(path, "strings")
        assert found["rows"] == len(rows)
        peaks.append(found["peak"])
    assert peaks[1] < 1.15 * peaks[0]


def test_a_corpus_without_text_is_refused(tmp_path: Path) -> None:
    for content, rows in ((b"", 0), (b"\n \n", 2)):
        (tmp_path / "c.txt").write_bytes(content)
        with pytest.raises(BadInput, match=rf"holds no text \({rows} rows\); name a file"):
            Corpus.open(tmp_path / "c.txt")
