"""Whatever is sent: a problem document that repeats nothing of it, and nothing stored."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from served import GOOD, Served

MARK = "Zorblatt"  # stands in every body, and in no answer
NASTY = (
    f"{MARK}' OR 1=1; DROP TABLE requests; --",
    f'{MARK}"); DELETE FROM events; --',
    f"{{{{ 7*7 }}}}{MARK}{{% for x in ().__class__.__base__.__subclasses__() %}}",
    f"${{jndi:ldap://{MARK}.example.com/a}}",
    f"<script>alert('{MARK}')</script>",
    f"{MARK}\x00\x01\x1b[31m",
    f"{MARK}\r\nSet-Cookie: revs-session=1",
    f"../../{MARK}/etc/passwd",
    f"%s%n{MARK}%x",
    f"\u202e{MARK}\ufeff\u2028",
    f"{MARK}\ud800",
    MARK * 5000,
)
ODD: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1e308,
    10**400,
    1.5,
    [],
    {},
    [[]],
    [MARK],
    {MARK: MARK},
    "",
    " ",
    MARK,
    *NASTY,
)


def deep(levels: int, inside: Any = MARK) -> Any:
    for _ in range(levels):
        inside = [inside]
    return inside


def bad_documents() -> Iterator[Any]:
    """Bodies that are JSON and no request: a field is wrong, missing or too much, or all is of another type."""
    identifier = GOOD["identifiers"][0]
    for odd in ODD:
        yield GOOD | {"received": odd, "subject": MARK}
        yield GOOD | {"due": odd if odd is not None else MARK, "subject": MARK}
        yield GOOD | {"identifiers": odd, "subject": MARK}
        yield GOOD | {"identifiers": [odd], "subject": MARK}
        yield GOOD | {"identifiers": [identifier, identifier | {"type": odd}], "subject": MARK}
        yield GOOD | {"identifiers": [identifier | {"value": odd}], "subject": MARK}
        yield GOOD | {"model": odd if odd is not None else MARK, "subject": MARK}
        yield GOOD | {"subject": odd if not isinstance(odd, str) else None, "due": MARK}
        yield GOOD | {MARK: odd}
        yield GOOD | {"identifiers": [identifier | {MARK: odd}]}
        yield [GOOD, odd]
        yield odd
    for nasty in NASTY:
        yield GOOD | {nasty: nasty}
        yield {nasty: GOOD}
        yield [nasty] * 3
        yield GOOD | {"identifiers": [{"type": nasty, "value": nasty}]}
        yield GOOD | {"identifiers": [{"type": "US_SSN", "value": nasty}]}
        yield GOOD | {"received": f"2026-11-02{nasty}"}
    for field in ("subject", "received", "identifiers"):
        yield {name: value for name, value in GOOD.items() if name != field} | {"due": MARK}
    yield from (deep(levels) for levels in (1, 50, 500))
    yield [GOOD] * 101
    yield GOOD | {"identifiers": [identifier | {"value": MARK}] * 2000}


def mutilated(seed: int, number: int) -> Iterator[bytes]:
    """A good body, with bytes of it replaced, removed and doubled until it is no JSON or no UTF-8."""
    drawn = random.Random(seed)
    whole = json.dumps(GOOD | {"subject": MARK}).encode()
    for _ in range(number):
        body = bytearray(whole)
        for _ in range(drawn.randint(1, 8)):
            at = drawn.randrange(len(body))
            body[at : at + drawn.randint(0, 3)] = bytes(drawn.randrange(256) for _ in range(drawn.randint(0, 3)))
        yield bytes(body)


def raw_bodies() -> Iterator[bytes]:
    yield from (
        b"",
        b" ",
        b"null",
        b"\xff\xfe{}",
        b"\xc3\x28" + MARK.encode(),
        MARK.encode(),
        b"{" * 100_000 + MARK.encode(),
        b"[" * 100_000,
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
        b'{"subject": "' + MARK.encode() + b'", "subject": "b"}',
        b"[NaN, Infinity]",
        b"9" * 10_000,
        b'"' + b"\\u0000" * 1000 + b'"',
        json.dumps(GOOD).encode("utf-16"),
        f"subject={MARK}&received=2026-11-02".encode(),
        f"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>{MARK}&b;</a>".encode(),
    )
    yield from mutilated(seed=1, number=250)


def refused(answer: Any, body: object) -> None:
    assert 400 <= answer.status_code < 500, (answer.status_code, str(body)[:200])
    assert answer.headers["content-type"] == "application/problem+json"
    assert MARK not in answer.text and "7749" not in answer.text
    document = answer.json()
    assert document["status"] == answer.status_code and "\n" not in document["detail"]


def test_five_hundred_bad_bodies_each_end_in_a_problem_and_store_nothing(served: Served) -> None:
    client = served.client("submitter")
    bodies = [json.dumps(each).encode() for each in bad_documents()]
    taken = tried = 0
    for body in [*bodies, *raw_bodies()]:
        answer = client.post("/v1/requests", content=body, headers={"Content-Type": "application/json"})
        tried += 1
        if answer.status_code == 201:  # what mutilates a name or a number may leave a request
            assert body not in bodies, body[:200]
            taken += 1
            continue
        refused(answer, body)
    assert tried - taken >= 500 and len(served.store.list()) == taken


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text().map(lambda text: text + MARK),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.sampled_from([*GOOD]), inner, max_size=4)
    ),
    max_leaves=20,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(JSON)
def test_any_json_that_is_no_request_is_refused(served: Served, value: Any) -> None:
    body = json.dumps(value).encode()
    refused(served.client("submitter").post("/v1/requests", content=body), value)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(min_size=1, max_size=60), st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]))
def test_any_address_and_method_end_in_a_problem_or_a_page_that_repeats_nothing(
    served: Served, text: str, method: str
) -> None:
    from urllib.parse import quote

    part = quote(text.encode("utf-8", "replace"), safe="") + MARK
    for path in (f"/v1/{part}", f"/v1/requests/{part}", f"/v1/requests/{part}/verify", f"/{part}", f"/requests/{part}"):
        answer = served.client("officer").request(method, path)
        assert 300 <= answer.status_code < 500 and MARK not in answer.text
        assert MARK not in str(answer.headers)


@pytest.mark.parametrize("path", ["/v1/requests", "/login", "/v1/nowhere"])
@pytest.mark.parametrize("told", [True, False], ids=["with its length", "without"])
def test_a_body_over_the_limit_is_refused_whether_it_says_so_or_not(served: Served, path: str, told: bool) -> None:
    body = (MARK * 200_000).encode()

    def pieces() -> Iterator[bytes]:
        yield from (body[start : start + 65536] for start in range(0, len(body), 65536))

    answer = served.client("submitter").post(path, content=body if told else pieces())
    assert answer.status_code == 413 and MARK not in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


@pytest.mark.parametrize("length", ["-1", "abc", "1" * 50, ""])
def test_a_length_that_is_none_is_refused(served: Served, length: str) -> None:
    answer = served.client("submitter").post("/v1/requests", content=b"{}", headers={"Content-Length": length})
    assert answer.status_code == 413


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", f"text/{MARK}"])
def test_another_media_type_is_refused(served: Served, kind: str) -> None:
    answer = served.client("submitter").post("/v1/requests", content=b"{}", headers={"Content-Type": kind})
    assert answer.status_code == 415
    refused(answer, kind)


@pytest.mark.parametrize("key", ["", " ", "a b", MARK * 30, "é"])
def test_a_key_that_is_none_is_refused(served: Served, key: str) -> None:
    headers = {b"Idempotency-Key": key.encode("latin-1")}
    answer = served.client("submitter").post("/v1/requests", json=GOOD, headers=headers)
    assert answer.status_code == 422
    refused(answer, key)


def test_too_many_calls_are_told_to_wait(tmp_path: Any) -> None:
    from served import on_sqlite

    few = on_sqlite(tmp_path, calls="5/minute")
    answers = [few.client("officer").get("/v1/requests") for _ in range(6)]
    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 60
    refused(answers[-1], None)
    few.store.close()


def test_who_guesses_tokens_is_told_to_wait_and_so_is_who_guesses_at_the_login(served: Served) -> None:
    client = served.client()
    assert [client.get("/v1/requests").status_code for _ in range(21)] == [401] * 20 + [429]
    assert served.client("officer").get("/v1/requests").status_code == 429, "from the same address, also with a token"
