"""The audit log as a chain: what was changed, moved, put in or taken out afterwards is found.

Each event carries HMAC-SHA256(key of events, MAC of the event before ‖ canonical JSON of this one). Who can write to
the database but has not the deployment key can make no event that fits. The number and MAC of the last event stand in
`meta`; who cuts the end off and puts an earlier pair there is found by a copy of a later pair elsewhere (`heads`).

Events from before there was a chain are one link of it: their MAC is over all of them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select, text, update
from sqlalchemy.orm import Session

from infra.requests import facts, tables
from revs.errors import OperationFailed

Sign = Callable[[bytes], str]
"""HMAC under the key of events, as 64 hex digits."""

Macs = Callable[[bytes], Sequence[str]]
"""The same under the key in use, and under each earlier one."""

HEAD, GENESIS = "events_head", "events_genesis"
KEYS_ROTATED = "keys.rotated"
"""The event that is the first under another deployment key."""

_ROWS = 1000  # read at once
_META, _EVENTS = (tables.Base.metadata.tables[name] for name in ("meta", "events"))
_WHAT_FOLLOWS = (
    select(_META.c.name, _META.c.value)
    .where(_META.c.name.in_(["key_check", HEAD]))
    .order_by(_META.c.name)  # two transactions lock them in the same order
    .with_for_update()
)
_COLUMNS = tuple(tables.Event.__table__.columns.keys())
_END = re.compile(r"([0-9]{1,18}):([0-9a-f]{64})")
_TRIGGERS = {
    "sqlite": {
        f"events_no_{change.lower()}": f"CREATE TRIGGER events_no_{change.lower()} BEFORE {change} ON events BEGIN "
        "SELECT RAISE(ABORT, 'the audit log is append-only'); END"
        for change in ("UPDATE", "DELETE")
    },
    # BEFORE, for each statement, UPDATE, DELETE and TRUNCATE (2 + 16 + 8 + 32), under no condition, of every column
    "postgresql": {
        "events_append_only": "58 plpgsql BEGIN RAISE EXCEPTION 'the audit log is append-only'; END",
    },
}
"""The triggers that refuse changes of the log, and what they have to be, as `_TRIGGERS_THERE` gives it."""

_TRIGGERS_THERE = {
    "sqlite": "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'events'",
    "postgresql": "SELECT tgname, concat_ws(' ', tgtype, lanname, prosrc, tgqual, nullif(tgattr::text, '')) "
    "FROM pg_trigger JOIN pg_proc ON pg_proc.oid = tgfoid JOIN pg_language ON pg_language.oid = prolang "
    "WHERE tgrelid = 'events'::regclass AND tgenabled IN ('O', 'A')",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The end of the chain at one time: how many events there were, and the MAC of the last.

    Attributes:
        count: The id of the last event.
        mac: Its MAC.
        size: How many events there are: fewer than `count` where ids were left out before there was a chain.
        root: The Merkle root over all of them (`published`); None, as the size, where it was not asked for.
        timestamp: What a third party said of the root, and when (`timestamps`); None where none did.
    """

    count: int
    mac: str
    size: int | None = None
    root: str | None = None
    timestamp: bytes | None = None

    @classmethod
    def parse(cls, value: str) -> Head:
        """Read what `str` gives back; ValueError where it is something else."""
        found = _END.fullmatch(value)
        if found is None:
            raise ValueError("no end of a log")
        return cls(count=int(found[1]), mac=found[2])

    def __str__(self) -> str:
        return f"{self.count}:{self.mac}"


def begin(session: Session, sign: Sign) -> None:
    """Begin the chain after the events that are there already: once, in a store that never had one."""
    latest = session.scalar(select(tables.Event.id).order_by(tables.Event.id.desc()).limit(1)) or 0
    (mac,) = _of_all(session, lambda data: [sign(data)], latest)
    start = Head(count=latest, mac=mac)
    session.add_all(tables.Meta(name=name, value=str(start)) for name in (GENESIS, HEAD))


def link(session: Session, sign: Sign, key_check: str) -> None:
    """Append what a transaction logged (`rows.log`) to the chain.

    As the last thing before it is committed: from here to the end other writers wait for the end of the chain.

    Raises:
        OperationFailed: The deployment key in use is not the store's any more, or not yet: `rotation`.
    """
    logged: list[tables.Event] = session.info.pop("logged", [])
    if not logged:
        return
    session.flush()
    stored = dict(session.execute(_WHAT_FOLLOWS).tuples().all())
    if stored["key_check"] != key_check:
        raise OperationFailed(
            "the deployment key was changed, and what is stored is under another one than this process uses; nothing "
            "was stored: run 'revs keys rotate', then start again what was running"
        )
    head = _parsed(stored[HEAD])
    lines = []
    for event in logged:
        event.id = head.count + 1
        event.mac = sign(head.mac.encode() + _canonical(event))
        head = Head(count=event.id, mac=event.mac)
        lines.append({name: getattr(event, name) for name in _COLUMNS})
    session.execute(insert(_EVENTS), lines)  # not as objects: while this lasts all others wait
    session.execute(update(_META).where(_META.c.name == HEAD), {"value": str(head)})


def head_of(session: Session) -> Head | None:
    """Return the end of the chain; None where nothing was logged yet."""
    row = session.get(tables.Meta, HEAD)
    return None if row is None else _parsed(row.value)


def _parsed(value: object) -> Head:
    try:
        return Head.parse(str(value))
    except ValueError:
        raise OperationFailed(
            "where the audit log ends cannot be read, the request store is damaged: restore it from a backup"
        ) from None


