"""Approval over the service: the role of the setting alone, of what a batch made and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from served import MADE, Served

from infra.requests.approvals import APPROVED, Approvals
from infra.requests.tokens import ROLES


def approve(served: Served, role: str | None, batch_id: str, what: Any = MADE) -> tuple[int, str]:
    answer = served.client(role).post(f"/v1/candidates/{batch_id}/approve", json=what)
    return answer.status_code, answer.json().get("type", "").rpartition(":")[2]


def test_what_waits_is_listed_and_approved_by_the_role_of_the_setting_alone(served: Served) -> None:
    batch_id = served.candidate()
    (listed,) = served.client("auditor").get("/v1/candidates").json()["candidates"]
    assert (listed["batch_id"], listed["approval"]) == (batch_id, None)
    assert {name: listed[name] for name in MADE} == MADE
    assert served.client("submitter").get("/v1/candidates").status_code == 403
    for role in {*ROLES} - {"officer"}:
        assert approve(served, role, batch_id) == (403, "role")
    assert approve(served, None, batch_id) == (401, "no-token")
    assert served.store.events(event=APPROVED) == [] == served.hints
    for _ in range(2):
        assert approve(served, "officer", batch_id)[0] == 200
    (event,) = served.store.events(event=APPROVED)
    (token,) = [token for token in served.tokens.list() if token.name == "the officer"]
    assert event.batch_id == batch_id and event.detail == MADE | {
        "approved_by": "the officer", "token": token.id, "role": "officer",
    }  # fmt: skip
    (listed,) = served.client("officer").get("/v1/candidates").json()["candidates"]
    assert (listed["approval"]["by"], listed["approval"]["void"]) == ("the officer", None)
    assert served.hints == [("promote-versions",)] * 2
    served.tokens.revoke(token.id, by="a test")
    (listed,) = served.client("officer2").get("/v1/candidates").json()["candidates"]
    assert "was revoked" in listed["approval"]["void"]
    assert approve(served, "officer", batch_id) == (401, "no-token")
    assert approve(served, "officer2", batch_id)[0] == 200
    (listed,) = served.client("officer2").get("/v1/candidates").json()["candidates"]
    assert (listed["approval"]["by"], listed["approval"]["void"]) == ("the other officer", None)


@pytest.mark.parametrize(
    ("what", "status", "code"),
    [
        (MADE | {"weights": "sha256:" + "cd" * 32}, 409, "not-approvable"),
        (MADE | {"version": "models:/demo/1"}, 409, "not-approvable"),
        (MADE | {"version": 2}, 422, "invalid"),
        (MADE | {"by": "A. Officer"}, 422, "invalid"),
        ({"version": "models:/demo/2"}, 422, "invalid"),
        ([MADE], 422, "invalid"),
    ],
)
def test_what_the_batch_did_not_make_is_not_approved(what: Any, status: int, code: str, served: Served) -> None:
    assert approve(served, "officer", served.candidate(), what) == (status, code)
    assert served.store.events(event=APPROVED) == [] == served.hints


def test_a_batch_that_is_none_or_does_not_wait_is_told_apart(served: Served) -> None:
    batch_id = served.candidate()
    served.store.accept_batch(batch_id, by="a test")
    assert approve(served, "officer", batch_id) == (409, "not-approvable")
    assert approve(served, "officer", "B-20261130-000000") == (404, "unknown-batch")
    answer = served.client("officer").post("/v1/candidates/quillfern@example.com/approve", json=MADE)
    assert answer.status_code == 404 and "quillfern" not in answer.text


def test_where_no_role_approves_a_token_approves_nothing(served: Served) -> None:
    batch_id = served.candidate()
    served.app.state.waiting._approvals = Approvals(served.store, role=None, days=14)
    assert approve(served, "officer", batch_id) == (409, "nobody-approves")
    assert served.store.events(event=APPROVED) == []
