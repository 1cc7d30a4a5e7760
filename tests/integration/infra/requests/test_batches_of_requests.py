"""Batches: which requests they take, how they end, and what that makes of each request."""

from __future__ import annotations

import sqlite3

import pytest
from stored_requests import BECAUSE, PARTS, complete, line, opened, payloads

from infra.requests import Identifier, IdentifierOutcome, OutcomeKind
from revs.errors import BadInput, OperationFailed


def test_a_batch_takes_all_pending_requests_of_its_model_due_first(store, hand_in) -> None:
    hand_in(line(1, due="2026-11-30"), line(2, due="2026-11-05"), line(3, model="other"), line(4, due="2026-11-20"))
    batch = opened(store)
    assert [store.get(request_id).due.day for request_id in batch.request_ids] == [5, 20, 30]
    assert (batch.model, batch.corpus, batch.source) == ("demo", "corpus/", "models:/demo/1")
    assert (batch.status, batch.closed_at, batch.outcome) == ("open", None, {})
    assert [request.id for request in store.list(model="demo", status="processing")] == list(batch.request_ids)
    assert store.batch(batch.id) == batch
    assert store.batches("demo") == store.batches() == [batch]
    assert store.batches("other") == []


def test_nothing_pending_opens_no_batch(store) -> None:
    assert store.open_batch(model="demo", corpus="", source="") is None
    assert store.batches() == []


def test_an_unfinished_batch_is_resumed_and_later_requests_wait_for_the_next(store, hand_in) -> None:
    hand_in(line(1))
    batch = opened(store)
    late = hand_in(line(2), name="late.jsonl").accepted[0]
    assert store.open_batch(model="demo", corpus="another", source="another") == batch
    assert store.get(late).status == "received"
    complete(store, batch.id)
    assert opened(store).request_ids == (late,)


def test_models_have_their_own_batches(store, hand_in) -> None:
    hand_in(line(1), line(1, model="other"))
    assert opened(store).id != opened(store, "other").id


def test_two_open_batches_of_one_model_are_impossible_in_the_database(store, hand_in, tmp_path) -> None:
    hand_in(line(1))
    opened(store)
    connection = sqlite3.connect(tmp_path / "requests.db")
    with pytest.raises(sqlite3.IntegrityError, match=r"batches\.model"):
        connection.execute(
            "INSERT INTO batches (id, model, corpus, source, status, opened_at, outcome) "
            "VALUES ('B-2', 'demo', '', '', 'open', '2026-11-23', '{}')"
        )
    connection.close()


def test_the_identifiers_of_a_batch_are_those_still_processing_as_written(store, hand_in) -> None:
    first, second, third = hand_in(line(1), line(2), line(3)).accepted
    batch = opened(store)
    store.reject(second, BECAUSE)
    found = store.identifiers(batch.id)
    assert list(found) == [first, third]
    assert found[first] == (
        Identifier(type="US_SSN", value="219-41-0001"),
        Identifier(type="EMAIL_ADDRESS", value="Zz1@example.com"),
    )
    assert "219" not in repr(found)
    complete(store, batch.id)
    assert store.identifiers(batch.id) == {}


def test_a_payload_under_another_request_is_noticed(store, hand_in, tmp_path) -> None:
    hand_in(line(1), line(2))
    batch = opened(store)
    connection = sqlite3.connect(tmp_path / "requests.db")
    connection.execute(
        "UPDATE payloads AS mine SET (wrapped_key, ciphertext) = (SELECT wrapped_key, ciphertext FROM payloads "
        "WHERE number = mine.number ORDER BY request_id LIMIT 1)"
    )
    connection.commit()
    connection.close()
    with pytest.raises(OperationFailed, match=r"request R-.*: a sealed payload does not open: "):
        store.identifiers(batch.id)


