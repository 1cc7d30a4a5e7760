"""Connections and transactions of the request store, and the physical removal of what was deleted.

SQLite: write-ahead log, foreign keys, `secure_delete`; writers take the lock at BEGIN, so a transaction that reads and
then writes sees no other writer in between. PostgreSQL: the constraints of `tables` decide, and the loser tries again.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import sqlite3
import traceback
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker
from sqlalchemy.pool import ConnectionPoolEntry, NullPool, QueuePool

from infra.requests import alone, chain, schema
from revs.errors import BadInput, OperationFailed

T = TypeVar("T")

LOCK_SECONDS = 30
_ATTEMPTS = 10  # of a transaction that lost a race for a constraint, or was the victim of a deadlock
_LOST_RACES = frozenset({"40001", "40P01"})  # SQLSTATE: serialization failure, deadlock detected
_MADE = "the store beside this file was made; without this note an empty file would pass for a new store\n"
_FORBIDDEN = "42501"
_TAKES_ROWS_APART = ("sqlalchemy.engine.result", "sqlalchemy.engine._py_row", "sqlalchemy.cyextension.resultproxy")
_FILES = "SELECT pg_relation_filenode('payloads'), pg_relation_filenode('erased_digests')"


class Database:
    """The database of the request store; every transaction opens its own session. Safe to use from several threads."""

    def __init__(
        self,
        url: str,
        *,
        key_checks: Sequence[str],
        sign: chain.Sign,
        adopt: Callable[[Session], None],
        stay_connected: bool = False,
    ) -> None:
        """Connect, and bring the tables to those of today where they are missing or older.

        Args:
            url: SQLAlchemy URL of a SQLite file or of PostgreSQL.
            key_checks: Pseudonyms of a constant, under the deployment key in use and under each earlier one: they tell
                whether the store is theirs. A new store is under the first.
            sign: Makes the MACs of the audit log.
            adopt: Brings what a store from before schema 0006 holds sealed to today's form.
            stay_connected: Keep connections to a SQLite file until `close`. Else each transaction opens its own, and
                the last one to close folds the write-ahead log into the file, which waits for the disk twice more.

        Raises:
            BadInput: The URL is of neither database, or its driver is not installed.
            OperationFailed: No database answers there, or its store is of a newer program or of another key.
        """
        self._engine = _engine(url, stay_connected=stay_connected)
        weakref.finalize(self, self._engine.dispose)  # every stage of a batch opens a store, and drops it
        self._reading = _for_reading(self._engine)
        self._writing = sessionmaker(self._engine.execution_options(revs_write=True), expire_on_commit=False)
        event.listen(self._writing, "before_commit", lambda session: chain.link(session, sign, key_checks[0]))
        with contextlib.ExitStack() as unless_ready:
            unless_ready.callback(self._engine.dispose)
            if not self.read(lambda session: schema.is_current(session, key_checks)):
                migrating = sessionmaker(self._engine.execution_options(revs_write=True, revs_migrate=True))
                with _one_line_errors(), migrating.begin() as session:
                    owed = schema.migrate(session, key_checks)
                    if owed.chain:
                        chain.begin(session, sign)
                    if owed.payloads:
                        adopt(session)
            _note_that_it_was_made(self._engine)
            unless_ready.pop_all()

    def write(self, work: Callable[[Session], T]) -> T:
        """Run `work` in one transaction; again, in a fresh one, when another writer came first.

        Raises:
            OperationFailed: The database refused; nothing of `work` was stored.
        """
        with _one_line_errors():
            for _ in range(_ATTEMPTS - 1):
                try:
                    with self._writing.begin() as session:
                        return work(session)
                except DBAPIError as error:
                    if not _lost_a_race(error):
                        raise
            with self._writing.begin() as session:
                return work(session)

    def read(self, work: Callable[[Session], T]) -> T:
        """Run `work`, which only reads, on one consistent state; it waits for no writer, and none for it.

        Raises:
            OperationFailed: The database cannot be read.
        """
        with _one_line_errors(), _WithoutLocks(self._reading) as session:
            return work(session)

    def vacuum(self) -> bool:
        """Rewrite what held deleted payloads and digests; return whether no old byte of them is left in the files.

        False means that another process kept the database busy, or that the role may not rewrite these tables.
        PostgreSQL's own write-ahead archive, and backups of either database, are beyond its reach.
        """
        try:
            return _vacuum(self._engine)
        except Exception as error:  # on a raw connection the drivers raise errors of their own
            if isinstance(error, SQLAlchemyError | self._engine.dialect.loaded_dbapi.Error):
                return False
            raise

    @contextlib.contextmanager
    def alone(self, what: str, *, seconds: float = alone.WAIT_SECONDS) -> Iterator[None]:
        """Be the only process to do `what`, on any machine that shares this database.

        Raises:
            OperationFailed: Somebody else was still at it after so many seconds, or the database cannot be used.
        """
        with contextlib.ExitStack() as held:
            with _one_line_errors():
                held.enter_context(alone.alone(self._engine, what, seconds=seconds))
            yield

    @property
    def url(self) -> str:
        """The address of the database, without a password."""
        return str(self._engine.url)

    def close(self) -> None:
        """Give back pooled connections."""
        self._engine.dispose()


class _WithoutLocks(Session):
    """A session that only reads: what is locked for a writer (`rows.request_row`) is only looked at."""

    def get(self, *arguments: Any, **options: Any) -> Any:
        options.pop("with_for_update", None)
        return super().get(*arguments, **options)


def _lost_a_race(error: DBAPIError) -> bool:
    return isinstance(error, IntegrityError) or _sqlstate(error) in _LOST_RACES


def _sqlstate(error: Exception) -> str | None:
    return getattr(getattr(error, "orig", None), "sqlstate", None)


def _is_of_a_damaged_row(error: Exception) -> bool:
    """Whether it was raised over what stood in the database: below our code, where SQLAlchemy takes rows apart."""
    if isinstance(error, UnicodeDecodeError):  # sqlite3, which cannot even say what is wrong
        return True
    modules = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    ours = max(number for number, module in enumerate(modules) if module.startswith("infra."))
    return any(module.startswith(_TAKES_ROWS_APART) for module in modules[ours + 1 :])


@contextlib.contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except (ValueError, TypeError, RecursionError) as error:
        if not _is_of_a_damaged_row(error):
            raise
        raise OperationFailed(
            "the request store is damaged (a row holds what its column cannot); nothing was changed: restore it from a "
            "backup"
        ) from None
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        # Its text shows statements; only the driver's first line is taken over.
        cause = str(getattr(error, "orig", None) or type(error).__name__).strip().splitlines()[0]
        if _sqlstate(error) == _FORBIDDEN:
            raise OperationFailed(
                f"the role in REVS_DATABASE_URL may not do what the request store needs ({cause}); what it held is "
                "unchanged: let the owner of the tables open it once, and grant the role what docs/reliability.md says"
            ) from None
        state = "what it held is unchanged, see to the database and try again"
        if getattr(error, "connection_invalidated", False):  # lost in the COMMIT itself, it may have been stored
            state = "see to the database, and look whether the last step was stored before you repeat it"
        raise OperationFailed(f"the request store cannot be used ({cause}); {state}") from None


def _engine(url: str, *, stay_connected: bool) -> Engine:
    try:
        parsed = make_url(url)
        backend = parsed.get_backend_name()
        options: dict[str, Any] = {"hide_parameters": True, "json_serializer": _to_json}
        if backend == "sqlite":
            # A kept one goes from thread to thread, never used by two at once.
            options["connect_args"] = {"timeout": LOCK_SECONDS, "check_same_thread": not stay_connected}
            options["poolclass"] = QueuePool if stay_connected else NullPool
        elif backend == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg") if parsed.drivername == "postgresql" else parsed
            options |= {"pool_pre_ping": True}
        if backend not in {"sqlite", "postgresql"} or (
            backend == "sqlite" and parsed.database in {None, "", ":memory:"}
        ):
            raise BadInput("REVS_DATABASE_URL must name a SQLite file (sqlite:////path/file.db) or PostgreSQL")
        engine = create_engine(parsed, **options)
    except (ArgumentError, ValueError):  # its text shows the address, which may hold a password
        raise BadInput("REVS_DATABASE_URL is not a database address such as sqlite:////path/file.db") from None
    except ModuleNotFoundError as error:
        raise BadInput(
            f"REVS_DATABASE_URL needs the driver {error.name}; for PostgreSQL run: pip install 'revs[postgres]'"
        ) from None
    if backend == "sqlite":
        _create_private(Path(str(parsed.database)))
        with _one_line_errors():
            _switch_to_wal(Path(str(parsed.database)))
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        event.listen(engine, "connect", _configure_postgresql)
    return engine


def _for_reading(engine: Engine) -> Engine:
    """SQLite shows a transaction one state by itself; PostgreSQL would show each statement the newest."""
    if engine.dialect.name == "sqlite":
        return engine
    return engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)


def _configure_postgresql(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    """As on SQLite, nobody waits for a lock for ever: who holds it may have been stopped."""
    cursor = connection.cursor()
    cursor.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'")
    cursor.close()
    connection.commit()


def _create_private(path: Path) -> None:
    try:  # SQLite gives its log files the mode of the database
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise OperationFailed(
            f"the request store {path} cannot be opened ({error.strerror}); make its folder writable"
        ) from None


def _switch_to_wal(path: Path) -> None:
    """Switch a new database to write-ahead logging, once: the file remembers it.

    The switch does not wait for locks as everything else does, so processes that create the store at once take turns.

    Raises:
        OperationFailed: The file holds nothing, and held a store before.
    """
    with _locked(path) as note:
        header = _header(path)
        if not header and note.read():
            raise OperationFailed(
                f"the request store {path} is empty or gone, and there was one: restore it from a backup; to begin a "
                f"new one all the same, delete {_lock_of(path).name} beside it"
            )
        if header[18:20] == b"\x02\x02":  # the header's format versions: 2 is write-ahead logging
            return
        with contextlib.closing(sqlite3.connect(path, timeout=LOCK_SECONDS)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")


def _note_that_it_was_made(engine: Engine) -> None:
    """Leave a note beside a SQLite file: an empty one is no new store from now on."""
    if engine.dialect.name == "sqlite":
        with _one_line_errors(), _locked(Path(str(engine.url.database))) as note:
            if not note.read():
                note.write(_MADE)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[IO[str]]:
    lock = os.open(_lock_of(path), os.O_RDWR | os.O_CREAT, 0o600)
    with os.fdopen(lock, "r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file


def _lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _header(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(20)


def _configure_sqlite(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # sqlite3 must not begin transactions on its own: `_begin_sqlite` does
    cursor = connection.cursor()
    for pragma in ("synchronous=FULL", "foreign_keys=ON", "secure_delete=ON", "temp_store=MEMORY"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    options = connection.get_execution_options()
    if options.get("revs_migrate"):  # a table that is rebuilt is gone for a moment; checked when it is done
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
    writes = options.get("revs_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _vacuum(engine: Engine) -> bool:
    """Rewrite what held payloads; return False when a reader kept the old pages alive, or the role may not do it.

    `secure_delete` overwrites deleted rows already; a rewritten file also holds no copy that SQLite made when it moved
    rows between pages. Until the checkpoint the old pages stand in the write-ahead log.
    """
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            before = connection.exec_driver_sql(_FILES).one()
            kept = _rewritten(connection)
            after = connection.exec_driver_sql(_FILES).one()
        # What a role may not rewrite PostgreSQL leaves out with no more than a warning; the files tell.
        return not kept and all(old != new for old, new in zip(before, after, strict=True))
    with contextlib.closing(engine.raw_connection()) as raw, contextlib.closing(raw.cursor()) as cursor:
        cursor.execute("VACUUM")
        busy = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        return not busy


def _rewritten(connection: Connection) -> int:
    """Rewrite the tables; return how many deleted rows PostgreSQL kept, because an older transaction may still look.

    VERBOSE tells it in the language of the server; the number comes first in each.
    """
    details: list[str] = []
    driver = connection.connection.driver_connection
    assert driver is not None

    def note(diagnostic: Any) -> None:
        details.append(diagnostic.message_detail or "")

    driver.add_notice_handler(note)
    try:
        connection.exec_driver_sql("VACUUM (FULL, VERBOSE) payloads, erased_digests")
    finally:
        driver.remove_notice_handler(note)
    return sum(int(found[0]) for found in (re.match(r"\d+", detail) for detail in details) if found)


def _to_json(value: object) -> str:
    # JSON has no NaN: a missing number is null, in the store as in a report.
    return json.dumps(json.loads(json.dumps(value), parse_constant=lambda _: None))
