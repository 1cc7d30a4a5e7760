"""The life of a deletion request: every state, every step from one to another, and what each step writes.

    unverified → received → processing → completed
         │          │ ↑         │
         │          │ └─────────┤ sent back: the batch failed or was given up; split: it is tried again in a lot
         │          ↓           ↓
         │       on_hold      failed: a human is needed; retried, it is received again
         ↓          ↓           ↓
      rejected · withdrawn · duplicate (of another that is pending; it goes on where that one ends without an edit)

From failed a human may also accept that nothing is there to erase (completed), or refuse the request (rejected).

No other code sets a request's state: a step that is not in `STEPS` cannot happen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, get_args

from sqlalchemy.orm import Session

from infra.requests import rows, tables
from infra.requests.reasons import Reason
from infra.requests.records import RequestStatus
from revs.errors import BadInput

StepName = Literal[
    "verify",
    "take",
    "send_back",
    "split",
    "complete",
    "reject",
    "fail",
    "retry",
    "accept",
    "refuse",
    "withdraw",
    "hold",
    "release",
    "fold",
    "revive",
]
HoldGround = Literal["legal_hold", "objection", "identity"]
"""Why a request may not be processed for now: the law wants the data kept, somebody objects, who asks is in doubt."""

RefusalGround = Literal[
    "expression", "legal_obligation", "public_interest", "legal_claims", "unfounded", "excessive", "identity"
]
"""Why a request is not fulfilled at all: GDPR Art. 17(3)(a), (b), (c) and (d), (e); Art. 12(5), 12(5), 12(2)."""

NarrowingReason = Literal["not_found", "not_theirs", "no_longer_asked", "cannot_be_sought", "legal_hold"]
"""Why one identifier of a request is dropped, and the others go on."""

IN_ITS_LOT: frozenset[StepName] = frozenset({"take", "send_back"})
"""Steps with which a request stays in its lot; with every other it leaves it."""

CLOSED: frozenset[RequestStatus] = frozenset({"completed", "rejected", "failed", "duplicate", "withdrawn"})


@dataclass(frozen=True, slots=True)
class Step:
    """From which states a step may be taken, to which it leads, and the event that it leaves in the audit log."""

    sources: frozenset[RequestStatus]
    target: RequestStatus
    event: str


def _step(sources: str, target: RequestStatus, event: str) -> Step:
    found: list[RequestStatus] = [status for status in get_args(RequestStatus) if status in sources.split()]
    return Step(frozenset(found), target, f"request.{event}")


STEPS: Mapping[StepName, Step] = MappingProxyType(
    {
        "verify": _step("unverified", "received", "verified"),
        "take": _step("received", "processing", "processing"),
        "send_back": _step("processing", "received", "received"),
        "split": _step("processing", "received", "split"),
        "complete": _step("processing failed", "completed", "completed"),
        "reject": _step("unverified received processing", "rejected", "rejected"),
        "fail": _step("received processing", "failed", "failed"),
        "retry": _step("failed", "received", "retried"),
        "accept": _step("failed", "completed", "accepted"),
        "refuse": _step("unverified received on_hold failed", "rejected", "refused"),
        "withdraw": _step("unverified received on_hold failed duplicate", "withdrawn", "withdrawn"),
        "hold": _step("received", "on_hold", "on_hold"),
        "release": _step("on_hold", "received", "released"),
        "fold": _step("unverified received failed", "duplicate", "duplicate"),
        "revive": _step("duplicate", "received", "received"),
    }
)

_REMEDIES: Mapping[RequestStatus, str] = MappingProxyType(
    {
        "received": "let a batch take it first",
        "processing": "let its batch end, or abandon it ('revs batches abandon')",
        "failed": "put it back in line first ('revs requests retry')",
        "on_hold": "release it first ('revs requests release')",
        "unverified": "verify it first ('revs requests verify')",
        "duplicate": "look at the one that it is a duplicate of ('revs requests show')",
    }
)


def move(
    session: Session,
    row: tables.Request,
    name: StepName,
    *,
    reason: Reason | None = None,
    batch_id: str | None = None,
    lot: str | None = None,
    detail: dict[str, Any] | None = None,
) -> None:
    """Take one step with a request, and log it: both stand if and only if the caller's transaction does.

    Args:
        session: The transaction; `row` is locked in it.
        row: The request.
        name: The step.
        reason: Why; stands in the request until the next step.
        batch_id: The batch that takes the step; a request that stands in line belongs to none.
        lot: In which it is tried again, of one whose batch is split.
        detail: What the event says beside the reason. Safe values only.

    Raises:
        BadInput: The request is in a state from which this step does not lead.
    """
    step = STEPS[name]
    if row.status not in step.sources:
        raise BadInput(_impossible(row, step))
    row.status, row.reason = step.target, reason
    row.closed_at = rows.now() if step.target in CLOSED else None
    if step.target != "duplicate":
        row.duplicate_of = None
    if name == "take" or step.target in {"received", "duplicate"}:
        row.batch_id = batch_id if name == "take" else None
    if name not in IN_ITS_LOT:
        row.lot = lot
    said = dict(detail or {}) | ({"lot": lot} if lot else {}) | ({"reason": reason.as_json()} if reason else {})
    rows.log(session, step.event, batch_id=batch_id, request_id=row.id, detail=said, at=row.closed_at)


def _impossible(row: tables.Request, step: Step) -> str:
    told = f"request {row.id} is {_word(row.status)}; it cannot become {_word(step.target)}"
    remedy = _REMEDIES.get(row.status)
    return f"{told}: {remedy}" if remedy else f"{told}, its end stands"


def _word(status: RequestStatus) -> str:
    return status.replace("_", " ")
