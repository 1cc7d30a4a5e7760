"""Submissions: all of a list or nothing, the same key gives the same answer whatever changed meanwhile, due dates."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from served import EMAIL, GOOD, SSN, Served
from stored_requests import stored_bytes

from infra.requests import submissions
from infra.requests.answers import Answers

KEYED = {"Idempotency-Key": "5f0c3c1e"}


def send(served: Served, body: Any, role: str = "submitter", *, keyed: bool = True) -> Any:
    return served.client(role).post("/v1/requests", json=body, headers=KEYED if keyed else {})


def code_of(answer: Any) -> str:
    return str(answer.json()["type"]).rpartition(":")[2]


def ids(answer: Any) -> list[str]:
    assert answer.status_code == 201, answer.text
    return [each["id"] for each in answer.json()["requests"]]


def test_a_list_is_stored_in_one_transaction_or_not_at_all(
    served_on_both: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = served_on_both
    body = [GOOD | {"subject": f"s {number}"} for number in range(5)]
    seal, left = submissions._request, iter(range(3))

    def failing(*arguments: Any, **named: Any) -> Any:
        if next(left, None) is None:
            raise KeyError(SSN)
        return seal(*arguments, **named)

    with monkeypatch.context() as broken:
        broken.setattr(submissions, "_request", failing)
        assert send(served, body).status_code == 500
    assert not served.store.list()
    stored = ids(send(served, body))
    assert sorted(stored) == sorted(view.id for view in served.store.list()) and len(stored) == 5
    assert ids(send(served, body)) == stored


@pytest.mark.parametrize("after", [["demo", "other"], ["other"], []], ids=["one more", "another", "none"])
def test_a_key_gives_its_answer_whatever_is_registered_by_then(served_on_both: Served, after: list[str]) -> None:
    served = served_on_both
    first = send(served, GOOD)
    served.models[:] = after
    assert send(served, GOOD).text == first.text
    assert len(served.store.list()) == 1
    assert send(served, GOOD | {"subject": "b"}).status_code == 422, "another body under the key"


@pytest.mark.parametrize("after", [["demo"], ["demo", "other"], ["a", "demo"], ["other"], []])
def test_a_keyed_submission_that_was_cut_off_goes_on_as_it_was_begun(
    served_on_both: Served, after: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    served = served_on_both
    body = [GOOD | {"subject": f"s {number}"} for number in range(3)]
    with monkeypatch.context() as cut:
        cut.setattr(Answers, "end", lambda *_: 1 / 0)
        assert code_of(send(served, body)) == "fault"
    assert len(served.store.list()) == 3
    served.models[:] = after
    assert sorted(ids(send(served, body))) == sorted(view.id for view in served.store.list())
    assert len(served.store.list()) == 3


def test_a_malformed_submission_does_not_use_its_key_up(served: Served) -> None:
    assert send(served, GOOD | {"received": "soon"}).status_code == 422
    assert len(ids(send(served, GOOD))) == 1


def test_a_submitter_names_an_earlier_due_date_and_never_a_later_one_than_the_laws(served: Served) -> None:
    late = send(served, [GOOD, GOOD | {"due": "2026-12-03"}], keyed=False)
    assert late.status_code == 422
    assert late.json()["errors"] == [
        {
            "pointer": "/1/due",
            "detail": "due is later than the law's day, 2026-12-02: leave it out, or name an earlier day",
        }
    ]
    assert not served.store.list()
    for due in ("2026-12-02", "2026-11-10"):
        (request_id,) = ids(send(served, GOOD | {"due": due}, keyed=False))
        assert str(served.store.get(request_id).due) == due
    (request_id,) = ids(send(served, GOOD | {"due": "2027-01-31"}, "officer", keyed=False))
    assert str(served.store.get(request_id).due) == "2027-01-31"


@pytest.mark.parametrize("model", ["Zorblatt", "Quillfern", EMAIL])
def test_a_name_in_the_place_of_a_model_is_refused_at_the_door_also_where_none_is_registered(
    served: Served, tmp_path: Path, model: str
) -> None:
    for models in ([], ["demo"]):
        served.models[:] = models
        for named in (model, [model], ["demo", model]):
            answer = send(served, GOOD | {"model": named}, keyed=False)
            assert answer.status_code in {409, 422} and model not in answer.text
    served.store.close()
    assert model.encode() not in stored_bytes(tmp_path)


OPENDSR: dict[str, Any] = {
    "regulation": "ccpa",
    "subject_request_id": "a7551968-d5d6-44b2-9831-815ac9017798",
    "subject_request_type": "erasure",
    "submitted_time": "2026-11-02T15:00:00Z",
    "subject_identities": [{"identity_type": "email", "identity_value": EMAIL, "identity_format": "raw"}],
}


def test_an_erasure_request_of_opendsr_is_taken_for_every_model(served_on_both: Served) -> None:
    served = served_on_both
    (request_id,) = ids(send(served, OPENDSR))
    view = served.store.get(request_id)
    assert (view.regime, view.types, view.status, str(view.due)) == (
        *("ccpa", ("EMAIL_ADDRESS",), "unverified", "2026-12-17"),
    )
    served.models[:] = ["demo", "other"]
    answer = send(served, [OPENDSR, GOOD | {"model": "demo"}], keyed=False)
    assert [(each["number"], each["model"]) for each in answer.json()["requests"]] == [
        *((0, "demo"), (0, "other"), (1, "demo")),
    ]


def test_what_of_opendsr_cannot_be_fulfilled_is_refused_with_its_place(served: Served) -> None:
    hashed = OPENDSR["subject_identities"][0] | {"identity_format": "sha256"}
    body = [
        OPENDSR | {"subject_request_type": "access"},
        OPENDSR | {"subject_identities": [hashed]},
        OPENDSR | {"submitted_time": "9999-12-31T00:00:00Z"},
    ]
    answer = send(served, body)
    assert answer.status_code == 422 and EMAIL not in answer.text
    assert [each["pointer"] for each in answer.json()["errors"]] == [
        *("/0/subject_request_type", "/1/subject_identities/0/identity_format", "/2/submitted_time"),
    ]
    assert not served.store.list()


def test_what_is_received_in_the_future_is_refused_at_the_door(served: Served) -> None:
    today = datetime.now(UTC).date()
    for role in ("submitter", "officer"):
        client = served.client(role)
        answer = client.post("/v1/requests", json=GOOD | {"received": f"{today + timedelta(days=2)}"})
        assert answer.status_code == 422 and "received is in the future" in answer.text
        ahead = client.post("/v1/requests", json=GOOD | {"received": f"{today + timedelta(days=1)}", "subject": role})
        assert ahead.status_code == 201, "it is tomorrow already somewhere"


def test_a_submitter_does_not_learn_that_somebody_else_asked_for_the_same(served: Served) -> None:
    mine, theirs = served.submitted("officer"), served.submitted("submitter")
    for each in (mine, theirs):
        served.client("officer2").post(f"/v1/requests/{each}/verify").raise_for_status()
    assert served.client("officer").get(f"/v1/requests/{theirs}").json()["duplicate_of"] == mine
    seen = served.client("submitter").get(f"/v1/requests/{theirs}").json()
    assert (seen["status"], seen["duplicate_of"]) == ("duplicate", None) and mine not in str(seen)
