"""The API under /v1: JSON in, JSON out, problems by RFC 9457."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from infra.requests.fields import Malformed, parse_date
from infra.requests.tokens import Token
from infra.service.desk import Desk
from infra.service.guard import Rates, client_of, note_token
from infra.service.metrics import exposition
from infra.service.problems import Problem, documented
from infra.service.roles import ACTIONS, Action
from infra.service.schemas import (
    SUBMISSION,
    Receipt,
    RequestOut,
    RequestPage,
    RequestRow,
    State,
    told,
)
from infra.service.submission import read_json

PAGE = 50
_KEY = re.compile(r"[\x21-\x7e]{1,200}")
_bearer = HTTPBearer(auto_error=False, description="a token of 'revs service token add', which begins with revs_")

open_router = APIRouter(prefix="/v1", tags=["service"])
router = APIRouter(prefix="/v1", tags=["requests"])


async def desk_of(request: Request) -> Desk:  # async: it waits for nothing, and needs no thread
    """The desk that the application was made with."""
    desk: Desk = request.app.state.desk
    return desk


def caller(
    request: Request,
    desk: Annotated[Desk, Depends(desk_of)],
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Token:
    """Return who calls.

    Raises:
        Problem: The call carries no usable token, or too many of its address did not.
    """
    rates: Rates = request.app.state.rates
    rates.refuse_guessers(client_of(request.scope))
    who = desk.known(credentials.credentials) if credentials else None
    if who is None:
        rates.failed(client_of(request.scope))
        raise Problem("no-token", headers={"WWW-Authenticate": "Bearer"})
    note_token(request.scope, who.id)
    return who


async def body_of(request: Request) -> bytes:
    """The body of a call, which says that it is JSON, or says nothing."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem("media-type")
    return await request.body()


Who = Annotated[Token, Depends(caller)]
At = Annotated[Desk, Depends(desk_of)]
Body = Annotated[bytes, Depends(body_of)]


@router.post(
    "/requests",
    status_code=201,
    response_model=Receipt,
    responses=documented(
        "not-json", "no-token", "role", "no-model", "too-large", "media-type", "invalid", "another-body"
    ),
    openapi_extra=SUBMISSION
    | {
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "schema": {"type": "string", "pattern": "^[!-~]{1,200}$"},
                "example": "5f0c3c1e-7d0b-4f0a-9a51-0a8c9f2d6e11",
                "description": "the same token, key and body store nothing more and give the same answer for 7 days",
            }
        ]
    },
)
def submit(request: Request, response: Response, who: Who, desk: At, body: Body) -> dict[str, Any]:
    """Submit one request or a list of up to 100; roles: submitter, officer. One that is malformed stops all of them."""
    key = request.headers.get("idempotency-key")
    if key is not None and not _KEY.fullmatch(key):
        raise Problem(
            "invalid", "the Idempotency-Key is not 1 to 200 visible ASCII characters; send a UUID, for example"
        )
    stored = desk.submit(who, body, key=key)
    if len(stored) == 1:
        response.headers["Location"] = f"/v1/requests/{stored[0]['id']}"
    return {"requests": stored}


