"""Who works on a batch: one holder at a time, and a token that grows with every holder.

Whoever opens or resumes a batch takes its lease; a daemon thread renews it while the holder's thread lives. A lease is
free when it has run out, was given back, or when its holder on this machine is gone: a killed run is resumed at once.
Someone who was taken for dead and wakes up still has the old token, and every write of theirs is refused.
"""

from __future__ import annotations

import os
import platform
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

import psutil
from sqlalchemy.orm import Session

from infra.requests import rows, tables
from infra.requests.database import Database
from revs.errors import OperationFailed

LEASE_SECONDS = 120.0
_RENEWALS = 4  # in the time of one lease
_CLOCK_SECONDS = 2.0  # by which the start time of one process may differ when it is read twice


class BatchHeld(OperationFailed):
    """Another run works on the batch, or took it over; nothing was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """A thread of a process of a machine."""

    host: str
    pid: int
    pid_started: float
    mark: str
    until: datetime | None = None

    @classmethod
    def current(cls) -> Holder:
        """Return the thread that asks."""
        mark = f"{_numbering()}:{threading.get_native_id()}"
        return cls(host=platform.node(), pid=os.getpid(), pid_started=_started(os.getpid()) or 0.0, mark=mark)


@dataclass(slots=True, eq=False)
class Lease:
    """This process's lease of a batch."""

    batch_id: str
    token: int
    seconds: float
    _database: Database = field(repr=False)
    _ended: threading.Event = field(default_factory=threading.Event, repr=False)

    def check(self) -> None:
        """Make sure that nobody took the batch over; call it before every write that leaves the process.

        Raises:
            BatchHeld: Somebody did.
        """
        self._database.read(lambda session: guard(session, self.batch_id))

    def release(self) -> None:
        """Give the batch back, so that the next run need not wait. Idempotent; one that was lost is left alone."""
        self._ended.set()
        with suppress(OperationFailed):  # it runs out by itself
            if self._database.write(lambda session: self._set_end(session, rows.now())):
                _HELD.pop(_key(self._database, self.batch_id), None)

    def _set_end(self, session: Session, end: datetime) -> bool:
        row = session.get(tables.Lease, self.batch_id, with_for_update=True)
        if row is None or row.token != self.token:
            return False
        row.expires_at = end
        return True

    def keep(self, owner: threading.Thread) -> None:
        """Renew the lease while `owner` lives, until it is given back or lost."""
        while not self._ended.wait(self.seconds / _RENEWALS):
            if not owner.is_alive():
                return
            with suppress(OperationFailed):  # a busy database: the next turn, or the check before the next write
                if not self._database.write(self._renew):
                    return

    def _renew(self, session: Session) -> bool:
        return not self._ended.is_set() and self._set_end(session, _end(self.seconds))


_HELD: dict[tuple[str, str, int], Lease] = {}  # those of this process, which stages find by the batch's id


def hold(database: Database, batch_id: str, seconds: float, *, force: bool) -> Lease:
    """Return this process's lease of a batch, after a check; take it where the process has none, or by `force`."""
    mine = _HELD.get(_key(database, batch_id))
    if mine is not None and not force:
        mine.check()
        return mine

    def work(session: Session) -> int:
        rows.batch_row(session, batch_id)
        return take(session, batch_id, seconds, force=force)

    return register(database, batch_id, database.write(work), seconds)


def give_back(database: Database, batch_id: str) -> None:
    """Release this process's lease of a batch, if it has one."""
    mine = _HELD.get(_key(database, batch_id))
    if mine is not None:
        mine.release()


def take(session: Session, batch_id: str, seconds: float, *, force: bool = False) -> int:
    """Make the calling thread the holder, and return the new token. `force` takes it from a live holder.

    Raises:
        BatchHeld: Another live process or thread has the batch.
    """
    row, me = session.get(tables.Lease, batch_id, with_for_update=True), Holder.current()
    if row is None:
        row = tables.Lease(batch_id=batch_id, token=0)
        session.add(row)
    elif not force:
        _refuse(row, me)
    row.token += 1
    row.holder, row.host, row.pid, row.pid_started = me.mark, me.host, me.pid, me.pid_started
    row.expires_at = _end(seconds)
    session.flush()
    return row.token


def register(database: Database, batch_id: str, token: int, seconds: float) -> Lease:
    """Remember what `take` got, once its transaction stands, and renew it from now on."""
    key = _key(database, batch_id)
    if key in _HELD:
        _HELD[key]._ended.set()
    lease = _HELD[key] = Lease(batch_id, token, seconds, database)
    owner = threading.current_thread()
    threading.Thread(target=lease.keep, args=(owner,), name=f"lease of {batch_id}", daemon=True).start()
    return lease


def guard(session: Session, batch_id: str) -> None:
    """Make sure, in the transaction of a write for the batch, that no other run works on it.

    Raises:
        BatchHeld: This process's lease is not the latest; or it has none, and a live holder has.
    """
    row = session.get(tables.Lease, batch_id, with_for_update=True)
    if row is None:
        return
    mine = _HELD.get((_url(session), batch_id, os.getpid()))
    if mine is None:
        _refuse(row, Holder.current())
    elif mine.token != row.token:
        raise BatchHeld(
            f"batch {batch_id} was taken over by process {row.pid} on {row.host}; this run wrote nothing more: "
            f"leave it to the other, 'revs batches show {batch_id}' shows how far it is"
        )


def holder_of(session: Session, batch_id: str) -> Holder | None:
    """Return who works on a batch, None where nobody does."""
    row = session.get(tables.Lease, batch_id)
    if row is None or not _live(row):
        return None
    return Holder(host=row.host, pid=row.pid, pid_started=row.pid_started, mark=row.holder, until=row.expires_at)


def _refuse(row: tables.Lease, me: Holder) -> None:
    same = (row.host, row.pid, row.holder) == (me.host, me.pid, me.mark)
    if same or not _live(row):
        return
    raise BatchHeld(
        f"batch {row.batch_id} is being worked on by process {row.pid} on {row.host}, whose lease ends at "
        f"{row.expires_at:%H:%M:%S} UTC unless it is renewed; let it finish, or end it and start again"
    )


def _live(row: tables.Lease) -> bool:
    if row.expires_at <= rows.now():
        return False
    numbering, _, thread = row.holder.partition(":")
    if (row.host, numbering) != (platform.node(), _numbering()):
        return True  # its process cannot be seen from here: the time decides
    if row.pid == os.getpid():
        return int(thread) in {each.native_id for each in threading.enumerate()}
    started = _started(row.pid)
    return started is not None and abs(started - row.pid_started) < _CLOCK_SECONDS


def _started(pid: int) -> float | None:
    """Start time of a process, None where there is none; one that only waits to be buried is none."""
    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.Error:
        return None


@cache
def _numbering() -> str:
    """What the numbers of processes belong to: two containers may share a host name, and not their processes."""
    try:
        return str(Path("/proc/self/ns/pid").stat().st_ino)
    except OSError:
        return ""


def _end(seconds: float) -> datetime:
    return rows.now() + timedelta(seconds=seconds)


def _key(database: Database, batch_id: str) -> tuple[str, str, int]:
    return database.url, batch_id, os.getpid()


def _url(session: Session) -> str:
    return str(session.get_bind().engine.url)
