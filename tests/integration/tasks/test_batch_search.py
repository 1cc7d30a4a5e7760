"""A batch's search of its corpus: shards apart, put together, resumed, with others sampled on the way."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from infra.batches.records import Named, Occurrences, SearchedShard
from infra.batches.workspace import Workspace
from infra.corpus import Corpus
from infra.requests import Identifier
from infra.search.occurrences import locate
from infra.settings import Settings
from revs.errors import BadInput
from tasks.batch.corpus import corpus_of, keyed_digest
from tasks.stages import locate as module
from tasks.stages.locate import search

MAIL, SSN = "jane.roe@example.com", "219-41-5522"
WANTED = {
    "jane": [Identifier(type="EMAIL_ADDRESS", value=MAIL), Identifier(type="US_SSN", value=SSN, number=1)],
    "nobody": [Identifier(type="EMAIL_ADDRESS", value="no.body@example.org")],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three files of 40 rows; in the first and the last stands Jane, in every tenth row somebody else."""
    folder = tmp_path / "corpus"
    folder.mkdir()
    for number in range(3):
        rows = [f"Row {row} of file {number} says little." for row in range(40)]
        for row in range(0, 40, 10):
            rows[row] += f" Write to person{number}{row}@example.net, host 192.0.2.{row}."
        if number != 1:
            rows[17] += f" Jane has {SSN}, and {MAIL.upper()} too."
        (folder / f"{number}.txt").write_text("\n".join(rows), encoding="utf-8")
    return folder


def batch(folder: Path, wanted: Mapping[str, Sequence[Identifier]] = WANTED) -> Any:
    return SimpleNamespace(
        batch=SimpleNamespace(id="b", corpus=str(folder)),
        store=SimpleNamespace(identifiers=lambda batch_id: dict(wanted), address=str),
        workspace=Workspace(folder.parent / "work", "b"),
        settings=Settings(home=folder.parent),
    )


def searched(folder: Path, **options: Any) -> Occurrences:
    return search(cast(Any, batch(folder)), Corpus.open(folder, **options))


@pytest.mark.parametrize("shard_bytes", [200, 10_000_000], ids=["many shards a file", "a shard a file"])
def test_shards_put_together_are_the_corpus_searched_as_one(folder: Path, shard_bytes: int) -> None:
    record = searched(folder, shard_bytes=shard_bytes)
    corpus = Corpus.open(folder)
    assert record.occurrences == tuple(locate(corpus, WANTED))
    assert len(record.occurrences) == 4
    assert record.missing == (Named(request_id="nobody", identifier=0),)
    assert record.corpus.digest == keyed_digest(batch(folder), corpus) != corpus.digest


def test_others_are_of_the_batchs_types_from_rows_of_no_request_and_the_same_again(folder: Path) -> None:
    record = searched(folder)
    texts = dict(Corpus.open(folder))
    found = {texts[other.row][other.start : other.end] for other in record.others}
    assert found == {f"person{number}{row}@example.net" for number in range(3) for row in range(0, 40, 10)}
    assert not {other.row for other in record.others} & {one.row for one in record.occurrences}
    (folder.parent / "work").rename(folder.parent / "earlier")
    assert searched(folder).others == record.others


def test_only_so_much_of_a_large_corpus_is_sampled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SAMPLED_BYTES", 1)
    record = searched(folder)
    assert len(record.others) < 3 and len(record.occurrences) == 4


def test_a_shard_with_a_record_is_not_searched_again_unless_its_file_changed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = searched(folder)
    done: list[str] = []
    real = module._searched

    def noting(sought: Any, corpus: Corpus, shard: Any) -> SearchedShard:
        done.append(shard.file)
        return real(sought, corpus, shard)

    monkeypatch.setattr(module, "_searched", noting)
    assert searched(folder) == before and done == []
    with (folder / "1.txt").open("a", encoding="utf-8") as file:
        file.write(f"\nNow also here: {MAIL}")
    after = searched(folder)
    assert done == ["1.txt"]
    assert len(after.occurrences) == len(before.occurrences) + 1


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["unmarked", "marked"])
def test_an_identifier_is_located_in_every_encoding_that_says_what_it_is(
    folder: Path, encoding: str, mark: str
) -> None:
    rows = [f"Naïve row {row}." for row in range(9)] + [f"Jane has {SSN}."]
    (folder / "wide.txt").write_bytes((mark + "\n".join(rows)).encode(encoding))
    for shard_bytes in (64, 1 << 20):
        found = searched(folder, shard_bytes=shard_bytes)
        places = [(o.row, o.start, o.end) for o in found.occurrences if o.row >= 3 * 40]
        assert places == [(3 * 40 + 9, 9, 20)] and found.corpus.unread == ()
        Workspace(folder.parent / "work", "b").remove()


def test_what_a_search_could_not_read_is_counted_in_its_record_under_no_name(folder: Path) -> None:
    (folder / f"{MAIL}.txt").write_bytes(b"PK\x03\x04")
    corpus = searched(folder).corpus
    assert ["a ZIP archive" in entry.reason for entry in corpus.unread] == [True]
    assert corpus.left_out == "1 file or part of a file" and corpus.left_out in corpus.reservation
    assert "jane" not in corpus.model_dump_json() and "example" not in corpus.model_dump_json()


def test_a_corpus_file_whose_name_is_no_utf_8_is_searched_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = os.fsdecode(b"caf\xe9.txt")
    (folder / name).write_text(f"Jane has {SSN}.", encoding="utf-8")
    before = searched(folder)
    assert len(before.occurrences) == 5
    monkeypatch.setattr(module, "_searched", lambda *_: pytest.fail("every shard has a record"))
    assert searched(folder) == before
    assert corpus_of(batch(folder)).texts([120]) == {120: f"Jane has {SSN}."}


def test_a_held_out_text_that_is_gone_is_told_without_its_address(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.batch import corpus as of_batch

    monkeypatch.setattr(of_batch, "on_record", lambda *_: str(folder / f"held out of {MAIL}.txt"))
    with pytest.raises(BadInput, match="held-out text of batch b cannot be read any more: put it back") as told:
        of_batch.held_out_text(cast(Any, batch(folder)))
    assert MAIL not in str(told.value) and str(folder) not in str(told.value)
