"""What the service does, whichever face asks: submit, look up, list, act. Here alone roles are asked for."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from infra.requests import RequestStore, RequestView
from infra.requests.answers import AnotherBody, Answers
from infra.requests.clock import State, Timeliness, state
from infra.requests.history import Line, line
from infra.requests.overview import Overview, Page
from infra.requests.records import UNANSWERED, IdentifierView
from infra.requests.regimes import frozen
from infra.requests.rows import is_request_id
from infra.requests.tokens import Token, Tokens
from infra.service.problems import Problem
from infra.service.roles import ACTIONS, MAY
from infra.service.submission import Wanted, read_submission
from revs.errors import BadInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many requests there are: by status; with a day passed by which something had to be done; due soon."""

    by_status: Mapping[str, int]
    overdue: int
    at_risk: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Found(Page):
    """A page of a list, and how every unanswered request stands."""

    standing: Sequence[Timeliness]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One request and all that is known of it; no value."""

    view: RequestView
    others: tuple[RequestView, ...]  # what the same demand asks of other models
    parts: tuple[IdentifierView, ...]
    history: tuple[Line, ...]
    actions: Mapping[str, tuple[str, ...]]  # that the token may do and its state allows, with what may be told
    state: State | None  # None once it is answered
    days_left: int | None  # until it is due, negative once it is overdue; None once it is answered
    goes_on: str | None = None  # of what was ended or narrowed just now: the duplicate that stands in line in its place


class Desk:
    """Serves tokens on a request store.

    Args:
        store: The request store.
        models: Returns the registered models.
        generation: Returns what a model was trained as: see `RequestStore.add_file`.
    """

    def __init__(
        self,
        store: RequestStore,
        *,
        models: Callable[[], Collection[str]],
        generation: Callable[[str], str] = lambda _: "",
    ) -> None:
        self._store, self.models, self._generation = store, models, generation
        self._tokens, self._answers, self._overview = Tokens(store), Answers(store), Overview(store)
        self.clock = self._overview.clock

    def known(self, secret: str) -> Token | None:
        """Return the usable token with this secret, None where there is none."""
        return self._tokens.known(secret)

    def still(self, token_id: str) -> Token | None:
        """Return the token with this id where it is usable, None where it is not."""
        return self._tokens.still(token_id)

    def submit(self, who: Token, body: bytes, *, key: str | None = None) -> list[dict[str, Any]]:
        """Store all requests of a body, or none where one is malformed; return what became of each, for each model.

        Args:
            who: Submits.
            body: See `submission`.
            key: The same token, key and body give the same answer. None: a submission of its own.

        Raises:
            Problem: The role does not allow it, the body is not valid, or the key was sent with another one.
        """
        require(who, "submit")
        if key is None:
            plan, requests = self._read(who, body)
            return self._stored(who, requests, plan, secrets.token_hex(16))
        try:
            noted = self._answers.known(who.id, key, body)
            if not noted:  # what is malformed does not use its key up
                noted = self._answers.begin(who.id, key, body, self._read(who, body)[0])
        except AnotherBody as error:
            raise Problem("another-body", str(error)) from None
        if "requests" not in noted:
            # Cut off before its end, the same call goes on by its plan: the store takes the same submission once.
            _, requests = self._read(who, body, models=noted["models"])
            noted = self._answers.end(who.id, key, {"requests": self._stored(who, requests, noted, key)})
        return list(noted["requests"])

    def _read(
        self, who: Token, body: bytes, models: Collection[str] | None = None
    ) -> tuple[dict[str, Any], list[Wanted]]:
        """Return the plan by which a body is stored, and its requests, all of them well-formed."""
        models = sorted(self.models() if models is None else models)
        may_be_later = who.role in MAY["late due date"]
        requests = read_submission(body, models=models, clock=self.clock, may_be_later=may_be_later)
        named = sorted({model for wanted in requests for model in wanted.models})
        return {"models": models, "generation": " ".join(map(self._generation, named))}, requests

    def _stored(
        self, who: Token, requests: Sequence[Wanted], plan: Mapping[str, Any], once: str
    ) -> list[dict[str, Any]]:
        intake = self._store.add(
            *(wanted.document for wanted in requests),
            model=requests[0].model,
            by=who.name,
            verified=False,
            models=plan["models"],
            must_name=len(plan["models"]) > 1,
            generation=" ".join([plan["generation"], who.id, once]),
        )
        return [
            {
                "number": each.line - 1,
                "id": each.id,
                "result": each.result,
                "model": each.model,
                "case_id": each.case_id,
            }
            for each in sorted(intake.requests, key=lambda each: (each.line, each.model))
        ]

    def case(self, who: Token, request_id: str) -> Case:
        """Return a request. A submitter sees those that its own token submitted, without their history.

        Raises:
            Problem: There is none that this token may see.
        """
        require(who, "read")
        try:
            if not is_request_id(request_id):
                raise BadInput("no id")
            view = self._store.get(request_id)
        except BadInput:  # its text shows what was asked for, which may be anything
            raise Problem("unknown-request") from None
        if who.role == "submitter":
            if view.submitted_by != who.name:
                raise Problem("unknown-request")
            view = self._without_others(who, view)
        return Case(
            view=view,
            others=tuple(each for each in self._store.list(case_id=view.case_id) if each.id != view.id),
            parts=tuple(self._store.parts(request_id)),
            history=self._history(request_id) if who.role in MAY["history"] else (),
            actions={name: _choices(name, view) for name in ACTIONS if _offered(who, name, view)},
            state=self.state(view),
            days_left=self.days_left(view),
        )

    def _without_others(self, who: Token, view: RequestView) -> RequestView:
        """Hide of which request it is a duplicate where somebody else submitted that: who asked is told to nobody."""
        first = self._store.get(view.duplicate_of) if view.duplicate_of else None
        return view if first is None or first.submitted_by == who.name else replace(view, duplicate_of=None)

    def _history(self, request_id: str) -> tuple[Line, ...]:
        return tuple(line(event) for event in self._store.events(request_id=request_id))

    def page(self, who: Token, *, statuses: Collection[str], due_by: date | None, offset: int, limit: int) -> Found:
        """Return some of the requests that match: the unanswered ones, most urgent first, then the answered ones.

        Raises:
            Problem: The role does not allow it.
        """
        require(who, "list")
        standing = self._store.timeliness()
        wanted = [
            each.id
            for each in standing
            if (not statuses or each.status in statuses) and (due_by is None or each.due <= due_by)
        ]
        first = self._overview.views(wanted[offset : offset + limit])
        before, left = max(0, offset - len(wanted)), limit - len(first)
        answered = self._overview.answered(statuses=statuses, due_by=due_by, offset=before, limit=left)
        total = len(wanted) + answered.total
        return Found(requests=first + answered.requests, total=total, standing=standing)

    def counts(self, who: Token, standing: Sequence[Timeliness] | None = None) -> Counts:
        """Return how many requests there are; Problem where the role does not allow it.

        Args:
            who: Asks.
            standing: What the store said of the unanswered ones just now; None: it is asked again.
        """
        require(who, "metrics")
        standing = self._store.timeliness() if standing is None else standing
        overdue = sum(each.is_overdue for each in standing)
        at_risk = sum(each.state == "at_risk" and not each.is_overdue for each in standing)
        return Counts(by_status=self._overview.by_status(), overdue=overdue, at_risk=at_risk)

    def ready(self) -> None:
        """Ask the store for something.

        Raises:
            OperationFailed: It does not answer.
            Problem: It answers, and the deployment key of this process is no longer the one in use.
        """
        if self._store.must_rotate():
            raise Problem("other-key")

    def state(self, view: RequestView) -> State | None:
        """Return how the due date of a request stands today; None once it is answered."""
        if view.status not in UNANSWERED:
            return None
        return state(view.due, self.clock.today(), at_risk_days=self.clock.at_risk_days)

    def days_left(self, view: RequestView) -> int | None:
        """Return the days until a request is due, negative once it is overdue; None once it is answered."""
        return (view.due - self.clock.today()).days if view.status in UNANSWERED else None

    def act(self, who: Token, name: str, request_id: str, told: Mapping[str, Any] | None = None) -> Case:
        """Do something to a request and return it as it is then.

        Args:
            who: Does it.
            name: A key of `ACTIONS`.
            request_id: The request.
            told: What the action's fields are, by name, where it has any.

        Raises:
            Problem: The role does not allow it, there is no such request, or the store refuses.
        """
        require(who, name)
        action, case = ACTIONS[name], self.case(who, request_id)
        if name == "verify" and case.view.submitted_by == who.name:
            raise Problem("own-request")
        choices = _choices(name, case.view)
        arguments = dict(told or {})
        if choices and arguments.get(str(action.field)) not in choices:
            raise Problem("invalid", errors=[(f"/{action.field}", f"is not one of {', '.join(choices)}")])
        if action.numbered and not isinstance(arguments.get("number"), int):
            raise Problem("invalid", errors=[("/number", "is not the number of an identifier")])
        try:
            told_back = getattr(self._store, action.method)(request_id, by=who.name, **arguments)
        except BadInput as error:  # the store's own words: id, state, remedy
            raise Problem("state", str(error)) from None
        return replace(self.case(who, request_id), goes_on=told_back if action.hands_on else None)


def _offered(who: Token, name: str, view: RequestView) -> bool:
    """Whether a token may do this, the state of the request allows it, and it was not done for good."""
    action = ACTIONS[name]
    if who.role not in action.roles or view.status not in action.statuses:
        return False
    match name:
        case "verify":
            return view.submitted_by != who.name
        case "acknowledge":
            return view.acknowledged_at is None
        case "extend":
            return view.extended_at is None and bool(_choices(name, view))
        case _:
            return True


def _choices(name: str, view: RequestView) -> tuple[str, ...]:
    """What an action may be told: to extend, what the law of the request names; none where it has no extension."""
    if name != "extend":
        return ACTIONS[name].choices
    policy = frozen(view.policy)
    return policy.extension.reasons if policy and policy.extension else ()


def require(who: Token, what: str) -> None:
    """Raise Problem where the role of a token does not allow something."""
    if who.role not in MAY[what]:
        raise Problem("role")
