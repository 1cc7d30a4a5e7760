"""A request that needs a human: narrowed by one identifier, accepted as found nowhere, or refused on a ground."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from sqlalchemy import create_engine, text
from stored_requests import BECAUSE, KEY, line, opened, settled, stored_bytes

from infra.keys.vault import Vault
from infra.requests import Identifier, IdentifierOutcome, OutcomeKind, Reason, RequestStore, rows
from infra.requests.drop import EXEMPTIONS
from infra.requests.lifecycle import NarrowingReason, RefusalGround
from revs.errors import BadInput

SSN = {"type": "US_SSN", "value": "219-41-0001"}
MAIL = {"type": "EMAIL_ADDRESS", "value": "Zz1@example.com"}
PHONE = {"type": "PHONE_NUMBER", "value": "+1 415 555 0100"}
NOWHERE = {"rows": 9, "without_corpus": {"openings": 3, "verdict": "not memorised"}}


@pytest.fixture
def store(url: str) -> Iterator[RequestStore]:
    found = RequestStore(url, Vault(KEY))
    yield found
    found.close()


def added(store: RequestStore, *identifiers: dict[str, str], **changes: Any) -> str:
    demand = json.loads(line(1, identifiers=list(identifiers or (SSN, MAIL, PHONE)), **changes))
    intake = store.add(demand, model="demo", generation=str(len(store.list())))
    (request_id,) = (*intake.accepted, *intake.duplicates)
    return request_id


def judged(store: RequestStore, request_id: str, *kinds: OutcomeKind, detail: dict[str, Any] = NOWHERE) -> str:
    """Run a batch in which the identifiers of a request end so."""
    batch_id = opened(store).id
    asked = store.identifiers(batch_id)[request_id]
    found = [
        IdentifierOutcome(request_id=request_id, number=each.number, type=each.type, kind=kind, detail=detail)
        for each, kind in zip(asked, kinds, strict=False)
    ]
    store.close_batch(batch_id, status="completed", outcome={}, outcomes=found)
    return batch_id


def sought(store: RequestStore, request_id: str) -> Sequence[Identifier]:
    batch_id = opened(store).id
    return store.identifiers(batch_id)[request_id]


def test_a_request_is_narrowed_by_one_identifier_and_the_others_are_sought(store: RequestStore) -> None:
    request_id = added(store)
    judged(store, request_id, "edited", "not_found", "edited", detail={"rows": 9, "unread": 2})
    assert store.narrow(request_id, number=1, reason="not_theirs", by="Ana") is None
    view = store.get(request_id)
    assert (view.status, view.types) == ("failed", ("PHONE_NUMBER", "US_SSN"))
    (dropped,) = view.dropped
    assert (dropped["number"], dropped["type"], dropped["reason"]) == (1, "EMAIL_ADDRESS", "not_theirs")
    store.retry(request_id, by="Ana")
    batch_id = opened(store).id
    assert store.identifiers(batch_id)[request_id] == (Identifier(**SSN), Identifier(**PHONE))
    store.close_batch(batch_id, status="completed", outcome={}, outcomes=settled(store, batch_id))
    assert store.get(request_id).status == "completed"
    logged = [event for event in store.events(request_id=request_id) if event.event == "request.narrowed"]
    assert [(event.detail["number"], event.detail["reason"], event.detail["by"]) for event in logged] == [
        (1, "not_theirs", "Ana")
    ]


def test_a_number_means_the_same_identifier_before_and_after_another_was_dropped(store: RequestStore) -> None:
    """Two officers look at one page; and somebody drops what the page showed before."""
    request_id = added(store)
    judged(store, request_id, "edited", "not_found", "memorised", detail={"rows": 9, "unread": 2, "why": "no"})
    shown = {part.number: part.type for part in store.parts(request_id)}
    assert shown == {0: "US_SSN", 1: "EMAIL_ADDRESS", 2: "PHONE_NUMBER"}
    store.narrow(request_id, number=0, reason="not_theirs", by="Ana")
    store.narrow(request_id, number=0, reason="not_found", by="Bo")
    assert [(part.number, part.type, part.kind) for part in store.parts(request_id)] == [
        (0, "US_SSN", "dropped"), (1, "EMAIL_ADDRESS", "not_found"), (2, "PHONE_NUMBER", "memorised"),
    ]  # fmt: skip
    assert store.get(request_id).dropped[0]["reason"] == "not_theirs", "the first decision stands"
    store.narrow(request_id, number=1, reason="not_theirs", by="Ana")
    store.retry(request_id, by="Ana")
    ((left,),) = store.identifiers(opened(store).id).values()
    assert (left, left.number) == (Identifier(**PHONE), 2)


def test_before_any_batch_the_identifiers_are_shown_by_number_and_type_in_their_order(store: RequestStore) -> None:
    request_id = added(store)
    assert [(part.number, part.type, part.kind) for part in store.parts(request_id)] == [
        (0, "US_SSN", "not_sought"), (1, "EMAIL_ADDRESS", "not_sought"), (2, "PHONE_NUMBER", "not_sought"),
    ]  # fmt: skip


def test_what_is_memorised_still_does_not_complete_when_its_batch_is_accepted_after_another_was_dropped(
    store: RequestStore,
) -> None:
    two = [MAIL | {"value": f"zz{number}@example.com"} for number in range(2)]
    request_id = added(store, *two)
    batch_id = opened(store).id
    kinds: tuple[OutcomeKind, ...] = ("edited", "memorised")
    found = [
        IdentifierOutcome(request_id=request_id, number=number, type="EMAIL_ADDRESS", kind=kind, detail={"why": "no"})
        for number, kind in enumerate(kinds)
    ]
    store.close_batch(batch_id, status="waiting", outcome={}, outcomes=found)
    store.narrow(request_id, number=0, reason="not_theirs", by="Ana")
    store.accept_batch(batch_id, by="Ana")
    assert store.get(request_id).status == "failed"
    store.retry(request_id, by="Ana")
    assert sought(store, request_id) == (Identifier(**two[1]),), "and nothing of it is destroyed"


def test_what_was_dropped_leaves_no_byte_and_the_log_says_so(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'requests.db'}"
    store = RequestStore(url, Vault(KEY))
    request_id = added(store)
    engine = create_engine(url)
    with engine.connect() as connection:
        (sealed,) = connection.scalars(text("SELECT ciphertext FROM payloads WHERE number = 1")).all()
    engine.dispose()
    assert sealed in stored_bytes(tmp_path)
    store.narrow(request_id, number=1, reason="no_longer_asked", by="Ana")
    assert sealed not in stored_bytes(tmp_path)
    assert [event.event for event in store.events(request_id=request_id)][-2:] == [
        "request.narrowed", "identifier.destroyed",
    ]  # fmt: skip


def test_a_duplicate_of_a_narrowed_request_still_asks_for_everything_and_goes_on(store: RequestStore) -> None:
    first, second = added(store), added(store)
    assert store.get(second).duplicate_of == first
    assert store.narrow(first, number=0, reason="not_theirs", by="Ana") == second
    assert store.get(second).status == "received"
    batch_id = opened(store).id
    assert {id_: len(found) for id_, found in store.identifiers(batch_id).items()} == {first: 2, second: 3}


def test_the_hold_of_a_narrowed_request_is_that_of_its_duplicate_too(store: RequestStore) -> None:
    first = added(store)
    store.put_on_hold(first, ground="objection", by="Ana")
    second = added(store)
    assert store.narrow(first, number=0, reason="not_theirs", by="Ana") == second
    assert {store.get(first).status, store.get(second).status} == {"on_hold"}


def test_the_same_demand_as_what_is_left_is_a_duplicate_afterwards(store: RequestStore) -> None:
    request_id = added(store)
    store.narrow(request_id, number=2, reason="legal_hold", by="Ana")
    assert store.get(added(store, SSN, MAIL)).duplicate_of == request_id
    assert store.get(added(store)).status == "received"


def test_what_is_left_is_not_made_the_same_as_what_stands_in_line(store: RequestStore) -> None:
    other, request_id = added(store, SSN, MAIL), added(store)
    before = store.get(request_id)
    with pytest.raises(BadInput, match=f"request {other} asks for what would be left of {request_id}"):
        store.narrow(request_id, number=2, reason="not_found", by="Ana")
    assert store.get(request_id) == before
    store.fail(request_id, BECAUSE)
    store.narrow(request_id, number=2, reason="not_found", by="Ana")
    assert store.retry(request_id, by="Ana") == other, "folded into the one that asks for the same"


@pytest.mark.parametrize(
    ("identifiers", "number", "reason", "said"),
    [
        ((SSN, MAIL), 2, "not_found", r"has no identifier 2; it has 0 \(US_SSN\), 1 \(EMAIL_ADDRESS\)"),
        ((SSN, MAIL), -1, "not_found", "has no identifier -1"),
        ((SSN,), 0, "not_found", "identifier 0 is all that request R-.* asks for; refuse or withdraw"),
        ((SSN, MAIL), 0, "because Ada said so", r"that is no reason to drop an identifier; name one of not_found"),
    ],
)
def test_what_cannot_be_narrowed_is_refused_in_one_line(
    store: RequestStore, identifiers: Any, number: int, reason: Any, said: str
) -> None:
    request_id = added(store, *identifiers)
    before = (store.list(), store.events())
    with pytest.raises(BadInput, match=said) as caught:
        store.narrow(request_id, number=number, reason=reason, by="Ana")
    assert "Ada" not in str(caught.value) and "\n" not in str(caught.value)
    assert (store.list(), store.events()) == before


@pytest.mark.parametrize("how", ["in a batch", "completed", "withdrawn"])
def test_what_is_in_a_batch_or_closed_is_not_narrowed(store: RequestStore, how: str) -> None:
    request_id = added(store)
    if how == "in a batch":
        opened(store)
    elif how == "completed":
        judged(store, request_id, "edited", "edited", "edited")
    else:
        store.withdraw(request_id, by="Ana")
    with pytest.raises(BadInput, match="only one that waits or needs a human can be narrowed"):
        store.narrow(request_id, number=0, reason="not_found", by="Ana")


def test_what_was_found_nowhere_is_accepted_and_its_payload_destroyed(store: RequestStore) -> None:
    request_id = added(store, received="2026-11-02", regime="drop")
    batch_id = judged(store, request_id, "edited", "not_found", "not_memorised")
    assert store.get(request_id).status == "failed"
    store.accept(request_id, by="Ana")
    view = store.get(request_id)
    assert (view.status, view.batch_id) == ("completed", batch_id)
    assert [(e.event, e.detail) for e in store.events(request_id=request_id)][-2:] == [
        ("request.accepted", {"by": "Ana"}), ("payloads.destroyed", {}),
    ]  # fmt: skip
    assert [each.status for each in store.drop_statuses()] == ["deleted"]
    with pytest.raises(BadInput, match="is completed; only one that waits"):
        store.narrow(request_id, number=0, reason="not_found", by="Ana")


LEFT: list[tuple[tuple[OutcomeKind, ...], dict[str, Any], str]] = [
    (("memorised", "edited", "edited"), {"why": "no setting passed"}, r"identifier 0 \(US_SSN\) is memorised"),
    (("edited", "not_probed", "edited"), {"why": "too few"}, "identifier 1 .EMAIL_ADDRESS. is not decided"),
    (("edited", "edited", "refused"), {"why": "too short"}, "identifier 2 .* is not sought"),
    (("edited", "edited", "not_found"), {"rows": 9, "unread": 1}, "identifier 2 .* is not found"),
    (("edited", "edited", "not_found"), {"rows": 9}, "identifier 2 .* is not found"),
]


@pytest.mark.parametrize(("kinds", "detail", "said"), LEFT, ids=[str(number) for number in range(len(LEFT))])
def test_what_may_still_be_in_the_model_cannot_be_accepted(
    store: RequestStore, kinds: tuple[OutcomeKind, ...], detail: dict[str, Any], said: str
) -> None:
    request_id = added(store)
    judged(store, request_id, *kinds, detail=detail)
    with pytest.raises(BadInput, match=said):
        store.accept(request_id, by="Ana")
    assert store.get(request_id).status == "failed"


def test_what_no_batch_has_looked_for_cannot_be_accepted(store: RequestStore) -> None:
    request_id = added(store)
    store.fail(request_id, BECAUSE)
    with pytest.raises(BadInput, match="no batch has looked for"):
        store.accept(request_id, by="Ana")
    store.retry(request_id, by="Ana")
    judged(store, request_id, "edited", "not_found")
    with pytest.raises(BadInput, match="no batch has looked for"):  # the third identifier has no outcome
        store.accept(request_id, by="Ana")
    store.retry(request_id, by="Ana")
    judged(store, request_id, "edited", "not_found", "memorised")
    store.narrow(request_id, number=2, reason="legal_hold", by="Ana")
    store.accept(request_id, by="Ana")
    assert store.get(request_id).status == "completed", "what is left was looked for, and nothing of it is there"


@pytest.mark.parametrize("given_up", [False, True])
def test_what_was_edited_in_a_candidate_that_nobody_promoted_cannot_be_accepted(
    store: RequestStore, given_up: bool
) -> None:
    request_id = added(store)
    batch_id = opened(store).id
    store.close_batch(batch_id, status="waiting", outcome={}, outcomes=settled(store, batch_id))
    if given_up:
        store.close_batch(batch_id, status="abandoned", outcome={})
    with pytest.raises(BadInput, match=f"what batch {batch_id} did to request {request_id} took no effect"):
        store.accept(request_id, by="Ana")
    assert store.get(request_id).status == "failed"


def test_outcomes_that_fit_by_chance_after_narrowing_are_not_taken_whatever_the_clock_says(
    store: RequestStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three addresses, of which the batch told of two: after one is dropped, number and types fit again."""
    three = [MAIL | {"value": f"zz{number}@example.com"} for number in range(3)]
    request_id = added(store, *three)
    judged(store, request_id, "edited", "edited")
    now = rows.now()
    monkeypatch.setattr(rows, "now", lambda: now - timedelta(days=40))
    store.narrow(request_id, number=0, reason="not_theirs", by="Ana")
    with pytest.raises(BadInput, match="no batch has looked for what request"):
        store.accept(request_id, by="Ana")
    assert store.get(request_id).status == "failed"


