"""Every step that a request can take, and those that it cannot; what people may decide, and what that leaves behind."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from sqlalchemy import create_engine, text
from stored_requests import BECAUSE, KEY, complete, line, opened, settled, stored_bytes

from infra.keys.vault import Vault
from infra.requests import Reason, RequestStore, lifecycle, rows
from infra.requests.records import RequestStatus
from revs.errors import BadInput

REQUESTS = Path(lifecycle.__file__).parent


@pytest.fixture
def either(url: str) -> Iterator[RequestStore]:
    """A store on either database."""
    store = RequestStore(url, Vault(KEY))
    yield store
    store.close()


def demand(number: int) -> dict[str, Any]:
    import json

    found: dict[str, Any] = json.loads(line(number))
    return found


def added(store: RequestStore, number: int = 1, **options: Any) -> str:
    intake = store.add(demand(number), model="demo", generation=f"{next(COUNT)}", **options)
    (request_id,) = (*intake.accepted, *intake.duplicates)
    return request_id


COUNT = itertools.count()


def unverified(store: RequestStore) -> str:
    return added(store, by="door", verified=False)


def processing(store: RequestStore) -> str:
    request_id = added(store)
    opened(store)
    return request_id


def completed(store: RequestStore) -> str:
    request_id = added(store)
    complete(store, opened(store).id)
    return request_id


def on_hold(store: RequestStore) -> str:
    request_id = added(store)
    store.put_on_hold(request_id, ground="legal_hold", by="Ana")
    return request_id


def ended(how: str) -> Callable[[RequestStore], str]:
    def make(store: RequestStore) -> str:
        request_id = added(store)
        if how == "withdraw":
            store.withdraw(request_id, by="Ana")
        else:
            getattr(store, how)(request_id, BECAUSE)
        return request_id

    return make


def failed(store: RequestStore) -> str:
    """Of which a batch found nothing anywhere."""
    request_id = added(store)
    batch_id = opened(store).id
    nowhere = {"without_corpus": {"openings": 1, "verdict": "not memorised"}}
    outcomes = [replace(each, kind="not_found", detail=nowhere) for each in settled(store, batch_id)]
    store.close_batch(batch_id, status="completed", outcome={}, outcomes=outcomes)
    return request_id


def duplicate(store: RequestStore) -> str:
    added(store)
    return added(store)


STATES: dict[RequestStatus, Callable[[RequestStore], str]] = {
    "unverified": unverified,
    "received": added,
    "processing": processing,
    "on_hold": on_hold,
    "completed": completed,
    "rejected": ended("reject"),
    "failed": failed,
    "withdrawn": ended("withdraw"),
    "duplicate": duplicate,
}
DECISIONS: dict[str, tuple[RequestStatus, Callable[[RequestStore, str], object]]] = {
    "verify": ("received", lambda store, id_: store.verify(id_, by="Bo")),
    "reject": ("rejected", lambda store, id_: store.reject(id_, BECAUSE)),
    "fail": ("failed", lambda store, id_: store.fail(id_, BECAUSE)),
    "retry": ("received", lambda store, id_: store.retry(id_, by="Bo")),
    "withdraw": ("withdrawn", lambda store, id_: store.withdraw(id_, by="Bo")),
    "hold": ("on_hold", lambda store, id_: store.put_on_hold(id_, ground="objection", by="Bo")),
    "release": ("received", lambda store, id_: store.release_hold(id_, by="Bo")),
    "refuse": ("rejected", lambda store, id_: store.refuse(id_, ground="legal_claims", by="Bo")),
    "accept": ("completed", lambda store, id_: store.accept(id_, by="Bo")),
}


def test_every_state_is_tried() -> None:
    assert set(STATES) == set(get_args(RequestStatus))


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("decision", DECISIONS)
def test_a_decision_is_taken_where_the_table_has_the_step_and_refused_in_one_line_elsewhere(
    store: RequestStore, state: RequestStatus, decision: str
) -> None:
    request_id = STATES[state](store)
    assert store.get(request_id).status == state
    before = (store.list(), store.events())
    target, decide = DECISIONS[decision]
    if state in lifecycle.STEPS[decision].sources:
        decide(store, request_id)
        assert store.get(request_id).status == target
        last = store.events(request_id=request_id)
        assert lifecycle.STEPS[decision].event in [event.event for event in last]
    elif state == target and decision != "refuse":  # what was malformed has no ground yet, and gets none
        decide(store, request_id)
        assert (store.list(), store.events()) == before, "again changes nothing"
    else:
        with pytest.raises(BadInput, match=request_id):
            decide(store, request_id)
        assert (store.list(), store.events()) == before, "refused changes nothing"


def test_no_other_code_sets_the_state_of_a_request_that_stands() -> None:
    setting = {
        path.name
        for path in REQUESTS.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "status" and isinstance(node.ctx, ast.Store)
    }
    assert setting == {"lifecycle.py", "submissions.py", "closing.py"}  # new requests; batches


def test_what_waits_for_verification_or_is_on_hold_is_in_no_batch(either: RequestStore) -> None:
    first, second, third = added(either, 1), added(either, 2), added(either, 3, by="door", verified=False)
    either.put_on_hold(second, ground="legal_hold", by="Ana")
    batch = opened(either)
    assert batch.request_ids == (first,)
    complete(either, batch.id)
    assert either.open_batch(model="demo", corpus="corpus/", source="models:/demo/1") is None
    either.release_hold(second, by="Ana")
    either.verify(third, by="Bo")
    assert set(opened(either).request_ids) == {second, third}


def test_who_submitted_a_request_cannot_verify_it(either: RequestStore) -> None:
    request_id = unverified(either)
    with pytest.raises(BadInput, match="submitted by door, who cannot verify it"):
        either.verify(request_id, by="door")
    assert either.get(request_id).status == "unverified"


def test_a_demand_under_a_legal_hold_is_not_processed_by_handing_it_in_again(either: RequestStore) -> None:
    first = on_hold(either)
    again = added(either)
    assert either.get(again).duplicate_of == first
    assert either.open_batch(model="demo", corpus="corpus/", source="models:/demo/1") is None


def test_an_unverified_demand_hides_no_verified_one_and_is_folded_into_it_when_it_is_verified(
    either: RequestStore,
) -> None:
    doubtful = unverified(either)
    sure = added(either)
    assert either.get(sure).status == "received"
    assert either.verify(doubtful, by="Bo") == sure
    assert either.get(doubtful).duplicate_of == sure


def test_a_withdrawn_request_leaves_no_byte_of_its_payload_and_says_so(store: RequestStore, tmp_path: Path) -> None:
    request_id = added(store)
    engine = create_engine(f"sqlite:///{tmp_path / 'requests.db'}")
    with engine.connect() as connection:
        sealed = connection.scalars(text("SELECT ciphertext FROM payloads")).all()
    engine.dispose()
    assert len(sealed) > 1 and all(each in stored_bytes(tmp_path) for each in sealed)
    store.withdraw(request_id, by="Ana")
    assert not any(each in stored_bytes(tmp_path) for each in sealed)
    assert [event.event for event in store.events(request_id=request_id)][-2:] == [
        "request.withdrawn",
        "payloads.destroyed",
    ]


def test_a_duplicate_goes_on_where_its_first_one_is_withdrawn(either: RequestStore) -> None:
    first, second = added(either), added(either)
    either.withdraw(first, by="Ana")
    batch = opened(either)
    assert batch.request_ids == (second,)
    assert list(either.identifiers(batch.id)) == [second]


def test_decisions_name_who_took_them(either: RequestStore) -> None:
    request_id = on_hold(either)
    either.release_hold(request_id, by="Bo")
    assert [event.detail for event in either.events(request_id=request_id)][1:] == [
        {"by": "Ana", "reason": "legal_hold"},
        {"by": "Bo"},
    ]
    with pytest.raises(BadInput, match="who decides"):
        either.withdraw(request_id, by=" ")
    with pytest.raises(BadInput, match="that is no ground to hold a request; name one of legal_hold, objection"):
        either.put_on_hold(request_id, ground="caprice", by="Ana")  # type: ignore[arg-type]  # what a caller may send


def test_the_payload_of_what_was_rejected_is_destroyed_after_its_days_and_that_of_what_failed_is_kept(
    either: RequestStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    rejected, failed = added(either, 1), added(either, 2)
    either.reject(rejected, BECAUSE)
    either.fail(failed, BECAUSE)
    assert either.destroy_expired(days=90) == 0
    today = rows.now()
    monkeypatch.setattr(rows, "now", lambda: today + timedelta(days=91))
    assert either.destroy_expired(days=90) == 1
    assert either.destroy_expired(days=90) == 0
    assert [event.event for event in either.events(request_id=rejected)][-2:] == [
        "payload.expired",
        "payloads.destroyed",
    ]
    either.retry(failed, by="Ana")
    assert list(either.identifiers(opened(either).id)) == [failed]


def test_a_hold_outlives_the_withdrawal_of_the_request_it_was_put_on(either: RequestStore) -> None:
    first, second = on_hold(either), added(either)
    assert either.withdraw(first, by="Ana") == second, "it is told what goes on"
    assert (either.get(second).status, either.get(second).reason) == ("on_hold", Reason("legal_hold"))
    assert either.open_batch(model="demo", corpus="corpus/", source="models:/demo/1") is None


def test_a_duplicate_can_be_withdrawn_by_itself(either: RequestStore) -> None:
    first, second = added(either), added(either)
    assert either.withdraw(second, by="Ana") is None
    assert either.get(second).status == "withdrawn"
    assert opened(either).request_ids == (first,)


@pytest.mark.parametrize("name", ["Door", "door ", " DOOR", "do\u00a0or".replace("\u00a0", "") + "\t"])
def test_a_name_that_reads_the_same_verifies_nothing_of_its_own(store: RequestStore, name: str) -> None:
    request_id = unverified(store)
    with pytest.raises(BadInput, match="cannot verify it"):
        store.verify(request_id, by=name)


def test_a_failed_request_is_withdrawn_though_a_newer_one_and_a_duplicate_wait(store: RequestStore) -> None:
    demand = {
        "subject": "customer 1",
        "received": "2026-11-02",
        "identifiers": [{"type": "US_SSN", "value": "219-41-0001"}],
    }
    (first,) = store.add(demand, model="demo", generation="1").accepted
    (second,) = store.add(demand, model="demo", generation="2").duplicates
    store.fail(first, BECAUSE)
    (newer,) = store.add(demand, model="demo", generation="3").accepted
    store.withdraw(first, by="Ana")
    assert store.get(first).status == "withdrawn"
    assert (store.get(second).status, store.get(second).duplicate_of) == ("duplicate", newer)
