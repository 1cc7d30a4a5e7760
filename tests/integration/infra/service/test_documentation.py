"""The OpenAPI document says what the service does: every call, its errors, and an example of each."""

from __future__ import annotations

from typing import Any

import pytest
from served import GOOD, Served

from infra.requests.clock import Clock
from infra.service.problems import KINDS
from infra.service.submission import read_submission

EVERY = {"429", "500", "503"}


@pytest.fixture
def document(client: Any) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/v1/openapi.json").json()
    return found


def calls(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(method, path, call) for path, found in document["paths"].items() for method, call in found.items()]


def test_every_call_is_described_with_its_errors_and_none_is_fastapis_own(document: dict[str, Any]) -> None:
    assert len(calls(document)) == 19
    for method, path, call in calls(document):
        where = f"{method} {path}"
        assert call.get("description"), where
        needed = EVERY if path in {"/v1/health", "/v1/ready"} else EVERY | {"401"}
        needed = needed | ({"404"} if "{request_id}" in path else set())
        assert needed <= call["responses"].keys(), where
        for status, answer in call["responses"].items():
            if int(status) >= 400:
                (content,) = answer["content"].values()
                assert content["schema"]["$ref"].endswith("/ProblemDocument"), where
                for example in content["examples"].values():
                    assert example["value"]["status"] == int(status)
    assert "HTTPValidationError" not in str(document)


def test_every_reference_leads_somewhere_and_every_answer_has_an_example(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]

    def references(value: Any) -> set[str]:
        if isinstance(value, dict):
            own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
            return own.union(*(references(each) for each in value.values()))
        return set().union(*(references(each) for each in value)) if isinstance(value, list) else set()

    assert {reference.rpartition("/")[2] for reference in references(document)} <= schemas.keys()
    assert all(schemas[name].get("examples") for name in ("Receipt", "RequestOut", "RequestPage", "State"))


def test_the_examples_of_submissions_are_taken(document: dict[str, Any], served: Served) -> None:
    body = document["paths"]["/v1/requests"]["post"]["requestBody"]["content"]["application/json"]
    for example in body["examples"].values():
        assert served.client("submitter").post("/v1/requests", json=example["value"]).status_code == 201
    assert read_submission(b"[" + str(GOOD).replace("'", '"').encode() + b"]", models=["demo"], clock=Clock())


def test_every_kind_of_problem_has_a_remedy_in_one_line() -> None:
    for code, kind in KINDS.items():
        assert 400 <= kind.status < 600 and "\n" not in kind.detail, code
        assert any(mark in kind.detail for mark in (";", "send ", "has to")), f"{code} names no remedy"
