"""Candidates that wait for a human, under /v1: which there are, and their approval by a token of a set role."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Depends, Request
from pydantic import BaseModel, Field

from infra.requests.approvals import Approvals, Candidate
from infra.requests.rows import is_batch_id
from infra.requests.tokens import Token
from infra.service.api import Body, Who
from infra.service.desk import require
from infra.service.problems import Problem, documented
from infra.service.schemas import example
from infra.service.submission import read_json
from revs.errors import BadInput, GateRefused

CALLED_FOR = ("promote-versions",)
"""The flow that promotes what was approved; it comes by itself too."""

router = APIRouter(prefix="/v1", tags=["candidates"])

_CANDIDATE: dict[str, Any] = {
    "batch_id": "B-20261130-0a1b2c",
    "model": "support-bot",
    "version": "models:/support-bot/4",
    "weights": "sha256:" + "0" * 64,
    "waits_since": "2026-11-30T02:10:00Z",
    "until": "2026-12-14T02:10:00Z",
    "approval": None,
}
APPROVAL = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["version", "weights"],
                    "additionalProperties": False,
                    "properties": {"version": {"type": "string"}, "weights": {"type": "string"}},
                },
                "examples": {"one": {"value": {name: _CANDIDATE[name] for name in ("version", "weights")}}},
            }
        },
    }
}
"""What is approved, as the list names it."""


class ApprovalOut(BaseModel):
    """Who approved a candidate."""

    at: datetime
    by: str
    role: str
    void: str | None = Field(description="why it does not count; null: it does")


class CandidateOut(BaseModel):
    """What a batch made that waits for a human."""

    model_config = example(_CANDIDATE)

    batch_id: str
    model: str
    version: str
    weights: str = Field(description="digest of its weights; an approval is of these")
    waits_since: datetime
    until: datetime = Field(description="from then on it is no longer promoted")
    approval: ApprovalOut | None = Field(description="null: nobody approved it yet")

    @classmethod
    def of(cls, candidate: Candidate) -> CandidateOut:
        """Return a candidate as the API shows it."""
        approval = candidate.approval and ApprovalOut(
            **{name: getattr(candidate.approval, name) for name in ApprovalOut.model_fields}
        )
        shown = {name: getattr(candidate, name) for name in cls.model_fields if name != "approval"}
        return cls(**shown, approval=approval)


class CandidateList(BaseModel):
    """The candidates that wait, oldest first."""

    model_config = example({"candidates": [_CANDIDATE]})

    candidates: list[CandidateOut]


class Waiting:
    """What waits, and its approval.

    Args:
        approvals: Of the installation.
    """

    def __init__(self, approvals: Approvals) -> None:
        self._approvals = approvals

    def may_approve(self, who: Token | None) -> bool:
        """Whether a token is of the role that approves."""
        return who is not None and who.role == self._approvals.role

    def list(self, who: Token) -> list[Candidate]:
        """Return the candidates that wait, oldest first; Problem where the role does not allow it."""
        if not self.may_approve(who):
            require(who, "candidates")
        return self._approvals.candidates()

    def approve(self, who: Token, batch_id: str, *, version: str, weights: str) -> Candidate:
        """Approve a candidate, as `Approvals.approve`.

        Raises:
            Problem: No role approves here, or another one; there is no such batch; or it made something else, waits no
                longer, or has waited too long.
        """
        if self._approvals.role is None:
            raise Problem("nobody-approves")
        if not self.may_approve(who):
            raise Problem("role")
        try:
            if not is_batch_id(batch_id):
                raise BadInput("no id")
            return self._approvals.approve(who, batch_id, version=version, weights=weights)
        except BadInput:  # its text shows what was asked for, which may be anything
            raise Problem("unknown-batch") from None
        except GateRefused as refused:  # the store's own words: batch, version, remedy
            raise Problem("not-approvable", str(refused)) from None


async def waiting_of(request: Request) -> Waiting:  # async: it waits for nothing, and needs no thread
    """What waits in the application."""
    found: Waiting = request.app.state.waiting
    return found


There = Annotated[Waiting, Depends(waiting_of)]


@router.get("/candidates", response_model=CandidateList, responses=documented("no-token", "role"))
def list_candidates(who: Who, waiting: There) -> CandidateList:
    """List the candidates that wait for a human, oldest first; roles: officer, operator, auditor, and who approves."""
    return CandidateList(candidates=[CandidateOut.of(each) for each in waiting.list(who)])


@router.post(
    "/candidates/{batch_id}/approve",
    response_model=CandidateOut,
    responses=documented(
        "not-json", "no-token", "role", "unknown-batch", "nobody-approves", "not-approvable", "too-large", "media-type",
        "invalid",
    ),
    openapi_extra=APPROVAL,
)  # fmt: skip
def approve_candidate(
    batch_id: str, request: Request, who: Who, waiting: There, body: Body, after: BackgroundTasks
) -> CandidateOut:
    """Approve the candidate of a batch, by its version and the digest of its weights; role: REVS_APPROVER_ROLE."""
    told = read_json(body)
    if not isinstance(told, dict) or {name: type(value) for name, value in told.items()} != _TOLD:
        raise Problem("invalid", errors=[("", "is not an object with the texts version and weights, alone")])
    found = CandidateOut.of(waiting.approve(who, batch_id, **told))
    hint: Any = request.app.state.hint
    after.add_task(hint, CALLED_FOR)
    return found


_TOLD = {"version": str, "weights": str}