@pytest.mark.parametrize(("how", "status"), [("reject", "rejected"), ("fail", "failed")])
def test_a_request_is_set_aside_once_with_its_reason_payload_and_batch(store, hand_in, tmp_path, how, status) -> None:
    first, _ = hand_in(line(1), line(2)).accepted
    batch = opened(store)
    for _ in range(2):
        getattr(store, how)(first, BECAUSE)
    view = store.get(first)
    assert (view.status, view.reason, view.batch_id) == (status, BECAUSE, batch.id)
    complete(store, batch.id)
    assert store.get(first) == view
    assert len(payloads(tmp_path)) == PARTS
    assert [event.event for event in store.events(request_id=first)].count(f"request.{status}") == 1
    assert [request.id for request in store.list(batch_id=batch.id)] == list(batch.request_ids)


def test_a_closed_request_does_not_change_its_end(store, hand_in) -> None:
    first, second = hand_in(line(1), line(2)).accepted
    (duplicate,) = hand_in(line(2), name="again.jsonl").duplicates
    batch = opened(store)
    store.fail(second, BECAUSE)
    complete(store, batch.id)
    for request_id in (first, second, duplicate):
        with pytest.raises(BadInput, match="cannot become rejected"):
            store.reject(request_id, BECAUSE)


@pytest.mark.parametrize("status", ["abandoned", "failed"])
def test_a_batch_that_was_given_up_sends_its_requests_back_with_their_payloads(store, hand_in, status) -> None:
    first, second = hand_in(line(1), line(2)).accepted
    batch = opened(store)
    store.fail(second, BECAUSE)
    store.close_batch(batch.id, status=status, outcome={"efficacy": 41.5, "missing": float("nan")})
    assert (store.get(first).status, store.get(first).batch_id) == ("received", None)
    assert store.get(second).status == "failed"
    closed = store.batch(batch.id)
    assert (closed.status, closed.outcome) == (status, {"efficacy": 41.5, "missing": None})
    assert closed.request_ids == batch.request_ids
    following = opened(store)
    assert following.id != batch.id
    assert list(store.identifiers(following.id)) == [first]


def test_a_refused_batch_hands_its_requests_to_a_human_and_completes_those_that_were_never_memorised(
    store, hand_in
) -> None:
    first, second, third = hand_in(line(1), line(2), line(3)).accepted
    batch = opened(store)

    def found(request_id: str, kind: OutcomeKind) -> list[IdentifierOutcome]:
        return [
            IdentifierOutcome(request_id=request_id, number=number, type=each.type, kind=kind)
            for number, each in enumerate(store.identifiers(batch.id)[request_id])
        ]

    outcomes = [*found(first, "memorised"), *found(second, "not_memorised")]
    store.close_batch(batch.id, status="refused", outcome={}, outcomes=outcomes)
    assert [store.get(each).status for each in (first, second, third)] == ["failed", "completed", "failed"]
    assert "memorised" in str(store.get(first).reason) and "no outcome" in str(store.get(third).reason)
    assert store.open_batch(model="demo", corpus="c", source="s") is None, "no schedule tries them for ever"


def test_closing_twice_in_the_same_way_changes_nothing_and_in_another_way_is_refused(store, hand_in) -> None:
    (first,) = hand_in(line(1)).accepted
    batch = opened(store)
    complete(store, batch.id, version="2")
    closed, events = store.batch(batch.id), store.events()
    store.close_batch(batch.id, status="completed", outcome={"version": "3"})
    assert (store.batch(batch.id), store.events()) == (closed, events)
    with pytest.raises(BadInput, match="already closed as completed"):
        store.close_batch(batch.id, status="refused", outcome={})
    assert store.get(first).status == "completed"


@pytest.mark.parametrize(
    "call",
    [
        lambda store: store.get("R-00000000"),
        lambda store: store.batch("B-unknown"),
        lambda store: store.identifiers("B-unknown"),
        lambda store: store.reject("R-00000000", "x"),
        lambda store: store.close_batch("B-unknown", status="completed", outcome={}),
        lambda store: store.record("x", batch_id="B-unknown"),
        lambda store: store.record("x", request_id="R-00000000"),
    ],
)
def test_an_unknown_id_is_named(store, call) -> None:
    with pytest.raises(BadInput, match=r"there is no (request R-00000000|batch B-unknown)"):
        call(store)
    assert store.events() == []
