"""What is wrong with a part of a corpus costs that part alone and is named; what is wrong with all of it is refused."""

from __future__ import annotations

import errno
import gzip
import hmac
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_corpora import in_file

from infra.corpus import Corpus, ShardReader, Unread, absolute, plan, unread_summary
from infra.corpus.shard import UnreadLog
from infra.corpus.source import file_system
from revs.errors import BadInput, OperationFailed

SECRET = b"219-41-5522"
GOOD = ["one", "two"]


def parquet(path: Path, rows: Any = None, column: str = "text", kind: Any = None, **options: Any) -> Path:
    rows = ["219-41-5522"] * 1000 if rows is None else rows
    pq.write_table(pa.table({column: pa.array(rows, kind or pa.string())}), path, **options)
    return path


def cut(path: Path) -> None:
    whole = parquet(path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def damaged_page(path: Path) -> None:
    """The second of three row groups is overwritten."""
    parquet(path, [f"{n} 219-41-5522" for n in range(300)], row_group_size=100, use_dictionary=False)
    group = pq.ParquetFile(path).metadata.row_group(1).column(0)
    whole = bytearray(path.read_bytes())
    begin, size = group.data_page_offset, group.total_compressed_size
    whole[begin : begin + size] = b"\xff" * size
    path.write_bytes(whole)


def not_utf8(path: Path) -> None:
    binary = pa.array([b"ok", SECRET + b"\xff", b"fine"], pa.binary())
    pq.write_table(pa.table({"text": binary.view(pa.string())}), path)


def cut_gzip(path: Path) -> None:
    rng = random.Random(0)
    whole = gzip.compress(b"".join(b"%d\n" % rng.getrandbits(64) for _ in range(100_000)))
    path.write_bytes(whole[: len(whole) // 2])


def keyed(name: str) -> str:
    return hmac.new(b"key", name.encode(), "sha256").hexdigest()


def content(data: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(data) and None


# name, what is wrong, what is set aside (row, byte, rows), reason; None: no row of the file can be read
BAD: list[tuple[str, Callable[[Path], None], list[tuple[int | None, int | None, int | None]], str, str]] = [
    ("c.txt", content(b"ok\n" + SECRET + b"\xff\nmore\n"), [(1, 3, 1)], "not UTF-8", "a line of another encoding"),
    ("c.txt", content(b"ok\n" + SECRET * 20 + b"\nmore\n"), [(1, 3, 1)], "longer than 100 bytes", "a long line"),
    ("c.txt.gz", cut_gzip, [(None, None, None)], "no whole gzip file (cut short or damaged)", "a cut gzip file"),
    ("c.jsonl", content(b'{"text": "' + SECRET + b'\xff"}\n'), [(0, 0, 1)], "not UTF-8", "bytes in a string"),
    ("c.jsonl", content(b'{"text": "a"}\n\n{"text": "' + SECRET), [(1, 15, 1)], "not valid JSON", "a cut line"),
    ("c.jsonl", content(b'{"text": "a"}\n' + b"[" * 99), [(1, 14, 1)], "not valid JSON", "nested beyond reason"),
    ("c.jsonl", content(b'["' + SECRET + b'"]\n'), [(0, 0, 1)], "not a JSON object", "a list"),
    ("c.jsonl", content(b'{"body": "' + SECRET + b'"}\n'), [(0, 0, 1)], "no text column 'text'", "no such column"),
    ("c.jsonl", content(b'{"text": 219415522}\n'), [(0, 0, 1)], "'text' is int, not a string", "a number"),
    ("c.jsonl", content(b'{"text": null}\n'), [(0, 0, 1)], "'text' is null", "null"),
    ("c.jsonl", content(b'{"text": "' + SECRET + b' \\ud800"}\n'), [(0, 0, 1)], "half a surrogate pair", "a surrogate"),
    ("c.parquet", cut, [(None, None, None)], "no whole Parquet file (cut short or damaged)", "a copy cut short"),
    ("c.parquet", damaged_page, [(100, None, 100)], "no whole Parquet file (cut short or damaged)", "one bad page"),
    ("c.parquet", lambda p: parquet(p, ["a", None, "b"]) and None, [(1, None, 1)], "'text' is null", "a null"),
    ("c.parquet", lambda p: parquet(p, [1], kind=pa.int64()) and None, [(None, None, None)],
     "column 'text' is int64, not string", "a column of numbers"),
    ("c.parquet", lambda p: parquet(p, ["219-41-5522"], column="body") and None, [(None, None, None)],
     "no text column 'text'", "another column"),
    ("c.parquet", not_utf8, [(1, None, 1)], "not UTF-8", "bytes that are no text"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "make", "places", "reason", "why"), BAD, ids=[f"{row[0]} {row[4]}" for row in BAD])
def test_what_cannot_be_read_is_set_aside_by_place_and_the_rest_goes_on(
    name: str,
    make: Callable[[Path], None],
    places: list[tuple[int | None, int | None, int | None]],
    reason: str,
    why: str,
    tmp_path: Path,
) -> None:
    make(tmp_path / name)
    (tmp_path / "good.txt").write_text("one\ntwo\n")
    corpus = Corpus.open(tmp_path, longest=100)
    read = dict(corpus)
    assert [text for row, text in read.items() if in_file(corpus.survey(), row)[0] == "good.txt"] == GOOD
    expected = [Unread(file=name, reason=reason, row=row, byte=byte, rows=rows) for row, byte, rows in places]
    if name.endswith(".gz"):
        assert [(u.file, u.reason, u.rows) for u in corpus.unread] == [(name, reason, None)]
        assert 0 < (corpus.unread[0].row or 0) < 100_000, "what was unpacked is read"
    else:
        assert list(corpus.unread) == expected
    for unread in corpus.unread:
        skipped = range(unread.row or 0, (unread.row or 0) + (unread.rows or 0))
        assert all(corpus.text(row) == "" and row not in read for row in skipped), "its number is kept"
    manifest = json.dumps(corpus.manifest(keyed))
    assert reason.replace('"', '\\"') in manifest and "219-41" not in manifest + str(corpus.unread)
    assert all(file.sha256 for file in corpus.survey().files), "damaged or not: these are its bytes"


ONLY_BAD_ROWS = {"bytes in a string", "a list", "no such column", "a number", "null", "a surrogate"}
NO_USE = {"a copy cut short", "a column of numbers", "another column"}
NOTHING = [row for row in BAD if row[4] in ONLY_BAD_ROWS | NO_USE]


@pytest.mark.parametrize(("name", "make", "places", "reason", "why"), NOTHING, ids=[row[4] for row in NOTHING])
def test_a_corpus_of_which_nothing_could_be_read_is_refused_with_the_reason(
    name: str, make: Callable[[Path], None], places: list[Any], reason: str, why: str, tmp_path: Path
) -> None:
    make(tmp_path / name)
    refused(lambda: Corpus.open(tmp_path / name), "nothing in corpus", f"{name!r}", reason, "repair it")


def refused(open_it: Callable[[], object], *said: str) -> None:
    with pytest.raises(BadInput) as caught:
        open_it()
    assert all(part in str(caught.value) for part in said), caught.value
    assert "\n" not in str(caught.value)
    error: BaseException | None = caught.value
    while error is not None:  # neither the message nor what a traceback would show of its causes
        assert "219-41" not in str(error)
        assert error.__cause__ is None
        assert error.__context__ is None or error.__suppress_context__
        error = error.__cause__


def test_a_missing_path_another_kind_and_a_folder_without_corpus_are_refused(tmp_path: Path) -> None:
    refused(lambda: Corpus.open(tmp_path / "nowhere.txt"), "nowhere.txt' does not exist; check the path", "hf://")
    refused(lambda: Corpus.open(tmp_path), "holds no .txt, .jsonl (also .gz) or .parquet file; name a folder that does")
    (tmp_path / "c.csv").write_bytes(b"text\n" + SECRET)
    refused(lambda: Corpus.open(tmp_path / "c.csv"), "c.csv' is no .txt, .jsonl (also .gz) or .parquet file; convert")
    refused(lambda: Corpus.open(tmp_path, shard_bytes=0), "both must be 1 or more")


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("nowhere://bucket/c.txt", "no file system for nowhere://"),
        ("simplecache::s3://bucket/c.txt", "chain of addresses"),  # would leave a copy on the disk
        ("ftp://user:hunter2@127.0.0.1/c.txt", "holds a password"),
    ],
)
def test_an_address_that_is_unknown_leaves_a_copy_or_tells_a_password_is_refused(address: str, said: str) -> None:
    refused(lambda: Corpus.open(address), said)
    with pytest.raises(BadInput) as caught:
        Corpus.open(address)
    assert "hunter2" not in str(caught.value)


def test_a_hub_id_is_read_through_the_hubs_file_system_and_paths_are_made_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs, path = file_system("hf://datasets/ORG/NAME")
    assert (type(fs).__name__, path) == ("HfFileSystem", "datasets/ORG/NAME")
    assert absolute("hf://datasets/ORG/NAME") == "hf://datasets/ORG/NAME"
    monkeypatch.chdir(tmp_path)
    assert absolute("c.txt") == str(tmp_path / "c.txt")


def test_a_file_without_rights_is_set_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(*_args: object, **_options: object) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied")

    (tmp_path / "c.txt").write_text("one\n")
    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.open", forbid)  # root reads every file
    refused(lambda: Corpus.open(tmp_path / "c.txt"), "'c.txt', row 0: cannot be read (Permission denied)")


@pytest.mark.parametrize("kind", ["txt", "parquet"])
def test_a_file_that_vanishes_or_changes_between_planning_and_reading_is_set_aside(kind: str, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        path = tmp_path / f"{name}.{kind}"
        path.write_text(f"{name} one\n{name} two\n") if kind == "txt" else parquet(path, [f"{name} one", f"{name} two"])
    corpus = Corpus.open(tmp_path)
    before = corpus.digest
    (tmp_path / f"a.{kind}").unlink()
    os.utime(tmp_path / f"b.{kind}", (1, 1))
    assert [text for _, text in corpus] == ["c one", "c two"]
    rows = None if kind == "txt" else 2  # the footer told
    assert [(u.file, u.reason, u.rows) for u in corpus.unread] == [
        (f"a.{kind}", "vanished between planning and reading", rows),
        (f"b.{kind}", "changed between planning and reading", rows),
    ]
    assert [file.sha256 is None for file in corpus.survey().files] == [True, True, False]
    assert corpus.digest != before, "what was recorded of the old corpus no longer holds"
    assert unread_summary(corpus.unread) == ("2 files or parts of a file" if kind == "txt" else "4 rows")


def test_a_file_that_changes_while_it_is_read_is_set_aside(tmp_path: Path) -> None:
    path = tmp_path / "c.txt"
    path.write_text("one\ntwo\n")
    planned = plan(str(path))
    reader = ShardReader(planned.source, planned.shards[0])
    for _ in reader:
        os.utime(path, (1, 1))
    assert not reader.survey.intact and reader.survey.sha256 is None
    assert [u.reason for u in reader.survey.unread] == ["changed between planning and reading"]


def test_a_row_is_not_read_from_a_file_that_changed_after_the_survey(tmp_path: Path) -> None:
    (tmp_path / "c.txt").write_text("one\ntwo\n")
    corpus = Corpus.open(tmp_path / "c.txt")
    assert len(corpus) == 2
    (tmp_path / "c.txt").write_text("two\none\n more")
    with pytest.raises(OperationFailed, match=r"file 1 of 1 of the corpus: changed .* row numbers no longer hold"):
        corpus.text(0)


def test_a_thousand_bad_rows_are_counted_and_a_few_of_them_named(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text('{"text": "ok"}\n' + '{"body": 1}\n{"text": 1}\n' * 1000)
    corpus = Corpus.open(tmp_path / "c.jsonl")
    assert unread_summary(corpus.unread) == "2000 rows"
    assert len(corpus.unread) == 2 * UnreadLog.NAMED + 2
    assert str(corpus.unread[0]) == "'c.jsonl', row 1 (byte 15): no text column 'text'"
    assert str(corpus.unread[-1]) == "'c.jsonl': 'text' is int, not a string, further on (980 rows)"
    assert len(corpus) == 2001


@pytest.mark.parametrize(
    ("unread", "said"),
    [
        ((), ""),
        ((Unread(file="a", reason="r", rows=1),), "1 row"),
        ((Unread(file="a", reason="r", rows=1), Unread(file="b", reason="r", rows=None)),
         "1 row and 1 file or part of a file"),
        ((Unread(file="a", reason="r", rows=None),) * 2, "2 files or parts of a file"),
    ],
)  # fmt: skip
def test_the_summary_counts_rows_and_what_nobody_could_count(unread: tuple[Unread, ...], said: str) -> None:
    assert unread_summary(unread) == said


READ_WITHIN = """
import re, sys
from infra.corpus import Corpus

def peak():
    with open("/proc/self/status") as status:
        return int(re.search(r"VmHWM:\\s+(\\d+) kB", status.read())[1]) // 1024

small, large = sys.argv[1:]
list(Corpus.open(small))
before = peak()
corpus = Corpus.open(large)
assert [text for _, text in corpus] == ["first", "last"], len(corpus)
assert [u.reason for u in corpus.unread] == ["longer than 16777216 bytes"], corpus.unread
print(peak() - before)
"""


def test_a_line_of_100_megabytes_costs_no_memory(tmp_path: Path) -> None:
    (tmp_path / "small.txt").write_text("one\n")
    with (tmp_path / "large.txt").open("wb") as file:
        file.write(b"first\n")
        for _ in range(100):
            file.write(b"219-41-5522 " * 87_382)
        file.write(b"\nlast\n")
    command = [sys.executable, "-c", READ_WITHIN, str(tmp_path / "small.txt"), str(tmp_path / "large.txt")]
    done = subprocess.run(command, cwd=Path(__file__).parents[4], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 64, "MiB: the bound on a row and what is read ahead, a few times"
