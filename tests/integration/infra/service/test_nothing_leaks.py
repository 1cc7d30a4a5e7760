"""No identifier and no subject comes out of the service: not in an answer, not in a log, not in the database."""

from __future__ import annotations

import base64
import json
import logging
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
from served import EMAIL, GOOD, SSN, SUBJECT, Served
from stored_requests import complete, opened, stored_bytes

from infra.service.guard import HEADERS

VALUES = (SSN, EMAIL, SUBJECT, SSN.replace("-", ""), EMAIL.split("@", maxsplit=1)[0])


def shapes(value: str) -> set[bytes]:
    """The value as it could be written: plain, in other cases, base64 at any offset, hex, in an address, as JSON."""
    raw = value.encode()
    coded = {base64.b64encode(b"x" * offset + raw)[4 * bool(offset) : -4] for offset in range(3)}
    plain = {
        value,
        value.upper(),
        value.lower(),
        quote(value),
        quote_plus(value),
        raw.hex(),
        raw.hex().upper(),
        value[::-1],
    }
    return coded | {each.encode() for each in plain} | {json.dumps(value)[1:-1].encode(), value.encode("utf-16-le")}


SOUGHT = set().union(*(shapes(value) for value in VALUES))


def clean(data: bytes | str) -> None:
    held = data.encode() if isinstance(data, str) else data
    assert not [shape for shape in SOUGHT if shape in held]


def test_the_search_finds_what_it_is_for() -> None:
    for planted in (SSN, base64.b64encode(f"ab{EMAIL}z".encode()).decode(), SUBJECT.encode().hex(), quote(EMAIL)):
        with pytest.raises(AssertionError):
            clean(f"...{planted}...")


def test_no_value_is_in_an_answer_a_log_line_or_after_completion_in_the_database(
    served: Served, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    answers: list[Any] = []
    officer, submitter = served.client("officer"), served.client("submitter")

    def did(answer: Any) -> Any:
        answers.append(answer)
        return answer

    keyed = {"Idempotency-Key": EMAIL}
    request_id = did(submitter.post("/v1/requests", json=GOOD, headers=keyed)).json()["requests"][0]["id"]
    did(submitter.post("/v1/requests", json=GOOD, headers=keyed))
    did(submitter.post("/v1/requests", json=GOOD | {"received": SSN}))
    did(submitter.post("/v1/requests", json=GOOD | {EMAIL: SSN}))
    did(submitter.post("/v1/requests", json=GOOD | {"model": EMAIL}))
    did(submitter.post("/v1/requests", json=[GOOD, {"identifiers": [{"type": EMAIL, "value": SSN}]}]))
    did(submitter.post("/v1/requests", content=json.dumps(GOOD).encode()[:-3]))
    did(officer.post(f"/v1/requests/{request_id}/hold", json={"ground": SSN}))
    did(officer.post(f"/v1/requests/{quote(EMAIL)}/verify"))
    did(officer.get(f"/v1/requests/{quote(SSN)}"))
    did(officer.get("/v1/requests", params={"status": EMAIL, "due": SSN, "page": SUBJECT, EMAIL: SSN}))
    did(officer.get(f"/{quote(EMAIL)}", params={"lang": SSN}))
    did(officer.request("FROB", f"/v1/{quote(SUBJECT)}"))
    did(served.client().get("/v1/requests", headers={"Authorization": f"Bearer {EMAIL}", "X-Forwarded-For": SSN}))
    did(served.client().get("/", headers={"Accept-Language": EMAIL, "Cookie": f"revs-session={EMAIL}"}))
    with monkeypatch.context() as broken:
        broken.setattr(served.store, "add", lambda *_, **__: 1 / int(SSN))  # its error shows what was sent
        assert did(submitter.post("/v1/requests", json=GOOD)).status_code == 500
    did(officer.post(f"/v1/requests/{request_id}/verify"))
    complete(served.store, opened(served.store).id)
    did(officer.get(f"/v1/requests/{request_id}"))
    did(officer.get("/v1/requests"))

    assert served.store.get(request_id).status == "completed"
    for answer in answers:
        clean(answer.content)
        clean(str(answer.headers))
    lines = [record for record in caplog.records if record.name == "revs.service"]
    assert len(lines) > len(answers), "each call has its line, and the fault one more"
    for record in caplog.records:
        if not record.name.startswith("httpx"):  # the test's own client
            clean(record.getMessage())
            clean(str(record.exc_info))
    served.store.close()
    clean(stored_bytes(tmp_path))


def test_a_value_may_stand_in_the_database_sealed_alone(served: Served, tmp_path: Path) -> None:
    served.submitted()
    clean(stored_bytes(tmp_path))


def test_a_line_of_the_log_has_the_route_and_the_token_and_not_the_address(
    served: Served, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="revs.service")
    served.client("officer").get(f"/v1/requests/{quote(EMAIL)}")
    (token,) = [token for token in served.tokens.list() if token.name == "the officer"]
    (line,) = [record.getMessage() for record in caplog.records if record.name == "revs.service"]
    assert line.startswith("GET /v1/requests/{request_id} 404 ") and line.endswith(f" ms {token.id}")


@pytest.mark.parametrize("path", ["/", "/login", "/style.css", "/nowhere", "/v1/health", "/v1/requests", "/v1/nowhere"])
def test_every_answer_has_the_headers_of_security(served: Served, path: str) -> None:
    answer = served.client().get(path)
    for name, value in HEADERS.items():
        assert (path == "/style.css" and name == "Cache-Control") or answer.headers[name] == value
    assert "'unsafe" not in answer.headers["content-security-policy"] and "server" not in answer.headers
    assert "strict-transport-security" not in answer.headers
    assert served.client().get(f"https://testserver{path}").headers["strict-transport-security"]
