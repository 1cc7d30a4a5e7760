"""What a run shows in Prefect, on a real server: name, tags, log, artifacts, retries, turns; and nothing personal."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest
from prefect_runs import artifacts, eventually, log_of, run

from infra.requests import BatchHeld
from infra.running.progress import report
from revs.errors import BadInput, GateRefused, OperationFailed

if TYPE_CHECKING:
    from registered import Installation

    from infra.registry import ModelVersion

EVIDENCE = json.loads((Path(__file__).parents[2] / "cases" / "evidence_example.json").read_text(encoding="utf-8"))


def failing(error: Callable[[], Exception], calls: list[int]) -> Any:
    from tasks.batch.stage import stage

    @stage("a stage")
    def attempt(batch_id: str) -> str:
        calls.append(1)
        raise error()

    return attempt


RETRIED = [
    (lambda: OperationFailed("the database is locked"), 3, "the surroundings may recover"),
    (lambda: ConnectionResetError("peer"), 3, "so may a network"),
    (lambda: BadInput("no such file"), 1, "the same input is as bad the second time"),
    (lambda: GateRefused("efficacy"), 1, "a gate is no fault"),
    (lambda: BatchHeld("another run works on it"), 1, "the other run goes on for longer than a pause"),
    (lambda: KeyError("a fault of ours"), 1, "it would be made again"),
]


@pytest.mark.parametrize(("error", "tries", "why"), RETRIED, ids=[each[2] for each in RETRIED])
def test_a_stage_is_tried_again_only_where_the_surroundings_failed(asked, error, tries, why) -> None:
    calls: list[int] = []
    state, _ = run(lambda: failing(error, calls)("B-1"))
    assert state.is_failed() and len(calls) == tries


def test_the_pauses_before_further_tries_grow() -> None:
    from tasks.batch.stage import PAUSES_SECONDS
    from tasks.stages.publish import register_candidate

    assert list(PAUSES_SECONDS) == sorted(set(PAUSES_SECONDS))
    assert register_candidate.retry_delay_seconds == list(PAUSES_SECONDS)


def test_hours_of_work_are_not_done_again_where_the_surroundings_failed(asked) -> None:
    from tasks.batch.stage import stage

    calls: list[int] = []

    @stage("a long stage", long=True)
    def full_disk(batch_id: str) -> None:
        calls.append(1)
        raise OSError("no space left")

    state, _ = run(lambda: full_disk("B-1"))
    assert state.is_failed() and len(calls) == 1


def test_a_stage_that_takes_too_long_is_ended_once_with_the_setting_to_change(asked, monkeypatch) -> None:
    from tasks.batch.stage import stage

    monkeypatch.setenv("REVS_STAGE_TIMEOUT", "0.2")
    calls: list[int] = []

    @stage("a long stage")
    def endless(batch_id: str) -> None:
        calls.append(1)
        while True:
            pass

    state, run_id = run(lambda: endless("B-1"))
    assert len(calls) == 1
    with pytest.raises(OperationFailed, match=r"took longer than REVS_STAGE_TIMEOUT=0.2 seconds; .* it resumes"):
        state.result()
    (task_run,) = task_runs(run_id)
    assert task_run.state.name == "TimedOut"


def task_runs(run_id: Any) -> list[Any]:
    """Prefect's server takes note of task runs a moment later."""
    import asyncio

    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId

    async def read() -> list[Any]:
        async with get_client() as own:
            return await own.read_task_runs(flow_run_filter=FlowRunFilter(id=FlowRunFilterId(any_=[run_id])))

    return eventually(lambda: asyncio.run(read()), lambda found: found and all(r.state.is_final() for r in found))


@pytest.fixture
def batch(here: Installation) -> tuple[ModelVersion, str, dict[str, Any]]:
    """A batch that was completed with the evidence of a whole run."""
    own = {key: EVIDENCE[key] for key in ("intake", "seconds", "attempts", "gates", "targets")}
    version, batch_id, evidence = here.candidate("one", here.checkpoints[1], **own)
    evidence = evidence | {"batch": {"id": batch_id, "status": "completed"}, "requests": EVIDENCE["requests"]}
    model = evidence["model"] | {"version_after": version.version, "uri_after": version.uri}
    here.store.close_batch(batch_id, status="completed", outcome={"evidence": evidence | {"model": model}})
    return version, batch_id, evidence


