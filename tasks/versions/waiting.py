"""The candidates that wait for a human, one after the other: what was approved is promoted, the rest is said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from infra.requests.approvals import Approvals, Candidate
from infra.settings import Settings
from revs.errors import RevsError
from tasks.batch.stage import open_store
from tasks.versions.promote import promote_version

State = Literal["promoted", "refused", "pending", "expired"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What became of one candidate.

    Attributes:
        version: URI of the candidate.
        batch_id: The batch that waits, or waited.
        state: "promoted"; "refused": approved, and not promoted all the same; "pending": nobody approved it yet;
            "expired": it has waited too long, whoever approved it.
        said: One line, with the remedy where something has to be done.
    """

    version: str
    batch_id: str
    state: State
    said: str


def promote_approved(settings: Settings, model: str | None = None) -> list[Looked]:
    """Promote every candidate that waits and was approved, and say of the others why they still wait. Idempotent.

    Args:
        settings: the installation.
        model: registered name; None: all models.

    Raises:
        OperationFailed: the request store cannot be asked.
    """
    approvals = Approvals(open_store(settings), role=settings.approver_role, days=settings.approval_days)
    return [_looked_at(settings, each) for each in approvals.candidates(model)]


def _looked_at(settings: Settings, candidate: Candidate) -> Looked:
    state, said = _of(settings, candidate)
    return Looked(version=candidate.version, batch_id=candidate.batch_id, state=state, said=said)


def _of(settings: Settings, candidate: Candidate) -> tuple[State, str]:
    waits = f"{candidate.version} waits since {candidate.waits_since.date()}"
    if candidate.expired:
        return "expired", (
            f"{waits}, for more than {settings.approval_days} days (REVS_APPROVAL_DAYS), and is no longer promoted: "
            f"'revs batches abandon {candidate.batch_id}' puts its requests in line for the next batch"
        )
    if candidate.approval is None:
        return "pending", f"{waits}: approve it until {candidate.until.date()}, {_how(settings, candidate)}"
    try:
        promote_version(settings, candidate.version, approved_by=None)
    except RevsError as error:
        return "refused", str(error)
    return "promoted", f"{candidate.version} is champion; {candidate.approval.by} approved it"


def _how(settings: Settings, candidate: Candidate) -> str:
    by_command = f"with 'revs promote {candidate.version} --approved-by NAME'"
    if settings.approver_role is None:
        return by_command
    return f"over the service with a token of the role {settings.approver_role}, or {by_command} and such a token"
