"""The application: the API, the pages, and how every error ends."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse, Response
from starlette.types import Scope

from infra.requests import RequestStore
from infra.requests.approvals import Approvals
from infra.requests.deliveries import Deliveries
from infra.service import api, candidate_pages, candidates, hooks, pages
from infra.service.candidates import Waiting
from infra.service.desk import Desk
from infra.service.guard import Guard, Rates
from infra.service.languages import languages
from infra.service.problems import Problem
from infra.service.schemas import ProblemDocument
from infra.service.sessions import Sessions
from revs.errors import OperationFailed

VERSION = "1"
_KNOWN = frozenset({"status", "page"})
_SENTENCES = {
    "/page": "is not a number from 1 to 1000000",
    "/status": "is not a list of at most 12 statuses",
}


def new_app(
    store: RequestStore,
    *,
    models: Callable[[], Collection[str]],
    session_key: str,
    generation: Callable[[str], str] = lambda _: "",
    rates: Rates | None = None,
    approvals: Approvals | None = None,
    webhook_secret: str | None = None,
    hint: Callable[[Collection[str]], None] = lambda _: None,
) -> FastAPI:
    """Return the service of a request store.

    Args:
        store: The request store; it also holds the tokens.
        models: Returns the registered models: requests for others are refused.
        session_key: Signs the session cookies; the same key keeps sessions over a restart.
        generation: Returns what a model was trained as: see `RequestStore.add_file`.
        rates: How often an address may call; None: the default.
        approvals: Of candidates, with the role that approves; None: none does.
        webhook_secret: What MLflow signs its webhooks with; None: none is taken.
        hint: Told the names of flows that have something to look at; it is called after the answer.
    """
    app = FastAPI(
        title="revs deletion requests",
        version=VERSION,
        description="Submit deletion requests and see what became of them. Values go in and never come out.",
        openapi_url="/v1/openapi.json",
        redirect_slashes=False,  # it would repeat the address that was called
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
    )
    app.state.desk = Desk(store, models=models, generation=generation)
    app.state.sessions = Sessions(session_key)
    app.state.languages = languages()
    app.state.rates = rates or Rates()
    app.state.waiting = Waiting(approvals or Approvals(store, role=None, days=1))
    app.state.webhook_secret = webhook_secret.encode() if webhook_secret else None
    app.state.deliveries = Deliveries(store)
    app.state.hint = hint
    for each in (api.open_router, api.router, candidates.router, hooks.router, pages.router, candidate_pages.router):
        app.include_router(each)
    app.add_middleware(Guard, rates=app.state.rates, answer=partial(_of_scope, app))
    app.add_exception_handler(Problem, _answer)
    app.add_exception_handler(RequestValidationError, _answer)
    app.add_exception_handler(HTTPException, _answer)
    app.add_exception_handler(OperationFailed, _answer)
    app.add_exception_handler(pages.LoginFirst, lambda *_: RedirectResponse("/login", 303))
    app.openapi = partial(_documented, app, app.openapi)  # type: ignore[method-assign]  # how FastAPI's documentation extends the document
    return app


def _answer(request: Request, error: Exception) -> Response:
    """The response of an error: a problem document under /v1, a page elsewhere."""
    problem = _problem(error)
    if request.url.path.startswith("/v1/"):
        return problem.response()
    session = request.app.state.sessions.of(request)
    response = pages.page(
        request,
        "problem.html.j2",
        problem.kind.status,
        session=session,
        who=None,
        code=problem.code,
        detail=problem.detail,
    )
    response.headers.update(problem.headers)
    return response


def _of_scope(app: FastAPI, scope: Scope, problem: Problem) -> Response:
    return _answer(Request({**scope, "app": app}), problem)


def _problem(error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, OperationFailed):  # its text names the driver's own complaint: for the log, not for callers
        return Problem("unavailable")
    if isinstance(error, RequestValidationError):
        return Problem("invalid", errors=sorted(_places(error)))
    codes: Mapping[int, str] = {404: "unknown-path", 405: "method"}
    return Problem(codes.get(getattr(error, "status_code", 500), "invalid"))


def _places(error: RequestValidationError) -> set[tuple[str, str]]:
    """The places that FastAPI found wrong, in words of our own: its own repeat what was sent."""
    named = {f"/{each['loc'][1]}" for each in error.errors() if len(each["loc"]) > 1 and each["loc"][1] in _KNOWN}
    return {(pointer, _SENTENCES[pointer]) for pointer in named} or {("", "is not as documented")}


def _documented(app: FastAPI, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The OpenAPI document, with the schema of problems in the place of FastAPI's own."""
    document = make()
    schemas = document["components"]["schemas"]
    if "ProblemDocument" not in schemas:
        own = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= own.pop("$defs") | {"ProblemDocument": own}
    # FastAPI's own form of a refusal, which repeats what was sent: no call ends in it.
    for call in (call for found in document["paths"].values() for call in found.values()):
        if "HTTPValidationError" in str(call["responses"].get("422")):
            del call["responses"]["422"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    return document
