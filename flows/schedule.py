"""The scheduled deployments, served by the process that `revs serve` starts from this module.

One per model looks for requests; others look after the registry (`UPKEEP`). Every run is a process of its own
(Prefect's runner): a batch that runs out of memory takes nothing else with it.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowFilter, FlowFilterName, FlowRunFilter
from prefect.client.schemas.objects import StateType
from prefect.deployments.runner import RunnerDeployment
from prefect.runner import Runner
from prefect.states import Crashed
from prefect.types.entrypoint import EntrypointType

from flows.process import process_deletion_requests
from flows.promotion import promote_versions
from flows.reconcile import reconcile_registry
from flows.retention import retire_versions
from infra.running.deployment import FLOW, UPKEEP, concurrency

_UNFINISHED = ["SCHEDULED", "PENDING", "RUNNING", "CANCELLING"]


async def deployment(model: str, *, every: float | None = None, cron: str | None = None) -> RunnerDeployment:
    """The deployment that looks for requests of one registered model, every so many seconds or by a cron expression."""
    return await process_deletion_requests.ato_deployment(
        name=model,
        parameters={"model": model},
        description=f'Process the waiting deletion requests of the registered model "{model}".',
        tags=["revs", f"model:{model}"],
        concurrency_limit=concurrency(),
        paused=False,
        entrypoint_type=EntrypointType.MODULE_PATH,  # found wherever a run starts
        cron=cron,
        interval=every,
    )


async def upkeep() -> list[RunnerDeployment]:
    """The deployments of what runs beside the batches (`UPKEEP`)."""
    return [
        await flow.ato_deployment(
            name=flow.name,
            description=UPKEEP[flow.name][2],
            tags=["revs"],
            concurrency_limit=concurrency(),
            paused=False,
            entrypoint_type=EntrypointType.MODULE_PATH,
            cron=UPKEEP[flow.name][1],
        )
        for flow in (retire_versions, reconcile_registry, promote_versions)
    ]


async def tidy() -> None:
    """Give up what a stopped server left: cut-off runs with the turns they hold, and ticks that nobody was there for.

    Their batches are resumed by the next run. Only on a Prefect server of our own: nobody else can be running them.
    """
    async with get_client() as client:
        runs = await client.read_flow_runs(
            flow_filter=FlowFilter(name=FlowFilterName(any_=[FLOW, *UPKEEP])),
            flow_run_filter=FlowRunFilter.model_validate({"state": {"type": {"any_": _UNFINISHED}}}),
        )
        for run in runs:
            if run.deployment_id is None or run.work_queue_id is not None:
                continue  # started by hand, or a worker's
            if run.state_type != StateType.SCHEDULED:
                await client.set_flow_run_state(run.id, Crashed(message="cut off: the server was stopped"), force=True)
            elif run.auto_scheduled:
                await client.delete_flow_run(run.id)


async def serve(
    models: Sequence[str],
    *,
    every: float | None,
    cron: str | None,
    ready: Path,
    own_server: bool,
    mlflow: str | None = None,
) -> None:
    """Register the deployments, make the file `ready`, and run what falls due, one run at a time, until Ctrl-C.

    Args:
        models: registered names.
        every: seconds between two looks; or `cron`, an expression.
        cron: see `every`.
        ready: made when the first look can come.
        own_server: whether the Prefect server is ours alone.
        mlflow: address of an MLflow server that was started for these runs, to which their pages link.
    """
    if mlflow:
        os.environ.setdefault("REVS_MLFLOW_UI", mlflow)
    if own_server:
        await tidy()
    # Memory and device are shared: the batches of two models run one after the other.
    runner = Runner(name="revs-serve", limit=1, query_seconds=2)
    for model in models:
        await runner.aadd_deployment(await deployment(model, every=every, cron=cron))
    for each in await upkeep():
        await runner.aadd_deployment(each)
    ready.touch()
    await runner.start()


def main() -> None:
    """Serve what the one argument says: JSON, the arguments of `serve`."""
    config = json.loads(sys.argv[1])
    # Ctrl-C is what Prefect's runner ends by in good order; a shell's background job would ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(**config | {"ready": Path(config["ready"])}))


if __name__ == "__main__":
    main()
