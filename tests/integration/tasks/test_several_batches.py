"""A run of several batches: which come after which, where that ends, and what the run says of them.

The stages of a batch are left out: in their place a batch is closed as if every edit that one of some requests, the
breaking ones, is in were refused. tests/acceptance/test_halving.py has the stages.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from registered import REQUEST, Installation
from stored_requests import BECAUSE

import flows.process
from infra.requests import BatchHeld, IdentifierOutcome
from infra.requests.records import ClosingStatus, OutcomeKind
from revs.errors import BadInput, GateRefused
from tasks.batch.endings import ended
from tasks.batch.results import Closed, Ended, Verdict

Run = Callable[..., Any]
flows_process_batch = flows.process.process_batch  # before it is patched


class Planned:
    """Closes batches in place of the stages; `breaking` are the requests that no edit passes with."""

    def __init__(self, here: Installation) -> None:
        self.here = here
        self.breaking: set[str] = set()
        self.names: list[tuple[str, ...]] = []

    def hand_in(self, count: int) -> list[str]:
        first = len(self.here.store.list())
        return [
            self.here.store.add(REQUEST | {"subject": f"{number}", "due": f"2999-01-{1 + number:02d}"}, model="demo")
            .accepted[0]
            for number in range(first, first + count)
        ]  # fmt: skip

    def __call__(self, batch_id: str) -> Ended:
        store, bound = self.here.store, flows.process.load_settings().batch_halving
        ids = [*store.identifiers(batch_id)]
        status: ClosingStatus = "completed"
        if self.breaking & {*ids}:
            status = "split" if len(ids) > 1 and store.splits(batch_id) < bound else "refused"
        middle = (len(ids) + 1) // 2
        kind: OutcomeKind = "edited" if status == "completed" else "memorised"
        store.close_batch(
            batch_id,
            status=status,
            outcome={},
            outcomes=[IdentifierOutcome(request_id=id_, number=0, type="EMAIL_ADDRESS", kind=kind) for id_ in ids],
            again=[ids[:middle], ids[middle:]] if status == "split" else [],
        )
        closed = Closed(
            batch_id=batch_id,
            status=status,
            completed=len(ids) if status == "completed" else 0,
            handed_on=len(ids) if status == "refused" else 0,
            tried_again=len(ids) if status == "split" else 0,
            parent=store.batch(batch_id).parent,
        )
        verdict = Verdict(attempt=0, passed=status == "completed", failed_gates=("efficacy",))
        return ended(closed, verdict, f"{batch_id}.html")

    def with_a_human(self) -> set[str]:
        return {view.id for view in self.here.store.list(status="failed")}


@pytest.fixture
def planned(here: Installation, monkeypatch: pytest.MonkeyPatch) -> Planned:
    found = Planned(here)
    monkeypatch.setattr(flows.process, "process_batch", found)
    monkeypatch.setattr(flows.process, "open_batch", flows.process.open_batch.fn)
    monkeypatch.setattr(flows.process, "name_run", lambda *words: found.names.append(words))
    return found


@pytest.fixture
def run(planned: Planned) -> Run:
    return lambda: flows.process.process_deletion_requests.fn("demo")


@pytest.mark.parametrize(
    ("count", "breaking", "batches"),
    [
        pytest.param(1, [0], 1, id="a single one goes to a human"),
        pytest.param(2, [1], 3, id="one of two"),
        pytest.param(16, [0], 9, id="the first due of sixteen"),
        pytest.param(16, [15], 9, id="the last due"),
        pytest.param(13, [7], 9, id="one in the middle of thirteen"),
        pytest.param(8, [1, 6], 11, id="one in each half"),
        pytest.param(8, [2, 3], 7, id="two side by side"),
        pytest.param(5, [0, 1, 2, 3, 4], 9, id="each of five: two for each split, and the first"),
    ],
)
def test_whichever_requests_break_the_gates_they_alone_go_to_a_human(
    planned: Planned, run: Run, count: int, breaking: list[int], batches: int
) -> None:
    ids = planned.hand_in(count)
    planned.breaking = {ids[number] for number in breaking}
    with pytest.raises(GateRefused):
        run()
    store = planned.here.store
    assert planned.with_a_human() == planned.breaking
    assert {view.id for view in store.list(status="completed")} == {*ids} - planned.breaking
    assert len(store.batches()) == batches
    assert run() is None, "the schedule does not try them for ever"


def test_where_each_request_breaks_the_gates_a_run_ends_at_the_bound(planned: Planned, run: Run) -> None:
    """Two batches for each of ten splits, and the first: of thirty requests without a bound it would be 59."""
    planned.breaking = {*planned.hand_in(30)}
    with pytest.raises(GateRefused):
        run()
    batches = planned.here.store.batches()
    assert [batch.status for batch in batches].count("split") == 10 and len(batches) == 21
    assert planned.with_a_human() == planned.breaking
    sizes = [len(batch.request_ids) for batch in batches if batch.status == "refused"]
    assert max(sizes) <= 4, "the largest are split first, so that no half is left whole"


def test_without_halving_all_go_to_a_human(planned: Planned, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REVS_BATCH_HALVING", "0")
    ids = planned.hand_in(4)
    planned.breaking = {ids[0]}
    with pytest.raises(GateRefused, match="was refused by efficacy; the champion is untouched and the requests wait"):
        run()
    assert planned.with_a_human() == {*ids} and len(planned.here.store.batches()) == 1


def test_halves_that_pass_alone_are_no_failure(planned: Planned, run: Run) -> None:
    """Nothing but both together breaks the gates."""
    ids = planned.hand_in(2)

    class Together(set[str]):
        def __and__(self, other: Any) -> Any:
            return other if self <= other else set()

    planned.breaking = Together(ids)
    done = run()
    assert (done.status, done.completed, done.handed_on) == ("split", 2, 0)
    assert [batch.status for batch in done.batches] == ["split", "completed", "completed"]
    assert {batch.parent for batch in done.batches[1:]} == {done.batch_id}
    assert planned.names[-1] == ("demo", f"{done.batch_id} and 2 more", *(f"batch:{b.batch_id}" for b in done.batches))


def test_a_run_goes_on_while_a_batch_could_not_take_all_and_leaves_newcomers_to_the_next_where_it_could(
    planned: Planned, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned.hand_in(2)
    process = planned.__call__
    monkeypatch.setattr(flows.process, "process_batch", lambda id_: (planned.hand_in(1), process(id_))[1])
    assert [batch.completed for batch in run().batches] == [2]
    monkeypatch.setattr(flows.process, "process_batch", process)
    planned.hand_in(4)
    monkeypatch.setenv("REVS_BATCH_REQUESTS", "2")
    done = run()
    assert [batch.completed for batch in done.batches] == [2, 2, 1] and done.completed == 5


def test_people_are_told_after_each_batch(planned: Planned, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    store = planned.here.store
    monkeypatch.setattr(flows.process, "notify", lambda _: told.append(len(store.list(status="completed"))))
    monkeypatch.setenv("REVS_BATCH_REQUESTS", "1")
    planned.hand_in(3)
    run()
    assert told == [1, 2, 3]


def test_a_run_leaves_the_next_half_to_another_run_that_was_faster(
    planned: Planned, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = planned.hand_in(2)
    planned.breaking = {ids[1]}
    open_batch, opened = flows.process.open_batch, []

    def held_the_second_time(*arguments: Any) -> Any:
        if opened:
            raise BatchHeld("another run works on it")
        opened.append(open_batch(*arguments))
        return opened[0]

    monkeypatch.setattr(flows.process, "open_batch", held_the_second_time)
    assert [batch.status for batch in run().batches] == ["split"]
    opened.append(None)
    with pytest.raises(BatchHeld):
        run()


@pytest.mark.parametrize("closed", [True, False])
def test_a_batch_of_which_every_request_is_rejected_keeps_the_next_back_only_as_long_as_it_is_open(
    planned: Planned, run: Run, monkeypatch: pytest.MonkeyPatch, closed: bool
) -> None:
    first, second = planned.hand_in(2)
    store = planned.here.store

    def rejected(batch_id: str) -> Any:
        assert store.get(first).status == "processing", "the same batch again, and so on for ever"
        store.reject(first, BECAUSE)
        if closed:
            store.close_batch(batch_id, status="failed", outcome={"reason": "every request was rejected"})
        raise BadInput(f"every request of batch {batch_id} was rejected")

    process = flows_process_batch
    monkeypatch.setattr(flows.process, "find_targets", rejected)
    monkeypatch.setattr(
        flows.process,
        "process_batch",
        lambda id_: process(id_) if first in store.batch(id_).request_ids else planned(id_),
    )
    monkeypatch.setenv("REVS_BATCH_REQUESTS", "1")
    said = "2 batches, 1 request completed, 0 handed to a human: every request of" if closed else "^every request of"
    with pytest.raises(BadInput, match=said):
        run()
    assert store.get(second).status == ("completed" if closed else "received")


def test_of_many_batches_that_need_a_human_some_are_named(planned: Planned, run: Run) -> None:
    planned.breaking = {*planned.hand_in(6)}
    with pytest.raises(GateRefused) as refusal:
        run()
    text = str(refusal.value)
    assert text.startswith("11 batches, 0 requests completed, 6 handed to a human: batch B-") and "\n" not in text
    assert text.count("was refused by efficacy") == 3 and "; and 3 more; 'revs requests list" in text
