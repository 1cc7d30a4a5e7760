"""The API: who may do what, what comes back, and what the same key gives again."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from served import EMAIL, GOOD, SSN, Served
from stored_requests import BECAUSE, KEY, complete, opened

from infra.keys.vault import Vault
from infra.requests import RequestStore
from infra.requests.tokens import ROLES, Tokens
from infra.service.roles import ACTIONS, MAY
from revs.errors import OperationFailed

ROLES_OF = {
    "submit": {"submitter", "officer"},
    "read": {"submitter", "officer", "operator", "auditor"},
    "list": {"officer", "operator", "auditor"},
    "metrics": {"officer", "operator", "auditor"},
    "candidates": {"officer", "operator", "auditor"},
    "verify": {"officer"},
    "withdraw": {"officer"},
    "hold": {"officer"},
    "release": {"officer"},
    "extend": {"officer"},
    "acknowledge": {"officer"},
    "retry": {"officer", "operator"},
    "accept": {"officer"},
    "narrow": {"officer"},
    "refuse": {"officer"},
}
BESIDE = {"history", "late due date"}  # a part of reading and of submitting, with tests of their own
BODIES: dict[str, dict[str, Any]] = {
    "hold": {"ground": "legal_hold"},
    "extend": {"reason": "complexity"},
    "narrow": {"number": 0, "reason": "not_theirs"},
    "refuse": {"ground": "excessive"},
}


def call(served: Served, role: str | None, what: str, request_id: str = "R-00000000") -> Any:
    client = served.client(role)
    if what in ACTIONS:
        return client.post(f"/v1/requests/{request_id}/{what}", json=BODIES.get(what))
    return {
        "submit": lambda: client.post("/v1/requests", json=GOOD),
        "read": lambda: client.get(f"/v1/requests/{request_id}"),
        "list": lambda: client.get("/v1/requests"),
        "metrics": lambda: client.get("/v1/metrics"),
        "candidates": lambda: client.get("/v1/candidates"),
    }[what]()


def problem(answer: Any, status: int, code: str) -> dict[str, Any]:
    """The problem document of an answer: one line, and nothing that was sent."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = answer.json()
    assert document["type"] == f"urn:revs:problem:{code}" and document["status"] == status
    assert "\n" not in document["detail"] and len(document["detail"]) > 10
    return document


def test_the_table_of_the_documentation_is_that_of_the_program() -> None:
    assert {what: set(roles) for what, roles in MAY.items() if what not in BESIDE} == ROLES_OF


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("what", sorted(ROLES_OF))
def test_a_role_does_what_the_table_says_and_nothing_else(served: Served, role: str, what: str) -> None:
    answer = call(served, role, what)
    if role in ROLES_OF[what]:
        assert answer.status_code in {200, 201, 404}, answer.text
    else:
        problem(answer, 403, "role")
        assert not served.store.list()


@pytest.mark.parametrize("what", sorted(ROLES_OF))
def test_nothing_is_done_without_a_token(served: Served, what: str) -> None:
    answer = call(served, None, what)
    problem(answer, 401, "no-token")
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_request_goes_from_submission_to_completion(served_on_both: Served) -> None:
    served = served_on_both
    client = served.client("officer2")
    answer = served.client("submitter").post("/v1/requests", json=GOOD)
    request_id = answer.json()["requests"][0]["id"]
    assert answer.headers["location"] == f"/v1/requests/{request_id}"
    (told,) = answer.json()["requests"]
    assert (told["number"], told["result"], told["model"]) == (0, "accepted", "demo")
    found = client.get(answer.headers["location"]).json()
    assert (found["status"], found["due"], found["types"]) == ("unverified", "2026-12-02", ["EMAIL_ADDRESS", "US_SSN"])
    assert set(found["actions"]) == {"verify", "acknowledge", "extend", "narrow", "refuse", "withdraw"}
    for action, status in (("verify", "received"), ("hold", "on_hold"), ("release", "received")):
        assert call(served, "officer2", action, request_id).json()["status"] == status
    batch = opened(served.store)
    complete(served.store, batch.id)
    found = client.get(f"/v1/requests/{request_id}").json()
    assert (found["status"], found["days_left"], found["actions"]) == ("completed", None, [])
    assert [(each["number"], each["type"], each["outcome"]) for each in found["outcomes"]] == [
        (0, "US_SSN", "edited"),
        (1, "EMAIL_ADDRESS", "edited"),
    ]
    by = {each["event"]: each["by"] for each in found["history"]}
    assert by["request.unverified"] == "the submitter" and by["request.verified"] == "the other officer"


