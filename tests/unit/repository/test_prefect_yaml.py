"""`prefect.yaml` says what `revs serve` does: the same flow, schedule and limit."""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.running import deployment as facts

FILE = Path(__file__).parents[3] / "prefect.yaml"


@pytest.fixture(scope="module")
def everything() -> list[dict[str, Any]]:
    return list(yaml.safe_load(FILE.read_text(encoding="utf-8"))["deployments"])


@pytest.fixture(scope="module")
def declared(everything: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of models."""
    return [each for each in everything if each["entrypoint"] == facts.ENTRYPOINT]


@pytest.fixture(scope="module")
def retention(everything: list[dict[str, Any]]) -> dict[str, Any]:
    (found,) = [each for each in everything if each["entrypoint"] == facts.RETENTION_ENTRYPOINT]
    return found


def test_every_deployment_runs_a_flow_by_its_entrypoint(everything: list[dict[str, Any]]) -> None:
    from prefect.flows import load_flow_from_entrypoint

    names = {facts.ENTRYPOINT: facts.FLOW, facts.RETENTION_ENTRYPOINT: facts.RETENTION_FLOW}
    assert {each["entrypoint"] for each in everything} == names.keys()
    for each in everything:
        flow = load_flow_from_entrypoint(str(FILE.parent / each["entrypoint"]))
        assert flow.name == names[each["entrypoint"]]
        inspect.signature(flow.fn).bind(**each["parameters"])  # no parameter is missing or unknown


def test_versions_are_retired_once_a_day_as_served(retention: dict[str, Any]) -> None:
    from flows.schedule import retention as deployment

    served = asyncio.run(deployment())
    assert retention["schedules"] == [{"cron": facts.DAILY, "timezone": "UTC"}]
    assert [schedule.schedule.cron for schedule in served.schedules or ()] == [facts.DAILY]
    assert (served.name, served.flow_name) == (retention["name"], facts.RETENTION_FLOW)
    assert served.concurrency_limit == retention["concurrency_limit"]["limit"]
    assert retention["work_pool"] == {"name": facts.POOL}


def test_every_deployment_takes_one_run_at_a_time_and_lets_later_ones_wait(declared: list[dict[str, Any]]) -> None:
    for each in declared:
        assert each["concurrency_limit"] == {"limit": facts.LIMIT, "collision_strategy": facts.COLLISION}
        assert (facts.LIMIT, facts.COLLISION) == (1, "ENQUEUE")


def test_every_deployment_has_the_schedule_and_the_pool(declared: list[dict[str, Any]]) -> None:
    for each in declared:
        assert each["schedules"] == [{"cron": facts.CRON, "timezone": "UTC"}]
        assert each["work_pool"] == {"name": facts.POOL}


def test_a_deployment_is_named_after_its_model_and_knows_nothing_else(declared: list[dict[str, Any]]) -> None:
    for each in declared:
        assert each["parameters"] == {"model": each["name"]}
        assert not {"job_variables", "env", "pull", "build", "push"} & {*each, *each["work_pool"]}


def test_what_is_declared_is_what_is_served(declared: list[dict[str, Any]]) -> None:
    from flows.schedule import deployment

    for each in declared:
        served = asyncio.run(deployment(each["name"], cron=facts.CRON))
        assert (served.name, served.parameters) == (each["name"], each["parameters"])
        assert served.flow_name == facts.FLOW
        assert served.concurrency_limit == each["concurrency_limit"]["limit"]
        assert served.concurrency_options is not None
        assert served.concurrency_options.collision_strategy == each["concurrency_limit"]["collision_strategy"]
        assert [schedule.schedule.cron for schedule in served.schedules or ()] == [each["schedules"][0]["cron"]]
        assert served.paused is False


@pytest.mark.parametrize("cron", ["often", "* * * *", "61 * * * *", ""])
def test_a_wrong_cron_expression_is_refused_with_its_value(cron: str) -> None:
    from revs.errors import BadInput

    with pytest.raises(BadInput, match="--cron"):
        facts.check_cron(cron)


def test_a_right_cron_expression_is_taken() -> None:
    facts.check_cron(facts.CRON)
    facts.check_cron("*/5 8-18 * * mon-fri")