def test_what_is_accepted_leaves_its_digests_where_they_are_kept(url: str) -> None:
    store = RequestStore(url, Vault(KEY), keep_digests=True)
    request_id = added(store)
    judged(store, request_id, "edited", "not_found", "edited")
    store.accept(request_id, by="Ana")
    assert store.erased("demo").find(SSN["value"]) and store.erased("demo").not_listed == 0
    store.close()


@pytest.mark.parametrize("ground", get_args(RefusalGround))
def test_a_refused_request_says_on_which_ground_and_the_drop_is_told(store: RequestStore, ground: Any) -> None:
    request_id = added(store, regime="drop")
    assert store.refuse(request_id, ground=ground, by="Ana") is None
    view = store.get(request_id)
    assert (view.status, view.reason) == ("rejected", Reason(ground))
    assert [(e.event, e.detail) for e in store.events(request_id=request_id)][-1] == (
        "request.refused", {"by": "Ana", "reason": ground},
    )  # fmt: skip
    assert [each.status for each in store.drop_statuses()] == ["exempted" if ground in EXEMPTIONS else None]


def test_a_duplicate_of_a_refused_request_goes_on_and_is_named(store: RequestStore) -> None:
    first, second = added(store), added(store)
    assert store.refuse(first, ground="excessive", by="Ana") == second
    assert store.get(second).status == "received"


