"""However files, corrections, rejections, failures, retries and crashes interleave, nobody's demand is lost.

The latest demand of every person is waiting, processing, with a human, or truthfully closed. No payload goes before
that, and none survives completion.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any, get_args

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from stored_requests import BECAUSE

from infra.keys.vault import Vault
from infra.requests import SETTLED, BatchHeld, IdentifierOutcome, OutcomeKind, RequestStore, RequestView, leases

PEOPLE = 4
KINDS = get_args(OutcomeKind)
people = st.integers(0, PEOPLE - 1)
days = st.integers(0, 400).map(lambda number: date(2026, 1, 1) + timedelta(days=number))
kinds = st.lists(st.sampled_from([*sorted(SETTLED), *sorted(SETTLED), *KINDS, None]), min_size=2, max_size=8)


def identifiers(person: int) -> list[dict[str, str]]:
    """One for half of the people, two for the others."""
    both = [
        {"type": "US_SSN", "value": f"219-41-{person:04d}"},
        {"type": "EMAIL_ADDRESS", "value": f"zz{person}@example.com"},
    ]
    return both[: 1 + person % 2]


class Requests(RuleBasedStateMachine):
    """Everybody who writes to a request store, one after the other, in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="requests-"))
        self.store = self.opened()
        self.latest: dict[int, str] = {}
        self.completed: set[str] = set()

    def teardown(self) -> None:
        self.forget_leases()
        shutil.rmtree(self.folder)

    def opened(self) -> RequestStore:
        return RequestStore(f"sqlite:///{self.folder / 'requests.db'}", Vault(bytes(range(32))))

    def sql(self, statement: str, *values: Any) -> list[Any]:
        connection = sqlite3.connect(self.folder / "requests.db")
        try:
            found = connection.execute(statement, values).fetchall()
            connection.commit()
        finally:
            connection.close()
        return found

    def of(self, *statuses: str) -> list[RequestView]:
        return [view for view in self.store.list() if view.status in statuses]

    def batch(self, status: str) -> str | None:
        return next((batch.id for batch in self.store.batches() if batch.status == status), None)

    # ---- people and the door

    @initialize(first=people, on=days)
    def hand_in_one(self, first: int, on: date) -> None:
        self.hand_in([(first, on, None)])

    @rule(wanted=st.lists(st.tuples(people, days, st.none() | st.integers(0, 60)), min_size=1, max_size=4))
    def hand_in(self, wanted: Sequence[tuple[int, date, int | None]]) -> None:
        """A file; the same person again in it, or later, is a duplicate or a correction."""
        requests = [
            {"subject": f"customer {person}", "received": f"{on}", "identifiers": identifiers(person)}
            | ({} if within is None else {"due": f"{on + timedelta(days=within)}"})
            for person, on, within in wanted
        ]
        path = self.folder / "r.jsonl"
        path.write_text("\n".join(json.dumps(request) for request in requests))
        intake = self.store.add_file(path, model="demo", again=True)
        assert not intake.rejected
        taken = {view.id: view for view in self.store.list()}
        in_order = [id_ for id_ in taken if id_ in {*intake.accepted, *intake.duplicates}]
        digest = {view.digest: person for person, view in self.views_of_latest(taken).items()}
        lines = dict(self.sql("SELECT id, line FROM requests"))
        for id_ in sorted(in_order, key=lambda each: int(lines[each])):
            person = wanted[int(lines[id_]) - 1][0]
            assert digest.get(taken[id_].digest, person) == person
            self.latest[person] = id_

    def views_of_latest(self, taken: dict[str, RequestView]) -> dict[int, RequestView]:
        return {person: taken[id_] for person, id_ in self.latest.items()}

    # ---- runs

    @rule()
    def open_batch(self) -> None:
        waiting, unfinished = self.of("received"), self.batch("open")
        batch = self.store.open_batch(model="demo", corpus="", source="models:/demo/1")
        assert (batch is None) == (not waiting and unfinished is None)
        assert unfinished is None or (batch is not None and batch.id == unfinished)

    @precondition(lambda self: self.of("received", "processing"))
    @rule(which=st.integers(0, 99), status=st.sampled_from(["reject", "fail"]))
    def set_aside(self, which: int, status: str) -> None:
        pending = self.of("received", "processing")
        getattr(self.store, status)(pending[which % len(pending)].id, BECAUSE)

    @precondition(lambda self: self.of("failed"))
    @rule(which=st.integers(0, 99))
    def retry(self, which: int) -> None:
        failed = self.of("failed")
        in_line = self.store.retry(failed[which % len(failed)].id)
        assert self.store.get(in_line).status in ("received", "processing")

    @precondition(lambda self: self.batch("open"))
    @rule(status=st.sampled_from(["completed", "completed", "waiting", "refused", "failed", "abandoned"]), drawn=kinds)
    def close_batch(self, status: Any, drawn: Sequence[OutcomeKind | None]) -> None:
        batch_id = str(self.batch("open"))
        outcomes = [
            IdentifierOutcome(request_id=id_, number=number, type=identifier.type, kind=kind)
            for index, (id_, found) in enumerate(self.store.identifiers(batch_id).items())
            for number, identifier in enumerate(found)
            if (kind := drawn[(2 * index + number) % len(drawn)])
        ]
        self.store.close_batch(batch_id, status=status, outcome={}, outcomes=outcomes)
        assert not [view for view in self.of("processing") if view.batch_id == batch_id]

    @precondition(lambda self: self.batch("waiting"))
    @rule(accepted=st.booleans())
    def decide(self, accepted: bool) -> None:
        batch_id = str(self.batch("waiting"))
        if accepted:
            self.store.accept_batch(batch_id, by="a privacy officer")
        else:
            self.store.close_batch(batch_id, status="abandoned", outcome={})

    # ---- accidents

    @rule()
    def open_the_store_again(self) -> None:
        self.store = self.opened()

    @precondition(lambda self: self.batch("open"))
    @rule()
    def crash(self) -> None:
        """The run dies; this process is another one from now on, and the dead one has what leases it had."""
        self.sql("UPDATE leases SET pid_started = 1, pid = ?", 2**22 + 1)
        self.forget_leases()
        self.store = self.opened()

    def forget_leases(self) -> None:
        url = self.store._database.url
        for key in [key for key in leases._HELD if key[0] == url]:
            leases._HELD.pop(key)._ended.set()

    @precondition(lambda self: self.batch("open"))
    @rule(status=st.sampled_from(["completed", "failed"]))
    def be_taken_for_dead(self, status: Any) -> None:
        """Another run took the batch over; this one wakes up and wants to close it. Then it starts anew."""
        batch_id = str(self.batch("open"))
        self.store.hold(batch_id)
        self.sql(
            "UPDATE leases SET token = token + 1, pid_started = 1, pid = ? WHERE batch_id = ?", 2**22 + 1, batch_id
        )
        before = (self.store.list(), self.store.batches(), self.store.events())
        try:
            self.store.close_batch(batch_id, status=status, outcome={})
        except BatchHeld:
            pass
        else:
            raise AssertionError("a run that had lost its batch closed it")
        assert before == (self.store.list(), self.store.batches(), self.store.events())
        self.open_batch()

    # ---- what holds at every moment

    @invariant()
    def the_latest_demand_of_everybody_is_waiting_in_work_with_a_human_or_truthfully_closed(self) -> None:
        views = {view.id: view for view in self.store.list()}
        for latest in self.latest.values():
            first = self.first_of(views, latest)
            if first.status == "rejected":
                assert first.id == latest, "a duplicate outlives the rejection of its first one"
            assert first.status != "failed" or first.reason
            assert first.status != "processing" or self.store.batch(str(first.batch_id)).status == "open"

    @invariant()
    def completed_is_what_is_settled_and_stays_so(self) -> None:
        completed = {view.id: view for view in self.of("completed")}
        assert self.completed <= completed.keys()
        self.completed = set(completed)
        persons = {view.digest: person for person, view in self.views_of_latest(self.by_id()).items()}
        for view in completed.values():
            found = self.store.outcomes(view.id, view.batch_id)
            assert [each.type for each in found] == [each["type"] for each in identifiers(persons[view.digest])]
            assert {each.kind for each in found} <= SETTLED

    @invariant()
    def no_payload_is_lost_before_completion_and_none_survives_it(self) -> None:
        held = {id_ for (id_,) in self.sql("SELECT request_id FROM payloads")}
        views = self.by_id()
        assert held == {id_ for id_ in views if self.first_of(views, id_).status != "completed"}

    @invariant()
    def one_demand_is_pending_once_and_what_is_in_work_is_in_the_open_batch(self) -> None:
        pending = [view.digest for view in self.of("received", "processing")]
        assert len(pending) == len(set(pending))
        assert {view.batch_id for view in self.of("processing")} <= {self.batch("open")}
        assert {view.batch_id for view in self.of("received")} <= {None}

    def by_id(self) -> dict[str, RequestView]:
        return {view.id: view for view in self.store.list()}

    @staticmethod
    def first_of(views: dict[str, RequestView], id_: str) -> RequestView:
        view = views[id_]
        while view.status == "duplicate":
            view = views[str(view.duplicate_of)]
        return view


TestRequests = Requests.TestCase
TestRequests.settings = settings(
    max_examples=15,
    stateful_step_count=20,
    deadline=None,
    phases=[
        Phase.explicit,
        Phase.reuse,
        Phase.generate,
    ],  # shrinking takes minutes of disk writes
    suppress_health_check=[HealthCheck.too_slow],
)