def test_who_submitted_a_request_may_not_verify_it_and_somebody_else_may(served_on_both: Served) -> None:
    served = served_on_both
    request_id = served.submitted("officer")
    problem(call(served, "officer", "verify", request_id), 403, "own-request")
    assert served.store.get(request_id).status == "unverified"
    assert "verify" not in served.client("officer").get(f"/v1/requests/{request_id}").json()["actions"]
    assert call(served, "officer2", "verify", request_id).json()["status"] == "received"


def test_a_submitter_reads_its_own_requests_alone_and_no_history(served: Served) -> None:
    mine, theirs = served.submitted(subject="a"), served.submitted("officer", subject="b")
    client = served.client("submitter")
    assert client.get(f"/v1/requests/{mine}").json()["history"] == []
    problem(client.get(f"/v1/requests/{theirs}"), 404, "unknown-request")
    assert served.client("officer").get(f"/v1/requests/{theirs}").json()["history"]


def test_what_is_in_no_state_for_it_is_a_conflict(served: Served) -> None:
    request_id = served.submitted()
    for action in ("hold", "release", "retry"):
        problem(call(served, "officer", action, request_id), 409, "state")


def test_a_period_is_extended_once_for_a_reason_of_its_law_and_receipt_is_confirmed(served_on_both: Served) -> None:
    served, client = served_on_both, served_on_both.client("officer")
    received = str(datetime.now(UTC).date() - timedelta(days=1))
    request_id = served.submitted(received=received, regime="CCPA")
    path = f"/v1/requests/{request_id}"
    before = client.get(path).json()
    assert before["regime"] == "ccpa" and before["acknowledge_by"] > received
    document = problem(client.post(f"{path}/extend", json={"reason": "complexity"}), 422, "invalid")
    assert document["errors"] == [{"pointer": "/reason", "detail": "is not one of reasonably_necessary"}]
    after = client.post(f"{path}/extend", json={"reason": "reasonably_necessary"}).json()
    assert after["days_left"] == before["days_left"] + 45 and "extend" not in after["actions"]
    problem(client.post(f"{path}/extend", json={"reason": "reasonably_necessary"}), 409, "state")
    confirmed = client.post(f"{path}/acknowledge").json()
    assert confirmed["acknowledged_at"] and "acknowledge" not in confirmed["actions"]
    assert {each["by"] for each in confirmed["history"][1:]} == {"the officer"}
    drop = served.submitted(received=received, regime="drop", subject="other")
    assert "extend" not in client.get(f"/v1/requests/{drop}").json()["actions"]
    answer = client.post(f"/v1/requests/{drop}/extend", json={"reason": SSN})
    assert "has no extension" in problem(answer, 409, "state")["detail"] and SSN not in answer.text


def test_an_action_that_is_told_nonsense_does_nothing(served: Served) -> None:
    request_id = served.submitted()
    call(served, "officer", "verify", request_id)
    for body in ({"ground": SSN}, {"ground": None}, {SSN: "legal_hold"}, [], "legal_hold", {}):
        document = problem(served.client("officer").post(f"/v1/requests/{request_id}/hold", json=body), 422, "invalid")
        assert SSN not in json.dumps(document)
    assert served.store.get(request_id).status == "received"


