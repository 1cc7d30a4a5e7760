"""Approvals of candidates that wait for a human: who approved which version, with which weights, by which token.

An approval is an event of the audit log: it survives every restart, and nobody changes it. Whether it counts is asked
anew whenever somebody acts on it: its token may have been revoked since, or the candidate may have waited too long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.orm import Session

from infra.requests import rows, tables
from infra.requests.batch_store import BatchStore
from infra.requests.records import Batch, Event
from infra.requests.tokens import Role, Token, Tokens
from revs.errors import GateRefused

APPROVED: Final = "version.approved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """What somebody approved, and by which token.

    Attributes:
        at: When.
        by: The name of the token.
        token: Its id.
        role: Its role then.
        version: URI of the version.
        weights: Digest of its weights.
        void: Why it does not count; None where it does.
    """

    at: datetime
    by: str
    token: str
    role: str
    version: str
    weights: str
    void: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What a waiting batch made.

    Attributes:
        batch_id: The batch.
        model: Registered name.
        version: URI of the candidate.
        weights: Digest of the weights that the batch tested.
        waits_since: When the batch was closed.
        until: From when on it has waited too long to be promoted.
        approval: The newest that counts, else the newest; None where there is none.
    """

    batch_id: str
    model: str
    version: str
    weights: str
    waits_since: datetime
    until: datetime
    approval: Approval | None = None

    @property
    def expired(self) -> bool:
        """Whether it has waited too long."""
        return rows.now() > self.until

    @property
    def approved(self) -> bool:
        """Whether an approval counts."""
        return self.approval is not None and self.approval.void is None


class Approvals:
    """The approvals of an installation, in the database of its request store.

    Args:
        store: The request store.
        role: That a token needs to approve; None: no token approves anything.
        days: For how many days a candidate may wait.
    """

    def __init__(self, store: BatchStore, *, role: Role | None, days: int) -> None:
        self._store, self._database = store, store._database  # the package's own: one engine a store
        self._tokens, self.role, self._days = Tokens(store), role, days

    def candidates(self, model: str | None = None) -> list[Candidate]:
        """Return the candidates that wait, oldest first; of one model, or of all."""
        waiting = [_candidate(batch, self._days) for batch in self._store.batches(model) if batch.status == "waiting"]
        tokens = {token.id: token for token in self._tokens.list()} if waiting else {}
        return [self._with_approval(each, each.weights, tokens) for each in waiting if each is not None]

    def of(self, batch: Batch, *, weights: str | None) -> Approval | None:
        """Return the approval of what a batch made: the newest that counts, else the newest; None where there is none.

        Args:
            batch: Waits.
            weights: Digest of the weights that the candidate has now.
        """
        candidate = _candidate(batch, self._days)
        tokens = {token.id: token for token in self._tokens.list()}
        return None if candidate is None else self._with_approval(candidate, weights, tokens).approval

    def approve(self, who: Token, batch_id: str, *, version: str, weights: str) -> Candidate:
        """Put an approval on record and return the candidate with it. The same again adds nothing.

        Args:
            who: Approves.
            batch_id: The batch whose candidate is approved.
            version: URI of what is approved.
            weights: Digest of its weights.

        Raises:
            BadInput: There is no such batch.
            GateRefused: It does not wait, it made another version or other weights, or it waited too long.
        """

        def work(session: Session) -> Candidate:
            candidate = _candidate(rows.batch(session, rows.batch_row(session, batch_id)), self._days)
            approvable = _require_approvable(candidate, batch_id, version, weights, days=self._days)
            detail = {"version": version, "weights": weights, "approved_by": who.name}
            detail |= {"token": who.id, "role": who.role}
            query = rows.matching(tables.Event, batch_id=batch_id, event=APPROVED)
            if all(row.detail != detail for row in session.scalars(query)):
                rows.log(session, APPROVED, batch_id=batch_id, detail=detail)
            return approvable

        candidate = self._database.write(work)
        return self._with_approval(candidate, weights, {who.id: who})

    def _with_approval(self, candidate: Candidate, weights: str | None, tokens: Mapping[str, Token]) -> Candidate:
        found = [
            replace(each, void=self._void(each, candidate, weights, tokens.get(each.token)))
            for each in self._given(candidate.batch_id)
        ]
        return replace(candidate, approval=next((each for each in found if each.void is None), next(iter(found), None)))

    def _given(self, batch_id: str) -> Sequence[Approval]:
        """The approvals of a batch's candidate, the newest first."""
        query = rows.matching(tables.Event, batch_id=batch_id, event=APPROVED).order_by(tables.Event.id.desc())
        events = self._database.read(lambda session: [rows.record(Event, row) for row in session.scalars(query)])
        return [_approval(event) for event in events]

    def _void(self, given: Approval, candidate: Candidate, weights: str | None, token: Token | None) -> str | None:
        if given.version != candidate.version or given.weights != weights:
            return f"it is of {given.version} with other weights than those that are registered now"
        if given.role != self.role or token is None or token.role != self.role:
            return f"its token {given.token} has not the role of REVS_APPROVER_ROLE"
        if token.revoked_at is not None:
            return f"its token {given.token} was revoked"
        return None if token.usable(rows.now()) else f"its token {given.token} has expired"


def _candidate(batch: Batch, days: int) -> Candidate | None:
    """What a waiting batch made, by its own record; None where it does not wait, or made nothing."""
    made = (batch.outcome.get("evidence") or {}).get("model") or {}
    if batch.status != "waiting" or batch.closed_at is None or made.get("version_after") is None:
        return None
    return Candidate(
        batch_id=batch.id,
        model=batch.model,
        version=f"models:/{batch.model}/{made['version_after']}",
        weights=str(made.get("weights_after")),
        waits_since=batch.closed_at,
        until=batch.closed_at + timedelta(days=days),
    )


def _require_approvable(
    candidate: Candidate | None, batch_id: str, version: str, weights: str, *, days: int
) -> Candidate:
    if candidate is None:
        raise GateRefused(f"batch {batch_id} does not wait for a human: nothing was approved; read the list again")
    if (version, weights) != (candidate.version, candidate.weights):
        raise GateRefused(
            f"the candidate of batch {batch_id} is {candidate.version} with other weights than were approved: nothing "
            "was approved; read the list again, and look at what it names now"
        )
    if candidate.expired:
        raise GateRefused(
            f"the candidate of batch {batch_id} has waited since {candidate.waits_since.date()}, for more than {days} "
            f"days (REVS_APPROVAL_DAYS): nothing was approved; 'revs batches abandon {batch_id}' puts its requests in "
            "line for the next batch"
        )
    return candidate


def _approval(event: Event) -> Approval:
    said = {name: str(event.detail.get(name)) for name in ("token", "role", "version", "weights")}
    return Approval(at=event.at, by=str(event.detail.get("approved_by")), **said)
