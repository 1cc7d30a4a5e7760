"""A life of a request store in which every step of `lifecycle.STEPS` is taken, and that may end at any commit.

`live` takes only the steps that the audit log does not show yet: a process that was killed is followed by another that
calls it again, as it stands. `live_until` is that process: it kills itself at the commit that it is told to.
"""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from stored_requests import BECAUSE, KEY, line, settled

from infra.keys.vault import Sealed, Vault
from infra.requests import RequestStore, lifecycle

MODEL, OTHER = "demo", "other"
ENDS = {
    "plain": "completed",
    "unverified": "completed",
    "doubtful": "withdrawn",
    "held": "completed",
    "retried": "completed",
    "withdrawn": "withdrawn",
    "set aside": "rejected",
    "its duplicate": "completed",
    "folded": "duplicate",
    "newer": "completed",
    "narrowed": "completed",
    "nowhere": "completed",
    "refused": "rejected",
    "waiting": "completed",
}
"""How each request of the life ends, by its name."""

PERSON = {name: number for number, name in enumerate(ENDS, start=1)} | {"its duplicate": 7, "newer": 9}
_ENDED = {"request.completed", "request.accepted", "request.withdrawn", "request.rejected", "request.refused"}
_NOWHERE = {"without_corpus": {"openings": 1, "verdict": "not memorised"}}


class Diary(Vault):
    """A vault that writes down what it sealed, so that somebody can look for it later."""

    __slots__ = ("_path",)

    def __init__(self, path: Path) -> None:
        super().__init__(KEY)
        self._path = path

    def seal(self, plaintext: bytes, *, of: str) -> Sealed:
        found = super().seal(plaintext, of=of)
        with self._path.open("ab") as file:
            file.write(f"{found.wrapped_key.hex()} {found.ciphertext.hex()}\n".encode())
        return found


def opened(url: str, diary: Path | None = None) -> RequestStore:
    return RequestStore(url, Vault(KEY) if diary is None else Diary(diary))


class Life:
    """The steps of the life, each by the store's public methods; those that the log shows are passed over."""

    def __init__(self, store: RequestStore) -> None:
        self.store = store
        self.ids: dict[str, str] = {}

    def live(self) -> None:
        self._hand_in()
        self._decide()
        self._first_batch_fails()
        self._second_batch_is_split_and_its_lots_complete()
        self._a_batch_waits_for_a_human()

    def _hand_in(self) -> None:
        for name in ("plain", "unverified", "doubtful", "held", "retried", "withdrawn", "set aside", "its duplicate"):
            self._add(name)
        self._add("folded")
        self._once("folded", "fail", lambda store, id_: store.fail(id_, BECAUSE))
        for name in ("newer", "narrowed", "nowhere", "refused"):
            self._add(name)
        self._add("waiting", OTHER)

    def _decide(self) -> None:
        self._once("unverified", "verify", lambda store, id_: store.verify(id_, by="Bo"))
        self._once("doubtful", "withdraw", lambda store, id_: store.withdraw(id_, by="Ana"))
        self._once("held", "hold", lambda store, id_: store.put_on_hold(id_, ground="objection", by="Ana"))
        self._once("held", "release", lambda store, id_: store.release_hold(id_, by="Ana"))
        self._once("retried", "fail", lambda store, id_: store.fail(id_, BECAUSE))
        self._once("retried", "retry", lambda store, id_: store.retry(id_, by="Ana"))
        self._once("withdrawn", "withdraw", lambda store, id_: store.withdraw(id_, by="Ana"))
        self._once("set aside", "reject", lambda store, id_: store.reject(id_, BECAUSE))
        self._once("folded", "fold", lambda store, id_: store.retry(id_, by="Ana"))
        self._once("refused", "refuse", lambda store, id_: store.refuse(id_, ground="excessive", by="Ana"))
        if not self.store.get(self.ids["narrowed"]).dropped:
            self.store.narrow(self.ids["narrowed"], number=1, reason="not_theirs", by="Ana")

    def _first_batch_fails(self) -> None:
        if not self._batches(MODEL, "failed", "completed"):
            self.store.close_batch(self._open(MODEL), status="failed", outcome={})

    def _second_batch_is_split_and_its_lots_complete(self) -> None:
        if not self._batches(MODEL, "split"):
            batch_id = self._open(MODEL)
            ids = [*self.store.identifiers(batch_id)]
            self.store.close_batch(batch_id, status="split", outcome={}, again=(ids[:2], ids[2:]))
        while self._batches(MODEL, "open") or self.store.parent_of_next(MODEL):
            batch_id, nowhere = self._open(MODEL), self.ids["nowhere"]
            outcomes = [
                replace(each, kind="not_found", detail=_NOWHERE) if each.request_id == nowhere else each
                for each in settled(self.store, batch_id)
            ]
            self.store.close_batch(batch_id, status="completed", outcome={}, outcomes=outcomes)
        self._once("nowhere", "accept", lambda store, id_: store.accept(id_, by="Ana"))

    def _a_batch_waits_for_a_human(self) -> None:
        if not self._batches(OTHER, "waiting", "completed"):
            batch_id = self._open(OTHER)
            self.store.close_batch(batch_id, status="waiting", outcome={}, outcomes=settled(self.store, batch_id))
        for batch_id in self._batches(OTHER, "waiting"):
            self.store.accept_batch(batch_id, by="a privacy officer")

    def _add(self, name: str, model: str = MODEL) -> None:
        verified = name not in ("unverified", "doubtful")
        intake = self.store.add(
            json.loads(line(PERSON[name])), model=model, generation=name, verified=verified, by="the door"
        )
        # The same submission again gives what became of it: that is how a caller who was not answered finds out.
        (self.ids[name],) = (*intake.accepted, *intake.duplicates, *(id_ for id_, _ in intake.rejected))

    def _once(self, name: str, step: lifecycle.StepName, decide: Callable[[RequestStore, str], object]) -> None:
        said = {event.event for event in self.store.events(request_id=self.ids[name])}
        if lifecycle.STEPS[step].event not in said:
            decide(self.store, self.ids[name])

    def _batches(self, model: str, *statuses: str) -> list[str]:
        return [batch.id for batch in self.store.batches(model) if batch.status in statuses]

    def _open(self, model: str) -> str:
        batch = self.store.open_batch(model=model, corpus="", source=f"models:/{model}/1")
        assert batch is not None
        return batch.id


