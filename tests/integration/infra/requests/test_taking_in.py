"""Files of requests are taken in once each, whatever is sent twice, and what is bad is set aside."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, date
from typing import Any

import pytest
from stored_requests import BECAUSE, PARTS, complete, line, open_store, opened, payloads

from infra.keys.vault import Vault
from infra.requests import Intake, RequestStore
from infra.requests.reasons import Reason
from revs.errors import BadInput


def test_a_file_is_taken_in_and_bad_lines_are_set_aside(store, hand_in) -> None:
    intake = hand_in(line(1), line(2, received="219-41-0002"), line(3, due="2026-11-09", model="other"))
    assert (intake.received, len(intake.accepted), intake.duplicates) == (3, 2, ())
    ((rejected, reason),) = intake.rejected
    assert reason == f"{rejected}, line 2: received is missing or not a date such as 2026-11-02"
    first, third = (store.get(request_id) for request_id in intake.accepted)
    assert (first.model, first.status, first.due) == ("demo", "received", date(2026, 12, 2))
    assert (third.model, third.due) == ("other", date(2026, 11, 9))
    assert first.types == ("EMAIL_ADDRESS", "US_SSN")
    assert first.submitted_at.tzinfo is UTC
    assert (len(first.subject), len(first.digest)) == (64, 64)
    bad = store.get(rejected)
    assert (bad.status, f"{rejected}, {bad.reason}", bad.subject, bad.types) == ("rejected", reason, "", ())
    assert bad.reason == Reason("malformed_no_date", {"line": 2, "field": "received"})
    assert bad.closed_at is not None


def test_the_same_file_twice_adds_nothing(store, hand_in, tmp_path) -> None:
    lines = (line(1), line(1), "{", line(2))
    first = hand_in(*lines)
    assert hand_in(*lines, name="renamed.jsonl") == first
    assert open_store(tmp_path).add_file(tmp_path / "r.jsonl", model="demo") == first
    assert len(store.list()) == 4
    assert len(store.events()) == 4


def test_the_same_file_after_its_requests_are_completed_adds_nothing(store, hand_in) -> None:
    first = hand_in(line(1))
    complete(store, opened(store).id)
    again = hand_in(line(1))
    assert (again.known, again.accepted) == (True, first.accepted)
    assert store.open_batch(model="demo", corpus="", source="") is None


def test_a_crash_while_a_file_is_stored_leaves_nothing_of_it(store, hand_in, monkeypatch) -> None:
    vault_seal = Vault.seal
    calls = []

    def die(self: Vault, plaintext: bytes, *, of: str) -> Any:
        calls.append(of)
        if len(calls) == 5:  # in the middle of the second request
            raise KeyboardInterrupt
        return vault_seal(self, plaintext, of=of)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Vault, "seal", die)
        hand_in(line(1), line(2), line(3))
    assert store.list() == []
    assert len(hand_in(line(1), line(2), line(3)).accepted) == 3


def test_one_request_can_be_added_alone(store) -> None:
    intake = store.add(json.loads(line(1)), model="demo")
    assert (intake.received, len(intake.accepted)) == (1, 1)
    assert store.add(json.loads(line(1)), model="demo") == intake
    ((rejected, reason),) = store.add({"subject": "customer 9"}, model="demo").rejected
    assert reason.startswith(f"{rejected}, line 1: received")
    with pytest.raises(BadInput, match="not a JSON object") as caught:
        store.add({"subject": {"219-41-5522"}}, model="demo")
    assert "219" not in str(caught.value)


@pytest.mark.parametrize("while_status", ["received", "processing"])
def test_a_demand_that_is_pending_is_folded_into_the_first_one(store, hand_in, while_status) -> None:
    first = hand_in(line(1)).accepted[0]
    if while_status == "processing":
        opened(store)
    reordered = json.loads(line(1, received="2026-11-03"))
    reordered["identifiers"].reverse()
    reordered["identifiers"][0]["value"] = "zZ1@EXAMPLE.com"
    intake = hand_in(json.dumps(reordered), line(2), name="second.jsonl")
    (folded,) = intake.duplicates
    assert len(intake.accepted) == 1
    view = store.get(folded)
    assert (view.status, view.duplicate_of) == ("duplicate", first)
    assert view.digest == store.get(first).digest
    assert store.get(first).status == while_status


def test_a_duplicate_leaves_no_payload_that_would_outlive_the_first(store, hand_in, tmp_path) -> None:
    hand_in(line(1), line(1))
    assert len(payloads(tmp_path)) == 2 * PARTS
    complete(store, opened(store).id)
    assert payloads(tmp_path) == []


def test_a_duplicate_that_is_due_earlier_moves_the_first_one_forward(store, hand_in) -> None:
    (first,) = hand_in(line(1), line(1, due="2026-11-10"), line(1, due="2026-12-24")).accepted
    assert store.get(first).due == date(2026, 11, 10)
    assert [event.event for event in store.events(request_id=first)] == [
        "request.received",
        "request.due_moved_forward",
    ]


@pytest.mark.parametrize("end", ["completed", "rejected", "failed"])
def test_a_demand_whose_first_one_is_closed_is_a_new_request(store, hand_in, end) -> None:
    first = hand_in(line(1)).accepted[0]
    batch = opened(store)
    if end == "rejected":
        store.reject(first, BECAUSE)
    elif end == "failed":
        store.fail(first, BECAUSE)
    complete(store, batch.id)
    assert store.get(first).status == end
    again = hand_in(line(1, received="2027-01-02"), name="later.jsonl")
    assert len(again.accepted) == 1


def test_two_pending_requests_of_one_demand_are_impossible_in_the_database(store, hand_in, tmp_path) -> None:
    first, second = hand_in(line(1), line(2)).accepted
    digest = store.get(first).digest
    connection = sqlite3.connect(tmp_path / "requests.db")
    with pytest.raises(sqlite3.IntegrityError):
        connection.execute("UPDATE requests SET digest = ? WHERE id = ?", (digest, second))
    connection.close()


def test_ids_are_short_and_say_nothing(store, hand_in) -> None:
    accepted = hand_in(*(line(number) for number in range(50))).accepted
    assert len(set(accepted)) == 50
    assert all(len(request_id) == 10 and request_id.startswith("R-") for request_id in accepted)
    batch = opened(store)
    assert batch.id.startswith(f"B-{batch.opened_at:%Y%m%d}-")
    assert len(batch.id) == 17


# ---- one demand, several models


EVERYWHERE = '"*"'


def of_models(models: str) -> str:
    return line(1).replace('"subject"', f'"model": {models}, "subject"', 1)


@pytest.mark.parametrize(
    ("models", "named", "why"),
    [
        ('["support", "demo"]', ["demo", "support"], "a list"),
        ('["demo", "demo"]', ["demo"], "one named twice is meant once"),
        (EVERYWHERE, ["demo", "search", "support"], "all that are registered"),
    ],
)
def test_a_demand_that_names_several_models_is_one_case_of_a_request_each(
    store, tmp_path, models: str, named: list[str], why: str
) -> None:
    (tmp_path / "r.jsonl").write_text("\n".join([of_models(models), line(2)]))
    registered = ["support", "demo", "search"]
    intake = store.add_file(tmp_path / "r.jsonl", model="demo", models=registered)
    assert len(intake.accepted) == len(named) + 1, why
    (case,) = {store.get(id_).case_id for id_ in intake.accepted[:-1]}
    assert sorted(view.model for view in store.list(case_id=case)) == named
    assert store.get(intake.accepted[-1]).case_id != case
    assert store.add_file(tmp_path / "r.jsonl", model="demo", models=registered) == intake


def test_each_model_of_a_case_has_its_own_batch_and_end(store, tmp_path) -> None:
    (tmp_path / "r.jsonl").write_text(of_models('["demo", "support"]'))
    store.add_file(tmp_path / "r.jsonl", model="demo")
    complete(store, opened(store, "support").id)
    assert {view.model: view.status for view in store.list()} == {"support": "completed", "demo": "received"}
    ((identifier, _),) = store.identifiers(opened(store, "demo").id).values()
    assert identifier.value == "219-41-0001", "the other's payload is still there"


def test_the_rows_of_a_table_may_name_every_model(store, tmp_path) -> None:
    (tmp_path / "r.csv").write_text(
        "subject,received,model,type,value\n"
        "customer 1,2026-11-02,*,US_SSN,219-41-0001\ncustomer 1,2026-11-02,*,EMAIL_ADDRESS,zz1@example.com\n"
    )
    store.add_file(tmp_path / "r.csv", model="demo", models=["demo", "support"])
    assert [(view.model, view.types) for view in store.list()] == [
        (model, ("EMAIL_ADDRESS", "US_SSN")) for model in ("demo", "support")
    ]


@pytest.mark.parametrize(
    ("models", "registered", "reason"),
    [
        (EVERYWHERE, None, "none is registered; name it"),
        ("[]", ["demo"], "model is not a model name"),
        ('["demo", 7]', ["demo"], "model is not a model name"),
        ('["demo", ["demo"]]', ["demo"], "model is not a model name"),
        ('["demo", "219-41-0001"]', ["demo"], "model is not a model name"),
        ('["demo", "other"]', ["demo", "support"], "is not one of those that are registered"),
    ],
)
def test_a_demand_whose_models_cannot_be_meant_is_set_aside_as_a_whole(
    store, tmp_path, models: str, registered: list[str] | None, reason: str
) -> None:
    (tmp_path / "r.jsonl").write_text(of_models(models))
    intake = store.add_file(tmp_path / "r.jsonl", model="demo", models=registered)
    ((_, why),) = intake.rejected
    assert reason in why and "219-41" not in why


def test_the_same_file_is_new_once_one_of_the_models_it_names_was_trained_again(store: RequestStore) -> None:
    """Not only where the model is trained again that is meant by requests which name none."""
    data = "\n".join([line(1, model="demo"), line(2, model="other")]).encode()
    trained = {"demo": "1", "other": "1", "third": "1"}

    def add() -> Intake:
        return store.add_bytes(data, name="r.jsonl", model="third", generation=trained.__getitem__, models=trained)

    assert len(add().accepted) == 2 and add().known
    trained["third"] = "2"
    assert add().known, "nothing in the file is for it"
    for view in store.list():
        store.withdraw(view.id, by="Ana")
    trained["other"] = "2"
    assert not (again := add()).known and len(again.accepted) == 2
