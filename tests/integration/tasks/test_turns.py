"""Turns of the runs of one model on a real Prefect server, and what a run that finds no turn or work says."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest.mock import Mock

import pytest
from prefect_runs import log_of, run

from infra.requests import BatchHeld


def test_runs_of_one_model_take_turns_however_they_were_started(asked, monkeypatch) -> None:
    from infra.registry import Registry
    from infra.running.deployment import turn, turn_name

    monkeypatch.setattr(Registry, "champion", Mock())
    waiting: list[Any] = []

    def held(model: str, seconds: float = 30) -> bool:
        def work() -> bool:
            with turn(model, seconds=seconds) as got:
                return got

        with ThreadPoolExecutor(1) as other:
            state, run_id = other.submit(lambda: run(work)).result()
        waiting.append(run_id)
        return bool(state.result())

    def work() -> list[bool]:
        with turn("demo", seconds=30) as got:
            return [got, held("demo", 1), held("another")]

    assert run(work)[0].result() == [True, False, True]
    limit = asked.read_global_concurrency_limit_by_name(turn_name("demo"))
    assert (limit.limit, limit.active_slots) == (1, 0)
    assert held("demo"), "it was given back"
    assert "demo: another run has the turn; waiting for it, at most 1 s" in log_of(asked, waiting[0], "has the turn")


def test_of_a_name_that_no_model_has_no_turn_is_made(asked) -> None:
    from prefect.exceptions import ObjectNotFound

    from infra.running.deployment import turn, turn_name

    def work() -> bool:
        with turn("mistyped", seconds=30) as got:
            return got

    assert run(work)[0].result() is False
    with pytest.raises(ObjectNotFound):
        asked.read_global_concurrency_limit_by_name(turn_name("mistyped"))


@pytest.mark.parametrize(("made_by_the_schedule", "deployment"), [(True, "d"), (False, "d"), (False, None)], ids=str)
def test_only_a_run_that_the_schedule_made_is_scheduled(monkeypatch, made_by_the_schedule, deployment) -> None:
    from prefect.context import FlowRunContext

    from infra.running.deployment import is_scheduled

    made = Mock(flow_run=Mock(auto_scheduled=made_by_the_schedule, deployment_id=deployment))
    monkeypatch.setattr(FlowRunContext, "get", lambda: made)
    assert is_scheduled() is made_by_the_schedule


def test_a_run_on_its_own_temporary_server_waits_for_no_turn(asked, monkeypatch) -> None:
    from infra.running import deployment

    monkeypatch.setattr(deployment, "shared_server", lambda: False)

    def work() -> bool:
        with deployment.turn("demo", seconds=60) as got:
            return got

    assert run(work)[0].result() is False


NAMES = [
    (lambda *_: None, "demo: no request waits"),
    (lambda *_: (_ for _ in ()).throw(BatchHeld("another run works on it")), "demo: another run is at work"),
]


@pytest.mark.parametrize(("opens", "name"), NAMES, ids=[each[1] for each in NAMES])
def test_a_scheduled_look_says_in_its_name_why_it_did_nothing(asked, monkeypatch, opens, name) -> None:
    import flows.process

    monkeypatch.setattr(flows.process, "open_batch", opens)
    monkeypatch.setattr(flows.process, "is_scheduled", lambda: True)
    state = flows.process.process_deletion_requests("demo", return_state=True)
    seen = asked.read_flow_run(state.state_details.flow_run_id)
    assert state.is_completed() and state.result() is None
    assert seen.name == name and "model:demo" in seen.tags


def test_a_run_that_somebody_started_is_told_that_another_is_at_work(asked, monkeypatch) -> None:
    import flows.process

    monkeypatch.setattr(flows.process, "open_batch", NAMES[1][0])
    with pytest.raises(BatchHeld):
        flows.process.process_deletion_requests("demo")
