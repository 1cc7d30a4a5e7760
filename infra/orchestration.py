"""Prefect's surroundings, set before it is imported: it reads its settings once."""

from __future__ import annotations

import os

from infra.settings import Settings


def prepare(settings: Settings) -> None:
    """Point Prefect and the stages of this process, and of those it starts, to one installation.

    Variables that are already set win, so a Prefect server or Cloud (PREFECT_API_URL) is used where there is one.
    """
    os.environ["REVS_HOME"] = str(settings.home)
    for name, value in {
        "PREFECT_HOME": str(settings.prefect_home),
        "PREFECT_LOGGING_LEVEL": "WARNING",
        # A failed run is logged with its traceback: the server keeps it, the terminal gets one line from us.
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "DO_NOT_TRACK": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "GX_ANALYTICS_ENABLED": "false",
        "TOKENIZERS_PARALLELISM": "false",
        "TRANSFORMERS_VERBOSITY": "error",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }.items():
        os.environ.setdefault(name, value)
