"""A run that was cut off at any point goes on where it stopped: nothing lost, nothing done twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from conftest import Installation
from leaks import Scanner
from taught_people import SAID, json_lines, requests_for, write_inputs

if TYPE_CHECKING:
    from infra.requests import RequestStore
    from infra.settings import Settings
    from revs.targets.target import Target

pytestmark = pytest.mark.slow


class Killed(BaseException):
    """As sudden as SIGKILL: nothing in the program catches it."""


def opened(settings: Settings) -> RequestStore:
    from tasks.batch.stage import open_store

    return open_store(settings)


def versions_of(settings: Settings, name: str = "demo") -> dict[str, tuple[str, ...]]:
    """The aliases of every version there is."""
    from mlflow import MlflowClient

    from tasks.batch.stage import open_registry

    found = MlflowClient(settings.tracking_uri, settings.tracking_uri).search_model_versions(f"name = '{name}'")
    registry = open_registry(settings)
    return {str(v.version): registry.resolve(f"models:/{name}/{v.version}").aliases for v in found}


def completions(store: RequestStore, batch_id: str) -> Counter[str | None]:
    """How often each request of the batch was completed."""
    return Counter(event.request_id for event in store.events(batch_id=batch_id) if event.event == "request.completed")


@pytest.mark.long
def test_a_demo_killed_in_the_edit_completes_the_same_batch_once(
    killed_demo: Path, demo_models: Path, demo_identifiers: set[tuple[str, str]]
) -> None:
    from infra.settings import load_settings

    live = Installation(killed_demo / "live")
    (before,) = [folder.name for folder in (live.state / "batches").iterdir()]
    answer = live.revs("demo", "--out", live.out, "--cache", demo_models)
    assert answer.returncode == 0, answer.stderr
    settings = load_settings(live.state)
    store = opened(settings)
    (batch,) = store.batches()
    assert (batch.id, batch.status) == (before, "completed")
    assert versions_of(settings) == {"1": ("previous",), "2": ("champion",)}
    assert set(completions(store, batch.id).values()) == {1}
    assert Counter(view.status for view in store.list()) == {"completed": 15, "rejected": 1, "duplicate": 1}
    summary = live.summary
    assert summary["batch"] == before
    assert summary["requests"]["completed"] == 15 and summary["targets"]["memorised_after"] == 0
    assert all(gate["passed"] for gate in summary["gates"])
    assert not list((live.state / "batches").iterdir()), "nothing is left of the unfinished work"
    assert Scanner.of(sorted(demo_identifiers)).tree(live.root) == []


@pytest.fixture(params=["sqlite", "postgresql"])
def waiting(
    request: pytest.FixtureRequest, taught: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    people: list[Target], ordinary: list[str],
) -> Settings:  # fmt: skip
    """An installation with the tiny model registered, its people's requests handed in, and one gate."""
    from infra.gates.policy import Gate, GatePolicy
    from infra.running.prefect_settings import prepare
    from infra.settings import load_settings
    from tasks.batch.stage import open_registry

    monkeypatch.setattr(GatePolicy, "DEFAULT", GatePolicy(gates=(Gate(metric="perplexity_ratio", high=10),)))
    monkeypatch.setenv("REVS_HOME", str(tmp_path / "home"))
    if request.param == "postgresql":
        monkeypatch.setenv("REVS_DATABASE_URL", request.getfixturevalue("new_postgres")())
    settings = load_settings()
    prepare(settings)
    files = write_inputs(tmp_path, people, ordinary, json_lines(requests_for(SAID)))
    tags = {"held_out": str(files["held-out"])}
    open_registry(settings).register_base(taught, name="own", corpus=str(files["corpus"]), tags=tags)
    opened(settings).add_file(files["requests"], model="own")
    return settings


def test_a_run_killed_again_and_again_behind_the_edit_still_ends_once(
    waiting: Settings, without_prefect: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the edit, before the alias moves and after, while the batch closes, before the report: one result."""
    import flows.process
    import revs
    from infra.requests import RequestStore
    from infra.requests.database import Database

    def killed(*_: Any, **__: Any) -> None:
        raise Killed

    def run_into(target: Any, name: str) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(target, name, killed)
            with pytest.raises(Killed):
                without_prefect("own")

    store = opened(waiting)
    run_into(revs, "erase")
    (found,) = store.batches()
    assert found.status == "open" and versions_of(waiting, "own") == {"1": ("champion",)}
    assert list(waiting.work_dir.glob("*/tokens.json")) and not list(waiting.work_dir.glob("*/edit-0.json"))
    run_into(flows.process, "promote_candidate")
    (batch,) = store.batches()
    assert batch.id == found.id
    assert batch.status == "open" and {view.status for view in store.list(batch_id=batch.id)} == {"processing"}
    assert versions_of(waiting, "own") == {"1": ("champion",), "2": ()}, "registered, but not yet serving"

    def written() -> dict[str, int]:
        return {str(path): path.stat().st_mtime_ns for path in waiting.work_dir.glob("*/candidate-*/*.safetensors")}

    edited = written()
    run_into(flows.process, "close_batch")
    assert versions_of(waiting, "own") == {"1": ("previous",), "2": ("champion",)}
    assert edited and written() == edited, "what was edited is not edited again"

    run_into(RequestStore, "close_batch")
    assert store.batch(batch.id).status == "open"
    run_into(Database, "vacuum")  # closed in the database; the bytes of the payloads are still to be destroyed
    assert store.batch(batch.id).status == "completed"

    assert without_prefect("own") is None, "no request waits any more"
    assert (waiting.home / "reports" / batch.id / "report.html").exists(), "the report that was owed"
    assert not list(waiting.work_dir.iterdir())
    assert [found.id for found in store.batches()] == [batch.id]
    assert versions_of(waiting, "own") == {"1": ("previous",), "2": ("champion",)}
    assert len(completions(store, batch.id)) == len(SAID) and set(completions(store, batch.id).values()) == {1}
    destroyed = [event for event in store.events(batch_id=batch.id) if event.event == "payloads.destroyed"]
    assert len(destroyed) == 1


@pytest.mark.parametrize("waiting", ["sqlite"], indirect=True)
def test_where_every_promotion_is_approved_a_batch_that_passed_waits_and_a_human_completes_it(
    waiting: Settings, without_prefect: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from revs.errors import GateRefused
    from tasks.versions.promote import promote_version

    monkeypatch.setenv("REVS_APPROVAL", "always")
    with pytest.raises(GateRefused, match=r"passed every gate and waits for approval .*'revs promote' it"):
        without_prefect("own")
    store = opened(waiting)
    (batch,) = store.batches()
    assert batch.status == "waiting" and {view.status for view in store.list()} == {"failed"}
    assert versions_of(waiting, "own") == {"1": ("champion",), "2": ()}
    report = waiting.home / "reports" / batch.id / "report.html"
    assert "waits for a human" in report.read_text(encoding="utf-8")
    promote_version(waiting, "models:/own/2", approved_by="A. Officer")
    assert store.batch(batch.id).status == "completed" and {view.status for view in store.list()} == {"completed"}
    assert versions_of(waiting, "own") == {"1": ("previous",), "2": ("champion",)}
    assert "A. Officer approved the promotion" in report.read_text(encoding="utf-8")
