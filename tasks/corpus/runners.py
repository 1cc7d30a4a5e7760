"""Where the shards of a corpus are worked on: Prefect's task runners, one setting for all of them."""

from __future__ import annotations

from collections.abc import Callable
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
        return _RUNNERS[settings.task_runner](settings.task_workers, address)
    except ImportError:
        raise BadInput(
            f"REVS_TASK_RUNNER={settings.task_runner}: it is not installed; pip install 'revs[{settings.task_runner}]'"
        ) from None


def _threads(workers: int | None, _address: str | None) -> TaskRunner[Any]:
    from prefect.task_runners import ThreadPoolTaskRunner

    return ThreadPoolTaskRunner(max_workers=workers)


def _processes(workers: int | None, _address: str | None) -> TaskRunner[Any]:
    from prefect.task_runners import ProcessPoolTaskRunner

    return ProcessPoolTaskRunner(max_workers=workers)


def _dask(workers: int | None, address: str | None) -> TaskRunner[Any]:
    from prefect_dask import DaskTaskRunner

    runner: TaskRunner[Any]
    if address:
        runner = DaskTaskRunner(address=address)
    else:
        # one thread a worker: the work is Python's, which threads of one process would only take from each other
        own = {"n_workers": workers, "threads_per_worker": 1, "dashboard_address": None, "host": "127.0.0.1"}
        runner = DaskTaskRunner(cluster_kwargs=own)
    return runner


def _ray(workers: int | None, address: str | None) -> TaskRunner[Any]:
    from prefect_ray import RayTaskRunner

    runner: TaskRunner[Any]
    if address:
        runner = RayTaskRunner(address=address)
    else:
        own = {"num_cpus": workers, "include_dashboard": False, "log_to_driver": False}
        runner = RayTaskRunner(init_kwargs=own)
    return runner


_RUNNERS: dict[str, Callable[[int | None, str | None], TaskRunner[Any]]] = {
    "threads": _threads,
    "processes": _processes,
    "dask": _dask,
    "ray": _ray,
}