def test_grounds_and_reasons_are_codes_and_no_sentence_is_stored(store: RequestStore) -> None:
    request_id = added(store)
    before = (store.list(), store.events())
    with pytest.raises(BadInput, match="that is no ground to refuse a request; name one of expression") as caught:
        store.refuse(request_id, ground="Ada Quillfern is rude", by="Ana")  # type: ignore[arg-type]  # from outside
    assert "Ada" not in str(caught.value)
    assert (store.list(), store.events()) == before
    assert all(code.isidentifier() for code in (*get_args(RefusalGround), *get_args(NarrowingReason)))


TOLD = {"legal_hold": "exempted", "cannot_be_sought": None, "not_theirs": "deleted", "not_found": "deleted",
        "no_longer_asked": "deleted"}  # fmt: skip


@pytest.mark.parametrize("reason", get_args(NarrowingReason))
def test_the_drop_is_told_no_more_than_was_done_of_a_request_that_was_narrowed(
    store: RequestStore, reason: Any
) -> None:
    request_id = added(store, regime="drop")
    store.narrow(request_id, number=2, reason=reason, by="Ana")
    judged(store, request_id, "edited", "edited")
    assert [each.status for each in store.drop_statuses()] == [TOLD[reason]]


def test_every_identifier_that_was_dropped_is_said_to_be_destroyed(
    store: RequestStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where another process keeps the database busy, and the bytes of both are removed later, at once."""
    request_id = added(store)
    with monkeypatch.context() as busy:
        busy.setattr("infra.requests.database.Database.vacuum", lambda _: False)
        store.narrow(request_id, number=0, reason="not_theirs", by="Ana")
        store.narrow(request_id, number=1, reason="not_theirs", by="Ana")
    store.withdraw(request_id, by="Ana")
    said = [(e.event, e.detail) for e in store.events(request_id=request_id) if "destroyed" in e.event]
    assert sorted(said, key=str) == [
        ("identifier.destroyed", {"number": 0}), ("identifier.destroyed", {"number": 1}), ("payloads.destroyed", {}),
    ]  # fmt: skip
