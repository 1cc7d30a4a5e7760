"""One process at a time: for what must not be done twice at once on any of the machines that share the request store.

The lock goes with the process that has it, however that ends: no time runs out on one that works, and none is left by
one that died. SQLite: a lock on a file beside it. PostgreSQL: an advisory lock of the session.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout
from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from revs.errors import OperationFailed

WAIT_SECONDS = 600.0
_TIMED_OUT = "55P03"  # SQLSTATE: lock not available


@contextlib.contextmanager
def alone(engine: Engine, what: str, *, seconds: float = WAIT_SECONDS) -> Iterator[None]:
    """Be the only one to do `what`, as it is called in the error; wait for the one who does it.

    Raises:
        OperationFailed: Somebody else was still at it after so many seconds.
    """
    by_engine = _by_session if engine.dialect.name == "postgresql" else _by_file
    with contextlib.ExitStack() as held:
        if not held.enter_context(by_engine(engine, what, seconds)):
            raise OperationFailed(
                f"another process has been {what} for {seconds:g} s, or was stopped in it; nothing was changed: see to "
                "it, then run again"
            )
        yield


@contextlib.contextmanager
def _by_file(engine: Engine, what: str, seconds: float) -> Iterator[bool]:
    path = Path(str(engine.url.database))
    lock = FileLock(path.with_name(f"{path.name}.{_digest(what).hex()}.lock"), timeout=seconds, mode=0o600)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


@contextlib.contextmanager
def _by_session(engine: Engine, what: str, seconds: float) -> Iterator[bool]:
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.detach()  # it is closed behind us, and the lock ends with it
        connection.execute(text(f"SET lock_timeout = {int(seconds * 1000)}"))
        number = int.from_bytes(_digest(what), signed=True)
        try:
            connection.execute(text("SELECT pg_advisory_lock(:number)"), {"number": number})
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != _TIMED_OUT:
                raise
            yield False
            return
        yield True


def _digest(what: str) -> bytes:
    return hashlib.sha256(what.encode()).digest()[:8]
