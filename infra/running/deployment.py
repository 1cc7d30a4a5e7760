"""How the flow is deployed: the facts that `revs serve` and `prefect.yaml` share, and the commands of the servers."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from infra.registry import open_registry
from infra.running.children import HOST
from infra.settings import Settings, load_settings
from revs.errors import BadInput

if TYPE_CHECKING:
    from prefect.client.schemas.objects import ConcurrencyLimitConfig

_log = logging.getLogger("revs.service.hints")
ENTRYPOINT = "flows/process.py:process_deletion_requests"
FLOW = "process-deletion-requests"
POOL = "revs"
EVERY_SECONDS = 60
CRON = "* * * * *"  # the same, as prefect.yaml says it
# What runs beside the batches, by the name of its flow: its entrypoint, when it runs, and what it does.
UPKEEP = {
    "retire-versions": (
        "flows/retention.py:retire_versions",
        "15 3 * * *",
        "Delete the bytes of superseded versions whose period has ended.",
    ),
    "reconcile-registry": (
        "flows/reconcile.py:reconcile_registry",
        "30 * * * *",
        "Find champion aliases that somebody else moved, and champions that were changed or lack an erasure.",
    ),
    "promote-versions": (
        "flows/promotion.py:promote_versions",
        "*/5 * * * *",
        "Promote the waiting candidates that a human approved, and say which still wait.",
    ),
}
# One run at a time per model; later ones wait for their turn, none is dropped.
LIMIT, COLLISION = 1, "ENQUEUE"

_LEASE_SECONDS = 60  # Prefect's shortest: how long the turn of a run that was killed is still taken
_WAIT_SECONDS = {True: 10.0, False: 3600.0}  # for the turn: of a scheduled run, of one that somebody started

_TOGETHER_SECONDS = 15  # hints that come within so many share one run
_HISTORY_DAYS = 7  # of Prefect's runs; what was erased, when and why stands in the request store and the registry
_LOGGED = {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING"}  # a child's console is its log file
# Keys, passwords and addresses are among our settings, and a server of another project needs none; the folder of the
# installation tells whose a process is.
_OURS, _SHOWN = "REVS_", "REVS_HOME"


def concurrency() -> ConcurrencyLimitConfig:
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy

    return ConcurrencyLimitConfig(limit=LIMIT, collision_strategy=ConcurrencyLimitStrategy(COLLISION))


def turn_name(model: str) -> str:
    """Name of the limit that the runs of a model share on a Prefect server, however they were started."""
    return f"{POOL}-{model}"


@contextmanager
def turn(model: str, *, seconds: float | None = None) -> Iterator[bool]:
    """Wait for the model's turn on the Prefect server, and hold it while open; yields whether it is held.

    It makes runs wait that would only be refused: the lock is the lease of the batch in the request store. So where the
    server fails, the time is over, or the server is this process' own, whose runs nobody else shares, the run goes on
    without a turn. The limit is made where it is missing and the model has a champion; one that an operator changed
    stays as it is.

    Args:
        model: its registered name.
        seconds: how long to wait; None: a scheduled run for a moment, for it comes again, another one for an hour.
    """
    held, got = ExitStack(), False
    wait = seconds if seconds is not None else _WAIT_SECONDS[is_scheduled()]
    with suppress(Exception):  # of any kind: a courtesy stops nobody
        got = _take_turn(held, model, wait)
    try:
        yield got
    finally:
        with suppress(Exception):  # a turn that cannot be given back ends with its lease
            held.close()


def is_scheduled() -> bool:
    """Whether this is called in a run that the schedule of a deployment made; nobody started it, and it comes again."""
    from prefect.context import FlowRunContext

    context = FlowRunContext.get()
    return context is not None and context.flow_run is not None and bool(context.flow_run.auto_scheduled)


def shared_server() -> bool:
    """Whether this is called in a run of Prefect on a server that outlives the run."""
    from prefect.context import FlowRunContext
    from prefect.settings import PREFECT_API_URL

    return FlowRunContext.get() is not None and PREFECT_API_URL.value() is not None


def _take_turn(held: ExitStack, model: str, seconds: float) -> bool:
    from prefect import get_run_logger
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
    from prefect.concurrency.sync import concurrency as occupied
    from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

    if not shared_server():
        return False
    client, name = get_client(sync_client=True), turn_name(model)
    try:
        limit = client.read_global_concurrency_limit_by_name(name)
        if limit.active_slots >= limit.limit:
            get_run_logger().info("%s: another run has the turn; waiting for it, at most %.0f s", model, seconds)
    except ObjectNotFound:
        settings = load_settings()
        open_registry(settings).champion(model)  # of no other name a limit is made
        with suppress(ObjectAlreadyExists):  # another run was faster
            client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=LIMIT))
    held.enter_context(
        occupied(
            name,
            timeout_seconds=seconds,
            lease_duration=_LEASE_SECONDS,
            strict=False,
            raise_on_lease_renewal_failure=False,
        )
    )
    return True


def next_look(now: datetime) -> datetime:
    """When the runs are due that are asked for now: a run after every hint, and one for all of a few seconds."""
    return datetime.fromtimestamp((now.timestamp() // _TOGETHER_SECONDS + 1) * _TOGETHER_SECONDS, UTC)


def ask_for_run(name: str, at: datetime) -> None:
    """Ask the Prefect server that this process knows for one run of a flow of `UPKEEP`, and wait for nothing.

    Where there is none, or it does not do it, that is logged: the run comes by the schedule.

    Args:
        name: of the flow, which is that of its deployment.
        at: when it is due; asked for again, for the same time, there is still one.
    """
    from httpx import HTTPError
    from prefect.deployments import run_deployment
    from prefect.exceptions import PrefectException
    from prefect.settings import PREFECT_API_URL

    later = f"no run of {name} was asked for, the next comes by its schedule"
    if PREFECT_API_URL.value() is None:
        _log.info("%s: PREFECT_API_URL names no server", later)
        return
    try:
        run_deployment(
            f"{name}/{name}", scheduled_time=at, idempotency_key=f"hint {at.isoformat()}", timeout=0, as_subflow=False
        )
    except (HTTPError, PrefectException, OSError, RuntimeError) as error:  # a hint is a courtesy; its text names a host
        _log.warning("%s: the Prefect server failed with %s", later, type(error).__name__)


def check_cron(cron: str) -> None:
    """Raise BadInput where Prefect would not take the expression."""
    from prefect.client.schemas.schedules import CronSchedule
    from pydantic import ValidationError

    try:
        CronSchedule(cron=cron)
    except ValidationError:
        raise BadInput(f"--cron {cron!r} is no cron expression; five fields are needed, e.g. '*/5 * * * *'") from None


def prefect_server(port: int) -> tuple[list[str], dict[str, str]]:
    """Command and environment of a Prefect server on this machine, on the database in PREFECT_HOME."""
    # Slots that a killed run held are known again after a restart, and history does not grow for ever.
    extra = _LOGGED | {
        "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "true",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(_HISTORY_DAYS * 86400),
    }
    return _python("prefect", "server", "start", "--host", HOST, "--port", str(port)), _environment(extra)


def mlflow_server(settings: Settings, port: int) -> tuple[list[str], dict[str, str]]:
    """Command and environment of an MLflow server on the installation's own database and artifacts."""
    # Addresses go by the environment: they may hold a password, and a command line is seen by every user.
    artifacts = settings.artifact_uri or ""  # never empty: the tracking URI is the database
    extra = {
        "MLFLOW_BACKEND_STORE_URI": settings.tracking_uri,
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": artifacts,
        "MLFLOW_ARTIFACTS_DESTINATION": artifacts,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # nothing here needs its extra processes
    }
    command = ["mlflow", "server", "--host", HOST, "--port", str(port), "--workers", "1"]
    return _python(*command, "--uvicorn-opts", "--log-level warning"), _environment(extra)


def schedule(config: Mapping[str, object]) -> tuple[list[str], dict[str, str]]:
    """Command and environment of the process that serves the schedule; `config` as flows.schedule takes it."""
    direct = ",".join(filter(None, (os.environ.get("no_proxy") or os.environ.get("NO_PROXY"), HOST)))
    extra = _LOGGED | {
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",  # the server that was named, or an error
        "NO_PROXY": direct,
        "no_proxy": direct,
    }
    return _python("flows.schedule", json.dumps(config)), dict(os.environ) | extra


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value for name, value in os.environ.items() if name == _SHOWN or not name.upper().startswith(_OURS)
    } | dict(extra)


def _python(*command: str) -> list[str]:
    return [sys.executable, "-P", "-m", *command]  # -P: nothing in the current folder is imported instead