def was_in_use(session: Session, sign: Sign) -> bool:
    """Whether a key signed the beginning of the chain, or came into use at one of its rotations."""
    genesis = _stored(session, GENESIS)
    if genesis is None:
        return False
    if _of_all(session, lambda data: [sign(data)], genesis.count) == [genesis.mac]:
        return True
    for event in session.scalars(select(tables.Event).where(tables.Event.event == KEYS_ROTATED)).all():
        before = session.get(tables.Event, event.id - 1)
        mac = genesis.mac if before is None or event.id == genesis.count + 1 else str(before.mac)
        if event.mac == sign(mac.encode() + _canonical(event)):
            return True
    return False


def problems(session: Session, macs: Macs, heads: Iterable[Head] = (), *, in_use: bool = True) -> Iterator[str]:
    """Say what is wrong with the audit log, one after the other; nothing where all of it is as it was written.

    Args:
        session: A transaction that reads.
        macs: Of every deployment key that there was. One that came into use is not followed by an earlier one.
        heads: Ends of the chain that were kept elsewhere.
        in_use: Whether what is stored is under the first key already: then the last event is.
    """
    yield from _missing_triggers(session)
    head, genesis = _stored(session, HEAD), _stored(session, GENESIS)
    if head is None or genesis is None:
        yield "where the log begins and ends is no longer on record"
        return
    kept: dict[int, set[str]] = defaultdict(set)
    for each in heads:
        kept[each.count].add(each.mac)
    yield from _contradictions(kept, genesis)
    if genesis.mac not in _of_all(session, macs, genesis.count):
        yield f"of the {genesis.count} events from before there was a chain some were changed, added or removed"
    yield from _followed(session, macs, genesis, head, kept, in_use=in_use)


def _contradictions(kept: Mapping[int, Set[str]], genesis: Head) -> Iterator[str]:
    """What ends that were noted elsewhere say against one another, and against the beginning of the chain."""
    for count in sorted(kept):
        if len(kept[count]) > 1:
            yield f"two ends were noted elsewhere after event {count}: between them its end was cut off or changed"
        if count < genesis.count or (count == genesis.count and genesis.mac not in kept[count]):
            yield f"an end was noted elsewhere after event {count}, which the chain does not hold: it was begun anew"


def _followed(
    session: Session, macs: Macs, genesis: Head, head: Head, kept: dict[int, set[str]], *, in_use: bool
) -> Iterator[str]:
    """What is wrong from the beginning of the chain to its end."""
    previous, key = genesis, len(macs(b"")) - 1  # the earliest key is the last
    for event in _events(session, after=genesis.count):
        fitting = macs(previous.mac.encode() + _canonical(event))[: key + 1]
        if event.id != previous.count + 1:
            yield f"events {previous.count + 1} to {event.id - 1} are missing"
        elif event.mac not in fitting:
            yield f"event {event.id} was changed, moved or put in afterwards"
        else:
            key = fitting.index(event.mac)
        if event.mac not in kept.pop(event.id, {event.mac}):
            yield f"event {event.id} is another one than when the end of the log was noted elsewhere"
        previous = Head(count=event.id, mac=str(event.mac or ""))  # bytes, where the file is damaged
    if previous != head:
        yield f"the log ends at event {previous.count}, and should at {head.count}: its end was cut off or changed"
    if in_use and key and previous != genesis:
        yield "its last events are under an earlier deployment key than the one in use"
    for count in sorted(count for count in kept if count > previous.count):
        yield f"the log had {count} events when its end was noted elsewhere: its end was cut off"


def _stored(session: Session, name: str) -> Head | None:
    """Return an end of the chain that is on record; None where there is none that can be read."""
    row = session.get(tables.Meta, name)
    with suppress(OperationFailed):
        return None if row is None else _parsed(row.value)
    return None


def _of_all(session: Session, macs: Macs, count: int) -> Sequence[str]:
    """The MAC over the events from before there was a chain, under each key."""
    found = macs(b"")
    for event in _events(session, upto=count):
        line = _canonical(event)
        found = [macs(before.encode() + line)[key] for key, before in enumerate(found)]
    return found


def _events(session: Session, *, after: int = 0, upto: int | None = None) -> Iterator[tables.Event]:
    query = select(tables.Event).where(tables.Event.id > after).order_by(tables.Event.id)
    if upto is not None:
        query = query.where(tables.Event.id <= upto)
    yield from session.scalars(query.execution_options(yield_per=_ROWS))


def said_by(event: Any) -> dict[str, Any]:
    """Return what an event says, as JSON holds it; its MAC is not among it."""
    return {
        "id": event.id,
        "at": event.at and event.at.isoformat(timespec="microseconds"),  # there is none in a damaged row
        "event": event.event,
        "batch_id": event.batch_id,
        "request_id": event.request_id,
        "detail": facts.as_kept(event.detail),
    }


def _canonical(event: tables.Event) -> bytes:
    return facts.canonical(said_by(event))


def _missing_triggers(session: Session) -> Iterator[str]:
    dialect = session.connection().dialect.name
    there = {name: " ".join(str(said).split()) for name, said in session.execute(text(_TRIGGERS_THERE[dialect]))}
    for name, said in _TRIGGERS[dialect].items():
        if name not in there:
            yield f"the trigger {name}, which refuses changes of the log, is gone"
        elif there[name] != said:
            yield f"the trigger {name}, which refuses changes of the log, is another one than the program made"