def test_the_same_key_and_body_store_one_request_and_another_body_is_refused(served_on_both: Served) -> None:
    served = served_on_both
    client = served.client("submitter")
    keyed = {"Idempotency-Key": "5f0c3c1e"}
    answers = [client.post("/v1/requests", json=GOOD, headers=keyed) for _ in range(3)]
    assert {answer.text for answer in answers} == {answers[0].text}
    assert [answer.status_code for answer in answers] == [201] * 3
    problem(client.post("/v1/requests", json=GOOD | {"subject": "b"}, headers=keyed), 422, "another-body")
    assert len(served.store.list()) == 1
    # The key is that of a token: another's is another.
    served.client("officer").post("/v1/requests", json=GOOD | {"subject": "c"}, headers=keyed)
    assert len(served.store.list()) == 2


def test_a_key_is_known_after_the_deployment_key_was_changed_and_forgotten_after_a_week(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyed = {"Idempotency-Key": "k"}
    before = served.client("submitter").post("/v1/requests", json=GOOD, headers=keyed).text
    served.store._vault = served.app.state.desk._answers._vault = Vault(bytes(32), KEY)
    assert served.client("submitter").post("/v1/requests", json=GOOD, headers=keyed).text == before
    problem(served.client("submitter").post("/v1/requests", json=[GOOD], headers=keyed), 422, "another-body")
    later = datetime.now(UTC) + timedelta(days=8)
    monkeypatch.setattr("infra.requests.rows.now", lambda: later)
    assert served.client("submitter").post("/v1/requests", json=[GOOD], headers=keyed).status_code == 201


def test_without_a_key_the_same_demand_is_another_request(served: Served) -> None:
    first, second = served.submitted(), served.submitted()
    assert first != second
    call(served, "officer", "verify", first)
    answer = call(served, "officer", "verify", second).json()
    assert (answer["status"], answer["duplicate_of"]) == ("duplicate", first)
    third = served.client("submitter").post("/v1/requests", json=GOOD).json()["requests"]
    assert {view.status for view in served.store.list() if view.id == third[0]["id"]} <= {"unverified", "duplicate"}


def test_one_malformed_request_stops_its_whole_list_and_all_places_are_named(served: Served) -> None:
    bad = {"subject": "x", "received": "soon", "identifiers": []}
    worse = GOOD | {"identifiers": [{"type": "EMAIL_ADDRESS", "value": "not one"}]}
    document = problem(served.client("submitter").post("/v1/requests", json=[GOOD, bad, worse]), 422, "invalid")
    assert [each["pointer"] for each in document["errors"]] == ["/1/received", "/2/identifiers/0/value"]
    assert not served.store.list()


@pytest.mark.parametrize(
    ("models", "named", "status", "code"),
    [
        (["demo"], None, 201, None),
        (["demo", "other"], "other", 201, None),
        (["demo", "other"], None, 422, "invalid"),
        (["demo"], "other", 422, "invalid"),
        (["demo"], EMAIL, 422, "invalid"),
        ([], "demo", 409, "no-model"),
    ],
)
def test_only_registered_models_are_taken(
    served: Served, models: list[str], named: str | None, status: int, code: str | None
) -> None:
    served.models[:] = models
    answer = served.client("submitter").post("/v1/requests", json=GOOD | ({"model": named} if named else {}))
    if code:
        problem(answer, status, code)
        assert EMAIL not in answer.text and not served.store.list()
    else:
        assert served.store.get(answer.json()["requests"][0]["id"]).model == (named or "demo")


def test_a_demand_to_several_models_is_one_case_with_a_request_for_each(served_on_both: Served) -> None:
    served = served_on_both
    served.models[:] = ["demo", "other", "third"]
    body = [GOOD | {"model": ["other", "demo"]}, GOOD | {"model": "*", "subject": "b"}]
    told = served.client("submitter").post("/v1/requests", json=body).json()["requests"]
    assert [(each["number"], each["model"]) for each in told] == [
        (0, "demo"), (0, "other"), (1, "demo"), (1, "other"), (1, "third")
    ]  # fmt: skip
    assert len({each["case_id"] for each in told}) == 2
    assert {view.model for view in served.store.list(case_id=told[0]["case_id"])} == {"demo", "other"}
    document = problem(
        served.client("submitter").post("/v1/requests", json=GOOD | {"model": ["demo", EMAIL]}), 422, "invalid"
    )
    assert EMAIL not in json.dumps(document)


def test_the_list_has_the_most_urgent_first_and_what_is_done_last(served_on_both: Served) -> None:
    served = served_on_both
    late, done, soon = (served.submitted(subject=f"s {day}", received=f"2026-11-{day:02}") for day in (20, 1, 10))
    call(served, "officer", "withdraw", done)
    client = served.client("auditor")

    def ids(query: str) -> list[str]:
        return [each["id"] for each in client.get(f"/v1/requests{query}").json()["requests"]]

    assert ids("") == [soon, late, done]
    assert ids("?status=unverified") == [soon, late]
    assert ids("?status=unverified&status=withdrawn") == [soon, late, done]
    assert ids("?due=2026-12-10") == [soon, done]
    assert ids("?page=2") == []
    for query in (
        "?status=zz",
        "?due=soon",
        "?due=20261210",
        "?due=86400",
        "?page=0",
        f"?due={EMAIL}",
        "?page=99999999999",
    ):
        assert EMAIL not in json.dumps(problem(client.get(f"/v1/requests{query}"), 422, "invalid"))


def test_a_list_has_fifty_on_a_page(served: Served) -> None:
    body = [GOOD | {"subject": f"s {number}"} for number in range(60)]
    assert served.client("submitter").post("/v1/requests", json=body).status_code == 201
    found = [served.client("officer").get(f"/v1/requests?page={page}").json() for page in (1, 2)]
    assert [len(each["requests"]) for each in found] == [50, 10]
    assert [(each["total"], each["pages"]) for each in found] == [(60, 2)] * 2
    assert len({each["id"] for page in found for each in page["requests"]}) == 60


def test_prometheus_reads_the_metrics(served_on_both: Served) -> None:
    served = served_on_both
    today = datetime.now(UTC).date()
    for ago in (40, 25, 0):
        served.submitted(subject=f"s {ago}", received=str(today - timedelta(days=ago)))
    answer = served.client("operator").get("/v1/metrics")
    found = {family.name: family.samples for family in text_string_to_metric_families(answer.text)}
    values = {sample.labels["status"]: sample.value for sample in found["revs_requests"]}
    assert values["unverified"] == 3 and values["withdrawn"] == 0
    assert [found[f"revs_requests_{name}"][0].value for name in ("overdue", "at_risk")] == [1, 1]


def test_health_and_readiness_need_no_token_and_readiness_asks_the_store(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = served.client()
    assert [client.get(f"/v1/{name}").json() for name in ("health", "ready")] == [{"status": "ok"}] * 2

    def down(*_: Any) -> Any:
        raise OperationFailed("the disk is gone")

    monkeypatch.setattr("infra.requests.database.Database.read", down)
    assert client.get("/v1/health").status_code == 200
    assert "disk" not in json.dumps(problem(client.get("/v1/ready"), 503, "unavailable"))


def test_after_the_key_was_changed_a_process_that_has_the_old_one_is_not_ready(served_on_both: Served) -> None:
    served = served_on_both
    rotated = RequestStore(served.url, Vault(bytes(32), KEY))
    rotated.rotate()
    document = problem(served.client().get("/v1/ready"), 503, "other-key")
    assert "start it again" in document["detail"]
    problem(served.client("submitter").post("/v1/requests", json=GOOD), 503, "unavailable")
    rotated.close()


def test_a_token_opens_nothing_once_it_is_revoked_or_expired(
    served_on_both: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = served_on_both
    assert served.client("officer").get("/v1/requests").status_code == 200
    token = next(each for each in served.tokens.list() if each.name == "the officer")
    assert token.last_used == datetime.now(UTC).date()
    served.tokens.revoke(token.id, by="a test")
    problem(served.client("officer").get("/v1/requests"), 401, "no-token")
    assert served.client("officer2").get("/v1/requests").status_code == 200
    later = datetime.now(UTC) + timedelta(days=366)
    monkeypatch.setattr("infra.requests.rows.now", lambda: later)
    problem(served.client("officer2").get("/v1/requests"), 401, "no-token")


@pytest.mark.parametrize(
    "secret", ["", "revs_", "revs_x", "revs_" + "A" * 43, "A" * 43, "revs_" + "é" * 43, "R" * 5000]
)
def test_what_is_no_token_opens_nothing(served: Served, secret: str) -> None:
    client = served.client()
    headers = {b"Authorization": f"Bearer {secret}".encode("latin-1")}
    problem(client.get("/v1/requests", headers=headers), 401, "no-token")


def test_the_database_holds_no_token(served: Served, tmp_path: Any) -> None:
    held = b"".join(path.read_bytes() for path in tmp_path.glob("requests.db*"))
    assert not any(secret.removeprefix("revs_").encode() in held for secret in served.secret.values())
    assert all(re.fullmatch(r"revs_[\w-]{43}", secret) for secret in served.secret.values())


def test_the_log_holds_who_got_a_token_and_who_took_it_away(served: Served) -> None:
    token, secret = Tokens(served.store).add(role="auditor", name="Ann", days=1, by="Bo")
    served.tokens.revoke(token.id, by="Cy")
    served.tokens.revoke(token.id, by="Cy")
    found = [each for each in served.store.events() if each.detail.get("token") == token.id]
    assert [(each.event, each.detail["by"]) for each in found] == [("token.added", "Bo"), ("token.revoked", "Cy")]
    assert secret not in str([each.detail for each in found])


def test_an_officer_narrows_a_request_and_refuses_what_is_left(served_on_both: Served) -> None:
    request_id = served_on_both.submitted()
    narrowed = call(served_on_both, "officer2", "narrow", request_id).json()
    assert (narrowed["status"], narrowed["history"][-2]["event"]) == ("unverified", "request.narrowed")
    assert call(served_on_both, "officer2", "narrow", request_id).json() == narrowed, "the same number again"
    last = served_on_both.client("officer2").post(
        f"/v1/requests/{request_id}/narrow", json={"number": 1, "reason": "not_theirs"}
    )
    assert "is all that request" in problem(last, 409, "state")["detail"]
    refused = call(served_on_both, "officer2", "refuse", request_id).json()
    assert (refused["status"], refused["reason_code"]) == ("rejected", "excessive")


@pytest.mark.parametrize(
    "body",
    [
        {}, {"reason": "not_theirs"}, {"number": 0}, {"number": True, "reason": "not_theirs"},
        {"number": "0", "reason": "x"}, {"number": 0, "reason": "because Ada said so"},
        {"number": 0, "reason": "not_theirs", "note": "Ada"},
    ],
)  # fmt: skip
def test_a_body_that_does_not_say_which_identifier_and_why_changes_nothing(
    served: Served, body: dict[str, Any]
) -> None:
    request_id = served.submitted()
    before = served.store.events()
    answer = served.client("officer2").post(f"/v1/requests/{request_id}/narrow", json=body)
    problem(answer, 422, "invalid")
    assert "Ada" not in answer.text and served.store.events() == before


def test_what_no_batch_has_looked_for_is_not_accepted_over_http(served: Served) -> None:
    request_id = served.submitted()
    call(served, "officer2", "verify", request_id)
    served.store.fail(request_id, BECAUSE)
    assert "no batch has looked" in problem(call(served, "officer2", "accept", request_id), 409, "state")["detail"]
