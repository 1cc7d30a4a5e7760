"""Whatever is no text that could be read is named: no scan of it ends in "every row was read"."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import pickle
import socket
import sqlite3
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from flows.cli.app import app
from infra.corpus import Corpus, unread_summary

TEXT = b"Tansy Heath, SSN 219-09-9998, wrote to tansy.heath@example.com.\n" * 3


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """A command points its process to an installation; this one goes on with other tests."""
    with mock.patch.dict(os.environ):
        yield


def zipped() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("letters.txt", TEXT)
    return file.getvalue()


def tarred() -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        entry = tarfile.TarInfo("letters.txt")
        entry.size = len(TEXT)
        archive.addfile(entry, io.BytesIO(TEXT))
    return file.getvalue()


def database(path: Path) -> bytes:
    with sqlite3.connect(path) as connection:
        connection.execute("create table letters (text)")
    connection.close()
    return path.read_bytes()


def parquet() -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"text": [TEXT.decode()]}), file)
    return file.getvalue()


# name of the file, its bytes, what is said of it
NO_TEXT: dict[str, tuple[str, bytes, str]] = {
    "ZIP": ("c.txt", zipped(), "a ZIP archive"),
    "ZIP as JSON Lines": ("c.jsonl", zipped(), "a ZIP archive"),
    "tar": ("c.txt", tarred(), "a tar archive"),
    "tar in gzip": ("c.txt.gz", gzip.compress(tarred(), mtime=0), "a tar archive"),
    "gzip in gzip": ("c.txt.gz", gzip.compress(gzip.compress(TEXT), mtime=0), "a gzip file inside a gzip file"),
    "gzip cut after its head": ("c.txt", gzip.compress(TEXT, mtime=0)[:11], "no whole gzip file"),
    "empty gzip": ("c.jsonl.gz", b"", "no whole gzip file"),
    "xz": ("c.txt", lzma.compress(TEXT), "an xz file"),
    "bzip2": ("c.jsonl", bz2.compress(TEXT), "a bzip2 file"),
    "Zstandard": ("c.txt", b"\x28\xb5\x2f\xfd" + TEXT[:9] + b"\x00\xff" * 9, "a Zstandard file"),
    "7z": ("c.txt", b"7z\xbc\xaf\x27\x1c\x00\x04" + b"\x81" * 40, "a 7z archive"),
    "PDF": ("c.txt", b"%PDF-1.7\n1 0 obj\n<< /Length 4 >>\n" + TEXT, "a PDF document"),
    "pickle": ("c.txt", pickle.dumps([TEXT]), "a Python pickle"),
    "Parquet under another name": ("c.jsonl", parquet(), "a Parquet file under another name"),
    "a pointer of Git LFS": (
        "c.txt",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n",
        "Git LFS",
    ),
    "random bytes": ("c.txt", bytes(range(256)) * 4, "binary data, or text in an encoding that it does not tell"),
    "NUL bytes alone": ("c.txt", b"\0" * 4096, "binary data, or text in an encoding that it does not tell"),
    "text behind NUL bytes": ("c.txt", b"\0" * 4096 + TEXT, "binary data, or text in an encoding"),
    "Parquet of 0 bytes": ("c.parquet", b"", "no whole Parquet file"),
    "text as Parquet": ("c.parquet", TEXT, "no whole Parquet file"),
}


def scan(tmp_path: Path, folder: Path) -> tuple[dict[str, Any], str]:
    """What a scan says to machines, and what to people."""
    answers = [
        CliRunner().invoke(app, ["scan", str(folder), "--home", str(tmp_path / "home"), *more])
        for more in (["--json"], [])
    ]
    assert [answer.exit_code for answer in answers] == [0, 0], [answer.output for answer in answers]
    return json.loads(answers[0].stdout), answers[1].stdout


def corpus_with(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    (folder / "clean.txt").write_text("nothing here\n")
    return folder


@pytest.mark.parametrize(("name", "data", "said"), NO_TEXT.values(), ids=NO_TEXT)
def test_a_file_that_is_no_text_is_named_once_with_what_it_is_whatever_its_suffix(
    name: str, data: bytes, said: str, tmp_path: Path
) -> None:
    folder = corpus_with(tmp_path)
    (folder / name).write_bytes(data)
    machines, people = scan(tmp_path, folder)
    assert machines["complete"] is False and machines["rows"] == 1
    assert [(left["file"], left["rows"]) for left in machines["unread"]] == [(name, None)]
    assert said in machines["unread"][0]["reason"]
    assert "no personal data was found" not in people and f"not read: '{name}'" in people


@pytest.mark.parametrize("shard_bytes", [7, 40, 1 << 20])
def test_it_is_named_once_and_hashed_whole_however_it_is_cut(shard_bytes: int, tmp_path: Path) -> None:
    folder = corpus_with(tmp_path)
    (folder / "c.txt").write_bytes(zipped())
    (folder / "d.jsonl").write_bytes(gzip.compress(b'{"text": "packed"}\n' * 9, mtime=0))
    corpus = Corpus.open(folder, shard_bytes=shard_bytes)
    assert [text for _, text in corpus] == ["nothing here", *["packed"] * 9]
    assert [unread.file for unread in corpus.unread] == ["c.txt"]
    assert corpus.texts([0, 9]) == {0: "nothing here", 9: "packed"}
    assert corpus.digest == Corpus.open(folder).digest


def test_a_database_is_no_text(tmp_path: Path) -> None:
    folder = corpus_with(tmp_path)
    (folder / "c.txt").write_bytes(database(tmp_path / "letters.db"))
    assert scan(tmp_path, folder)[0]["unread"][0]["reason"].startswith("an SQLite database")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("gzip without its suffix.txt", gzip.compress(TEXT, mtime=0)),
        ("plain with the suffix of gzip.txt.gz", TEXT),
        ("gzip without its suffix.jsonl", gzip.compress(json.dumps({"text": TEXT.decode()}).encode(), mtime=0)),
    ],
)
def test_gzip_is_told_by_its_bytes_not_by_its_suffix(name: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    machines, _ = scan(tmp_path, tmp_path / name)
    assert (machines["complete"], machines["findings"]) == (True, 6)


WITH_NUL = "219-\x0009-9998, tansy.heath@example.com, and enough words around it that it is text for the most part"
BESIDE = "other words, long enough that one character in so many does not make it binary"


def as_text(path: Path) -> Path:
    path.write_text(f"{BESIDE}\n{WITH_NUL}\n{BESIDE}\n")
    return path


def as_json(path: Path) -> Path:
    path.write_text("".join(json.dumps({"text": row}) + "\n" for row in (BESIDE, WITH_NUL, BESIDE)))
    return path


def as_parquet(path: Path) -> Path:
    pq.write_table(pa.table({"text": [BESIDE, WITH_NUL, BESIDE]}), path)
    return path


@pytest.mark.parametrize(
    ("name", "write"),
    [("c.txt", as_text), ("c.jsonl", as_json), ("c.parquet", as_parquet)],
    ids=["text", "JSON Lines", "Parquet"],
)
def test_a_row_with_nul_characters_is_searched_and_still_named(
    name: str, write: Callable[[Path], Path], tmp_path: Path
) -> None:
    machines, people = scan(tmp_path, write(tmp_path / name))
    assert machines["counts"] == [{"file": name, "type": "EMAIL_ADDRESS", "findings": 1}]
    assert [(left["row"], left["rows"], left["partly"]) for left in machines["unread"]] == [(1, 1, True)]
    assert machines["complete"] is False and "1 row in part could not be read" in " ".join(people.split())
    assert [left for left in machines["not_read"] if left["partly"]] == machines["not_read"]


def fifo(path: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path) -> None:
    home = os.getcwd()
    os.chdir(path.parent)  # the path of a socket must be short
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path.name)
    finally:
        os.chdir(home)


def link_to(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


SPECIAL: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "a pipe": ("c.txt", fifo, "no regular file (a pipe, socket or device)"),
    "a socket": ("c.jsonl", unix_socket, "no regular file (a pipe, socket or device)"),
    "a device": ("c.txt", link_to("/dev/zero"), "no regular file (a pipe, socket or device)"),
    "a link to nothing": ("c.parquet", link_to("nowhere.parquet"), "a link to nothing"),
    "a link to itself": ("c.txt", link_to("c.txt"), "a link to nothing"),
    "a link to a folder elsewhere": ("more", link_to("../elsewhere"), "a link to a folder outside the corpus"),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize(("name", "make", "said"), SPECIAL.values(), ids=SPECIAL)
def test_what_is_no_file_is_named_and_nothing_waits_for_it(
    name: str, make: Callable[[Path], None], said: str, tmp_path: Path
) -> None:
    folder = corpus_with(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    make(folder / name)
    machines, people = scan(tmp_path, folder)
    assert machines["complete"] is False
    assert [(left["file"], left["rows"]) for left in machines["unread"]] == [(name, None)]
    assert said in machines["unread"][0]["reason"] and "no personal data was found" not in people


@pytest.mark.timeout(60)
def test_a_pipe_alone_is_refused_and_nothing_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "c.txt")
    answer = CliRunner().invoke(app, ["scan", str(tmp_path / "c.txt"), "--home", str(tmp_path / "home")])
    assert answer.exit_code != 0 and "is no regular file (a pipe, socket or device)" in str(answer.exception)


def test_a_link_to_a_folder_of_the_corpus_itself_leaves_nothing_out(tmp_path: Path) -> None:
    folder = corpus_with(tmp_path)
    (folder / "circle").symlink_to(folder, target_is_directory=True)
    machines, people = scan(tmp_path, folder)
    assert machines["complete"] is True and "every row was read" in people


def test_a_folder_without_rights_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = corpus_with(tmp_path)
    (folder / "closed").mkdir()
    real = os.scandir

    def forbid(path: Any) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", forbid)  # root reads every folder
    corpus = Corpus.open(folder)
    assert [(left.file, left.reason) for left in corpus.unread] == [("closed", "a folder that cannot be read")]
    assert unread_summary(corpus.unread) == "1 file or part of a file"


def test_a_file_that_holds_more_than_the_system_tells_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fsspec.implementations.local import LocalFileSystem

    folder = corpus_with(tmp_path)
    (folder / "c.txt").write_bytes(TEXT)
    real = LocalFileSystem.info

    def lying(self: Any, path: Any, **options: Any) -> Any:
        return real(self, path, **options) | ({"size": 0} if str(path).endswith("c.txt") else {})

    monkeypatch.setattr(LocalFileSystem, "info", lying)  # as of the files below /proc
    assert [left.reason for left in Corpus.open(folder).unread] == [
        "holds more than the 0 bytes that the file system tells"
    ]


def test_an_empty_file_leaves_nothing_out(tmp_path: Path) -> None:
    folder = corpus_with(tmp_path)
    (folder / "empty.txt").touch()
    (folder / "empty.jsonl").touch()
    machines, _ = scan(tmp_path, folder)
    assert machines["complete"] is True


def test_a_name_that_is_no_utf_8_stops_no_scan(tmp_path: Path) -> None:
    folder = corpus_with(tmp_path)
    for name in (b"caf\xe9.txt", b"caf\xe9.md"):
        Path(os.fsdecode(os.path.join(os.fsencode(folder), name))).write_bytes(TEXT)
    machines, people = scan(tmp_path, folder)
    assert machines["findings"] == 6 and "caf\\udce9.md" in people