def wrong(store: RequestStore, ids: dict[str, str]) -> Iterator[str]:
    """What is not as it should be once the life is lived."""
    views = {view.id: view for view in store.list()}
    for name, end in ENDS.items():
        view = views.pop(ids[name])
        if view.status != end:
            yield f"{name} is {view.status}, not {end}"
        said = Counter(event.event for event in store.events(request_id=view.id))
        ends = sum(said[event] for event in _ENDED)
        if ends != (end != "duplicate"):
            yield f"{name} ended {ends} times"
    yield from (f"{view.id} is one that nobody handed in" for view in views.values())
    said = Counter(e.batch_id or e.request_id for e in store.events() if e.event == "payloads.destroyed")
    owed = {ids[name] for name, end in ENDS.items() if end == "withdrawn" or name == "nowhere"}
    if said != Counter({*owed, *(batch.id for batch in store.batches() if batch.status == "completed")}):
        yield f"payloads were said to be destroyed for {said}"
    taken = {event.event for event in store.events()}
    if [event.event for event in store.events(request_id=ids["narrowed"])].count("identifier.destroyed") != 1:
        yield "what was dropped was not said to be destroyed once"
    yield from (f"nobody was ever {step}" for step, found in lifecycle.STEPS.items() if found.event not in taken)
    yield from store.log_problems()


def live_until(url: str, diary: Path, point: int) -> None:
    """Live in this process; SIGKILL it at this point: an even number is before a commit, an odd one behind it."""
    Points(point)
    Life(opened(url, diary)).live()


def live_to_the_end(url: str, diary: Path, answers: Path) -> None:
    """Live what is left, and write down what is wrong then."""
    store = opened(url, diary)
    life = Life(store)
    life.live()
    answers.write_text(json.dumps([*wrong(store, life.ids)]))
    store.close()


def count_points(url: str, diary: Path, answers: Path) -> None:
    """Live without an accident, and write down how many points there are."""
    points = Points(-1)
    Life(opened(url, diary)).live()
    answers.write_text(json.dumps(points.passed))


class Points:
    """Where this process may be killed: before and after each commit of any database, and where `pass_by` is called."""

    def __init__(self, last: int) -> None:
        """At the point numbered `last`, from 0, it kills itself."""
        from sqlalchemy import Engine, event
        from sqlalchemy.orm import Session

        from infra.requests.database import Database

        self.passed, self.last = 0, last
        event.listen(Engine, "commit", self.pass_by)  # all was sent; the next thing is COMMIT
        event.listen(Session, "after_commit", self.pass_by)
        Database.vacuum = self.around(Database.vacuum)  # type: ignore[method-assign]  # of this process, which is to die

    def pass_by(self, *_: Any) -> None:
        if self.passed == self.last:
            os.kill(os.getpid(), signal.SIGKILL)
        self.passed += 1

    def around(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """The function, with a point before and one after it."""

        def between_points(*arguments: Any, **named: Any) -> Any:
            self.pass_by()
            done = work(*arguments, **named)
            self.pass_by()
            return done

        return between_points
