"""Whether the tables say what the audit log says: the log is replayed, and compared with the rows as they stand.

Who can write to the database can change a row, and leaves no event. What a request, a batch or a token was when it was
stored stands in its first event (`facts`), and each later event says what changed: so every row can be foretold.

Earlier programs logged less: of what they stored only the states are known, and what was not logged is not compared.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from infra.requests import facts, tables
from infra.requests.lifecycle import CLOSED, IN_ITS_LOT, STEPS, Step

_ROWS = 1000  # read at once
_SHOWN = frozenset({"status", "due", "received", "regime", "role", "duplicate_of", "batch", "revoked"})
"""What a contradiction shows both values of; of the rest it names the field."""

_INTAKE = frozenset({"unverified", "received", "rejected", "duplicate"})
_STEPS: Mapping[str, list[Step]] = {
    step.event: [other for other in STEPS.values() if other.event == step.event] for step in STEPS.values()
}
_TAKEN_UNSEEN = {"received", "processing"}  # of schema 1, which logged no request that a batch took
_IN_THEIR_LOT = frozenset(STEPS[name] for name in IN_ITS_LOT)
_BACK_IN_LINE = frozenset({"received", "duplicate"})


@dataclass(slots=True)
class _Foretold:
    """What the log says of one row: field by field; a field that is missing was never logged."""

    what: str
    id: str
    fields: dict[str, Any] = field(default_factory=dict)
    whole: bool = False
    """Whether it was stored by a program that logs all of it."""

    def __str__(self) -> str:
        return f"{self.what} {self.id}"


class _Replay:
    """The rows that the log foretells, and the contradictions that it holds in itself."""

    def __init__(self) -> None:
        self.requests: dict[str, _Foretold] = {}
        self.batches: dict[str, _Foretold] = {}
        self.tokens: dict[str, _Foretold] = {}
        self.members: dict[str, set[str]] = defaultdict(set)
        self.found: list[str] = []

    def take(self, event: Any) -> None:
        """Take the next event of the log."""
        detail = event.detail if isinstance(event.detail, dict) else {}
        name = str(event.event)  # bytes, where the file is damaged
        if name.startswith("token.") and "token" in detail:
            self._of_token(event, detail)
        elif name.startswith("batch.") and event.batch_id is not None:
            self._of_batch(event, detail)
        elif event.request_id is not None:
            self._of_request(event, detail)
        elif event.batch_id is not None:
            self.batches.setdefault(event.batch_id, _Foretold("batch", event.batch_id))

    def _of_token(self, event: Any, detail: dict[str, Any]) -> None:
        known = self.tokens.setdefault(str(detail["token"]), _Foretold("token", str(detail["token"])))
        if event.event == "token.added":
            known.whole = facts.STORED in detail
            known.fields |= {"name": detail.get("name"), "role": detail.get("role"), "revoked": False}
            known.fields |= _stored(detail) | ({"revoked_at": None} if known.whole else {})
        elif event.event == "token.revoked":
            known.fields["revoked"] = True
            if known.whole:
                known.fields["revoked_at"] = facts.moment(event.at)

    def _of_batch(self, event: Any, detail: dict[str, Any]) -> None:
        known = self.batches.setdefault(event.batch_id, _Foretold("batch", event.batch_id))
        known.fields |= _stored(detail)
        if event.event == "batch.opened":
            known.whole = facts.STORED in detail
            known.fields["status"] = "open"
            if known.whole:
                known.fields |= {"closed_at": None, "outcome": facts.digest({}), "outcomes": facts.of_outcomes([])}
        elif event.event == "batch.closed" and "status" in detail:
            known.fields["status"] = detail["status"]
        elif event.event == "batch.accepted":
            known.fields["status"] = "completed"

    def _of_request(self, event: Any, detail: dict[str, Any]) -> None:
        known = self.requests.get(event.request_id)
        if known is None:
            known = self.requests[event.request_id] = _Foretold("request", event.request_id)
            if str(event.event).removeprefix("request.") in _INTAKE:
                self._taken_in(known, event, detail)
                return
        if event.event in _STEPS:
            self._moved(known, event, detail)
        elif event.event in _CHANGES:
            self._changed(known, event, detail)

    def _taken_in(self, known: _Foretold, event: Any, detail: dict[str, Any]) -> None:
        status = event.event.removeprefix("request.")
        known.whole = facts.STORED in detail
        known.fields["status"] = status
        if known.whole:
            known.fields |= _stored(detail)
            known.fields |= {"reason": detail.get("reason"), "duplicate_of": detail.get("duplicate_of"), "batch": None}
            known.fields |= {"extended_at": None, "acknowledged_at": None, "lot": None}
            known.fields["closed_at"] = known.fields.get("submitted_at") if status in CLOSED else None

    def _moved(self, known: _Foretold, event: Any, detail: dict[str, Any]) -> None:
        before = known.fields.get("status")
        fitting = [step for step in _STEPS[event.event] if before in step.sources]
        step = (fitting or _STEPS[event.event])[0]
        if known.whole and not fitting:
            self.found.append(f"event {event.id} says {event.event} of {known}, which was {before} by then")
        known.fields["status"] = step.target
        if step is STEPS["take"]:
            self.members[event.batch_id].add(event.request_id)
        if not known.whole:
            return
        known.fields["reason"] = detail.get("reason")
        known.fields["closed_at"] = facts.moment(event.at) if step.target in CLOSED else None
        known.fields["duplicate_of"] = detail.get("duplicate_of") if step.target == "duplicate" else None
        if step not in _IN_THEIR_LOT:
            known.fields["lot"] = detail.get("lot")
        if step is STEPS["take"] or step.target in _BACK_IN_LINE:
            known.fields["batch"] = event.batch_id if step is STEPS["take"] else None

    def _changed(self, known: _Foretold, event: Any, detail: dict[str, Any]) -> None:
        if not known.whole:
            return
        now = _CHANGES[event.event](event, detail)
        for name, value in now.items():
            if "from" in detail and name in ("due", "received") and known.fields.get(name) != detail["from"]:
                self.found.append(
                    f"event {event.id} moves {name} of {known} from {detail['from']}, the log said "
                    f"{known.fields.get(name)} before"
                )
            known.fields[name] = value


_CHANGES: Mapping[str, Callable[[Any, dict[str, Any]], dict[str, Any]]] = {
    "request.received_moved_back": lambda _, detail: {"received": detail.get("to")},
    "request.due_moved_forward": lambda _, detail: {"due": detail.get("to")},
    "request.extended": lambda event, detail: {"due": detail.get("to"), "extended_at": facts.moment(event.at)},
    "request.acknowledged": lambda event, _: {"acknowledged_at": facts.moment(event.at)},
    "request.duplicate_moved": lambda _, detail: {"duplicate_of": detail.get("duplicate_of")},
    "request.narrowed": lambda _, detail: _stored(detail),
    "request.renamed": lambda _, detail: _stored(detail),
}
"""Events that change fields of a request and not its state, and what they say these are from then on."""


def problems(session: Session) -> Iterator[str]:
    """Say where the tables are not what the log says, a line each; nothing where they are.

    Args:
        session: A transaction that reads one consistent state.
    """
    replay = _Replay()
    for event in _read(session, tables.Event):
        replay.take(event)
    yield from replay.found
    yield from _compared(
        replay.requests, "request", ((row.id, _request(row)) for row in _read(session, tables.Request))
    )
    yield from _compared(replay.batches, "batch", _batches(session))
    yield from _compared(replay.tokens, "token", ((row.id, _token(row)) for row in _read(session, tables.Token)))
    yield from _members(session, replay)


def _compared(foretold: dict[str, _Foretold], what: str, found: Iterator[tuple[str, dict[str, Any]]]) -> Iterator[str]:
    there = set()
    for id_, now in found:
        there.add(id_)
        known = foretold.get(id_)
        if known is None:
            yield f"{what} {id_} has no event in the log: it was put in behind the program's back"
            continue
        for name, said in known.fields.items():
            if now.get(name, said) != said and (known.whole or {now[name], said} != _TAKEN_UNSEEN):
                shown = f" is {now[name]!r}, and" if name in _SHOWN else ", which is not what"
                told = f" {said!r}" if name in _SHOWN else ""
                yield f"{known}: {name}{shown} the log says{told}"
    yield from (f"{known} is in the log, and its row is gone" for id_, known in foretold.items() if id_ not in there)


def _request(row: Any) -> dict[str, Any]:
    return facts.of_request(row) | {
        "status": row.status,
        "reason": row.reason and row.reason.as_json(),
        "lot": row.lot,
        "duplicate_of": row.duplicate_of,
        "batch": row.batch_id,
        "closed_at": facts.moment(row.closed_at),
        "extended_at": facts.moment(row.extended_at),
        "acknowledged_at": facts.moment(row.acknowledged_at),
    }


def _batches(session: Session) -> Iterator[tuple[str, dict[str, Any]]]:
    outcomes: dict[str, list[Any]] = defaultdict(list)
    for row in _read(session, tables.Outcome):
        outcomes[row.batch_id].append(row)
    for row in _read(session, tables.Batch):
        ended = {"closed_at": facts.moment(row.closed_at), "outcome": facts.digest(row.outcome)}
        yield (
            row.id,
            facts.of_batch(row)
            | ended
            | {
                "status": row.status,
                "outcomes": facts.of_outcomes(outcomes.pop(row.id, [])),
            },
        )


def _token(row: Any) -> dict[str, Any]:
    return facts.of_token(row) | {"revoked": row.revoked_at is not None, "revoked_at": facts.moment(row.revoked_at)}


def _members(session: Session, replay: _Replay) -> Iterator[str]:
    there: dict[str, set[str]] = defaultdict(set)
    for row in _read(session, tables.Member):
        there[row.batch_id].add(row.request_id)
    for id_, known in replay.batches.items():
        if known.whole and there[id_] != replay.members[id_]:
            yield f"{known}: the requests in it are not those that the log says were taken"


def _read(session: Session, table: type[tables.Base]) -> Iterator[Any]:
    """The rows of a table, by its key; not as objects, which would take four times as long."""
    columns = table.__table__.columns
    query = select(*columns).order_by(*table.__table__.primary_key)
    yield from session.execute(query.execution_options(yield_per=_ROWS))


def _stored(detail: dict[str, Any]) -> dict[str, Any]:
    said = detail.get(facts.STORED)
    return dict(said) if isinstance(said, dict) else {}