@router.get("/requests", response_model=RequestPage, responses=documented("no-token", "role", "invalid"))
def list_requests(
    who: Who,
    desk: At,
    status: Annotated[
        list[str] | None, Query(max_length=12, description="only with this status; may be given several times")
    ] = None,
    due: Annotated[
        str | None,
        Query(
            description="only those due on this day or before",
            examples=["2026-12-02"],
            json_schema_extra={"format": "date"},
        ),
    ] = None,
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
) -> RequestPage:
    """List requests, most urgent first, 50 a page; roles: officer, operator, auditor."""
    found = desk.page(
        who, statuses=known_statuses(status or []), due_by=_day(due), offset=(page - 1) * PAGE, limit=PAGE
    )
    return RequestPage(
        requests=[RequestRow.of(view, desk.days_left(view)) for view in found.requests],
        total=found.total,
        page=page,
        pages=max(1, -(-found.total // PAGE)),
    )


def _day(text: str | None) -> date | None:
    """Return a date written as 2026-12-02; Problem where it is written in another way."""
    try:
        return None if text is None else parse_date(text, field="due")
    except Malformed:
        raise Problem("invalid", errors=[("/due", "is not a date such as 2026-12-02")]) from None


def known_statuses(named: list[str]) -> list[str]:
    """Return the statuses; Problem where one is unknown."""
    from infra.service.metrics import STATUSES

    if not set(named) <= set(STATUSES):
        raise Problem("invalid", errors=[("/status", f"is not one of {', '.join(STATUSES)}")])
    return named


@router.get("/requests/{request_id}", response_model=RequestOut, responses=documented("no-token", "unknown-request"))
def read_request(request_id: str, who: Who, desk: At) -> RequestOut:
    """Read one request, its outcomes by number and type of identifier; every role, a submitter its own requests."""
    return RequestOut.of_case(desk.case(who, request_id))


def _add(name: str) -> None:
    action = ACTIONS[name]
    roles = ", ".join(sorted(action.roles))

    def bare(request_id: str, who: Who, desk: At) -> RequestOut:
        return RequestOut.of_case(desk.act(who, name, request_id))

    def telling(request_id: str, who: Who, desk: At, body: Body) -> RequestOut:
        return RequestOut.of_case(desk.act(who, name, request_id, _told(read_json(body), action)))

    codes = ["no-token", "role", "unknown-request", "state"]
    codes += ["own-request"] if name == "verify" else []
    codes += ["not-json", "too-large", "media-type", "invalid"] if action.field else []
    router.add_api_route(
        f"/requests/{{request_id}}/{name}",
        telling if action.field else bare,
        methods=["POST"],
        name=name,
        operation_id=f"{name}_request",
        summary=name.capitalize(),
        description=f"{_SENTENCES[name]}; roles: {roles}.",
        response_model=RequestOut,
        responses=documented(*codes),
        openapi_extra=told(action) if action.field else None,
    )


_SENTENCES = {
    "verify": "Say that the person is who they say; who submitted a request may not",
    "acknowledge": "Note that the person was told that the request came in",
    "extend": "Extend the deadline as the law of the request allows, for one of its reasons",
    "hold": "Put a request on hold, on one of three grounds",
    "release": "End a hold",
    "retry": "Put a failed request back in line, once its cause was mended",
    "accept": "Complete a request of which nothing is left to erase: what is not settled was found nowhere",
    "narrow": "Drop one identifier of a request and destroy it; the others go on",
    "refuse": "End a request that will not be fulfilled, on a ground that the law knows",
    "withdraw": "Withdraw a request for the person who made it",
}
for _name in ACTIONS:
    _add(_name)


def _told(found: Any, action: Action) -> dict[str, Any]:
    """The body of an action; what it may be told, the desk says."""
    wanted = {str(action.field): str} | ({"number": int} if action.numbered else {})
    if not isinstance(found, dict) or {name: type(value) for name, value in found.items()} != wanted:
        fields = " and ".join(f"{name}, which is {_KINDS[kind]}" for name, kind in wanted.items())
        raise Problem("invalid", errors=[("", f"is not an object with the field {fields}, alone")])
    return found


_KINDS = {str: "a text", int: "a number"}


@open_router.get("/health", response_model=State, responses=documented())
def health() -> dict[str, str]:
    """Whether the process answers; no token needed."""
    return {"status": "ok"}


@open_router.get("/ready", response_model=State, responses=documented("other-key"))
def ready(desk: At) -> dict[str, str]:
    """Whether the process can store requests: 503 where it cannot. No token needed."""
    desk.ready()
    return {"status": "ok"}


@router.get(
    "/metrics",
    tags=["service"],
    response_class=Response,
    responses=documented("no-token", "role")
    | {
        200: {
            "description": "Prometheus text",
            "content": {"text/plain": {"example": 'revs_requests{status="received"} 3.0\n'}},
        }
    },
)
def metrics(who: Who, desk: At) -> Response:
    """Requests by status, overdue and at risk, as Prometheus reads them; roles: officer, operator, auditor."""
    data, kind = exposition(desk.counts(who))
    return Response(data, headers={"Content-Type": kind})
