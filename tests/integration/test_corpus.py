from __future__ import annotations

import errno
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from infra.corpus import Corpus
from revs.errors import BadInput

ROWS = ["Jane Roe, SSN 219-41-5522", "", "line separator\u2028inside, é 한 😀", "trailing space ", "a\x0bb"]
MARKER = "marker-7f3a@example.com"


def write_txt(path: Path, rows: list[str]) -> Path:
    path.write_bytes("".join(f"{row}\n" for row in rows).encode())
    return path


def write_jsonl(path: Path, rows: list[str], column: str = "text") -> Path:
    path.write_text("".join(json.dumps({column: row, "id": i}) + "\n" for i, row in enumerate(rows)))
    return path


def write_parquet(path: Path, rows: Sequence[object], column: str = "text", kind: pa.DataType | None = None) -> Path:
    pq.write_table(pa.table({column: pa.array(rows, kind or pa.string())}), path)
    return path


@pytest.fixture(params=["txt", "jsonl", "parquet", "large.parquet"])
def corpus_path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"corpus.{request.param}"
    if request.param == "txt":
        return write_txt(path, ROWS)
    if request.param == "jsonl":
        return write_jsonl(path, ROWS)
    return write_parquet(path, ROWS, kind=pa.large_string() if "large" in request.param else pa.string())


def digest_of(rows: list[str]) -> str:
    """The digest as its definition says, row after row."""
    encoded = [row.encode() for row in rows]
    return "sha256:" + hashlib.sha256(b"".join(len(e).to_bytes(8, "big") + e for e in encoded)).hexdigest()


def test_the_same_rows_are_the_same_corpus_in_every_format(corpus_path: Path) -> None:
    corpus = Corpus.open(corpus_path)
    assert len(corpus) == len(ROWS)
    assert list(corpus) == list(enumerate(ROWS))
    assert [corpus.text(row) for row in range(len(ROWS))] == ROWS
    assert corpus.texts([3, 0, 3]) == {0: ROWS[0], 3: ROWS[3]}
    assert corpus.texts([]) == {}
    assert corpus.digest == digest_of(ROWS)


@pytest.mark.parametrize(
    "rows",
    [
        [ROWS[1], ROWS[0], *ROWS[2:]],
        [*ROWS, ""],
        [ROWS[0] + ROWS[1], *ROWS[2:]],
        [ROWS[0][:-1], ROWS[0][-1], *ROWS[2:]],
        [ROWS[0] + " ", *ROWS[1:]],
    ],
    ids=["other order", "one empty row more", "two rows joined", "a character moved over", "a space more"],
)
def test_any_other_rows_have_another_digest(rows: list[str], tmp_path: Path) -> None:
    assert Corpus.open(write_txt(tmp_path / "c.txt", rows)).digest != digest_of(ROWS)


def test_many_batches_keep_the_order_of_the_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infra.corpus.BATCH_ROWS", 3)
    rows = [f"row {i}" for i in range(10)]
    corpus = Corpus.open(write_parquet(tmp_path / "c.parquet", rows))
    assert list(corpus) == list(enumerate(rows))
    assert corpus.digest == digest_of(rows)
    assert corpus.texts(range(2, 7)) == {i: rows[i] for i in range(2, 7)}


@pytest.mark.parametrize("row", [-1, 5])
def test_a_row_outside_the_corpus_is_an_index_error(row: int, tmp_path: Path) -> None:
    with pytest.raises(IndexError, match=r"not all within 0\.\.4"):
        Corpus.open(write_txt(tmp_path / "c.txt", ROWS)).text(row)


def test_text_lines_may_end_in_crlf_begin_with_a_mark_and_lack_a_last_end(tmp_path: Path) -> None:
    path = tmp_path / "c.txt"
    path.write_bytes("\ufeffone\r\ntwo\n\nthree".encode())
    assert [text for _, text in Corpus.open(path)] == ["one", "two", "", "three"]


def test_blank_lines_of_jsonl_are_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "c.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"text": "one"}\r\n\n{"text": "two"}\n\n')
    assert list(Corpus.open(path)) == [(0, "one"), (1, "two")]


