"""How the flow is deployed: the facts that `revs serve` and `prefect.yaml` share, and the commands of the servers."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

from infra.running.children import HOST
from infra.settings import Settings
from revs.errors import BadInput

if TYPE_CHECKING:
    from prefect.client.schemas.objects import ConcurrencyLimitConfig

ENTRYPOINT = "flows/process.py:process_deletion_requests"
FLOW = "process-deletion-requests"
POOL = "revs"
EVERY_SECONDS = 60
CRON = "* * * * *"  # the same, as prefect.yaml says it
# One run at a time per model; later ones wait for their turn, none is dropped.
LIMIT, COLLISION = 1, "ENQUEUE"

_HISTORY_DAYS = 7  # of Prefect's runs; what was erased, when and why stands in the request store and the registry
_LOGGED = {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "WARNING"}  # a child's console is its log file
_OURS = ("REVS_DEPLOYMENT_KEY", "REVS_DATABASE_URL")  # a server that does not need a secret does not get it


def concurrency() -> ConcurrencyLimitConfig:
    from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy

    return ConcurrencyLimitConfig(limit=LIMIT, collision_strategy=ConcurrencyLimitStrategy(COLLISION))


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
    extra = {
        "MLFLOW_BACKEND_STORE_URI": settings.tracking_uri,
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": settings.artifact_uri,
        "MLFLOW_ARTIFACTS_DESTINATION": settings.artifact_uri,
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
    return {name: value for name, value in os.environ.items() if name not in _OURS} | dict(extra)


def _python(*command: str) -> list[str]:
    return [sys.executable, "-P", "-m", *command]  # -P: nothing in the current folder is imported instead