def test_the_page_of_a_run_tells_what_became_of_its_batch(asked, here: Installation, batch) -> None:
    from tasks.batch.pages import name_run, show_batch

    version, batch_id, evidence = batch

    def work() -> None:
        name_run("demo", batch_id, f"batch:{batch_id}")
        show_batch(batch_id)

    state, run_id = run(work)
    assert state.is_completed()
    found = artifacts(asked, run_id)
    assert list(found) == ["demo-batch", "demo-gates", "demo-report"]
    assert "(report.html)" in found["demo-report"]["data"], "without an MLflow server there is no address"
    page = found["demo-batch"]["data"]
    for wanted in (
        f"demo: batch {batch_id} completed",
        "16 received, 14 completed, 1 rejected, 1 duplicate",
        "demo 1 → 2",
        f"**passed**: {len(evidence['gates'])} of {len(evidence['gates'])} passed",
        version.run_id,
        "report.html",
    ):
        assert wanted in page
    table = json.loads(found["demo-gates"]["data"])
    assert [(row["name"], row["passed"]) for row in table] == [(g["name"], g["passed"]) for g in evidence["gates"]]
    assert all(set(row) == {"name", "value", "bound", "passed"} for row in table)

    seen = asked.read_flow_run(run_id)
    assert seen.name == f"demo: {batch_id}" and {"revs", "model:demo", f"batch:{batch_id}"} <= set(seen.tags)
    (request,) = here.store.list(batch_id=batch_id)
    assert f"{batch_id}: request {request.id}: " in log_of(asked, run_id, request.id)

    everything = json.dumps([found, seen.model_dump(mode="json"), log_of(asked, run_id, request.id)])
    for private in ("wren@example.com", "wren", "corpus.txt", "file://", os.environ["REVS_HOME"]):
        assert private not in everything


def test_the_page_links_to_the_pages_of_mlflow_without_its_password(asked, batch, monkeypatch) -> None:
    from tasks.batch.pages import show_batch

    version, batch_id, _ = batch
    monkeypatch.setenv("REVS_MLFLOW_UI", "https://clerk:s3cret@mlflow.example.com/under/?token=s3cret")
    _, run_id = run(lambda: show_batch(batch_id))
    found = artifacts(asked, run_id)
    page = f"https://mlflow.example.com/under/#/experiments/1/runs/{version.run_id}"
    assert f"({page})" in found["demo-batch"]["data"]
    assert f"({page}/artifacts/report.html)" in found["demo-report"]["data"]
    assert "s3cret" not in json.dumps(found) and "clerk" not in json.dumps(found)


ENDS = [
    ({"batch": {"id": "B-1", "status": "refused"}}, "refused by efficacy", "a gate refused"),
    ({"batch": {"id": "B-1", "status": "split"}}, "tried again in two smaller batches", "halved"),
    ({"batch": {"id": "B-1", "status": "completed", "parent": "B-0"}}, "batch B-0, which was refused", "a half"),
    ({"batch": {"id": "B-1", "status": "waiting"}, "insufficient": ["generality"]}, "not measured: generality", "thin"),
    ({"gates": []}, "Nothing had to be edited", "nothing was memorised"),
    ({"approval": {"by": "A. Officer", "at": "2026-11-23"}}, "A. Officer promoted", "a human answered"),
    ({"model": EVIDENCE["model"] | {"version_after": None}}, "demo 1 → none", "no version"),
    ({"requests": [{"id": "R-1", "status": "failed", "reason": "not found"}] * 25}, "and 5 more", "many wait"),
]


@pytest.mark.parametrize(("change", "wanted", "why"), ENDS, ids=[each[2] for each in ENDS])
def test_the_summary_says_how_a_batch_ended(change: dict[str, Any], wanted: str, why: str) -> None:
    from tasks.batch.pages import summary

    gates = [gate | {"passed": gate["name"] != "efficacy"} for gate in EVIDENCE["gates"]]
    refused = change.get("batch", {}).get("status") == "refused"
    assert wanted in summary(EVIDENCE | change | ({"gates": gates} if refused else {}), {})


def test_long_stages_show_how_far_they_are_but_not_at_every_step(asked, monkeypatch) -> None:
    from tasks.batch.pages import ProgressPage

    ticks = iter(range(1000))
    updates: list[float] = []
    page = ProgressPage("Demo v2.1", clock=lambda: next(ticks) / 2)
    tell = page._tell
    monkeypatch.setattr(page, "_tell", lambda percent, text: (updates.append(percent), tell(percent, text)))

    def work() -> None:
        page("open batch", 0, 0, "")
        page("open batch", 1, 1, "B-1, 2 requests")  # no long stage: nothing to show
        for done in range(50):
            page("edit weights", done, 50, "layer 3")
        page("edit weights", 1, 1, "setting 1")

    _, run_id = run(work)
    (shown,) = artifacts(asked, run_id).values()
    assert (shown["key"], shown["type"], shown["data"]) == ("demo-v2-1-7d6e11d3-progress", "progress", 100)
    assert shown["description"] == "edit weights: setting 1"
    assert 3 <= len(updates) <= 12


