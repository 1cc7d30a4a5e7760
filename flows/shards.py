"""Many shards at once: one task a shard, on the task runner of the settings.

Every task leaves its result under the number of its shard, so what is run again after a worker or the whole machine
died are the shards without a result, and no shard counts twice. Dask and Ray start a lost task again themselves; a
process pool is lost with any of its workers, and then the flow is tried again with a new pool.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from prefect import flow

from infra.progress import report
from tasks.runners import task_runner

if TYPE_CHECKING:
    from infra.corpus import Shard
    from infra.settings import Settings

RETRIES = 3


def over_shards(name: str, task: Any, key: str, waiting: Callable[[], Sequence[Shard]], settings: Settings) -> None:
    """Run `task(key, shard)` for every shard that waits; a single one is left to the caller, without a worker.

    Args:
        name: of the flow.
        task: a Prefect task that records its result.
        key: what all tasks share, such as the id of a batch; Prefect keeps it.
        waiting: the shards without a result, asked anew at every try.
        settings: of this installation.
    """
    if len(waiting()) < 2:
        return

    @flow(
        name=name, task_runner=task_runner(settings), retries=RETRIES, persist_result=False, validate_parameters=False
    )
    def all_shards(key: str) -> None:
        futures = [task.submit(key, shard) for shard in waiting()]
        for done, future in enumerate(futures, start=1):
            future.result()
            report(name, done, len(futures), f"{done} of {len(futures)} shards")

    all_shards(key)
