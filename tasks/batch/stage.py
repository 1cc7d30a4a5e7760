"""What every stage shares: its Prefect task, its handles, and errors that show nothing personal."""

from __future__ import annotations

import functools
import logging
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.exceptions import MissingContextError
from prefect.utilities.timeout import timeout

from infra.batches.records import Key
from infra.batches.workspace import Workspace
from infra.registry import Registry
from infra.registry import open_registry as open_registry  # handed on: a stage takes it beside open_store
from infra.requests import Batch, BatchHeld, Identifier, Lease, RequestStore
from infra.running.progress import report
from infra.settings import Settings, load_settings
from revs.errors import OperationFailed, RevsError

SEED = 0
"""Of everything that a batch draws."""
_NAMED_AT_MOST = 3
PAUSES_SECONDS = (2, 10)
"""Before each further try of a stage that the surroundings failed."""

P = ParamSpec("P")
R = TypeVar("R")


class StageTimedOut(OperationFailed, TimeoutError):
    """A stage took longer than `REVS_STAGE_TIMEOUT`; Prefect calls its state TimedOut."""


class UnforeseenFailure(OperationFailed):
    """A library failed in a way that nobody foresaw: the same again is what another try would bring."""


def worth_another_try(_task: object, _run: object, state: Any) -> bool:
    """Whether the surroundings failed and may have recovered: not bad input, a gate, a held batch, or a fault of ours.

    A stage is idempotent on its batch, so Prefect may run it again.
    """
    never = (BatchHeld, StageTimedOut, UnforeseenFailure)
    return isinstance(state.data, OperationFailed) and not isinstance(state.data, never)


def stage(name: str, *, long: bool = False) -> Callable[[Callable[P, R]], Any]:
    """Make a function a Prefect task that is neither cached nor persisted and whose failures carry no foreign text.

    A library's error message may quote what it was given, and Prefect stores messages. Only errors of our own pass; of
    the others remain their type and the place in our code.

    Args:
        name: of the task.
        long: it works for long, so it is not tried again by itself; the next run of the flow takes the batch up.
    """

    def wrap(function: Callable[P, R]) -> Any:
        @functools.wraps(function)
        def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
            report(name)
            try:
                with timeout(load_settings().stage_timeout, StageTimedOut):
                    result = function(*args, **kwargs)
            except Exception as error:
                raise _ours(name, error) from None  # without its chain: the cause may hold what the message leaves out
            report(name, 1, 1, str(result))
            run_log().info("%s: %s", args[0] if args else name, result)
            return result

        return task(
            name=name,
            cache_policy=NO_CACHE,
            persist_result=False,
            log_prints=False,
            retries=0 if long else len(PAUSES_SECONDS),  # hours of work are not done again on a guess
            retry_delay_seconds=None if long else list(PAUSES_SECONDS),
            retry_condition_fn=worth_another_try,
        )(guarded)

    return wrap


def run_log() -> logging.Logger | logging.LoggerAdapter[Any]:
    """The log of the run this is called in; outside of a run, a log that nobody reads."""
    try:
        return get_run_logger()
    except MissingContextError:
        return logging.getLogger(__name__)


def _ours(name: str, error: Exception) -> RevsError:
    """The error that may be stored in place of one that was raised in a stage."""
    if isinstance(error, StageTimedOut):
        return StageTimedOut(
            f"{name} took longer than REVS_STAGE_TIMEOUT={load_settings().stage_timeout} seconds; no request is lost, "
            "and 'revs batches show' tells how far the batch is: raise or unset it and start the flow again, it resumes"
        )
    if isinstance(error, RevsError):
        return type(error)(str(error))
    kind = OperationFailed if isinstance(error, OSError) else UnforeseenFailure
    return kind(
        f"{name} failed with {type(error).__name__} at {_place(error)}; no request is lost, and 'revs batches "
        "show' tells how far the batch is: mend the cause and start the flow again, it resumes"
    )


def _place(error: BaseException) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno}"


@dataclass(frozen=True, slots=True)
class Handles:
    """The doors to everything outside the process that a stage of one batch needs."""

    settings: Settings
    store: RequestStore
    registry: Registry
    batch: Batch
    workspace: Workspace
    held: Lease | None = None

    @property
    def lease(self) -> Lease:
        """The lease of the batch: checked before every write that leaves the process.

        Raises:
            OperationFailed: these are a worker's handles, which hold nothing.
        """
        if self.held is None:
            raise OperationFailed(f"batch {self.batch.id}: a worker records shards only; leave the rest to the flow")
        return self.held

    def discard(self) -> None:
        """Remove the working folder, if the batch is still this run's."""
        self.lease.check()
        self.workspace.remove()


def open_store(settings: Settings) -> RequestStore:
    return RequestStore.from_settings(settings)


def refuse_broken(reasons: Mapping[str, str]) -> None:
    """End the stage where a suite of expectations found broken rows.

    Raises:
        OperationFailed: it did; the message names some of them.
    """
    if reasons:
        some = "; ".join(f"{name}: {reason}" for name, reason in list(reasons.items())[:_NAMED_AT_MOST])
        raise OperationFailed(
            f"the record of this batch breaks {len(reasons)} times a rule it must keep: {some}; nothing was promoted: "
            "start the flow again, and if it stays, report it"
        )


def handles(batch_id: str, *, worker: bool = False) -> Handles:
    """The handles of a batch, from the environment of this process, which holds the batch from then on.

    Args:
        batch_id: id of the batch.
        worker: do not take the lease: for a worker beside the flow's process, which records shards and nothing else.

    Raises:
        BatchHeld: another run works on the batch, or took it over.
    """
    settings = load_settings()
    store = open_store(settings)
    batch = store.batch(batch_id)
    held = None if worker else store.hold(batch_id)
    return Handles(settings, store, open_registry(settings), batch, Workspace(settings.work_dir, batch_id), held)


def keyed(identifiers: Mapping[str, Sequence[Identifier]]) -> Iterator[tuple[Key, Identifier]]:
    """The identifiers of requests, each with its key."""
    for request_id, found in identifiers.items():
        yield from (((request_id, identifier.number), identifier) for identifier in found)


@contextmanager
def held(batch_id: str) -> Iterator[None]:
    """Give a batch back when its flow ends, however it ends: the next run need not wait until the lease runs out."""
    try:
        yield
    finally:
        open_store(load_settings()).release(batch_id)
