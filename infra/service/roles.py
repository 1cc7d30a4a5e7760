"""Who may do what with requests: the one table that both the API and the pages ask."""

from __future__ import annotations

from dataclasses import dataclass

from infra.requests.tokens import Role

GROUNDS = ("legal_hold", "objection")
"""Why a request may be put on hold."""
REASONS = ("complexity", "number_of_requests", "complexity_and_number")
"""Why a deadline may be extended (Art. 12(3) GDPR). Codes and no free text: the audit log cannot forget a name."""

_EVERYBODY: frozenset[Role] = frozenset({"submitter", "officer", "operator", "auditor"})
_INSIDE: frozenset[Role] = frozenset({"officer", "operator", "auditor"})
_OFFICER: frozenset[Role] = frozenset({"officer"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something that is done to one request.

    Attributes:
        method: Of the store.
        roles: Who may do it.
        statuses: In which it is offered; the store decides in the end.
        field: What it has to be told, by name; None: nothing.
        choices: What may be told.
    """

    method: str
    roles: frozenset[Role]
    statuses: frozenset[str]
    field: str | None = None
    choices: tuple[str, ...] = ()


_WAITS = frozenset({"unverified", "received", "processing", "on_hold", "failed"})
ACTIONS: dict[str, Action] = {
    "verify": Action(method="verify", roles=_OFFICER, statuses=frozenset({"unverified"})),
    "acknowledge": Action(method="acknowledge", roles=_OFFICER, statuses=_WAITS),
    "extend": Action(method="extend", roles=_OFFICER, statuses=_WAITS, field="reason", choices=REASONS),
    "hold": Action(
        method="put_on_hold",
        roles=_OFFICER,
        statuses=frozenset({"unverified", "received", "failed"}),
        field="ground",
        choices=GROUNDS,
    ),
    "release": Action(method="release_hold", roles=_OFFICER, statuses=frozenset({"on_hold"})),
    "retry": Action(method="retry", roles=frozenset({"officer", "operator"}), statuses=frozenset({"failed"})),
    "withdraw": Action(
        method="withdraw", roles=_OFFICER, statuses=frozenset({"unverified", "received", "on_hold", "failed"})
    ),
}
MAY: dict[str, frozenset[Role]] = {
    "submit": frozenset({"submitter", "officer"}),
    "read": _EVERYBODY,  # a submitter: what that token submitted
    "list": _INSIDE,
    "history": _INSIDE,
    "metrics": _INSIDE,
    **{name: action.roles for name, action in ACTIONS.items()},
}
