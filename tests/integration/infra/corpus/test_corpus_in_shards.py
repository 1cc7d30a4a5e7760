"""Corpora in shards: nothing lost, nothing doubled, wherever they are cut and whoever reads a shard."""

from __future__ import annotations

import json
import pickle
import random
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from small_corpora import (
    KINDS,
    ROWS,
    digest_of,
    in_file,
    keyed,
    rows_digest,
    surveys_of,
    write,
    write_parquet,
    write_txt,
)

from infra.corpus import Corpus, ShardSurvey, Survey, lines, manifest_of, plan
from revs.errors import OperationFailed

CONTENT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\n\r\ufeff"), max_size=12)
FILES = st.lists(st.tuples(st.sampled_from(KINDS), st.lists(CONTENT, max_size=9)), min_size=1, max_size=4)


@settings(deadline=None, max_examples=40)
@given(
    files=FILES, shard_bytes=st.integers(1, 60), chunk=st.integers(1, 40), group=st.integers(1, 4), seed=st.integers()
)
def test_nothing_is_lost_doubled_or_moved_whatever_the_corpus_is_cut_into(
    files: list[tuple[str, list[str]]], shard_bytes: int, chunk: int, group: int, seed: int
) -> None:
    rows = [row for _, found in files for row in found]
    assume(any(row and not row.isspace() for row in rows))
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patched:
        patched.setattr(lines, "CHUNK", chunk)
        paths = [write(Path(name) / f"{n}.{kind}", found, group) for n, (kind, found) in enumerate(files)]
        places = [(path.name, row) for path, (_, found) in zip(paths, files, strict=True) for row in range(len(found))]
        corpus = Corpus.open(name, shard_bytes=shard_bytes)
        surveys = surveys_of(corpus)
        assert [text for shard in corpus.shards for batch in corpus.read(shard) for _, text in batch] == rows
        assert list(corpus) == list(enumerate(rows))
        survey = corpus.survey()
        assert [in_file(survey, row) for row in range(len(rows))] == places
        in_shards = [(s.shard.number, row) for s in survey.shards for row in range(s.rows)]
        assert [survey.in_shard(row) for row in range(len(rows))] == in_shards
        assert survey.digest == digest_of(*paths) == Corpus.open(name).digest
        for shard, first in zip(survey.shards, survey.first_rows, strict=True):
            assert shard.digest == rows_digest(rows[first : first + shard.rows])
        rng.shuffle(surveys)
        again = Corpus.open(name, shard_bytes=shard_bytes).assemble(surveys)
        assert manifest_of(again, keyed) == manifest_of(survey, keyed)
        wanted = rng.sample(range(len(rows)), rng.randint(0, len(rows)))
        assert corpus.texts(wanted) == {row: rows[row] for row in sorted(wanted)}


def test_shards_are_planned_without_reading_text_and_row_groups_stay_whole(tmp_path: Path) -> None:
    write_txt(tmp_path / "a.txt", ["x" * 9] * 10)
    write_parquet(tmp_path / "b.parquet", [f"row {n} " + "y" * 50 for n in range(10)], row_group_size=2)
    write(tmp_path / "c.txt.gz", ["z" * 99] * 99)
    planned = plan(str(tmp_path), shard_bytes=30)
    assert [(shard.file, shard.begin, shard.end) for shard in planned.shards] == [
        *(("a.txt", begin, min(begin + 30, 100)) for begin in range(0, 100, 30)),
        *(("b.parquet", group, group + 1) for group in range(5)),
        ("c.txt.gz", 0, (tmp_path / "c.txt.gz").stat().st_size),
    ]
    assert [shard.rows for shard in planned.shards] == [None] * 4 + [2] * 5 + [None]
    assert [shard.number for shard in planned.shards] == list(range(10))


ELSEWHERE = """
import pickle, sys
from infra.corpus import ShardReader
source, shards = pickle.load(sys.stdin.buffer)
readers = [ShardReader(source, shard) for shard in shards]
texts = [[text for batch in reader for _, text in batch] for reader in readers]
pickle.dump((texts, [reader.survey for reader in readers]), sys.stdout.buffer)
"""


def test_a_shard_is_read_in_another_process_by_source_and_shard_alone(tmp_path: Path) -> None:
    corpus = Corpus.open(write_txt(tmp_path / "c.txt", [f"row {n}" for n in range(20)]), shard_bytes=64)
    assert len(corpus.shards) == 3
    there = subprocess.run(
        [sys.executable, "-c", ELSEWHERE], input=pickle.dumps((corpus.plan.source, corpus.shards)), capture_output=True,
        check=True, timeout=120,
    )  # fmt: skip
    texts, surveys = pickle.loads(there.stdout)
    assert surveys == surveys_of(corpus)
    assert [text for some in texts for text in some] == [f"row {n}" for n in range(20)]
    assert corpus.assemble(surveys).rows == 20


def test_a_missing_doubled_or_foreign_shard_is_refused(tmp_path: Path) -> None:
    corpus = Corpus.open(write_txt(tmp_path / "c.txt", [f"row {n}" for n in range(20)]), shard_bytes=64)
    surveys = surveys_of(corpus)
    with pytest.raises(OperationFailed, match=r"shard 1, in file 1 of 1, was surveyed 0 times"):
        corpus.assemble([surveys[0], surveys[2]])
    with pytest.raises(OperationFailed, match=r"shard 1, .* was surveyed 2 times"):
        corpus.assemble([*surveys, surveys[1]])
    other = Corpus.open(write_txt(tmp_path / "d.txt", [f"row {n}" for n in range(20)]), shard_bytes=64)
    with pytest.raises(OperationFailed, match="not of the corpus"):
        corpus.assemble([*surveys[:2], surveys_of(other)[2]])


def test_a_survey_is_kept_as_json_and_used_as_long_as_the_corpus_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_txt(tmp_path / "c.txt", ROWS)
    survey = Corpus.open(path).survey()
    kept = [ShardSurvey.from_dict(json.loads(json.dumps(shard.to_dict()))) for shard in survey.shards]
    digests = {file.file: str(file.sha256) for file in survey.files}
    with monkeypatch.context() as patched:
        patched.setattr(Corpus, "_readers", None)  # nothing is read again
        again = Corpus.open(path, surveys=kept, sha256=digests)
        assert isinstance(again.survey(), Survey) and again.digest == digest_of(path)
        assert again.texts([2]) == {2: ROWS[2]}
    write_txt(path, [*ROWS, "one more"])
    assert len(Corpus.open(path, surveys=kept, sha256=digests)) == 6
