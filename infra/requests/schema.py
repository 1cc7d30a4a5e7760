"""Brings a request store to the schema of this program: Alembic's migrations, in one transaction or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text
from sqlalchemy.orm import Session

from infra.requests.tables import Meta
from revs.errors import OperationFailed

if TYPE_CHECKING:
    from alembic.config import Config

HEAD = "0008"
"""The newest migration, as its file says."""

_CHAINED_SINCE = "0003"
_SPLIT_SINCE = "0006"
_MIGRATIONS = Path(__file__).with_name("migrations")
_VERSIONED_BY_ALEMBIC = "3"  # what programs from before the migrations read: they leave such a store alone
_BEFORE_MIGRATIONS = frozenset({"1", "2"})
_ADVISORY_LOCK = 7388  # any number, the same in every process: on PostgreSQL one migrates at a time


@dataclass(frozen=True, slots=True)
class Owed:
    """What remains to be done with the deployment key after a migration."""

    chain: bool = False  # the audit log was no chain before, and has to become one
    payloads: bool = False  # they are sealed in one piece, and have to be split


def is_current(session: Session, key_checks: Sequence[str]) -> bool:
    """Whether a store needs nothing done to it before it is used.

    Raises:
        OperationFailed: It cannot be used: it was made with another deployment key, or by a newer program.
    """
    names = set(inspect(session.connection()).get_table_names())
    if not names & {"meta", "requests", "events"}:
        return False
    if "meta" not in names:
        raise _unusable("its record of the deployment key is gone; restore it from a backup")
    stored = {name: getattr(session.get(Meta, name), "value", None) for name in ("key_check", "schema_version")}
    if stored["key_check"] is None and "events" in names:  # who removed it could have the log signed as it is now
        raise _unusable("its record of the deployment key is gone; restore it from a backup")
    if stored["key_check"] not in {None, *key_checks}:
        raise _unusable("the deployment key is not the one it was made with; restore that key")
    version = _version(session)
    if stored["schema_version"] not in {None, *_BEFORE_MIGRATIONS, _VERSIONED_BY_ALEMBIC}:
        raise _newer()
    return version == HEAD and stored["key_check"] is not None


def migrate(session: Session, key_checks: Sequence[str]) -> Owed:
    """Make the tables, or bring those of an older store to today's; nothing where another process was faster.

    Raises:
        OperationFailed: As `is_current`.
    """
    if session.connection().dialect.name == "postgresql":
        session.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"))
    if is_current(session, key_checks):
        return Owed()
    before = _version(session) or ""
    made_with = session.get(Meta, "key_check") if inspect(session.connection()).has_table("meta") else None
    if made_with is not None and made_with.value != key_checks[0]:
        raise _unusable(
            "it is of an earlier version, and the deployment key was changed; put the key that it was made with in "
            "use, run any command, and only then rotate"
        )
    from alembic import command  # not needed by a store that is current
    from alembic.util import CommandError

    try:
        command.upgrade(config(session.connection()), "head")
    except CommandError:  # the store names a migration that is not among ours
        raise _newer() from None
    if session.connection().dialect.name == "sqlite" and session.execute(text("PRAGMA foreign_key_check")).first():
        raise _unusable("some of its rows refer to others that are missing; restore it from a backup")
    session.merge(Meta(name="schema_version", value=_VERSIONED_BY_ALEMBIC))
    if session.get(Meta, "key_check") is None:
        session.add(Meta(name="key_check", value=key_checks[0]))
    return Owed(chain=before < _CHAINED_SINCE, payloads=before < _SPLIT_SINCE)


def _version(session: Session) -> str | None:
    if not inspect(session.connection()).has_table("alembic_version"):
        return None
    version = session.scalar(text("SELECT version_num FROM alembic_version"))
    return None if version is None else str(version)


def config(connection: Connection) -> Config:
    """Return Alembic's configuration for the migrations of the store that a connection leads to."""
    from alembic.config import Config

    found = Config(attributes={"connection": connection})
    found.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return found


def _newer() -> OperationFailed:
    return _unusable("it was made by a newer version of revs; use that version")


def _unusable(remedy: str) -> OperationFailed:
    return OperationFailed(f"the request store cannot be used: {remedy}; nothing was changed")
