"""A scan of a corpus, shard by shard: the same however it is cut, resumed, and honest about what was not read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from typer.testing import CliRunner

from flows.cli.app import app
from infra.corpus import Corpus
from infra.settings import Settings
from tasks.corpus import scan as module
from tasks.corpus.scan import findings_of, open_scan, put_together, waiting_shards


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """A command points its process to an installation; this one goes on with other tests."""
    with mock.patch.dict(os.environ):
        yield


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for number in range(2):
        rows = [f"Row {row}, by person{number}{row}@example.com." if row % 7 == 0 else "Nothing." for row in range(60)]
        (folder / f"{number}.txt").write_text("\n".join(rows), encoding="utf-8")
    return folder


def scanned(tmp_path: Path, corpus: Corpus) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    scan = str(open_scan(Settings(home=tmp_path / "home"), corpus, recognisers=None, seed=3))
    survey, tally, _ = put_together(scan, corpus)
    return list(findings_of(scan, survey)), tally.to_dict()


def test_findings_and_counts_are_the_same_however_the_corpus_is_cut(tmp_path: Path, folder: Path) -> None:
    whole = scanned(tmp_path / "a", Corpus.open(folder))
    cut = scanned(tmp_path / "b", Corpus.open(folder, shard_bytes=150))
    assert cut[0] == whole[0] and len(whole[0]) == 18
    assert {**cut[1], "samples": None} == {**whole[1], "samples": None}
    rows = {(sample[1], sample[2]) for kept in cut[1]["samples"].values() for sample in kept}
    assert rows <= {(found["file"], found["row"]) for found in whole[0]}, "samples name rows of files, not of shards"


def test_a_scan_that_was_cut_off_goes_on_where_it_stopped(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = Corpus.open(folder, shard_bytes=150)
    real, done = module._scanned, []

    def dying(scan: Any, shard: Any) -> dict[str, Any]:
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(shard.number)
        return real(scan, shard)

    monkeypatch.setattr(module, "_scanned", dying)
    with pytest.raises(KeyboardInterrupt):
        scanned(tmp_path, corpus)
    scan = str(open_scan(Settings(home=tmp_path / "home"), corpus, recognisers=None, seed=3))
    assert [shard.number for shard in waiting_shards(scan, corpus)] == list(range(3, len(corpus.shards)))
    monkeypatch.setattr(module, "_scanned", real)
    assert scanned(tmp_path, corpus)[0] == scanned(tmp_path / "anew", corpus)[0]


def revs_scan(tmp_path: Path, *arguments: str) -> Any:
    answer = CliRunner().invoke(app, ["scan", *arguments, "--home", str(tmp_path / "home")])
    assert answer.exit_code == 0, answer.output
    return answer.stdout


def test_a_report_is_written_and_no_trace_of_the_scan_stays_behind(tmp_path: Path, folder: Path) -> None:
    out = tmp_path / "out"
    shown = json.loads(revs_scan(tmp_path, str(folder / "0.txt"), "--report", str(out), "--json"))
    assert (shown["findings"], shown["complete"], shown["rows"]) == (9, True, 60)
    page = (out / "scan.html").read_text(encoding="utf-8")
    assert "9 findings of personal data in 9 rows" in page and "example.com" not in page
    assert json.loads((out / "scan.json").read_text(encoding="utf-8"))["findings"] == 9
    assert list((tmp_path / "home" / "scans").iterdir()) == []


def test_nothing_found_is_only_said_where_everything_was_read(tmp_path: Path) -> None:
    clean, broken = tmp_path / "clean.jsonl", tmp_path / "broken.jsonl"
    clean.write_text('{"text": "nothing here"}\n', encoding="utf-8")
    broken.write_text('{"text": "nothing here"}\n{"text": \n', encoding="utf-8")
    assert "no personal data was found" in revs_scan(tmp_path, str(clean))
    said = revs_scan(tmp_path, str(broken))
    assert "no personal data was found" not in said and "1 row could not be read" in said
    assert json.loads(revs_scan(tmp_path, str(broken), "--json"))["complete"] is False


def test_a_model_is_scanned_for_what_it_says_and_what_of_that_stands_in_a_corpus(
    tmp_path: Path, trained_models: Any, tokenizer: Any, people: list[Any]
) -> None:
    model = tmp_path / "model"
    trained_models["llama"].save_pretrained(model)
    tokenizer.save_pretrained(model)
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("\n".join(person.prompt + person.secret for person in people), encoding="utf-8")
    said = json.loads(revs_scan(tmp_path, str(corpus), "--model", str(model), "--samples", "40", "--json"))
    assert said["sampled"] == 40 and said["corpus_unread"] == ""
    assert all(found["in_corpus"] <= found["distinct"] <= found["findings"] for found in said["types"])
    text = json.dumps(said)
    assert not any(person.secret.strip() in text for person in people)


@pytest.mark.parametrize(("unreadable", "said"), [(b"PK\x03\x04", "1 file or part of a file"), (b"", "")])
def test_what_of_the_corpus_was_not_searched_is_said_beside_what_a_model_generates(
    unreadable: bytes, said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from flows.cli.scan import _show_leaks
    from tasks.corpus.leaks import Leaks

    (folder / "more.txt").write_bytes(unreadable)
    for as_json in (True, False):
        _show_leaks(Leaks(sampled=1, with_findings=0, types=()), "m", Corpus.open(folder), as_json=as_json)
        shown = capsys.readouterr().out
        if as_json:
            assert json.loads(shown)["corpus_unread"] == said
        else:
            assert ("could not be read" in shown) is bool(said)
