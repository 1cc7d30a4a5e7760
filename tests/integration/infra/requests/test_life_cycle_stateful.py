"""The whole life cycle against a model of it, on both databases: whoever decides what, in any order, the two agree.

The model is a dictionary of states and twenty lines of rules, written from docs/requests.md. What it says of states,
duplicates, due dates, payloads and the log has to be what the store says after every step.
"""

from __future__ import annotations

import dataclasses
import itertools
import tempfile
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)  # fmt: skip
from known_requests import BOTH, ENDS, NOWHERE, Known, next_in_line
from sqlalchemy import text
from stored_requests import BECAUSE, KEY, settled

from infra.keys.vault import Vault
from infra.requests import RequestStore, rows
from infra.requests.regimes import regimes
from revs.errors import BadInput

PEOPLE = 2
TODAY = datetime(2026, 11, 10, 12, tzinfo=UTC)
LINE = ("received", "processing", "on_hold")
people, which = st.integers(0, PEOPLE - 1), st.integers(0, 99)
COUNT = itertools.count()
OFTEN = 500  # events up to which the whole log is replayed after every step


class LifeCycle(RuleBasedStateMachine):
    store: ClassVar[RequestStore]

    def __init__(self) -> None:
        super().__init__()
        self.model = f"m{next(COUNT)}"  # each run has requests of its own in the one store
        self.known: dict[str, Known] = {}
        self.order: list[str] = []
        self.batch: str | None = None
        self.waiting: dict[str, list[str]] = {}
        self.files: dict[str, list[str]] = {}

    def teardown(self) -> None:
        assert self.store.log_problems() == []
        if self.batch is not None:
            self.store.close_batch(self.batch, status="abandoned", outcome={})
            self.store.release(self.batch)

    # ---- the model

    def of(self, *states: str) -> list[str]:
        return [id_ for id_ in self.order if self.known[id_].state in states]

    def in_line(self, person: int, asks: tuple[str, ...]) -> str | None:
        same = (id_ for id_ in self.of(*LINE) if (self.known[id_].person, self.known[id_].asks) == (person, asks))
        return next(same, None)

    def fold(self, id_: str, first: str) -> None:
        mine, theirs = self.known[id_], self.known[first]
        for other in self.known.values():
            if other.first == id_:
                other.first = first
        mine.state, mine.first = "duplicate", first
        theirs.received = min(theirs.received, mine.received)
        theirs.due = min(theirs.due, self.noticed(mine) if theirs.extended else mine.due)

    @staticmethod
    def noticed(other: Known) -> date:
        """An extension was told on `TODAY`; it covers a duplicate that had come in and whose month still ran."""
        ends = min(other.due, regimes()["gdpr"].due_date(other.received))
        if not other.received <= TODAY.date() <= ends:
            return other.due
        return max(other.due, regimes()["gdpr"].extension.after(ends))  # type: ignore[union-attr]  # the GDPR has one

    def revive(self, gone: str, *, held: bool = False) -> None:
        waiting = [id_ for id_ in self.order if self.known[id_].first == gone]
        if not waiting:
            return
        newer = self.in_line(self.known[waiting[0]].person, self.known[waiting[0]].asks)
        if newer is not None:
            for each in waiting:
                self.fold(each, newer)
            return
        *others, latest = waiting
        for other in others:
            self.known[other].first = latest
            if self.known[other].due < self.known[latest].due:
                self.known[latest].due = max(self.known[other].due, self.known[latest].received)
        self.known[latest].state, self.known[latest].first = "on_hold" if held else "received", None

    def destroy(self, id_: str) -> None:
        for each, one in self.known.items():
            if each == id_ or one.first == id_:
                one.payload = False

    # ---- the door

    @initialize(days=st.lists(st.integers(0, 40), min_size=4, max_size=4))
    def hand_in_some(self, days: list[int]) -> None:
        """What comes later has something to meet."""
        for number, day in enumerate(days):
            self.hand_in(number % PEOPLE, number != 3, day)

    @rule(person=people, verified=st.integers(0, 3).map(bool), day=st.integers(0, 40))
    def hand_in(self, person: int, verified: bool, day: int) -> None:
        received = date(2026, 9, 28) + timedelta(days=day)
        demand = {
            "subject": f"customer {person}",
            "received": f"{received}",
            "identifiers": [
                {"type": "US_SSN", "value": f"219-41-{person:04d}"},
                {"type": "EMAIL_ADDRESS", "value": f"zz{person}@example.com"},
            ],
        }
        name = f"{self.model}-{len(self.files)}"
        take = lambda: self.store.add(demand, model=self.model, generation=name, verified=verified, by="door")  # noqa: E731  twice the same
        intake = take()
        (id_,) = (*intake.accepted, *intake.duplicates)
        assert take() == intake, "the same submission again adds nothing"
        one = Known(person, "received" if verified else "unverified", received, regimes()["gdpr"].due_date(received))
        one.by = "door"
        first = self.in_line(person, BOTH) if verified else None
        self.known[id_] = one
        self.order.append(id_)
        self.files[name] = [id_]
        if first is not None:
            self.fold(id_, first)

    # ---- people decide

    def decide(self, id_: str, call: Callable[[], object], allowed: bool) -> bool:
        """Take a decision; one that the model does not allow is refused, and changes nothing."""
        if allowed:
            call()
            return True
        before = self.store.log_head()
        with pytest.raises(BadInput, match=id_):
            call()
        assert self.store.log_head() == before
        return False

    def any_of(self, number: int) -> str:
        return self.order[number % len(self.order)]

    @precondition(lambda self: self.order)
    @rule(number=which, how=st.sampled_from(["verify", "retry", "release"]))
    def back_in_line(self, number: int, how: str) -> None:
        id_ = self.any_of(number)
        one = self.known[id_]
        source = {"verify": "unverified", "retry": "failed", "release": "on_hold"}[how]
        method = {"verify": self.store.verify, "retry": self.store.retry, "release": self.store.release_hold}[how]
        call = lambda: method(id_, by="Bo")  # noqa: E731  handed on
        if not self.decide(id_, call, one.state in (source, "received")) or one.state == "received":
            return
        newer = self.in_line(one.person, one.asks) if how != "release" else None
        one.looked_for = one.looked_for and how != "retry"
        if newer is None:
            one.state = "received"
        else:
            self.fold(id_, newer)

    @precondition(lambda self: self.of("unverified"))
    @rule()
    def verify_what_one_submitted(self) -> None:
        id_ = self.of("unverified")[-1]
        self.decide(id_, lambda: self.store.verify(id_, by="door"), False)

    @precondition(lambda self: self.order)
    @rule(number=which)
    def hold(self, number: int) -> None:
        id_ = self.any_of(number)
        one = self.known[id_]
        call = lambda: self.store.put_on_hold(id_, ground="objection", by="Bo")  # noqa: E731  handed on
        if self.decide(id_, call, one.state in ("received", "on_hold")):
            one.state = "on_hold"

    @precondition(lambda self: self.order)
    @rule(number=which)
    def withdraw(self, number: int) -> None:
        id_ = self.any_of(number)
        one = self.known[id_]
        sources = ("unverified", "received", "on_hold", "failed", "duplicate")
        again, held = one.state == "withdrawn", one.state == "on_hold"
        if self.decide(id_, lambda: self.store.withdraw(id_, by="Bo"), one.state in sources or again) and not again:
            one.state, one.first = "withdrawn", None
            self.revive(id_, held=held)
            self.destroy(id_)

    @precondition(lambda self: self.order)
    @rule(number=which)
    def refuse(self, number: int) -> None:
        id_ = self.any_of(number)
        one = self.known[id_]
        sources, held = ("unverified", "received", "on_hold", "failed"), one.state == "on_hold"
        again = one.state == "rejected" and one.refused
        call = lambda: self.store.refuse(id_, ground="excessive", by="Bo")  # noqa: E731  handed on
        if self.decide(id_, call, one.state in sources or again) and not again:
            one.state, one.refused = "rejected", True
            self.revive(id_, held=held)

    @precondition(lambda self: self.order)
    @rule(number=which)
    def accept(self, number: int) -> None:
        id_ = self.any_of(number)
        one = self.known[id_]
        again = one.state == "completed"
        allowed = again or (one.state == "failed" and one.looked_for and one.in_effect)
        if self.decide(id_, lambda: self.store.accept(id_, by="Bo"), allowed) and not again:
            one.state = "completed"
            self.destroy(id_)

    @precondition(lambda self: self.order)
    @rule(number=which, identifier=st.sampled_from([0, 1]))
    def narrow(self, number: int, identifier: int) -> None:
        id_ = self.any_of(number)
        one = self.known[id_]
        left, again = (BOTH[1 - identifier],), one.dropped == identifier
        taken = one.state in LINE and self.in_line(one.person, left) is not None
        fits = one.state in ("unverified", "received", "on_hold", "failed") and one.dropped is None
        call = lambda: self.store.narrow(id_, number=identifier, reason="not_theirs", by="Bo")  # noqa: E731  handed on
        if self.decide(id_, call, again or (fits and not taken)) and not again:
            one.asks, one.dropped = left, identifier
            self.revive(id_, held=one.state == "on_hold")

    @precondition(lambda self: self.order)
    @rule(number=which, how=st.sampled_from(["reject", "fail"]))
    def set_aside(self, number: int, how: str) -> None:
        id_ = self.any_of(number)
        one = self.known[id_]
        sources = ("unverified", "received", "processing") if how == "reject" else ("received", "processing")
        target = "rejected" if how == "reject" else "failed"
        again = one.state == target
        call = lambda: getattr(self.store, how)(id_, BECAUSE)  # noqa: E731  handed on
        if self.decide(id_, call, one.state in sources or again) and not again:
            one.state = target
            if how == "reject":
                self.revive(id_)

    @precondition(lambda self: self.order)
    @rule(number=which)
    def extend(self, number: int) -> None:
        id_ = self.any_of(number)
        one = self.known[id_]
        ends = min(one.due, regimes()["gdpr"].due_date(one.received))
        open_ = one.state in ("unverified", *LINE, "failed")
        call = lambda: self.store.extend(id_, reason="number", by="Bo")  # noqa: E731  handed on
        if self.decide(id_, call, open_ and not one.extended and TODAY.date() <= ends):
            one.due = max(one.due, regimes()["gdpr"].extension.after(ends))  # type: ignore[union-attr]  # it has one
            one.extended = True

    # ---- runs

    @rule()
    def open_batch(self) -> None:
        batch = self.store.open_batch(model=self.model, corpus="", source="")
        waiting = next_in_line(self.order, self.known)
        if self.batch is not None:
            assert batch is not None and batch.id == self.batch
        elif not waiting:
            assert batch is None
        else:
            assert batch is not None and list(batch.request_ids) == waiting
            lot = self.known[waiting[0]].lot
            assert batch.parent == (lot and lot.rpartition(".")[0])
            self.batch = batch.id
            for id_ in waiting:
                self.known[id_].in_its_lot("processing")

    @precondition(lambda self: self.of("received"))
    @rule(some=st.sampled_from([0, 0, 0, 5]))
    def process(self, some: int) -> None:
        self.open_batch()
        self.close_batch("completed", some)

    @precondition(lambda self: self.batch)
    @rule(
        status=st.sampled_from(["completed", "refused", "split", "waiting", "failed", "abandoned"]),
        some=st.sampled_from([0, 0, 1, 2]),
        nowhere=st.booleans(),
    )
    def close_batch(self, status: Any, some: int, nowhere: bool = False) -> None:
        batch_id, self.batch = str(self.batch), None
        taken = self.of("processing")
        outcomes = settled(self.store, batch_id)
        requests = dict.fromkeys(each.request_id for each in outcomes)
        done = {id_ for number, id_ in enumerate(requests) if not some >> number & 1}
        again = [[id_] for id_ in taken] if status == "split" and len(taken) > 1 else []
        status = "refused" if status == "split" and not again else status
        for _ in range(2):  # the second time changes nothing
            missing = [dataclasses.replace(each, kind="not_found", detail=NOWHERE) for each in outcomes if nowhere]
            kept = [each for each in outcomes if each.request_id in done]
            kept += [each for each in missing if each.request_id not in done]
            self.store.close_batch(batch_id, status=status, outcome={}, outcomes=kept, again=again)
        self.store.release(batch_id)
        for number, id_ in enumerate(taken, start=1):
            if status == "split":
                self.known[id_].state = "received"
                self.known[id_].lot = f"{batch_id}.{number}"
            elif status in ("failed", "abandoned"):
                self.known[id_].in_its_lot("received")
            elif status == "waiting" or id_ not in done:
                self.known[id_].state = "failed"
                self.known[id_].looked_for = id_ in done or nowhere
                self.known[id_].in_effect = status != "waiting"
            else:
                self.known[id_].state = "completed"
                self.destroy(id_)
        if status == "waiting":
            self.waiting[batch_id] = [id_ for id_ in taken if id_ in done]

    @precondition(lambda self: self.waiting)
    @rule(accepted=st.booleans())
    def decide_about_a_batch(self, accepted: bool) -> None:
        batch_id, handed_over = self.waiting.popitem()
        if not accepted:
            self.store.close_batch(batch_id, status="abandoned", outcome={})
            return
        still = {view.id for view in self.store.list(model=self.model) if view.batch_id == batch_id}
        self.store.accept_batch(batch_id, by="a privacy officer")
        for id_ in still & self.known.keys():
            self.known[id_].in_effect = True
        for id_ in handed_over:
            if self.known[id_].state == "failed" and id_ in still:
                self.known[id_].state = "completed"
                self.destroy(id_)

    # ---- what holds at every moment

    @invariant()
    def the_store_says_what_the_model_says(self) -> None:
        views = {view.id: view for view in self.store.list(model=self.model)}
        said = {
            i: (v.status, v.duplicate_of, v.lot, v.received, v.due, v.extended_at is not None) for i, v in views.items()
        }
        assert said == {i: (o.state, o.first, o.lot, o.received, o.due, o.extended) for i, o in self.known.items()}

    @invariant()
    def the_tables_say_what_the_log_says(self) -> None:
        """After every step as long as the log is short, of the longer one more rarely; and at the end of each run."""
        if next(COUNT) % (1 + self.store.log_head().count // OFTEN) == 0:
            assert self.store.log_problems() == []

    @invariant()
    def payloads_are_there_as_long_as_they_are_owed(self) -> None:
        ids = set(self.order)
        query = text("SELECT request_id FROM payloads")
        held = set(self.store._database.read(lambda session: session.scalars(query).all()))
        assert held & ids == {id_ for id_ in ids if self.known[id_].payload}
        for one in self.known.values():
            if one.state not in ("completed", "withdrawn", "duplicate"):
                assert one.payload

    @invariant()
    def nobody_ends_twice(self) -> None:
        for id_ in self.order:
            ends = [e.event for e in self.store.events(request_id=id_) if e.event in ENDS]
            assert len(ends) == (self.known[id_].state in ("completed", "withdrawn", "rejected"))


@pytest.mark.parametrize(
    ("examples", "steps"), [(10, 20), pytest.param(100, 40, marks=pytest.mark.long)], ids=["short", "long"]
)
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_whatever_is_decided_in_whatever_order_the_store_does_what_the_model_says(
    kind: str, examples: int, steps: int, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(prefix="life-") as folder:
        url = f"sqlite:///{Path(folder) / 'requests.db'}"
        url = url if kind == "sqlite" else str(request.getfixturevalue("new_postgres")())
        monkeypatch.setattr(rows, "now", lambda: TODAY + timedelta(microseconds=next(COUNT)))
        monkeypatch.setattr(LifeCycle, "store", RequestStore(url, Vault(KEY)), raising=False)
        run_state_machine_as_test(
            LifeCycle,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                derandomize=True,  # the same examples every time
                database=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            ),
        )
        LifeCycle.store.close()
