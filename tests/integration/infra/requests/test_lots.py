"""Batches that are split: what they complete, which requests wait in which lot, and who takes them out of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from stored_requests import BECAUSE, KEY, line

from infra import notices
from infra.keys.vault import Vault
from infra.requests import Batch, IdentifierOutcome, OutcomeKind, RequestStore
from revs.errors import BadInput


@pytest.fixture
def both(url: str) -> Iterator[RequestStore]:
    """A store in either database."""
    store = RequestStore(url, Vault(KEY))
    yield store
    store.close()


def added(store: RequestStore, *numbers: int, **changes: Any) -> list[str]:
    """Requests of so many people, each due a day after the one before."""
    return [
        store.add(json.loads(line(number, due=f"2026-12-{number:02d}", **changes)), model="demo").accepted[0]
        for number in numbers
    ]


def opened(store: RequestStore, **options: Any) -> Batch:
    batch = store.open_batch(model="demo", corpus="corpus/", source="models:/demo/1", **options)
    assert batch is not None
    return batch


def found(store: RequestStore, batch: Batch, **kinds: OutcomeKind) -> list[IdentifierOutcome]:
    """The outcomes of a batch of which an edit was refused: memorised, unless another kind is named by request."""
    return [
        IdentifierOutcome(
            request_id=id_, number=number, type=each.type, kind=kinds.get(id_.replace("-", "_"), "memorised")
        )
        for id_, identifiers in store.identifiers(batch.id).items()
        for number, each in enumerate(identifiers)
    ]


def split(store: RequestStore, batch: Batch, *again: list[str], **kinds: OutcomeKind) -> None:
    outcomes = found(store, batch, **kinds)
    for _ in range(2):  # the second time changes nothing
        store.close_batch(batch.id, status="split", outcome={"evidence": {}}, outcomes=outcomes, again=again)


def refused(store: RequestStore, batch: Batch) -> None:
    store.close_batch(batch.id, status="refused", outcome={}, outcomes=found(store, batch))


def passed(store: RequestStore, batch: Batch) -> None:
    outcomes = found(store, batch, **{id_.replace("-", "_"): "edited" for id_ in batch.request_ids})
    store.close_batch(batch.id, status="completed", outcome={}, outcomes=outcomes)


def test_a_split_batch_ends_what_does_not_hang_on_the_edit_and_tries_the_others_again(both: RequestStore) -> None:
    first, second, third, settled, nowhere = added(both, 1, 2, 3, 4, 5)
    batch = opened(both)
    kinds: Any = {settled.replace("-", "_"): "not_memorised", nowhere.replace("-", "_"): "not_found"}
    split(both, batch, [first, second], [third], **kinds)
    views = {view.id: view for view in both.list()}
    assert [views[id_].status for id_ in (first, second, third, settled, nowhere)] == [
        "received", "received", "received", "completed", "failed",
    ]  # fmt: skip
    assert [views[id_].lot for id_ in (first, second, third, settled, nowhere)] == [
        f"{batch.id}.1", f"{batch.id}.1", f"{batch.id}.2", None, None,
    ]  # fmt: skip
    assert views[first].batch_id is None and "not found" in str(views[nowhere].reason)
    closed = both.batch(batch.id)
    assert (closed.status, closed.request_ids) == ("split", batch.request_ids)
    assert both.parent_of_next("demo") == closed
    assert {outcome.kind for outcome in both.outcomes(first)} == {"memorised"}, "what was found stays on record"
    assert both.log_problems() == []


def test_people_are_told_of_the_end_of_a_request_and_not_that_it_is_tried_again(both: RequestStore) -> None:
    first, second = added(both, 1, 2)
    batch = opened(both)
    split(both, batch, [first], [second])
    events = both.events(batch_id=batch.id, request_id=first)
    assert [(event.event, event.detail) for event in events] == [
        ("request.processing", {}), ("request.split", {"lot": f"{batch.id}.1"}),
    ]  # fmt: skip
    assert not {event.event for event in both.events(batch_id=batch.id)} & notices.TOLD.keys()


def test_lots_are_taken_one_by_one_the_largest_first_and_newcomers_wait_for_all_of_them(both: RequestStore) -> None:
    ids = added(both, 1, 2, 3, 4, 5)
    (newer,) = added(both, 20, received="2026-10-01")
    both.put_on_hold(newer, ground="identity", by="Bo")
    batch = opened(both)
    both.release_hold(newer, by="Bo")
    split(both, batch, ids[:2], ids[2:])
    larger = opened(both)
    assert (larger.request_ids, larger.parent) == (tuple(ids[2:]), batch.id)
    said = both.events(batch_id=larger.id)[0].detail
    assert (said["requests"], said["parent"], said["lot"]) == (3, batch.id, f"{batch.id}.2")
    split(both, larger, [ids[2], ids[3]], [ids[4]])
    taken = []
    while both.parent_of_next("demo"):
        taken.append(opened(both))
        passed(both, taken[-1])
    assert [each.request_ids for each in taken] == [tuple(ids[:2]), (ids[2], ids[3]), (ids[4],)]
    assert [each.parent for each in taken] == [batch.id, larger.id, larger.id]
    last = opened(both)
    assert (last.request_ids, last.parent) == ((newer,), None)
    assert both.batches("demo") == [both.batch(each.id) for each in (batch, larger, *taken, last)]


DECISIONS: list[tuple[str, Callable[[RequestStore, str], object], str]] = [
    ("hold", lambda store, id_: store.put_on_hold(id_, ground="objection", by="Bo"), "on_hold"),
    ("withdraw", lambda store, id_: store.withdraw(id_, by="Bo"), "withdrawn"),
    ("fail", lambda store, id_: store.fail(id_, BECAUSE), "failed"),
    ("reject", lambda store, id_: store.reject(id_, BECAUSE), "rejected"),
]


@pytest.mark.parametrize(("decide", "status"), [each[1:] for each in DECISIONS], ids=[each[0] for each in DECISIONS])
def test_who_decides_about_a_request_takes_it_out_of_its_lot_for_good(
    both: RequestStore, decide: Callable[[RequestStore, str], object], status: str
) -> None:
    first, second, third = added(both, 1, 2, 3)
    split(both, opened(both), [first, second], [third])
    decide(both, first)
    assert (both.get(first).status, both.get(first).lot) == (status, None)
    back = {"on_hold": both.release_hold, "failed": both.retry}.get(status)
    if back is not None:
        back(first, by="Bo")
        assert (both.get(first).status, both.get(first).lot) == ("received", None)
    assert opened(both).request_ids == (second,), "its lot goes on without it"


def test_a_lot_of_which_nobody_is_left_stands_in_nobodys_way(both: RequestStore) -> None:
    first, second, third = added(both, 1, 2, 3)
    split(both, opened(both), [first], [second, third])
    for each in (second, third):
        both.withdraw(each, by="Bo")
    passed(both, opened(both))
    assert both.parent_of_next("demo") is None
    assert both.open_batch(model="demo", corpus="", source="") is None


@pytest.mark.parametrize("status", ["abandoned", "failed"])
def test_a_batch_of_a_lot_that_was_given_up_leaves_the_lot_as_it_was(both: RequestStore, status: Any) -> None:
    first, second, third = added(both, 1, 2, 3)
    batch = opened(both)
    split(both, batch, [first, second], [third])
    given_up = opened(both)
    both.close_batch(given_up.id, status=status, outcome={})
    again = opened(both)
    assert again.id != given_up.id
    assert (again.request_ids, again.parent) == ((first, second), batch.id)


def test_another_model_is_not_kept_waiting_by_a_lot(both: RequestStore) -> None:
    first, second = added(both, 1, 2)
    split(both, opened(both), [first], [second])
    both.add(json.loads(line(3)), model="other")
    assert both.parent_of_next("other") is None
    batch = both.open_batch(model="other", corpus="", source="")
    assert batch is not None and batch.parent is None


def test_a_batch_takes_no_more_requests_than_it_may_due_first(both: RequestStore) -> None:
    ids = added(both, 3, 1, 2)
    batch = opened(both, at_most=2)
    assert batch.request_ids == (ids[1], ids[2])
    split(both, batch, [ids[1]], [ids[2]])
    assert opened(both, at_most=2).request_ids == (ids[1],), "a lot is not filled up with others"


def test_splits_are_counted_through_all_that_comes_of_one_batch(both: RequestStore) -> None:
    ids = added(both, 1, 2, 3, 4)
    batch = opened(both)
    assert both.splits(batch.id) == 0
    split(both, batch, ids[:2], ids[2:])
    left = opened(both)
    assert (both.splits(batch.id), both.splits(left.id)) == (1, 1)
    split(both, left, ids[:1], ids[1:2])
    right = opened(both)
    assert both.splits(right.id) == 2, "the splits of a sibling count"
    refused(both, right)
    while both.parent_of_next("demo"):
        passed(both, opened(both))
    for each in ids[2:]:
        both.retry(each)
    assert both.splits(opened(both).id) == 0, "what a human put back in line begins anew"
    with pytest.raises(BadInput, match="B-unknown"):
        both.splits("B-unknown")


WRONG: list[tuple[str, Callable[[list[str]], list[list[str]]], str]] = [
    ("split", lambda ids: [], "with 0 lots"),
    ("split", lambda ids: [ids], "with 1 lots"),
    ("split", lambda ids: [ids, []], "with 2 lots"),
    ("split", lambda ids: [ids, ids[:1]], "each request is in one"),
    ("split", lambda ids: [ids, ["R-unknown0"]], "a lot is of request R-unknown0, which batch B-"),
    ("refused", lambda ids: [ids[:1], ids[1:]], "cannot end as refused with 2 lots"),
    ("abandoned", lambda ids: [ids[:1], ids[1:]], "cannot end as abandoned with 2 lots"),
]


@pytest.mark.parametrize(("status", "lots", "said"), WRONG, ids=[each[2] for each in WRONG])
def test_what_is_no_split_changes_nothing(
    store: RequestStore, status: Any, lots: Callable[[list[str]], list[list[str]]], said: str
) -> None:
    ids = added(store, 1, 2)
    batch = opened(store)
    before = (store.list(), store.events(), store.batch(batch.id))
    with pytest.raises(BadInput, match=said):
        store.close_batch(batch.id, status=status, outcome={}, again=lots(ids))
    assert (store.list(), store.events(), store.batch(batch.id)) == before


def test_a_split_batch_is_closed_for_good(both: RequestStore) -> None:
    first, second = added(both, 1, 2)
    batch = opened(both)
    split(both, batch, [first], [second])
    for status in ("refused", "abandoned"):
        with pytest.raises(BadInput, match="already closed as split"):
            both.close_batch(batch.id, status=status, outcome={})
    with pytest.raises(BadInput, match="is split; only a batch that waits"):
        both.accept_batch(batch.id, by="Bo")
