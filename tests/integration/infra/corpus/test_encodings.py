"""Text in UTF-16 and UTF-32, marked or not, is read as its characters, in shards; what gives no such sign is named."""

from __future__ import annotations

import gzip
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from small_corpora import in_file
from typer.testing import CliRunner

from flows.cli.app import app
from infra.corpus import Corpus, lines

WIDE = ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"]
ENCODINGS = [("utf-8", True), *((encoding, marked) for encoding in WIDE for marked in (True, False))]
KINDS = ("txt", "jsonl", "txt.gz", "jsonl.gz")
ROWS = ["Naïve letter: tansy.heath@example.com wrote.", "", "Привет, 한 😀 SSN 219-09-9998", "last, with a comma"]


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """A command points its process to an installation; this one goes on with other tests."""
    with mock.patch.dict(os.environ):
        yield


def write(path: Path, rows: Sequence[str], encoding: str, *, marked: bool, end: str = "\n") -> Path:
    if "jsonl" in path.name:
        rows = [json.dumps({"text": row}, ensure_ascii=False) for row in rows]
    data = ("\ufeff" if marked else "").encode(encoding) + "".join(row + end for row in rows).encode(encoding)
    path.write_bytes(gzip.compress(data) if path.name.endswith(".gz") else data)
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("encoding", "marked"), ENCODINGS)
def test_a_scan_finds_in_every_encoding_what_it_finds_in_utf_8_at_the_same_places(
    encoding: str, marked: bool, kind: str, tmp_path: Path
) -> None:
    path = write(tmp_path / f"c.{kind}", ROWS, encoding, marked=marked)
    found = tmp_path / "found.jsonl"
    arguments = ["scan", str(path), "--findings", str(found), "--home", str(tmp_path / "home"), "--json"]
    answer = CliRunner().invoke(app, arguments)
    assert answer.exit_code == 0, answer.output
    said = json.loads(answer.stdout)
    assert (said["complete"], said["rows"], said["unread"]) == (True, 4, [])
    places = [json.loads(line) for line in found.read_text().splitlines()]
    assert [(p["row"], ROWS[p["row"]][p["start"] : p["end"]], p["type"]) for p in places] == [
        (0, "tansy.heath@example.com", "EMAIL_ADDRESS"),
        (2, "219-09-9998", "US_SSN"),
    ]


CONTENT = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn", "Co"], exclude_characters="\ufeff"), max_size=9)


@settings(deadline=None, max_examples=40)
@given(
    rows=st.lists(CONTENT, max_size=9),
    encoding=st.sampled_from(WIDE),
    kind=st.sampled_from(["txt", "jsonl"]),
    end=st.sampled_from(["\n", "\r\n"]),
    shard_bytes=st.integers(1, 60),
    chunk=st.integers(1, 40),
)
def test_wide_rows_are_the_same_whatever_the_file_is_cut_into(
    rows: list[str], encoding: str, kind: str, end: str, shard_bytes: int, chunk: int
) -> None:
    rows = ["plain words at the beginning, as in every text, and so many that a few odd characters do not count", *rows]
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patched:
        patched.setattr(lines, "CHUNK", chunk)
        path = write(Path(name) / f"c.{kind}", rows, encoding, marked=True, end=end)
        whole, cut = Corpus.open(path), Corpus.open(path, shard_bytes=shard_bytes)
        assume(not whole.unread)  # still too many of them
        assert [text for _, text in cut] == rows
        assert cut.texts(range(len(rows))) == dict(enumerate(rows))
        assert cut.digest == whole.digest and cut.unread == ()


UTF16 = "\ufeffplain words, and more of them\nanother row of words\n".encode("utf-16-le")
# what is written, rows that are read, rows (None: a file or the rest of it) that are named, why
DOUBTFUL = {
    "half a character at the end": (UTF16 + b"x", 2, [(2, 1)], "not UTF-16"),
    "half a surrogate pair": (UTF16 + "bad".encode("utf-16-le") + b"\x00\xd8" + "\n".encode("utf-16-le"), 2,
                              [(2, 1)], "not UTF-16"),
    "UTF-8 appended to UTF-16": (UTF16 + b"tansy.heath@example.com wrote\n", 2, [(2, 1)],
                                 "8-bit text in a file of UTF-16"),
    "UTF-16 appended to UTF-8": (b"plain words of UTF-8, a long row of them, longer than what follows\n" * 9
                                 + "tansy.heath@example.com\n".encode("utf-16-le"), 9 + 2, [(9, 1), (10, 1)],
                                 "holds NUL characters, which may part what stands there"),
    "Latin-1": ("a row\nÉric, naïve, déjà vu\na row\n".encode("latin-1"), 2, [(1, 1)], "not UTF-8"),
    "UTF-16 whose characters look like ASCII": ("あいうえお\nあいうえお\n".encode("utf-16-le"), 0, [(0, None)],
                                                "binary data, or text in an encoding that it does not tell, 24 bytes"),
    "UTF-7 by its mark": (b"+/v8-tansy.heath+AEA-example.com\n", 0, [(0, None)], "UTF-7 text, 33 bytes, not text"),
    "EBCDIC": ("tansy.heath wrote a letter\n".encode("cp037"), 0, [(0, None)], None),
}  # fmt: skip


@pytest.mark.parametrize(("data", "read", "named", "reason"), DOUBTFUL.values(), ids=DOUBTFUL)
def test_what_is_not_wholly_of_one_encoding_is_named_by_row_or_as_a_whole(
    data: bytes, read: int, named: list[tuple[int, int | None]], reason: str | None, tmp_path: Path
) -> None:
    (tmp_path / "c.txt").write_bytes(data)
    (tmp_path / "good.txt").write_text("a good row\n")
    corpus = Corpus.open(tmp_path)
    rows = [row for row, _ in corpus if in_file(corpus.survey(), row)[0] == "c.txt"]
    assert len(rows) == read
    unread = corpus.unread
    assert all(entry.file == "c.txt" for entry in unread)
    if reason is not None:
        assert [(entry.row, entry.rows) for entry in unread] == named
        assert {entry.reason for entry in unread} == {reason}
    assert unread
    answer = CliRunner().invoke(app, ["scan", str(tmp_path), "--home", str(tmp_path / "home")])
    assert "no personal data was found" not in answer.stdout and "not read: 'c.txt'" in answer.stdout


def test_a_file_of_the_mark_alone_is_an_empty_row_and_nothing_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe")
    (tmp_path / "b.txt").write_text("words\n")
    corpus: Any = Corpus.open(tmp_path)
    assert [text for _, text in corpus] == ["", "words"] and corpus.unread == ()
