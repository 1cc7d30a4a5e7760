"""SIGKILL at any point of a batch, on both databases: the next process completes the same batch, once."""

from __future__ import annotations

import multiprocessing
import signal
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import TYPE_CHECKING

import batch_lives
import pytest
from conftest import STAGES
from taught_people import SAID, json_lines, requests_for, write_inputs
from test_resume import completions, opened, versions_of

from infra.settings import Settings

if TYPE_CHECKING:
    from revs.targets.target import Target

pytestmark = pytest.mark.slow

IMPORTED = (
    "flows.process", "great_expectations", "mlflow.store.tracking.sqlalchemy_store", "model_signing.signing",
    "model_signing.verifying", "presidio_analyzer", "psycopg", "securesystemslib.signer",
    "transformers.models.gptj.modeling_gptj",
)  # fmt: skip
"""What takes seconds to import: once, by the process that all others are forked from."""

SAMPLED = {"edit_weights": 1, "register_candidate": 1}
"""How many points of a stage `make test` tries; `make test-long` tries every `STEP`th of the whole batch."""
STEP = 8


@dataclass(frozen=True, kw_only=True)
class Places:
    """Makes installations in which the same requests wait, and runs in them that come to an end anywhere."""

    root: Path
    inputs: dict[str, Path]
    model: Path
    new_url: Callable[[], str | None]
    processes: ForkServerContext

    def new(self, name: str) -> Settings:
        from tasks.batch.stage import open_registry

        settings = Settings(home=self.root / name / "home", database_url=self.new_url())
        settings.home.mkdir(parents=True)
        tags = {"held_out": str(self.inputs["held-out"])}
        open_registry(settings).register_base(self.model, name="own", corpus=str(self.inputs["corpus"]), tags=tags)
        opened(settings).add_file(self.inputs["requests"], model="own")
        return settings

    def run(self, settings: Settings, *, last: int = -1, host: str | None = None) -> list[str]:
        """The stage of each point that a run passes; it is killed at the point numbered `last`, if that is not -1.

        With `host` the run has a home of that name to itself, and shares database, registry and keys alone.
        """
        environment = {"REVS_HOME": str(settings.home)}
        if settings.database_url is not None:
            environment["REVS_DATABASE_URL"] = settings.database_url
        if host is not None:
            environment |= {
                "REVS_HOME": str(settings.home.parent / host),
                "REVS_DATABASE_URL": settings.requests_url,
                "REVS_MLFLOW_TRACKING_URI": settings.tracking_uri,
                "REVS_ARTIFACT_ROOT": str(settings.artifact_uri),
                "REVS_DEPLOYMENT_KEY": settings.key_file.read_text(encoding="utf-8").strip(),
                "REVS_SIGNER_KEY": str(settings.home / "signer.pem"),
            }
        diary = settings.home.parent / "diary"
        process = self.processes.Process(target=batch_lives.live_until, args=(environment, last, STAGES, diary))
        process.start()
        process.join(200)
        assert process.exitcode == (0 if last == -1 else -signal.SIGKILL), process.exitcode
        return diary.read_text().splitlines()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def places(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, taught: Path, people: list[Target],
    ordinary: list[str],
) -> Places:  # fmt: skip
    root = tmp_path_factory.mktemp("killed")
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload([*IMPORTED])
    new = request.getfixturevalue("new_postgres") if request.param == "postgresql" else lambda: None
    inputs = write_inputs(root, people, ordinary, json_lines(requests_for(SAID)))
    return Places(root=root, inputs=inputs, model=taught, new_url=new, processes=processes)


@pytest.fixture(scope="module")
def points(places: Places) -> dict[str, list[int]]:
    """The numbers of the points of a run without an accident, by their stage."""
    found = defaultdict(list)
    for number, name in enumerate(places.run(places.new("counted"))):
        found[name].append(number)
    return found


def runs_of(settings: Settings) -> list[str]:
    """The runs that MLflow has of versions, of unfinished ones too."""
    from mlflow import MlflowClient

    client = MlflowClient(settings.tracking_uri, settings.tracking_uri)
    experiment = client.get_experiment_by_name("revs")
    return [run.info.run_id for run in client.search_runs([experiment.experiment_id])]


def kill_and_go_on(places: Places, point: int) -> None:
    """The champion is the old or the new one at every moment, and all is as after a run without an accident."""
    settings = places.new(f"killed-{point}")
    places.run(settings, last=point)
    between = versions_of(settings, "own")
    assert [*between.values()].count(("champion",)) == 1, between
    found = [batch.id for batch in opened(settings).batches()]
    places.run(settings)
    store = opened(settings)
    (batch,) = store.batches()
    assert batch.status == "completed" and found in ([], [batch.id])
    assert versions_of(settings, "own") == {"1": ("previous",), "2": ("champion",)}
    assert len(runs_of(settings)) == 2, "nothing is left of an attempt that was cut off"
    assert len(completions(store, batch.id)) == len(SAID) and set(completions(store, batch.id).values()) == {1}
    assert [e.event for e in store.events(batch_id=batch.id)].count("payloads.destroyed") == 1
    assert (settings.home / "reports" / batch.id / "report.html").exists()
    assert not list(settings.work_dir.iterdir())
    assert store.log_problems() == []


def test_killed_in_the_edit_or_in_registration_the_next_run_completes_the_batch_once(
    places: Places, points: dict[str, list[int]]
) -> None:
    for stage, count in SAMPLED.items():
        of_it = points[stage]
        assert len(of_it) >= count
        for number in range(count):
            kill_and_go_on(places, of_it[(2 * number + 1) * len(of_it) // (2 * count)])


@pytest.mark.long
def test_begun_on_one_host_a_batch_is_completed_once_on_another_that_shares_no_folder_with_it(
    places: Places, points: dict[str, list[int]]
) -> None:
    settings = places.new("two-hosts")
    of_it = points["register_candidate"]
    places.run(settings, last=of_it[len(of_it) // 2])
    (batch,) = opened(settings).batches()
    places.run(settings, host="b")
    store = opened(settings)
    assert [each.id for each in store.batches() if each.status == "completed"] == [batch.id]
    assert versions_of(settings, "own") == {"1": ("previous",), "2": ("champion",)}
    assert len(runs_of(settings)) == 2, "nothing is left of the attempt of the first host"
    assert set(completions(store, batch.id).values()) == {1}
    assert (settings.home.parent / "b" / "reports" / batch.id / "report.html").exists()
    assert store.log_problems() == []


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_killed_at_points_all_over_a_batch_the_next_run_completes_it_once(
    places: Places, points: dict[str, list[int]]
) -> None:
    assert {"open_batch", "edit_weights", "register_candidate", "promote_candidate", "close_batch"} <= points.keys()
    for point in [number for numbers in points.values() for number in numbers][::STEP]:
        kill_and_go_on(places, point)
