"""Calls generated from the service's own OpenAPI document (schemathesis): every answer is one that it documents.

Half of them keep to the document, half break it on purpose; some name requests that are there, in every state that an
action starts from. Seeds are fixed: the same calls every time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import count, product
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from schemathesis import APIOperation, Case, GenerationMode
from schemathesis.checks import CHECKS, load_all_checks
from served import Served, on_sqlite
from stored_requests import BECAUSE

from infra.requests.tokens import ROLES

load_all_checks()
CHECKED = CHECKS.get_by_names(
    [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
    ]
)
CALLERS = (*ROLES, None)
NUMBER = count()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    service = on_sqlite(tmp_path_factory.mktemp("generated"), failures="100000/minute")
    yield service
    service.store.close()


def requests_in_every_state(served: Served) -> list[str]:
    """One request for each state that an action starts from, and one that is at its end."""
    ids = [served.submitted(subject=f"customer {next(NUMBER)}") for _ in range(5)]
    for request_id in ids[1:]:
        served.store.verify(request_id, by="a test")
    served.store.put_on_hold(ids[2], ground="identity", by="a test")
    served.store.fail(ids[3], BECAUSE)
    served.store.withdraw(ids[4], by="a test")
    return ids


def sound(body: Any) -> Any:
    """A generated submission with dates and identifiers that can be: what remains of it is what was generated."""
    if isinstance(body, list):
        return [sound(each) for each in body]
    if not isinstance(body, dict):
        return body
    mended = {name: value for name, value in body.items() if name not in {"due", "model"}}
    if isinstance(listed := body.get("identifiers"), list):
        values = [str(each.get("value")) for each in listed if isinstance(each, dict)]
        mended["identifiers"] = [{"type": "CUSTOM", "value": f"17 {value}"[:1000]} for value in values]
        mended |= {"received": "2026-11-02", "subject": f"17 {body.get('subject')}"[:1000]}
    if "submitted_time" in body:
        email = {"identity_type": "email", "identity_value": "zz@example.com", "identity_format": "raw"}
        mended |= {"submitted_time": "2026-11-02T15:00:00Z", "subject_identities": [email]}
        mended["subject_request_id"] = str(uuid5(NAMESPACE_OID, str(body))).replace("-5", "-4", 1)
    return mended


def send(served: Served, role: str | None, case: Case, request_id: str | None) -> Any:
    """Send a generated call with a real token, or with none; to a request that is there, where one is named."""
    if request_id is not None and "request_id" in (case.path_parameters or {}):
        case.path_parameters["request_id"] = request_id
    if request_id is not None and case.operation.label == "POST /v1/requests":
        case.body = sound(case.body)
    call = case.as_transport_kwargs("http://testserver")
    headers = {name: value for name, value in call["headers"].items() if name != "Authorization"}
    body = {"json": call["json"]} if "json" in call else {"content": call.get("data")}
    return served.client(role).request(call["method"], call["url"], params=call.get("params"), headers=headers, **body)


def examine(served: Served, examples: int) -> Counter[tuple[str, int]]:
    """Call every operation as every role and as nobody, in both modes; return how often each status was the answer."""
    schema = schemathesis.openapi.from_dict(served.client().get("/v1/openapi.json").json())
    answers: Counter[tuple[str, int]] = Counter()
    for found in schema.get_all_operations():
        operation = found.ok()
        modes = list(GenerationMode) if operation.definition.raw.get("parameters") or operation.body else POSITIVE
        ids = requests_in_every_state(served)
        for number, (role, mode) in enumerate(product(CALLERS, modes)):
            answers += examine_one(served, operation, role, mode, st.sampled_from([None, *ids]), examples, number)
    return answers


POSITIVE = [GenerationMode.POSITIVE]  # there is nothing to break in a call without parameters and body


def examine_one(
    served: Served,
    operation: APIOperation,
    role: str | None,
    mode: GenerationMode,
    ids: SearchStrategy[str | None],
    examples: int,
    number: int,
) -> Counter[tuple[str, int]]:
    answers: Counter[tuple[str, int]] = Counter()

    @seed(number)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )
    @given(case=operation.as_strategy(mode), request_id=ids)
    def calls(case: Case, request_id: str | None) -> None:
        answer = send(served, role, case, request_id)
        answers[operation.label, answer.status_code] += 1
        case.validate_response(answer, checks=CHECKED)
        assert "Traceback" not in answer.text and 'File "' not in answer.text

    calls()
    return answers


def test_every_answer_to_generated_calls_is_one_that_the_document_names(served: Served) -> None:
    answers = examine(served, examples=4)
    assert sum(answers.values()) >= 400
    assert {status for _, status in answers} >= {200, 401, 403, 404, 409, 422}


@pytest.mark.long
def test_every_answer_to_thousands_of_generated_calls_is_one_that_the_document_names(served: Served) -> None:
    answers = examine(served, examples=40)
    assert sum(answers.values()) >= 2500 and ("POST /v1/requests", 201) in answers
    print(f"{sum(answers.values())} calls: {sorted(answers.items())}")
