"""The officers' pages: forms and lists, rendered here, without a script. A value is taken and never shown again."""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Depends, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse, HTMLResponse, RedirectResponse, Response

from infra.requests.outcomes import described
from infra.requests.records import IDENTIFIER_TYPES, UNANSWERED
from infra.requests.regimes import frozen, regimes
from infra.requests.rows import is_request_id
from infra.requests.tokens import Token
from infra.service.api import PAGE, desk_of
from infra.service.desk import Desk
from infra.service.guard import client_of, note_token
from infra.service.languages import COOKIE, FOLDER, chosen
from infra.service.metrics import STATUSES
from infra.service.problems import Problem
from infra.service.roles import ACTIONS, MAY, Action
from infra.service.sessions import Session

ROWS = (3, 10, 25)
CERTAIN = frozenset({"withdraw", "accept", "narrow", "refuse"})
"""What cannot be undone, so that its form asks once more."""
_MOST_FIELDS = 200
_NUMBER = re.compile(r"[0-9]{1,6}")
_IDENTIFIER = re.compile(r"/identifiers/(\d+)")
_WITHIN = re.compile(r"^identifiers\[\d+\]\.?")
_FORM = "application/x-www-form-urlencoded"

router = APIRouter(include_in_schema=False)


class LoginFirst(Exception):
    """Nobody is logged in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One call of a page: the call, its session, who is logged in, and the form that was sent."""

    request: Request
    session: Session
    who: Token | None
    form: Mapping[str, str]

    @property
    def token(self) -> Token:
        """Who is logged in; LoginFirst where nobody is."""
        if self.who is None:
            raise LoginFirst
        return self.who

    def page(self, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        """Return a page for this visit."""
        return page(self.request, template, status, session=self.session, who=self.who, **values)


async def visit(request: Request, desk: Annotated[Desk, Depends(desk_of)]) -> Visit:
    """Return the visit; a form that is not of its session is refused before anything is done.

    Raises:
        Problem: A form came from elsewhere or is none.
    """
    session: Session = request.app.state.sessions.of(request)
    form = await _form(request) if request.method == "POST" else {}
    if request.method == "POST":
        elsewhere = request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}
        if elsewhere or not session.sent(form.get("csrf")):
            raise Problem("stale-form")
    who = await run_in_threadpool(desk.still, session.token_id) if session.token_id else None
    if who is not None:
        note_token(request.scope, who.id)
    return Visit(request=request, session=session, who=who, form=form)


Visiting = Annotated[Visit, Depends(visit)]
At = Annotated[Desk, Depends(desk_of)]


