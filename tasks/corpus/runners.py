"""Where the shards of a corpus are worked on: Prefect's task runners, one setting for all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from infra.settings import Settings
from revs.errors import BadInput

if TYPE_CHECKING:
    from prefect.task_runners import TaskRunner


def task_runner(settings: Settings) -> TaskRunner[Any]:
    """The task runner that `settings.task_runner` names, with `settings.task_workers` workers.

    With `settings.task_address` Dask and Ray use that cluster; without it, one of their own on this machine. Workers
    elsewhere need the same REVS_ variables, and a home folder and corpus that they reach under the same path.

    Raises:
        BadInput: the engine is not installed, or cannot be given an address.
    """
    address = settings.task_address
    if address and settings.task_runner not in ("dask", "ray"):
        raise BadInput(
            f"REVS_TASK_ADDRESS is set, but {settings.task_runner} run on this machine; unset it, or set "
            "REVS_TASK_RUNNER to dask or ray"
        )
    try:
        runner: TaskRunner[Any] = _runner(settings.task_runner, settings.task_workers, address)
    except ImportError:
        raise BadInput(
            f"REVS_TASK_RUNNER={settings.task_runner}: it is not installed; pip install 'revs[{settings.task_runner}]'"
        ) from None
    return runner


def _runner(name: str, workers: int | None, address: str | None) -> Any:
    from prefect import task_runners

    options: dict[str, Any] = {"address": address}
    if name == "dask":
        from prefect_dask import DaskTaskRunner

        if not address:
            # one thread a worker: the work is Python's, which threads of one process would only take from each other
            own = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None, "host": "127.0.0.1"}
            options = {"cluster_kwargs": own}
        return DaskTaskRunner(**options)
    if name == "ray":
        from prefect_ray import RayTaskRunner

        if not address:
            own = {"num_cpus": workers, "include_dashboard": False, "log_to_driver": False}
            options = {"init_kwargs": own}
        return RayTaskRunner(**options)
    if name == "processes":
        return task_runners.ProcessPoolTaskRunner(max_workers=workers)
    return task_runners.ThreadPoolTaskRunner(max_workers=workers)
