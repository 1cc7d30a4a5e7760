"""Prefect's surroundings, set before it is imported: it reads its settings once."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from infra.permissions import create_private
from infra.settings import Settings
from revs.errors import OperationFailed

START_SECONDS = "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"
_TOO_SLOW = "ephemeral Prefect API server"  # Prefect raises a plain RuntimeError with these words


def prepare(settings: Settings) -> None:
    """Point Prefect and the stages of this process, and of those it starts, to one installation.

    Variables that are already set win, so a Prefect server or Cloud (PREFECT_API_URL) is used where there is one.
    """
    os.environ["REVS_HOME"] = str(settings.home)
    for name, value in {
        "PREFECT_HOME": str(settings.prefect_home),
        "PREFECT_LOGGING_LEVEL": "INFO",  # the log of a run says what its stages did; the server keeps it
        # A failed run is logged with its traceback: the server keeps it, the terminal gets one line from us.
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
        "PREFECT_SERVER_LOGGING_LEVEL": "ERROR",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        START_SECONDS: "300",  # on a busy machine the server takes minutes
        "DO_NOT_TRACK": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "GX_ANALYTICS_ENABLED": "false",
        "TOKENIZERS_PARALLELISM": "false",
        "TRANSFORMERS_VERBOSITY": "error",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }.items():
        os.environ.setdefault(name, value)
    if os.environ["PREFECT_HOME"] == str(settings.prefect_home):
        with suppress(OSError):  # Prefect says by itself what it cannot write
            settings.prefect_home.mkdir(mode=0o700, exist_ok=True)
            create_private(settings.prefect_home / "prefect.db")


@contextmanager
def server_in_time() -> Iterator[None]:
    """Turn the failure of Prefect's temporary server to start into one line with the remedy.

    Raises:
        OperationFailed: it did not answer within the limit.
    """
    try:
        yield
    except RuntimeError as error:
        if _TOO_SLOW not in str(error):
            raise
        raise OperationFailed(
            f"Prefect's temporary server did not answer within {os.environ.get(START_SECONDS, '?')} s, the limit of "
            f"{START_SECONDS}; nothing was begun and no request is lost: set it to more seconds and run again, or name "
            "a running server in PREFECT_API_URL"
        ) from None