async def _form(request: Request) -> dict[str, str]:
    """The fields of a form; of one that comes twice the last."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise Problem("bad-form")
    text = await request.body()
    try:
        return dict(parse_qsl(text.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict"))
    except ValueError:  # no UTF-8, or too many fields; the error's text may show them
        raise Problem("bad-form") from None


def page(
    request: Request, template: str, status: int = 200, *, session: Session, who: Token | None, **values: Any
) -> HTMLResponse:
    """Render a page in the language of the call; keeps a new session, and the language where one was asked for."""
    asked = request.query_params.get("lang")
    code = chosen(request, asked)
    values.setdefault("query", "")
    may = _may(who) | ({"candidates"} if request.app.state.waiting.may_approve(who) else set())
    text = request.app.state.languages[code].render(
        template, {"session": session, "who": who, "may": may, "here": _here(request), **values}
    )
    response = HTMLResponse(text, status)
    response.headers["Content-Language"] = code
    response.headers["Vary"] = "Accept-Language, Cookie"
    if session.is_new:
        request.app.state.sessions.keep(request, response, session)
    if asked == code:
        secure = request.url.scheme == "https"
        response.set_cookie(COOKIE, code, max_age=31_536_000, secure=secure, httponly=True, samesite="strict")
    return response


def _may(who: Token | None) -> frozenset[str]:
    return frozenset(what for what, roles in MAY.items() if who is not None and who.role in roles)


def _here(request: Request) -> str:
    """The path of the page, for the links that change its language; of a page that is none, the first one."""
    route = getattr(request.scope.get("route"), "path", "")
    request_id = request.path_params.get("request_id", "")
    if route == "/requests/{request_id}" and is_request_id(request_id):  # what is no id is not shown
        return f"/requests/{request_id}"
    return route if route in {"/", "/login", "/submit", "/candidates"} else "/"


@router.get("/style.css")
def style() -> FileResponse:
    return FileResponse(FOLDER / "service.css", media_type="text/css", headers={"Cache-Control": "max-age=3600"})


@router.get("/login")
def login_form(at: Visiting) -> Response:
    return RedirectResponse("/", 303) if at.who else at.page("login.html.j2", refused=False)


@router.post("/login")
def log_in(at: Visiting, desk: At) -> Response:
    rates = at.request.app.state.rates
    rates.refuse_guessers(client_of(at.request.scope))
    who = desk.known(at.form.get("token", "").strip())
    if who is None:
        rates.failed(client_of(at.request.scope))
        return at.page("login.html.j2", 401, refused=True)
    response = RedirectResponse("/", 303)
    # Another session than before: what somebody planted in the browser opens nothing.
    at.request.app.state.sessions.keep(at.request, response, Session(token_id=who.id))
    return response


@router.post("/logout")
def log_out(at: Visiting) -> Response:
    response = RedirectResponse("/login", 303)
    at.request.app.state.sessions.end(at.request, response, at.session)
    return response


@router.get("/")
def list_page(at: Visiting, desk: At) -> Response:
    if "list" not in _may(at.token):
        return RedirectResponse("/submit", 303)
    asked = at.request.query_params
    status = asked.get("status", "open")
    statuses = {"open": UNANSWERED, "all": ()}.get(status, (status,) if status in STATUSES else None)
    number = asked.get("page", "1")
    if statuses is None or not (number.isascii() and number.isdigit() and len(number) <= 7 and int(number) >= 1):
        raise Problem("unknown-path")
    found = desk.page(at.token, statuses=statuses, due_by=None, offset=(int(number) - 1) * PAGE, limit=PAGE)
    return at.page(
        "list.html.j2",
        rows=[(view, desk.days_left(view), desk.state(view)) for view in found.requests],
        total=found.total,
        counts=desk.counts(at.token, found.standing),
        standing={each.id: each for each in found.standing},
        filtered=status,
        statuses=STATUSES,
        page=int(number),
        pages=max(1, -(-found.total // PAGE)),
        query=urlencode({"status": status}) + "&",
    )


@router.get("/submit")
def submit_form(at: Visiting, desk: At) -> Response:
    if "submit" not in _may(at.token):
        raise Problem("role")
    rows = at.request.query_params.get("rows", "")
    count = int(rows) if rows in map(str, ROWS) else ROWS[0]
    return _submit_page(at, desk, count=count, query=urlencode({"rows": count}) + "&")


def _submit_page(at: Visit, desk: Desk, *, count: int, status: int = 200, **values: Any) -> HTMLResponse:
    defaults: dict[str, Any] = {
        "received": desk.clock.today().isoformat(),
        "model": "",
        "regime": desk.clock.regime,
        "types": [],
        "errors": (),
        "taken": (),
    }
    return at.page(
        "submit.html.j2",
        status,
        **defaults | values | {"key": secrets.token_urlsafe(16)},
        types_known=IDENTIFIER_TYPES,
        regimes=regimes(),
        models=sorted(desk.models()),
        count=count,
        counts_known=ROWS,
    )


@router.post("/submit")
def submit(at: Visiting, desk: At) -> Response:
    form = at.form
    count = int(form.get("rows", "")) if form.get("rows", "") in map(str, ROWS) else ROWS[0]
    kinds = [form.get(f"type-{number}", "") for number in range(count)]
    values = [form.get(f"value-{number}", "") for number in range(count)]
    filled = [number for number, value in enumerate(values) if value.strip()]
    document: dict[str, Any] = {
        "subject": form.get("subject", ""),
        "received": form.get("received", ""),
        "identifiers": [{"type": kinds[number], "value": values[number]} for number in filled],
    }
    document |= {name: form[name] for name in ("regime", "model") if form.get(name)}
    key = form.get("key") or secrets.token_urlsafe(16)
    try:
        # Sent twice, the same form is one request; sent again with something mended, it is another.
        body = json.dumps(document).encode()
        taken = desk.submit(at.token, body, key=f"form {key} {hashlib.sha256(body).hexdigest()}")
    except Problem as problem:
        if problem.code not in {"invalid", "no-model"}:
            raise
        errors = [_in_form(pointer, detail, filled) for pointer, detail in problem.errors] or [(None, problem.detail)]
        kept = {"types": [kind if kind in IDENTIFIER_TYPES else "" for kind in kinds]}
        return _submit_page(at, desk, count=count, status=problem.kind.status, errors=errors, **kept)
    return _submit_page(at, desk, count=ROWS[0], taken=taken, status=201)


def _in_form(pointer: str, detail: str, filled: Sequence[int]) -> tuple[int | None, str]:
    """The row of the form that an error is about, if it is about one, and what is wrong there."""
    place = _IDENTIFIER.match(pointer)
    if place is None:
        return None, detail
    return filled[int(place[1])], _WITHIN.sub("", detail)


@router.get("/requests/{request_id}")
def request_page(request_id: str, at: Visiting, desk: At) -> Response:
    return _request_page(at, desk, request_id)


def _request_page(at: Visit, desk: Desk, request_id: str, *, status: int = 200, refused: str | None = None) -> Response:
    case = desk.case(at.token, request_id)
    policy = frozen(case.view.policy)
    done, goes_on = (at.request.query_params.get(name) for name in ("done", "next"))
    return at.page(
        "request.html.j2",
        status,
        case=case,
        policy=policy,
        acknowledge_by=policy.acknowledge_by(case.view.received) if policy else None,
        parts=[(each, described(each.kind, each.detail)) for each in case.parts],
        actions=ACTIONS,
        certain=CERTAIN,
        done=done if done in ACTIONS else None,
        goes_on=goes_on if goes_on and is_request_id(goes_on) else None,
        refused=refused,
    )


@router.post("/requests/{request_id}/{action}")
def act(request_id: str, action: str, at: Visiting, desk: At) -> Response:
    if action not in ACTIONS:
        raise Problem("unknown-path")
    if action in CERTAIN and at.form.get("sure") != "yes":
        return _request_page(at, desk, request_id, status=422, refused="this cannot be undone: say that you are sure")
    try:
        case = desk.act(at.token, action, request_id, _told(at.form, ACTIONS[action]))
    except Problem as problem:
        if problem.code not in {"state", "own-request", "invalid", "not-yet"}:
            raise
        return _request_page(at, desk, request_id, status=problem.kind.status, refused=problem.detail)
    done = {"done": action} | ({"next": case.goes_on} if case.goes_on else {})
    return RedirectResponse(f"/requests/{request_id}?{urlencode(done)}", 303)


def _told(form: Mapping[str, str], action: Action) -> dict[str, Any]:
    """What a form tells an action; a number that is none is left out, and the desk says so."""
    told: dict[str, Any] = {} if action.field is None else {action.field: form.get(action.field)}
    number = form.get("number", "")
    return told | ({"number": int(number)} if action.numbered and _NUMBER.fullmatch(number) else {})
