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


def test_every_deployment_runs_a_flow_by_its_entrypoint(everything: list[dict[str, Any]]) -> None:
    from prefect.flows import load_flow_from_entrypoint

    names = {facts.ENTRYPOINT: facts.FLOW} | {entrypoint: name for name, (entrypoint, _, _) in facts.UPKEEP.items()}
    assert {each["entrypoint"] for each in everything} == names.keys()
    for each in everything:
        flow = load_flow_from_entrypoint(str(FILE.parent / each["entrypoint"]))
        assert flow.name == names[each["entrypoint"]]
        inspect.signature(flow.fn).bind(**each["parameters"])  # no parameter is missing or unknown


def test_what_looks_after_the_registry_is_declared_as_it_is_served(everything: list[dict[str, Any]]) -> None:
    from flows.schedule import upkeep

    served = {each.flow_name: each for each in asyncio.run(upkeep())}
    assert served.keys() == facts.UPKEEP.keys()
    for name, (entrypoint, cron, description) in facts.UPKEEP.items():
        (declared,) = [each for each in everything if each["entrypoint"] == entrypoint]
        assert declared["schedules"] == [{"cron": cron, "timezone": "UTC"}]
        assert [schedule.schedule.cron for schedule in served[name].schedules or ()] == [cron]
        assert (served[name].name, served[name].description) == (declared["name"], description)
        assert declared["description"] == description
        assert served[name].concurrency_limit == declared["concurrency_limit"]["limit"]
        assert declared["work_pool"] == {"name": facts.POOL}


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
