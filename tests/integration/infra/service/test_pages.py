"""The pages: sessions, cookies, forms that only this session can send, roles, and both languages."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from http.cookies import SimpleCookie
from typing import Any

import pytest
from served import EMAIL, GOOD, MADE, SSN, SUBJECT, Served
from starlette.testclient import TestClient
from stored_requests import opened

from infra.requests import IdentifierOutcome
from infra.requests.approvals import APPROVED
from infra.requests.tokens import ROLES
from infra.service.sessions import Session

FORM = {
    "subject": SUBJECT,
    "received": "2026-11-02",
    "rows": "3",
    "type-0": "US_SSN",
    "value-0": SSN,
    "type-1": "EMAIL_ADDRESS",
    "value-1": "",
    "type-2": "EMAIL_ADDRESS",
    "value-2": EMAIL,
}


def csrf(page: str) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page)
    assert found
    return found[1]


def logged_in(served: Served, role: str, *, base: str = "http://testserver") -> TestClient:
    client = TestClient(served.app, base_url=base, follow_redirects=False)
    form = {"csrf": csrf(client.get("/login").text), "token": served.secret[role]}
    assert client.post("/login", data=form).headers["location"] == "/"
    return client


def send(client: TestClient, path: str, *, of: str, **fields: str) -> Any:
    """Send a form with the secret that stands in the page `of`."""
    return client.post(path, data={"csrf": csrf(client.get(of).text), **fields})


def test_who_is_not_logged_in_is_led_to_the_login(served: Served) -> None:
    request_id = served.submitted()
    client = served.client()
    for path in ("/", "/submit", f"/requests/{request_id}"):
        assert client.get(path).headers["location"] == "/login", path
    assert served.client("officer").get("/").headers["location"] == "/login", "a bearer token opens no page"


def test_a_wrong_token_opens_no_session(served: Served) -> None:
    client = served.client()
    answer = send(client, "/login", of="/login", token="revs_" + "A" * 43)
    assert answer.status_code == 401 and "opens nothing" in answer.text
    assert client.get("/").headers["location"] == "/login"


@pytest.mark.parametrize(("base", "prefix", "secure"), [("http://t", "", False), ("https://t", "__Host-", True)])
def test_the_cookie_is_for_this_site_and_no_script(served: Served, base: str, prefix: str, secure: bool) -> None:
    client = TestClient(served.app, base_url=base, follow_redirects=False)
    form = {"csrf": csrf(client.get("/login").text), "token": served.secret["officer"]}
    cookie = SimpleCookie(client.post("/login", data=form).headers["set-cookie"])[f"{prefix}revs-session"]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"], cookie["domain"]) == (True, "strict", "/", "")
    assert bool(cookie["secure"]) == secure
    assert served.secret["officer"].removeprefix("revs_") not in cookie.value


def test_logging_in_makes_another_session_than_the_one_before(served: Served) -> None:
    client = served.client()
    before = csrf(client.get("/login").text)
    planted = client.cookies["revs-session"]
    client.post("/login", data={"csrf": before, "token": served.secret["officer"]})
    assert client.cookies["revs-session"] != planted and csrf(client.get("/").text) != before
    assert served.client().get("/", headers={"Cookie": f"revs-session={planted}"}).headers["location"] == "/login"


def test_a_cookie_that_was_copied_opens_nothing_after_logout(served: Served) -> None:
    client = logged_in(served, "officer")
    copied = client.cookies["revs-session"]
    assert send(client, "/logout", of="/").headers["location"] == "/login"
    assert "revs-session" not in client.cookies
    assert served.client().get("/", headers={"Cookie": f"revs-session={copied}"}).headers["location"] == "/login"


def test_a_session_ends_with_its_token_and_after_eight_hours(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = logged_in(served, "officer"), logged_in(served, "auditor")
    token = next(each for each in served.tokens.list() if each.name == "the officer")
    served.tokens.revoke(token.id, by="a test")
    assert first.get("/").headers["location"] == "/login" and second.get("/").status_code == 200
    now = datetime.now(UTC)
    for hours, answer in ((5, None), (7.9, None), (8.1, "/login")):  # looking at pages does not prolong it
        later = (now + timedelta(hours=hours)).timestamp()
        monkeypatch.setattr("itsdangerous.timed.time.time", lambda later=later: later)
        assert second.get("/").headers.get("location") == answer


@pytest.mark.parametrize("change", ["", "x", "cut", "other key"])
def test_a_cookie_that_was_changed_opens_nothing(served: Served, change: str) -> None:
    from infra.service.sessions import Sessions

    value = logged_in(served, "officer").cookies["revs-session"]
    forged = Sessions("another key")._signer.dumps({"id": "a", "csrf": "b", "token": served.tokens.list()[0].id})
    changed = {"": "", "x": "x" + value[1:], "cut": value[:-2], "other key": forged}[change]
    answer = served.client().get("/", headers={"Cookie": f"revs-session={changed}"})
    assert answer.headers["location"] == "/login"


@pytest.mark.parametrize("sent", [None, "", "guessed", "another session's"])
@pytest.mark.parametrize("path", ["/login", "/logout", "/submit", "/requests/{}/verify", "/requests/{}/withdraw"])
def test_a_form_without_the_secret_of_its_session_does_nothing(served: Served, path: str, sent: str | None) -> None:
    request_id = served.submitted()
    client = logged_in(served, "officer")
    other = csrf(logged_in(served, "officer2").get("/").text)
    form = FORM | {"token": served.secret["officer"], "sure": "yes"}
    if sent is not None:
        form["csrf"] = other if sent.startswith("another") else sent
    answer = client.post(path.format(request_id), data=form)
    assert answer.status_code == 403 and "out of date" in answer.text
    assert [view.status for view in served.store.list()] == ["unverified"]
    assert client.get("/").status_code == 200, "still logged in"


def test_a_form_that_another_site_sends_does_nothing(served: Served) -> None:
    client = logged_in(served, "officer")
    form = FORM | {"csrf": csrf(client.get("/submit").text)}
    for site in ("cross-site", "same-site"):
        assert client.post("/submit", data=form, headers={"Sec-Fetch-Site": site}).status_code == 403
    assert not served.store.list()
    assert client.post("/submit", data=form, headers={"Sec-Fetch-Site": "same-origin"}).status_code == 201


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"{}"),
        ("multipart/form-data; boundary=x", b"--x--"),
        ("application/x-www-form-urlencoded", b"csrf=%ff&a=\xff"),
        ("application/x-www-form-urlencoded", b"a=b&" * 300),
    ],
)
def test_what_is_no_form_is_refused(served: Served, kind: str, body: bytes) -> None:
    answer = logged_in(served, "officer").post("/submit", content=body, headers={"Content-Type": kind})
    assert answer.status_code == 400 and "could not be read" in answer.text


@pytest.mark.parametrize("role", ROLES)
def test_a_role_sees_the_pages_and_forms_of_its_own(served: Served, role: str) -> None:
    request_id = served.submitted("officer2", subject="x")
    client = logged_in(served, role)
    answer = client.get("/")
    assert answer.headers.get("location") == ("/submit" if role == "submitter" else None)
    assert client.get("/submit").status_code == (200 if role in {"submitter", "officer"} else 403)
    answer = client.get(f"/requests/{request_id}")
    assert answer.status_code == (404 if role == "submitter" else 200)
    assert ("/verify" in answer.text) == (role == "officer")


def test_a_submitted_value_is_never_shown_again_whether_it_is_taken_or_not(served: Served) -> None:
    client = logged_in(served, "officer")
    taken = send(client, "/submit", of="/submit", **FORM)
    assert taken.status_code == 201 and "The request is taken" in taken.text
    wrong = send(client, "/submit", of="/submit", **FORM | {"value-2": f"no address {SSN}"})
    assert wrong.status_code == 422 and "Nothing was stored" in wrong.text
    assert 'href="#value-2"' in wrong.text, "the row that is wrong is named, though one before it was left empty"
    assert re.search(r'name="value-2"[^>]* aria-invalid="true"', wrong.text)
    for page in (taken, wrong, client.get("/"), client.get(f"/requests/{served.store.list()[0].id}")):
        assert not any(value in page.text for value in (SSN, EMAIL, SUBJECT, "no address"))
    assert len(served.store.list()) == 1 and served.store.list()[0].submitted_by == "the officer"


def test_a_form_for_every_model_is_a_request_for_each_and_their_pages_lead_to_one_another(served: Served) -> None:
    served.models[:] = ["demo", "other"]
    client = logged_in(served, "submitter")
    page = send(client, "/submit", of="/submit", **FORM, model="*").text
    ids = re.findall(r'href="/requests/(R-\w+)"', page)
    assert len(ids) == 2 and {served.store.get(each).model for each in ids} == {"demo", "other"}
    assert f'<a href="/requests/{ids[1]}">other</a>' in client.get(f"/requests/{ids[0]}").text


def test_the_same_form_sent_twice_is_one_request(served: Served) -> None:
    client = logged_in(served, "submitter")
    page = client.get("/submit").text
    key = re.search(r'name="key" value="([^"]+)"', page)
    assert key
    for _ in range(2):
        assert client.post("/submit", data=FORM | {"csrf": csrf(page), "key": key[1]}).status_code == 201
    assert len(served.store.list()) == 1
    again = client.post("/submit", data=FORM | {"csrf": csrf(page), "key": key[1], "subject": "another"})
    assert again.status_code == 201 and len(served.store.list()) == 2, "with something mended it is another"


def test_an_action_is_done_and_what_is_refused_says_so_on_the_page(served: Served) -> None:
    request_id = served.submitted()
    client = logged_in(served, "officer")
    path = f"/requests/{request_id}"
    answer = send(client, f"{path}/verify", of=path)
    assert answer.headers["location"] == f"{path}?done=verify"
    assert "The request is verified." in client.get(answer.headers["location"]).text
    for action, fields, status in (
        ("hold", {"ground": "whim"}, 422),
        ("hold", {}, 422),
        ("withdraw", {}, 422),
    ):
        answer = send(client, f"{path}/{action}", of=path, **fields)
        assert answer.status_code == status and "Nothing was done." in answer.text, action
    assert served.store.get(request_id).status == "received"
    assert send(client, f"{path}/frobnicate", of=path).status_code == 404
    assert send(client, f"{path}/withdraw", of=path, sure="yes").status_code == 303
    assert served.store.get(request_id).status == "withdrawn"
    answer = send(client, f"{path}/verify", of="/submit")
    assert answer.status_code == 409 and "its end stands" in answer.text


def test_the_page_of_a_request_says_what_became_of_each_identifier(served: Served) -> None:
    request_id = served.submitted()
    served.store.verify(request_id, by="somebody")
    batch = opened(served.store)
    outcomes = [
        IdentifierOutcome(request_id=request_id, number=0, type="US_SSN", kind="edited", detail={"edited": 4}),
        IdentifierOutcome(request_id=request_id, number=1, type="EMAIL_ADDRESS", kind="not_found", detail={"rows": 7}),
    ]
    served.store.close_batch(batch.id, status="completed", outcome={}, outcomes=outcomes)
    page = logged_in(served, "auditor").get(f"/requests/{request_id}").text
    for said in ("edited in 4 contexts", "not found in 7 rows of the corpus", "Not found in the text", "needs a human"):
        assert said in page
    assert batch.id in page and "<form" not in page.split("<main")[1], "an auditor reads alone"


def test_the_list_is_filtered_and_has_pages_of_fifty(served: Served) -> None:
    body = [GOOD | {"subject": f"s {number}"} for number in range(60)]
    served.client("submitter").post("/v1/requests", json=body)
    served.submitted(subject="late", received="2026-08-01")
    client = logged_in(served, "auditor")
    first, second = client.get("/").text, client.get("/?status=open&page=2").text
    assert first.count('<tr class="failed">') == 1 and first.index("overdue</span>") < first.index(
        '<tr>\n<th scope="row"'
    )
    assert (first.count('<th scope="row"'), second.count('<th scope="row"')) == (50, 11)
    served.submitted(subject="ccpa", received=str(datetime.now(UTC).date() - timedelta(days=30)), regime="ccpa")
    page = client.get("/").text
    assert page.count('<tr class="failed">') == 2, "in time, but its receipt was not confirmed: it stands on page one"
    assert page.count("confirm receipt by") == 1
    assert 'rel="next"' in first and 'rel="prev"' in second and 'rel="next"' not in second
    assert "There is no such request." in client.get("/?status=withdrawn").text
    for query in ("status=zz", "page=0", "page=x", "page=²", f"page={'9' * 5000}"):
        assert client.get(f"/?{query}").status_code == 404, query


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("de", "de"),
        ("DE", "de"),
        ("EN-us, De", "en"),
        ("de-AT,de;q=0.9,en;q=0.8", "de"),
        ("en-US,en;q=0.9,de;q=0.8", "en"),
        ("fr,de;q=0.5", "de"),
        ("en;q=0.1,de;q=0.9", "de"),
        ("fr", "en"),
        ("", "en"),
        ("*;q=x,,;;", "en"),
        ("../../etc/passwd", "en"),
    ],
)
def test_the_language_is_the_browsers_until_it_is_switched(served: Served, header: str, language: str) -> None:
    client = TestClient(served.app, headers={"Accept-Language": header})
    page = client.get("/login")
    assert f'<html lang="{language}">' in page.text and page.headers["content-language"] == language
    other = {"de": "en", "en": "de"}[language]
    assert f'<html lang="{other}">' in client.get(f"/login?lang={other}").text
    assert f'<html lang="{other}">' in client.get("/login").text, "and stays so"


def test_a_session_shows_no_secret_of_its_own() -> None:
    session = Session()
    assert session.csrf not in repr(session)


def test_the_history_says_who_why_and_which_dates_moved_and_no_value(served: Served) -> None:
    received = str(datetime.now(UTC).date() - timedelta(days=2))
    request_id, other = served.submitted(received=received), served.submitted("officer", received="2026-10-01")
    officer = served.client("officer2")
    officer.post(f"/v1/requests/{request_id}/verify")
    officer.post(f"/v1/requests/{request_id}/hold", json={"ground": "legal_hold"})
    extended = officer.post(f"/v1/requests/{request_id}/extend", json={"reason": "complexity"}).json()
    told = extended["history"][-1]
    assert (told["event"], told["by"], told["reason_code"]) == ("request.extended", "the other officer", "complexity")
    assert told["before"] < told["after"] == extended["due"]
    assert officer.post(f"/v1/requests/{other}/verify").json()["status"] == "duplicate"
    page = logged_in(served, "auditor").get(f"/requests/{request_id}").text
    history = page.partition("History")[2]
    for said in ("the other officer", "the request is complex", "the law or a court asks", f"/requests/{other}"):
        assert said in history
    assert f'<time datetime="{told["before"]}">' in history and f'<time datetime="{told["after"]}">' in history
    moved = officer.get(f"/v1/requests/{request_id}").json()["history"]
    assert {each["other"] for each in moved if each["event"] == "request.received_moved_back"} == {other}
    for value in (SSN, EMAIL, SUBJECT):
        assert value not in page and value not in str(moved)


def test_a_duplicate_that_goes_on_is_named_where_its_first_one_was_ended(served: Served) -> None:
    first, second = served.submitted(), served.submitted()
    for each in (first, second):
        served.client("officer").post(f"/v1/requests/{each}/verify").raise_for_status()
    assert served.store.get(second).duplicate_of == first
    client, path = logged_in(served, "officer"), f"/requests/{first}"
    answer = send(client, f"{path}/withdraw", of=path, sure="yes")
    assert answer.headers["location"] == f"{path}?done=withdraw&next={second}"
    assert f'href="/requests/{second}"' in client.get(answer.headers["location"]).text
    assert "<b>" not in client.get(f"{path}?done=withdraw&next=%3Cb%3E").text
    answer = served.client("officer").post(f"/v1/requests/{second}/refuse", json={"ground": "excessive"})
    assert answer.json()["goes_on"] is None
    third, fourth = served.submitted(subject="x"), served.submitted(subject="x")
    for each in (third, fourth):
        served.client("officer").post(f"/v1/requests/{each}/verify").raise_for_status()
    answer = served.client("officer").post(f"/v1/requests/{third}/withdraw")
    assert answer.json()["goes_on"] == fourth


def test_a_number_beyond_all_is_refused_on_the_page(served: Served) -> None:
    request_id = served.submitted()
    client, path = logged_in(served, "officer"), f"/requests/{request_id}"
    fields = {"reason": "not_theirs", "number": "9" * 5000, "sure": "yes"}
    assert send(client, f"{path}/narrow", of=path, **fields).status_code == 422


def test_what_can_be_dropped_is_chosen_by_number_and_type(served: Served) -> None:
    request_id = served.submitted()
    client, path = logged_in(served, "officer"), f"/requests/{request_id}"
    page = client.get(path).text
    assert '<option value="0">0: ' in page and '<option value="1">1: ' in page
    assert "No batch has sought it yet" in page
    answer = send(client, f"{path}/narrow", of=path, number="0", reason="not_theirs", sure="yes")
    page = client.get(answer.headers["location"]).text
    assert '<option value="0">' not in page and "Dropped and destroyed" in page


def test_an_officer_approves_on_the_page_and_others_only_look(served: Served) -> None:
    batch_id = served.candidate()
    auditor, officer = logged_in(served, "auditor"), logged_in(served, "officer")
    seen = auditor.get("/candidates").text
    assert batch_id in seen and MADE["weights"] in seen and f"/candidates/{batch_id}/approve" not in seen
    assert logged_in(served, "submitter").get("/candidates").status_code == 403
    path, of = f"/candidates/{batch_id}/approve", "/candidates"
    assert send(auditor, path, of="/candidates", sure="yes", **MADE).status_code == 403
    assert "say that you are sure" in send(officer, path, of=of, **MADE).text
    other = send(officer, path, of=of, sure="yes", **MADE | {"weights": "another"})
    assert other.status_code == 409 and "with other weights than were approved" in other.text
    assert officer.post(path, data={"sure": "yes", **MADE}).status_code == 403, "without the secret of the session"
    assert served.store.events(event=APPROVED) == [] == served.hints
    assert send(officer, path, of=of, sure="yes", **MADE).headers["location"] == "/candidates?done=approve"
    assert len(served.store.events(event=APPROVED)) == 1 and served.hints == [("promote-versions",)]
    german = officer.get("/candidates", params={"done": "approve", "lang": "de"}).text
    assert "Die Genehmigung ist festgehalten" in german and "Genehmigt von" in german and path not in german
