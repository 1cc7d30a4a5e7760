"""Names of files are data too: outside the user's own terminal stand keyed pseudonyms, for digests as well."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from flows.cli.app import app
from infra.corpus import Corpus
from revs.errors import OperationFailed, RevsError

ADDRESS = "tansyheath@example.com"
ROW = "Tansy Heath lives here.\n"


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """A command points its process to an installation; this one goes on with other tests."""
    with mock.patch.dict(os.environ):
        yield


def keyed_with(key: bytes) -> Callable[[str], str]:
    return lambda name: hmac.new(key, name.encode(), "sha256").hexdigest()


KEYED = keyed_with(b"key")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A corpus in which every name is an address: its own, of folders, of files read, unread, ignored, and a column."""
    folder = tmp_path / f"of {ADDRESS}"
    (folder / f"from {ADDRESS}").mkdir(parents=True)
    (folder / f"{ADDRESS}.txt").write_text(ROW)
    (folder / f"from {ADDRESS}" / "1.txt").write_text(ROW)
    (folder / f"{ADDRESS}.zip").write_bytes(b"PK\x03\x04")
    (folder / f"{ADDRESS}.jsonl").write_text("{\n")
    (folder / f"z {ADDRESS}.txt").symlink_to("nowhere")
    pq.write_table(pa.table({ADDRESS: ["a row"]}), folder / f"{ADDRESS}.parquet")
    return folder


def digests(folder: Path) -> list[str]:
    """Of every file, and of the only row: what whoever guesses the content can compute."""
    contents = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    row = ROW.strip().encode()
    contents += [row, len(row).to_bytes(8, "big") + row]
    return [hashlib.sha256(content).hexdigest() for content in contents]


def test_the_manifest_holds_no_name_and_no_digest_that_could_be_guessed(folder: Path) -> None:
    corpus = Corpus.open(folder)
    manifest = corpus.manifest(KEYED)
    text = json.dumps(manifest)
    assert len(manifest["files"]) == 4 and len(manifest["unread"]) == 3 and len(manifest["ignored"]) == 1
    assert "tansy" not in text.lower() and "example.com" not in text
    assert not [digest for digest in [*digests(folder), corpus.digest.removeprefix("sha256:")] if digest in text]
    assert ADDRESS in " ".join(map(str, corpus.unread)), "the user's own terminal shows it, with the column's name"


def test_an_entry_is_told_by_its_number_and_found_again_by_whoever_has_the_key(folder: Path) -> None:
    files = Corpus.open(folder).manifest(KEYED)["files"]
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.[tjp]*") if path.is_file())
    assert [file["file"] for file in files] == [
        f"file {number} of 4 ({KEYED(name)[:12]})" for number, name in enumerate(names, start=1)
    ]


def test_equal_corpora_have_equal_manifests_and_a_change_or_another_key_shows(folder: Path) -> None:
    before, other = Corpus.open(folder).manifest(KEYED), Corpus.open(folder).manifest(keyed_with(b"other"))
    assert Corpus.open(folder).manifest(KEYED) == before
    assert Corpus.open(folder).keyed_digest(KEYED) == before["digest"] != other["digest"]
    (folder / f"{ADDRESS}.txt").write_text(ROW.replace("here", "away"))
    changed = Corpus.open(folder).manifest(KEYED)
    assert changed["digest"] != before["digest"]
    differ = [old["digest"] != new["digest"] for old, new in zip(before["files"], changed["files"], strict=True)]
    assert differ.count(True) == 1


def test_a_report_that_is_handed_on_has_numbers_where_terminal_and_findings_have_names(
    folder: Path, tmp_path: Path
) -> None:
    (folder / f"{ADDRESS}.txt").write_text("SSN 219-09-9998\n")
    out, found, home = tmp_path / "out", tmp_path / "found.jsonl", tmp_path / "home"
    arguments = ["scan", str(folder), "--report", str(out), "--findings", str(found), "--home", str(home), "--json"]
    answer = CliRunner().invoke(app, arguments)
    assert answer.exit_code == 0, answer.output
    said = json.loads(answer.stdout)
    assert said["counts"] == [{"file": f"{ADDRESS}.txt", "type": "US_SSN", "findings": 1}]
    assert json.loads(found.read_text())["file"] == f"{ADDRESS}.txt"
    written = [path for path in (*out.iterdir(), *home.rglob("*")) if path.is_file()]
    assert {path.name for path in written} > {"scan.json", "scan.html"}
    for path in written:
        data = path.read_bytes()
        assert b"tansy" not in data.lower() and b"example.com" not in data, path.name
        assert not [digest for digest in digests(folder) if digest.encode() in data], path.name
    report = json.loads((out / "scan.json").read_text())
    assert [sample["file"].split(" (")[0] for sample in report["samples"]] == ["file 4 of 4"]
    assert len(report["not_read"]) == len(said["not_read"]) == 4
    assert report["complete"] is False and report["corpus"]["digest"].startswith("hmac-sha256:")


def changed_after_the_survey(folder: Path) -> None:
    corpus = Corpus.open(folder)
    rows = len(corpus)
    (folder / f"{ADDRESS}.txt").write_text("another row\n")
    corpus.texts(range(rows))


def surveyed_twice(folder: Path) -> None:
    corpus = Corpus.open(folder)
    surveys = [corpus.read(shard).read_through() for shard in corpus.shards]
    corpus.assemble([*surveys, surveys[0]])


@pytest.mark.parametrize("fail", [changed_after_the_survey, surveyed_twice])
def test_what_fails_after_a_corpus_was_opened_is_recorded_without_a_name(
    fail: Callable[[Path], None], folder: Path
) -> None:
    with pytest.raises(OperationFailed, match=r"file \d of 4") as caught:
        fail(folder)
    assert isinstance(caught.value, RevsError) and "example.com" not in str(caught.value)