def test_another_text_column_is_read_by_its_name(tmp_path: Path) -> None:
    for path in (write_jsonl(tmp_path / "c.jsonl", ROWS, "body"), write_parquet(tmp_path / "c.parquet", ROWS, "body")):
        assert Corpus.open(path, text_column="body").digest == digest_of(ROWS)


def test_a_folder_is_read_in_the_order_of_its_paths_and_says_what_it_left_out(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    (folder / "b").mkdir(parents=True)
    (folder / ".cache").mkdir()
    write_txt(folder / "c.TXT", ["third"])
    write_jsonl(folder / "b" / "x.jsonl", ["second"])
    write_parquet(folder / "a.parquet", ["first", "first again"])
    write_txt(folder / ".cache" / "old.txt", ["hidden"])
    (folder / "readme.md").write_text("no corpus")
    corpus = Corpus.open(folder)
    assert [text for _, text in corpus] == ["first", "first again", "second", "third"]
    manifest = corpus.manifest()
    assert json.loads(json.dumps(manifest)) == manifest
    assert manifest == {
        "name": "corpus",
        "digest": digest_of(["first", "first again", "second", "third"]),
        "rows": 4,
        "files": [
            {
                "file": name,
                "rows": rows,
                "bytes": (folder / name).stat().st_size,
                "sha256": hashlib.sha256((folder / name).read_bytes()).hexdigest(),
            }
            for name, rows in [("a.parquet", 2), ("b/x.jsonl", 1), ("c.TXT", 1)]
        ],
        "ignored": [".cache/old.txt", "readme.md"],
    }


def test_neither_repr_nor_manifest_shows_a_row(tmp_path: Path) -> None:
    corpus = Corpus.open(write_txt(tmp_path / "c.txt", [MARKER]))
    assert MARKER not in repr(corpus) + json.dumps(corpus.manifest())


SECRET = b"219-41-5522"


def damaged(tmp_path: Path, kind: str) -> Path:
    path = tmp_path / f"bad.{kind.split()[0]}"
    if kind.endswith("cut"):
        whole = write_parquet(tmp_path / "whole.parquet", ["219-41-5522"] * 1000).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif kind.endswith("page"):
        whole = write_parquet(tmp_path / "whole.parquet", ["219-41-5522"] * 1000).read_bytes()
        path.write_bytes(whole[:4] + b"\xff" * 36 + whole[40:])
    elif kind.endswith("null"):
        write_parquet(path, ["219-41-5522", None])
    elif kind.endswith("numbers"):
        write_parquet(path, [1, 2], kind=pa.int64())
    elif kind.endswith("column"):
        write_parquet(path, ["219-41-5522"], column="body")
    elif kind.endswith("UTF-8"):
        binary = pa.array([b"ok", SECRET + b"\xff"], pa.binary())
        pq.write_table(pa.table({"text": binary.view(pa.string())}), path)
    return path


BAD_LINES = [
    (
        "c.txt",
        b"ok\n" + SECRET + b"\xff\nmore\n",
        r"'c\.txt', row 1 \(line 2\): not UTF-8 at byte 11; convert",
        "UTF-8",
    ),
    ("c.jsonl", b'{"text": "' + SECRET + b'\xff"}\n', r"'c\.jsonl', row 0 \(line 1\): not UTF-8 at byte 21", "UTF-8"),
    ("c.jsonl", b'{"text": "a"}\n\n{"text": "' + SECRET, r"row 1 \(line 3\): not valid JSON; write one", "cut line"),
    ("c.jsonl", b"[" * 100_000, r"row 0 \(line 1\): not valid JSON", "nested beyond reason"),
    ("c.jsonl", b'["' + SECRET + b'"]\n', r"row 0 \(line 1\): not a JSON object", "no object"),
    (
        "c.jsonl",
        b'{"body": "' + SECRET + b'"}\n',
        r"row 0 \(line 1\): no text column 'text'; name the right",
        "no column",
    ),
    ("c.jsonl", b'{"text": 219415522}\n', r"row 0 \(line 1\): 'text' is int, not a string", "a number"),
    ("c.jsonl", b'{"text": null}\n', r"'text' is NoneType, not a string", "null"),
    (
        "c.jsonl",
        b'{"text": "' + SECRET + b' \\ud800"}\n',
        r"half a surrogate pair at character 12; repair",
        "surrogate",
    ),
    ("c.txt", b"", r"holds no text \(0 rows\); name a file", "empty file"),
    ("c.txt", b"\n \n", r"holds no text \(2 rows\)", "blank rows alone"),
    ("c.csv", b"text\n" + SECRET, r"c\.csv' is no \.txt, \.jsonl or \.parquet file; convert", "another kind"),
]


@pytest.mark.parametrize(("name", "content", "message", "why"), BAD_LINES, ids=[f"{r[0]} {r[3]}" for r in BAD_LINES])
def test_a_bad_file_is_refused_by_file_and_row(
    name: str, content: bytes, message: str, why: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    refused(tmp_path / name, message)


BAD_PARQUET = [
    ("parquet cut", r"'bad\.parquet' is no whole Parquet file \(cut short or damaged\); copy it again"),
    ("parquet page", r"'bad\.parquet' is no whole Parquet file"),
    ("parquet null", r"'bad\.parquet', row 1: 'text' is null; drop the row"),
    ("parquet numbers", r"column 'text' is int64, not string; name a column of text"),
    ("parquet column", r"no text column 'text' but 'body'; name one of these"),
    ("parquet UTF-8", r"'bad\.parquet', row 1: not UTF-8 at byte 11"),
]


@pytest.mark.parametrize(("kind", "message"), BAD_PARQUET, ids=[row[0] for row in BAD_PARQUET])
def test_a_bad_parquet_file_is_refused_by_file_and_row(kind: str, message: str, tmp_path: Path) -> None:
    refused(damaged(tmp_path, kind), message)


def test_a_missing_path_and_a_folder_without_corpus_are_refused(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere.txt", r"nowhere\.txt' does not exist; check the path")
    refused(tmp_path, r"holds no \.txt, \.jsonl or \.parquet file; name a folder that does")


def test_a_file_without_rights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(*_args: object, **_options: object) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied")

    path = write_txt(tmp_path / "c.txt", ROWS)
    monkeypatch.setattr(Path, "open", forbid)  # root, who may run the tests, reads every file
    refused(path, r"'c\.txt' cannot be read \(Permission denied\); check the file and its rights")


def refused(path: Path, message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        Corpus.open(path)
    error: BaseException | None = caught.value
    while error is not None:  # neither the message nor what a traceback would show of its causes
        assert "219" not in str(error) or "219" in str(path)
        assert error.__cause__ is None
        assert error.__context__ is None or error.__suppress_context__
        error = error.__cause__


READ_IN_A_FRESH_PROCESS = """
import sys
from infra.corpus import Corpus
for path in sys.argv[1:]:
    corpus = Corpus.open(path)
    assert sum("marker" in text for _, text in corpus) == 20_000, path
    assert corpus.texts(range(5)) and corpus.text(7)
"""


def test_reading_leaves_no_copy_of_the_text_in_any_cache_or_temporary_folder(tmp_path: Path) -> None:
    rows = [f"{MARKER} {i}" for i in range(20_000)]
    paths = [
        write_txt(tmp_path / "c.txt", rows),
        write_jsonl(tmp_path / "c.jsonl", rows),
        write_parquet(tmp_path / "c.parquet", rows),
    ]
    away = {name: tmp_path / "away" / name for name in ("HOME", "TMPDIR", "HF_HOME", "HF_DATASETS_CACHE", "cwd")}
    for folder in away.values():
        folder.mkdir(parents=True)
    environment = os.environ | {name: str(folder) for name, folder in away.items() if name != "cwd"}
    environment["XDG_CACHE_HOME"] = str(away["HOME"] / ".cache")
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    command = [sys.executable, "-W", "error", "-c", READ_IN_A_FRESH_PROCESS, *map(str, paths)]
    done = subprocess.run(command, env=environment, cwd=away["cwd"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert MARKER not in done.stdout + done.stderr
    left = [path for path in (tmp_path / "away").rglob("*") if path.is_file()]
    assert [
        path for path in left if path.suffix in {".arrow", ".parquet"} or MARKER.encode() in path.read_bytes()
    ] == []
