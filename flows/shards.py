"""Many shards at once: one task a shard, on the task runner of the settings.

Every task leaves its result under the number of its shard, so what is run again after a worker or the whole machine
died are the shards without a result, and no shard counts twice. Dask and Ray start a lost task again themselves; a
process pool is lost with any of its workers, and then the flow is tried again with a new pool.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import flow

from infra.running.progress import report
from tasks.corpus.runners import task_runner

if TYPE_CHECKING:
    from infra.corpus import Shard
    from infra.settings import Settings

RETRIES = 3
WORTH_WORKERS = 64 << 20  # bytes of files: less is done before workers have started


def over_shards(
    name: str,
    task: Any,
    key: str,
    waiting: Callable[[], Sequence[Shard]],
    settings: Settings,
    *,
    at_least: int = WORTH_WORKERS,
) -> None:
    """Run `task(key, shard)` for every shard that waits; few are left to the caller, who does what has no result.

    Args:
        name: of the flow.
        task: a Prefect task that records its result.
        key: what all tasks share, such as the id of a batch; Prefect keeps it.
        waiting: the shards without a result, asked anew at every try.
        settings: of this installation.
        at_least: bytes of the files that the waiting shards are of; where there are fewer, no worker is started.
    """
    first = waiting()
    if len(first) < 2 or sum({shard.path: shard.bytes for shard in first}.values()) < at_least:
        return

    @flow(
        name=name,
        flow_run_name=Path(key).name,  # a scan has a folder: its path is nobody else's to see
        task_runner=task_runner(settings),
        retries=RETRIES,
        persist_result=False,
        validate_parameters=False,
    )
    def all_shards(key: str) -> None:
        futures = [task.submit(key, shard) for shard in waiting()]
        for done, future in enumerate(futures, start=1):
            future.result()
            report(name, done, len(futures), f"{done} of {len(futures)} shards")

    all_shards(key)
