"""The page of the candidates that wait for a human, where who may approves one."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.background import BackgroundTask
from starlette.responses import RedirectResponse, Response

from infra.service.candidates import CALLED_FOR, There, Waiting
from infra.service.pages import Visit, Visiting
from infra.service.problems import Problem

router = APIRouter(include_in_schema=False)


@router.get("/candidates")
def candidates_page(at: Visiting, waiting: There) -> Response:
    return _page(at, waiting)


def _page(at: Visit, waiting: Waiting, *, status: int = 200, refused: str | None = None) -> Response:
    return at.page(
        "candidates.html.j2",
        status,
        candidates=waiting.list(at.token),
        approves=waiting.may_approve(at.token),
        refused=refused,
        done="done" in at.request.query_params,
    )


@router.post("/candidates/{batch_id}/approve")
def approve(batch_id: str, at: Visiting, waiting: There) -> Response:
    if at.form.get("sure") != "yes":
        return _page(at, waiting, status=422, refused="this cannot be undone: say that you are sure")
    what = {name: at.form.get(name, "") for name in ("version", "weights")}
    try:
        waiting.approve(at.token, batch_id, **what)
    except Problem as problem:
        if problem.code != "not-approvable":
            raise
        return _page(at, waiting, status=problem.kind.status, refused=problem.detail)
    promoting = BackgroundTask(at.request.app.state.hint, CALLED_FOR)
    return RedirectResponse("/candidates?done=approve", 303, background=promoting)
