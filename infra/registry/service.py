"""MLflow as this project uses it: quiet, without process-wide state, and with errors of our own tree."""

from __future__ import annotations

import fcntl
import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse
from urllib.request import url2pathname

from infra.permissions import create_private
from revs.errors import OperationFailed

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SQLITE = "sqlite:///"
_ERRNO = re.compile(r"\[Errno (\d+)\]")


def connect(tracking_uri: str) -> MlflowClient:
    """A client of one tracking server or database, for runs and for registered models alike.

    Takes seconds the first time: MLflow is imported and, on an empty database, its tables are made.
    """
    _hush()
    if path := database_file(tracking_uri):
        _prepare_private(path)
    from mlflow import MlflowClient

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)  # migrations, tips and licence guesses are not for our users
    return MlflowClient(tracking_uri=tracking_uri, registry_uri=tracking_uri)


@contextmanager
def failing_clearly(doing: str, *, safe: str) -> Iterator[None]:
    """Turn a failure of the disk, the database or the server into one line.

    Args:
        doing: what failed, e.g. `"registering batch b1"`.
        safe: what is still as it was, and what to do next.

    Raises:
        OperationFailed: in place of OSError and MLflow's own error. Messages from below are not passed on, for they may
            quote values; their error number or code is.
    """
    _hush()
    from mlflow.exceptions import MlflowException

    try:
        yield
    except (OSError, MlflowException) as error:
        raise OperationFailed(f"{doing} failed: {_cause(error)}; {safe}") from None


def _cause(error: BaseException) -> str:
    link: BaseException | None = error
    while link is not None:
        if isinstance(link, OSError) and link.errno is not None:
            return os.strerror(link.errno).lower()
        link = link.__cause__ or link.__context__
    text = str(error)
    if number := _ERRNO.search(text):  # shutil gathers the errors of many files into one text
        return os.strerror(int(number.group(1))).lower()
    if "disk is full" in text:
        return "no space left on device"
    return str(getattr(error, "error_code", type(error).__name__)).lower().replace("_", " ")


@contextmanager
def exclusive(tracking_uri: str) -> Iterator[None]:
    """One writer at a time on an embedded (SQLite) registry; the lock goes with its process, however that ends.

    On a server the registry offers nothing to build this on: there, the schedule runs one batch of a model at a time.
    """
    path = database_file(tracking_uri)
    if path is None:
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = path.with_name(path.name + ".lock")
    create_private(lock)
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def pages(search: Any, **asked: Any) -> Iterator[Any]:
    """Everything that a search of MLflow's client finds, page after page."""
    page = search(**asked)
    yield from page
    while page.token:
        page = search(**asked, page_token=page.token)
        yield from page


def is_server(tracking_uri: str) -> bool:
    """Whether an MLflow server answers there, and not a database."""
    return urlparse(tracking_uri).scheme in ("http", "https")


def local_path(uri: str | None) -> Path | None:
    """The path behind a `file:` URI or a plain absolute path; None for every other store, and for none at all."""
    if uri is None:
        return None
    parts = urlparse(uri)
    return Path(url2pathname(parts.path)) if parts.scheme in ("", "file") else None


def _hush() -> None:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # MLflow reads it while it is imported
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    # A server that is away is told after half a minute, not after four.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "4")


def database_file(tracking_uri: str) -> Path | None:
    """The file of an embedded registry; None for a server."""
    return Path(tracking_uri.removeprefix(_SQLITE)) if tracking_uri.startswith(_SQLITE) else None


def _prepare_private(path: Path) -> None:
    """Make the database's file before MLflow does, for SQLite gives its log files the same mode."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        create_private(path)
    except OSError as error:
        raise OperationFailed(
            f"the registry {path} cannot be opened ({error.strerror}); make its folder writable"
        ) from None
