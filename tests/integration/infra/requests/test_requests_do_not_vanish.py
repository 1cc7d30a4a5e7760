"""Duplicates, corrections and retries: whatever becomes of one request, the demand is not lost with it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from stored_requests import BECAUSE

from infra.keys.vault import Vault
from infra.requests import Identifier, IdentifierOutcome, Intake, OutcomeKind, Reason, RequestStore
from revs.errors import BadInput

KEY = bytes(range(32))


def line(number: int, **changes: Any) -> str:
    request = {
        "subject": f"customer {number}",
        "received": "2026-11-02",
        "identifiers": [{"type": "US_SSN", "value": f"219-41-{number:04d}"}],
    }
    return json.dumps(request | changes)


def open_store(folder: Path) -> RequestStore:
    return RequestStore(f"sqlite:///{folder / 'requests.db'}", Vault(KEY))


@pytest.fixture
def store(tmp_path: Path) -> RequestStore:
    return open_store(tmp_path)


HandIn = Callable[..., Intake]


@pytest.fixture
def hand_in(store: RequestStore, tmp_path: Path) -> HandIn:
    def call(*lines: str, **how: Any) -> Intake:
        (tmp_path / "r.jsonl").write_text("\n".join(lines))
        return store.add_file(tmp_path / "r.jsonl", model="demo", **how)

    return call


def opened(store: RequestStore) -> str:
    batch = store.open_batch(model="demo", corpus="corpus/", source="models:/demo/1")
    assert batch is not None
    return batch.id


def complete(store: RequestStore, kind: OutcomeKind = "edited") -> str:
    batch_id = opened(store)
    outcomes = [
        IdentifierOutcome(request_id=request_id, number=number, type=identifier.type, kind=kind)
        for request_id, identifiers in store.identifiers(batch_id).items()
        for number, identifier in enumerate(identifiers)
    ]
    store.close_batch(batch_id, status="completed", outcome={}, outcomes=outcomes)
    return batch_id


def payloads(folder: Path) -> int:
    connection = sqlite3.connect(folder / "requests.db")
    try:
        return int(connection.execute("SELECT count(DISTINCT request_id) FROM payloads").fetchone()[0])
    finally:
        connection.close()


# ---- duplicates and corrections


@pytest.mark.parametrize("pending", ["received", "processing"])
def test_a_duplicate_goes_on_when_its_first_one_is_rejected(store, hand_in, pending) -> None:
    (first,) = hand_in(line(1)).accepted
    if pending == "processing":
        opened(store)
    (second,) = hand_in(line(1, received="2026-11-05")).duplicates
    store.reject(first, BECAUSE)
    assert (store.get(second).status, store.get(second).duplicate_of) == ("received", None)
    if pending == "processing":
        store.close_batch(store.batches()[0].id, status="failed", outcome={})
    assert store.identifiers(opened(store)) == {second: (Identifier(type="US_SSN", value="219-41-0001"),)}


def test_of_several_duplicates_the_latest_goes_on_and_the_others_fold_into_it(store, hand_in, tmp_path) -> None:
    (first,) = hand_in(line(1)).accepted
    (second,) = hand_in(line(1, due="2026-11-09")).duplicates
    (third,) = hand_in(line(1, due="2026-11-20")).duplicates
    store.reject(first, BECAUSE)
    assert store.get(second).duplicate_of == third
    assert (store.get(third).status, store.get(third).due) == ("received", date(2026, 11, 9))
    store.reject(third, BECAUSE)
    assert store.get(second).status == "received"
    complete(store)
    assert store.get(second).status == "completed"


def test_a_duplicate_in_another_spelling_goes_on_as_it_was_written(store, hand_in) -> None:
    (first,) = hand_in(line(1)).accepted
    spelled = [{"type": "US_SSN", "value": "219 41 0001"}]
    (second,) = hand_in(line(1, identifiers=spelled)).duplicates
    store.reject(first, BECAUSE)
    assert store.identifiers(opened(store))[second][0].value == "219 41 0001"


@pytest.mark.parametrize("wrong_first", [True, False], ids=["the typing error first", "the right date first"])
def test_a_wrong_date_and_its_correction_leave_the_right_date_in_whatever_order(store, hand_in, wrong_first) -> None:
    dates = ["2027-11-02", "2026-11-02"] if wrong_first else ["2026-11-02", "2027-11-02"]
    (first,) = hand_in(line(1, received=dates[0])).accepted
    hand_in(line(1, received=dates[1]))
    view = store.get(first)
    assert (view.status, view.received, view.due) == ("received", date(2026, 11, 2), date(2026, 12, 2))
    moved = {event.event for event in store.events(request_id=first)} & {"request.received_moved_back"}
    assert bool(moved) == wrong_first


def test_the_correction_of_a_request_that_was_handed_to_a_human_waits(store, hand_in) -> None:
    (first,) = hand_in(line(1, received="2027-11-02")).accepted
    store.fail(first, BECAUSE)
    (second,) = hand_in(line(1)).accepted
    assert store.get(second).status == "received"


@pytest.mark.parametrize("in_one_request", [True, False])
def test_a_name_in_another_case_is_another_demand_for_its_search_finds_other_places(
    store, hand_in, in_one_request
) -> None:
    from infra.identifiers.normalise import same_case

    names = [{"type": "PERSON", "value": value} for value in ("ADA QUILLFERN", "Ada Quillfern")]
    assert not same_case("PERSON", "ADA QUILLFERN", "Ada Quillfern"), "the first brings the second not out"
    if in_one_request:
        hand_in(line(1, identifiers=names))
    else:
        hand_in(line(1, identifiers=names[:1]), line(1, identifiers=names[1:]))
    sought = [identifier.value for some in store.identifiers(opened(store)).values() for identifier in some]
    assert sorted(sought) == ["ADA QUILLFERN", "Ada Quillfern"]


def test_a_payload_whose_digest_an_earlier_program_made_still_opens(store, hand_in, tmp_path, monkeypatch) -> None:
    from infra.requests import records

    with monkeypatch.context() as earlier:
        earlier.setattr(records, "_CASE_BLIND", records._CASE_BLIND | {"PERSON"})
        hand_in(line(1, identifiers=[{"type": "PERSON", "value": "Ada Quillfern"}]))
    batch_id = opened(store)
    assert not store.unreadable(batch_id)
    assert [each.value for some in store.identifiers(batch_id).values() for each in some] == ["Ada Quillfern"]


# ---- retry


def test_a_failed_request_that_is_retried_beside_a_newer_one_is_folded_into_it(store, hand_in, tmp_path) -> None:
    (first,) = hand_in(line(1, due="2026-11-09")).accepted
    store.fail(first, BECAUSE)
    (newer,) = hand_in(line(1)).accepted
    assert store.retry(first) == newer
    assert (store.get(first).status, store.get(first).duplicate_of) == ("duplicate", newer)
    assert store.get(newer).due == date(2026, 11, 9)
    complete(store)
    assert payloads(tmp_path) == 0


def test_a_retried_request_takes_its_duplicates_along_into_the_newer_one(store, hand_in) -> None:
    (first,) = hand_in(line(1)).accepted
    (second,) = hand_in(line(1, received="2026-11-03")).duplicates
    store.fail(first, BECAUSE)
    (newer,) = hand_in(line(1, received="2026-11-04")).accepted
    store.retry(first)
    assert store.get(second).duplicate_of == newer
    store.reject(newer, BECAUSE)
    assert store.get(second).status == "received" or store.get(first).status == "received"


def test_a_failed_request_alone_is_retried_under_its_own_id(store, hand_in) -> None:
    (first,) = hand_in(line(1)).accepted
    store.fail(first, BECAUSE)
    assert store.retry(first) == store.retry(first) == first
    assert store.get(first).status == "received"


# ---- the same file again


SAME_FILE = [
    ("while it waits", False, {}, "known"),
    ("while it waits, of a retrained model", False, {"generation": "3"}, "folded"),
    ("while it waits, on purpose", False, {"again": True}, "folded"),
    ("completed", True, {}, "known"),
    ("completed, of a retrained model", True, {"generation": "3"}, "new"),
    ("completed, on purpose", True, {"again": True}, "new"),
]


@pytest.mark.parametrize(("why", "completed", "how", "taken"), SAME_FILE)
def test_the_same_file_again_is_a_new_demand_only_where_there_is_something_new_to_do(
    store, hand_in, why, completed, how, taken
) -> None:
    first = hand_in(line(1), generation="1")
    if completed:
        complete(store)
    again = hand_in(line(1), **({"generation": "1"} | how))
    assert {
        "known": again.known and again.accepted == first.accepted,
        "folded": len(again.duplicates) == 1,
        "new": len(again.accepted) == 1,
    }[taken]
    assert len(store.list()) == (1 if taken == "known" else 2)


NAMES = [
    ("demo", True, "a plain name"),
    ("support bot 2", True, "the registry takes spaces"),
    ("my model/7", False, "a version is no name"),
    ("models:/demo", False, "nor is an address"),
    ("quillfern@example.com", False, "nor is somebody's"),
    ("  ", False, "nor is nothing"),
]


@pytest.mark.parametrize(("model", "taken"), [row[:2] for row in NAMES], ids=[row[2] for row in NAMES])
def test_a_name_that_no_model_can_have_is_refused_at_the_door(store, tmp_path, model, taken) -> None:
    (tmp_path / "r.jsonl").write_text(line(1))
    if taken:
        assert store.add_file(tmp_path / "r.jsonl", model=model).accepted
        return
    with pytest.raises(BadInput, match="the name of a registered model"):
        store.add_file(tmp_path / "r.jsonl", model=model)
    assert store.list() == []


# ---- what is done, and what is not


KINDS: Any = [
    (["edited", "not_memorised"], "completed", ""),
    (["edited", "not_found"], "failed", "identifier 1 (EMAIL_ADDRESS): not found in 9 rows of the corpus"),
    (["memorised", "edited"], "failed", "identifier 0 (US_SSN): memorised, and not erased (it held)"),
    (
        ["not_probed", "refused"],
        "failed",
        "identifier 0 (US_SSN): not decided: it held; identifier 1 (EMAIL_ADDRESS): not sought: it held",
    ),
    (["edited", None], "failed", "identifier 1 (EMAIL_ADDRESS) has no outcome on record"),
    ([None, None], "failed", "identifier 0 (US_SSN) has no outcome on record; identifier 1"),
]
BOTH = [{"type": "US_SSN", "value": "219-41-0001"}, {"type": "EMAIL_ADDRESS", "value": "zz@example.com"}]


def outcomes(request_id: str, kinds: list[OutcomeKind | None]) -> list[IdentifierOutcome]:
    return [
        IdentifierOutcome(
            request_id=request_id,
            number=number,
            type=BOTH[number]["type"],
            kind=kind,
            detail={"rows": 9, "why": "it held"},
        )
        for number, kind in enumerate(kinds)
        if kind is not None
    ]


@pytest.mark.parametrize(("kinds", "status", "reason"), KINDS, ids=["+".join(map(str, row[0])) for row in KINDS])
def test_a_request_is_completed_only_if_every_identifier_is_settled(
    store, hand_in, tmp_path, kinds, status, reason
) -> None:
    (first,) = hand_in(line(1, identifiers=BOTH)).accepted
    batch_id = opened(store)
    store.close_batch(batch_id, status="completed", outcome={}, outcomes=outcomes(first, kinds))
    view = store.get(first)
    assert view.status == status
    assert ("" if view.reason is None else str(view.reason)).startswith(reason)
    assert payloads(tmp_path) == (0 if status == "completed" else 1)
    assert [each.kind for each in store.outcomes(first)] == [kind for kind in kinds if kind]


def test_a_batch_that_is_closed_without_outcomes_completes_nobody(store, hand_in, tmp_path) -> None:
    (first,) = hand_in(line(1)).accepted
    store.close_batch(opened(store), status="completed", outcome={})
    assert store.get(first).status == "failed"
    assert payloads(tmp_path) == 1


def test_outcomes_of_another_type_or_number_complete_nothing(store, hand_in) -> None:
    (first,) = hand_in(line(1)).accepted
    batch_id = opened(store)
    wrong = IdentifierOutcome(request_id=first, number=0, type="PERSON", kind="edited")
    beyond = IdentifierOutcome(request_id=first, number=1, type="US_SSN", kind="edited")
    store.close_batch(batch_id, status="completed", outcome={}, outcomes=[wrong, beyond])
    assert store.get(first).status == "failed"


def test_a_payload_that_does_not_open_hands_over_its_own_request_and_no_other(store, hand_in, tmp_path) -> None:
    broken, good = hand_in(line(1), line(2)).accepted
    batch_id = opened(store)
    with sqlite3.connect(tmp_path / "requests.db") as connection:
        connection.execute("UPDATE payloads SET ciphertext = 'x' WHERE request_id = ?", (broken,))
    connection.close()
    assert store.unreadable(batch_id) == [broken]
    store.fail(broken, Reason("unreadable"))
    settled = IdentifierOutcome(request_id=good, number=0, type="US_SSN", kind="edited")
    store.close_batch(batch_id, status="completed", outcome={}, outcomes=[settled])
    assert (store.get(broken).status, store.get(good).status) == ("failed", "completed")


def test_a_batch_that_waits_for_a_decision_keeps_everything_until_it_is_accepted(store, hand_in, tmp_path) -> None:
    done, open_, retried = hand_in(line(1), line(2), line(3)).accepted
    batch_id = opened(store)
    kinds: dict[str, OutcomeKind] = {done: "edited", open_: "not_found", retried: "edited"}
    found = [IdentifierOutcome(request_id=id_, number=0, type="US_SSN", kind=kind) for id_, kind in kinds.items()]
    store.close_batch(batch_id, status="waiting", outcome={}, outcomes=found)
    assert {store.get(id_).status for id_ in kinds} == {"failed"}
    assert payloads(tmp_path) == 3
    store.retry(retried)
    for _ in range(2):
        store.accept_batch(batch_id, by="a privacy officer")
    assert store.batch(batch_id).status == "completed"
    assert [store.get(id_).status for id_ in kinds] == ["completed", "failed", "received"]
    assert payloads(tmp_path) == 2
    accepted = [event.detail for event in store.events(batch_id=batch_id) if event.event == "batch.accepted"]
    assert accepted == [{"by": "a privacy officer", "requests": 1}]


@pytest.mark.parametrize("status", ["open", "refused", "abandoned"])
def test_only_a_batch_that_waits_can_be_accepted(store, hand_in, status) -> None:
    hand_in(line(1))
    batch_id = opened(store)
    if status != "open":
        store.close_batch(batch_id, status=status, outcome={})
    with pytest.raises(BadInput, match=f"is {status}; only a batch that waits"):
        store.accept_batch(batch_id, by="x")


def test_an_abandoned_batch_sends_its_requests_back(store, hand_in) -> None:
    (first,) = hand_in(line(1)).accepted
    store.close_batch(opened(store), status="abandoned", outcome={"reason": "the disk died"})
    assert store.get(first).status == "received"
    complete(store)
    assert store.get(first).status == "completed"


# ---- a store that an earlier version made


def test_a_store_of_schema_1_opens_and_keeps_every_payload(tmp_path) -> None:
    """Made by the first version: completed, failed, three processing with a duplicate of one, received, malformed."""
    connection = sqlite3.connect(tmp_path / "requests.db")
    connection.executescript((Path(__file__).parents[3] / "cases" / "store_of_schema_1.sql").read_text())
    connection.close()
    held = payloads(tmp_path)
    store = open_store(tmp_path)
    assert (held, payloads(tmp_path)) == (6, 7), "the duplicate, which had none, has one of its own"
    assert [view.status for view in store.list()] == [
        "completed", "failed", "processing", "processing", "processing", "received", "duplicate", "rejected",
    ]  # fmt: skip
    (duplicate,) = store.list(status="duplicate")
    assert duplicate.duplicate_of is not None
    store.reject(duplicate.duplicate_of, BECAUSE)
    assert store.get(duplicate.id).status == "received"
    complete(store)
    complete(store)
    assert sorted(view.status for view in store.list()) == [*["completed"] * 5, "failed", "rejected", "rejected"]
    assert open_store(tmp_path).list() == store.list(), "it opens again, as the new version"
