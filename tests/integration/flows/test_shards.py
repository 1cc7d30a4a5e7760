"""Shards on every task runner: real pools and real local clusters of two workers, one of which is killed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest

from infra.corpus import Corpus, Shard
from infra.settings import Settings
from revs.errors import BadInput

RUNNERS = ("threads", "processes", "dask", "ray")
FILES = 6


@pytest.fixture(scope="module")
def prefect(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    folder = tmp_path / "corpus"
    folder.mkdir()
    for number in range(FILES):
        (folder / f"{number}.txt").write_text(f"a line of file {number}\nanother\n", encoding="utf-8")
    return Corpus.open(folder)


def settings(home: Path, runner: str, **more: Any) -> Settings:
    return Settings(home=home, task_runner=runner, task_workers=2, **more)


def counting(folder: Path, victim: int | None) -> Any:
    """A task that reads a shard and notes that it did; the first to meet shard `victim` dies of it."""
    from prefect import task
    from prefect.cache_policies import NO_CACHE

    from infra.corpus import ShardReader

    def count(source: str, shard: Shard) -> int:
        survey = ShardReader(source, shard).read_through()
        scratch = folder / f"{shard.number}.{os.getpid()}"
        scratch.write_text(str(survey.rows), encoding="utf-8")
        if shard.number == victim and not (folder / "killed").exists():
            (folder / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        scratch.rename(folder / f"{shard.number}.done")
        return survey.rows

    return task(name="count", cache_policy=NO_CACHE, persist_result=False)(count)


def ran(tmp_path: Path, corpus: Corpus, runner: str, victim: int | None) -> dict[str, str]:
    from flows.shards import over_shards

    folder = tmp_path / "done"
    folder.mkdir()
    cloudpickle.register_pickle_by_value(sys.modules[__name__])

    def waiting() -> list[Shard]:
        return [shard for shard in corpus.shards if not (folder / f"{shard.number}.done").exists()]

    over_shards(
        "count", counting(folder, victim), str(corpus.plan.source), waiting, settings(tmp_path, runner), at_least=0
    )
    return {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.done")}


@pytest.mark.parametrize("runner", RUNNERS)
def test_every_shard_is_done_once_on_two_workers_even_if_one_is_killed(
    prefect: None, tmp_path: Path, corpus: Corpus, runner: str
) -> None:
    victim = None if runner == "threads" else 2  # a thread cannot be killed apart from its process
    assert ran(tmp_path, corpus, runner, victim) == {f"{number}.done": "2" for number in range(FILES)}
    assert (tmp_path / "done" / "killed").exists() == (victim is not None)


def test_an_address_without_an_engine_that_takes_one_is_refused_and_not_shown(tmp_path: Path) -> None:
    from tasks.corpus.runners import task_runner

    with pytest.raises(BadInput, match="REVS_TASK_ADDRESS is set, but threads run on this machine") as refused:
        task_runner(settings(tmp_path, "threads", task_address="tcp://user:secret@127.0.0.1:1"))
    assert "secret" not in str(refused.value)
