"""Who may do what with requests: the one table that both the API and the pages ask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from infra.requests.decisions import NARROWED_IN
from infra.requests.lifecycle import STEPS, HoldGround, NarrowingReason, RefusalGround
from infra.requests.records import UNANSWERED, RequestStatus
from infra.requests.regimes import regimes
from infra.requests.tokens import Role

GROUNDS: tuple[str, ...] = get_args(HoldGround)
"""Why a request may be put on hold."""
REFUSED_ON: tuple[str, ...] = get_args(RefusalGround)
"""Why a request may be refused."""
DROPPED_FOR: tuple[str, ...] = get_args(NarrowingReason)
"""Why one identifier may be dropped."""
REASONS: tuple[str, ...] = tuple(
    sorted({code for each in regimes().values() if each.extension for code in each.extension.reasons})
)
"""Why a period may be extended, in any law. Codes and no free text: the audit log cannot forget a name."""

_EVERYBODY: frozenset[Role] = frozenset({"submitter", "officer", "operator", "auditor"})
_INSIDE: frozenset[Role] = frozenset({"officer", "operator", "auditor"})
_OFFICER: frozenset[Role] = frozenset({"officer"})


_OPEN: frozenset[RequestStatus] = frozenset(UNANSWERED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something that is done to one request.

    Attributes:
        method: Of the store.
        roles: Who may do it.
        statuses: In which it is offered; the store decides in the end.
        field: What it has to be told, by name; None: nothing.
        choices: What may be told; to extend, what the law of the request names of these.
        numbered: It is about one identifier of the request, whose number it has to be told as well.
        hands_on: The method returns the duplicate that goes on in the place of the request, where there is one.
    """

    method: str
    roles: frozenset[Role]
    statuses: frozenset[RequestStatus]
    field: str | None = None
    choices: tuple[str, ...] = ()
    numbered: bool = False
    hands_on: bool = False


ACTIONS: dict[str, Action] = {
    "verify": Action(method="verify", roles=_OFFICER, statuses=STEPS["verify"].sources),
    "acknowledge": Action(method="acknowledge", roles=_OFFICER, statuses=_OPEN),
    "extend": Action(method="extend", roles=_OFFICER, statuses=_OPEN, field="reason", choices=REASONS),
    "hold": Action(
        method="put_on_hold", roles=_OFFICER, statuses=STEPS["hold"].sources, field="ground", choices=GROUNDS
    ),
    "release": Action(method="release_hold", roles=_OFFICER, statuses=STEPS["release"].sources),
    "retry": Action(method="retry", roles=frozenset({"officer", "operator"}), statuses=STEPS["retry"].sources),
    "accept": Action(method="accept", roles=_OFFICER, statuses=STEPS["accept"].sources),
    "narrow": Action(
        method="narrow",
        roles=_OFFICER,
        statuses=NARROWED_IN,
        field="reason",
        choices=DROPPED_FOR,
        numbered=True,
        hands_on=True,
    ),
    "refuse": Action(
        method="refuse",
        roles=_OFFICER,
        statuses=STEPS["refuse"].sources,
        field="ground",
        choices=REFUSED_ON,
        hands_on=True,
    ),
    "withdraw": Action(method="withdraw", roles=_OFFICER, statuses=STEPS["withdraw"].sources, hands_on=True),
}
MAY: dict[str, frozenset[Role]] = {
    "submit": frozenset({"submitter", "officer"}),
    "late due date": _OFFICER,  # to name one after that of the law
    "read": _EVERYBODY,  # a submitter: what that token submitted
    "list": _INSIDE,
    "history": _INSIDE,
    "metrics": _INSIDE,
    "candidates": _INSIDE,  # who approves is a setting
    **{name: action.roles for name, action in ACTIONS.items()},
}