def test_two_models_never_share_a_page() -> None:
    from tasks.batch.pages import _key

    keys = [_key(model, "batch") for model in ("jane-doe", "Jane.Doe", "jane.doe", "jane_doe")]
    assert keys[0] == "jane-doe-batch" and len(set(keys)) == 4


def test_a_server_that_never_answers_holds_a_stage_up_once_and_not_for_long(asked, monkeypatch) -> None:
    import socket
    import time

    from prefect.client.orchestration import SyncPrefectClient

    from tasks.batch import pages

    monkeypatch.setattr(pages, "_PATIENCE_SECONDS", 0.3)
    page = pages.ProgressPage("demo", clock=iter(range(0, 1000, 10)).__next__)

    def work() -> float:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            client = SyncPrefectClient(f"http://127.0.0.1:{silent.getsockname()[1]}/api")
            monkeypatch.setattr("prefect.artifacts.get_client", lambda **_: client)
            began = time.monotonic()
            for done in range(20):
                page("edit weights", done, 20, "layer 3")
            return time.monotonic() - began

    state, run_id = run(work)
    assert state.result() < 3
    assert "the progress of this run could not be shown: no answer" in log_of(asked, run_id, "no answer")


def test_progress_goes_to_the_page_while_it_is_open(asked) -> None:
    from tasks.batch.pages import progress_on_page

    def work() -> None:
        with progress_on_page("demo"):
            report("edit weights", 10, 40, "layer 3")
        report("edit weights", 20, 40, "nobody listens any more")

    _, run_id = run(work)
    assert artifacts(asked, run_id)["demo-progress"]["data"] == 25


def test_the_page_shows_what_a_suite_of_expectations_found_in_counts(asked) -> None:
    from infra.gates.expectations import check_targets
    from tasks.batch.pages import show_expectations

    good = {"has_prompt": True, "prompt_tokens": 4, "secret_tokens": 3, "memorised": True, "use": "edit", "secret": "s"}
    rows = [{"id": "t1", **good}, {"id": "t2", **good, "prompt_tokens": 900}]

    def work() -> None:
        check_targets(rows, context=64, edited={"edit"}, kept={"none"}, record=show_expectations("demo"))

    _, run_id = run(work)
    (shown,) = artifacts(asked, run_id).values()
    assert shown["key"] == "demo-expectations-targets"
    table = {row["rule"]: (row["rows"], row["broken"]) for row in json.loads(shown["data"])}
    assert table["prompt and secret are longer than the model's context"] == (2, 1)
    assert table["the prompt is empty"] == (2, 0)
    assert "t1" not in shown["data"] and "900" not in shown["data"]


def test_without_a_run_nothing_is_shown_and_nothing_fails(batch) -> None:
    from infra.running.deployment import turn
    from tasks.batch.pages import log_requests, name_run, progress_on_page, run_reference, show_batch

    _, batch_id, _ = batch
    name_run("demo", batch_id)
    log_requests(batch_id)
    show_batch(batch_id)
    with progress_on_page("demo"), turn("demo") as held:
        report("edit weights", 1, 2)
    assert run_reference() == {} and held is False


def test_a_server_that_takes_no_artifact_does_not_stop_the_batch(asked, batch, monkeypatch) -> None:
    from tasks.batch import pages

    def refused(*_: Any, **__: Any) -> None:
        raise ConnectionError("gone")

    monkeypatch.setattr(pages, "create_markdown_artifact", refused)
    state, run_id = run(lambda: pages.show_batch(batch[1]))
    assert state.is_completed()
    assert "could not be shown: ConnectionError" in log_of(asked, run_id, "could not be shown")


@pytest.mark.parametrize("error", [OperationFailed("MLflow is away"), BadInput("no such version")], ids=str)
def test_a_registry_that_is_away_does_not_end_a_batch_for_its_page(asked, batch, monkeypatch, error) -> None:
    from infra.registry import Registry
    from tasks.batch import pages

    monkeypatch.setattr(Registry, "resolve", Mock(side_effect=error))
    state, _ = run(lambda: pages.show_batch(batch[1]))
    assert state.is_completed()
