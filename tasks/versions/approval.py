"""Who answers for a promotion: a name, or, where a role is asked for, the holder of a token of that role."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NoReturn

from infra.registry import ModelVersion
from infra.registry.records import checked_person
from infra.requests import Batch, RequestStore
from infra.requests.approvals import Approvals
from infra.requests.tokens import Token, Tokens
from infra.settings import Settings
from revs.errors import BadInput, GateRefused


@dataclass(frozen=True, slots=True, kw_only=True)
class Approver:
    """A human who answers for a version; with id and role of the token, where one was asked for."""

    name: str
    token: str | None = None
    role: str | None = None

    @property
    def detail(self) -> dict[str, str]:
        """What an event says of them."""
        by_token = {"token": self.token, "role": self.role} if self.token and self.role else {}
        return {"approved_by": self.name, **by_token}


def approver(settings: Settings, store: RequestStore, *, name: str | None, token: str | None) -> Approver | None:
    """Who approves by this call; None where nobody does.

    With `REVS_APPROVER_ROLE` a name alone is not enough: the holder of a token of that role approves.

    Args:
        settings: the installation; `approver_token` is the token where `name` comes without one.
        store: that knows the tokens.
        name: as it was given; None: none was.
        token: the secret of a token that was given for this call.

    Raises:
        BadInput: the name is not usable, or a token was given where none is asked for.
        GateRefused: no token was given where one is asked for, or it is not one that may approve.
    """
    if settings.approver_role is None:
        if token is not None:
            raise BadInput(
                "REVS_APPROVER_ROLE is not set, so a token approves nothing here: set it to the role that approves, or "
                "give --approved-by NAME alone"
            )
        return None if name is None else Approver(name=checked_person(name))
    if name is None and token is None:
        return None
    own = settings.approver_token and settings.approver_token.get_secret_value()
    secret = own if token is None else token
    if not secret:
        _refuse(
            f"{settings.approver_role} is the role that approves (REVS_APPROVER_ROLE), and a name alone is no token of "
            "it",
            "put one in REVS_APPROVER_TOKEN, or name its file with --token-file",
        )
    holder = _holder(store, secret, role=settings.approver_role)
    if name is not None and name.strip() != holder.name:
        _refuse(f"--approved-by {name!r} is not who holds token {holder.id}", f"give --approved-by {holder.name!r}")
    return Approver(name=checked_person(holder.name), token=holder.id, role=holder.role)


def required_approver(settings: Settings, store: RequestStore, *, name: str | None, token: str | None) -> Approver:
    """The same where somebody has to.

    Raises:
        BadInput: as `approver`, or nobody approves.
        GateRefused: as `approver`.
    """
    found = approver(settings, store, name=name, token=token)
    if found is None:
        raise BadInput("nobody answers for it: name who does with --approved-by NAME, on record")
    return found


def approved_on_record(
    settings: Settings, store: RequestStore, version: ModelVersion, batch: Batch | None
) -> Approver | None:
    """Who approved the candidate of a waiting batch before, over the service; None where nobody did.

    Raises:
        GateRefused: somebody did, and it does not count.
    """
    if batch is None:
        return None
    approvals = Approvals(store, role=settings.approver_role, days=settings.approval_days)
    found = approvals.of(batch, weights=version.weights)
    if found is None or found.version != version.uri:  # that it is of this batch, a tag says, which is anybody's
        return None
    if found.void is not None:
        raise GateRefused(
            f"the approval of {version.uri} by {found.by!r} does not count: {found.void}; nothing was promoted: have "
            "it approved again"
        )
    return Approver(name=checked_person(found.by), token=found.token, role=found.role)


def _holder(store: RequestStore, secret: str, *, role: str) -> Token:
    found = Tokens(store).of(secret.strip())
    remedy = f"'revs service token add --role {role}' makes one"
    if found is None:
        _refuse("the token that was given is none of this installation", remedy)
    if found.revoked_at is not None:
        _refuse(f"token {found.id} was revoked on {found.revoked_at.date()}", remedy)
    if not found.usable(datetime.now(UTC)):
        _refuse(f"token {found.id} expired on {found.expires_at.date()}", remedy)
    if found.role != role:
        _refuse(f"token {found.id} has the role {found.role}, and {role} approves (REVS_APPROVER_ROLE)", remedy)
    return found


def _refuse(what: str, remedy: str) -> NoReturn:
    raise GateRefused(f"{what}: nothing was changed; {remedy}")
