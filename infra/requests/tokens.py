"""Tokens of the HTTP service: who may do what. A token is told once; the store keeps its SHA-256.

A token is 32 random bytes, so that a plain hash of it cannot be tried through. Its name stands in the audit log for
whatever is done with it, and is never given a second time.
"""

from __future__ import annotations

import base64
import binascii
import builtins
import hashlib
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Literal, cast, get_args

from sqlalchemy import select
from sqlalchemy.orm import Session

from infra.requests import facts, rows, tables
from infra.requests.batch_store import BatchStore
from revs.errors import BadInput

Role = Literal["submitter", "officer", "operator", "auditor"]
ROLES: tuple[Role, ...] = get_args(Role)

PREFIX = "revs_"
DAYS = 365
MAX_DAYS = 3650
_BYTES = 32
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,79}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A token without what makes it one; safe to show and log."""

    id: str
    name: str
    role: Role
    made_at: datetime
    expires_at: datetime
    revoked_at: datetime | None
    last_used: date | None

    def usable(self, at: datetime) -> bool:
        """Whether it opens anything at this time."""
        return self.revoked_at is None and at < self.expires_at


class Tokens:
    """The tokens of an installation, in the database of its request store."""

    def __init__(self, store: BatchStore) -> None:
        self._database = store._database  # the package's own: one engine a store

    def add(self, *, role: str, name: str, days: int = DAYS, by: str) -> tuple[Token, str]:
        """Make a token and return it with its secret, which nothing tells again.

        Raises:
            BadInput: There is no such role, the name cannot be one or is taken, or the days are out of bounds.
        """
        if role not in ROLES:
            raise BadInput(f"role {role!r} is unknown; choose one of {', '.join(ROLES)}")
        if not _NAME.fullmatch(name):
            raise BadInput("the name must be 1 to 80 of A-Z a-z 0-9 . _ - and space, the first a letter or digit")
        if not 1 <= days <= MAX_DAYS:
            raise BadInput(f"{days} days are out of bounds; give 1 to {MAX_DAYS}")
        random = secrets.token_bytes(_BYTES)

        def work(session: Session) -> Token:
            if session.scalar(select(tables.Token.id).where(tables.Token.name == name)) is not None:
                raise BadInput(f"the name {name!r} was given before; choose another, since the audit log holds names")
            made = rows.now()
            row = tables.Token(
                id="T-" + rows.new_request_id().removeprefix("R-"),
                hash=hashlib.sha256(random).hexdigest(),
                name=name,
                role=role,
                made_at=made,
                expires_at=made + timedelta(days=days),
            )
            session.add(row)
            detail = {"token": row.id, "name": name, "role": role, "days": days, "by": by}
            detail |= {facts.STORED: facts.of_token(row)}
            rows.log(session, "token.added", detail=detail)
            return _record(row)

        return self._database.write(work), PREFIX + base64.urlsafe_b64encode(random).rstrip(b"=").decode()

    def list(self) -> builtins.list[Token]:
        """Return all tokens, oldest first, also those that open nothing any more."""
        query = select(tables.Token).order_by(tables.Token.made_at, tables.Token.id)
        return self._database.read(lambda session: [_record(row) for row in session.scalars(query)])

    def revoke(self, token_id: str, *, by: str) -> Token:
        """End a token at once. Idempotent.

        Raises:
            BadInput: There is none with this id.
        """

        def work(session: Session) -> Token:
            row = session.get(tables.Token, token_id, with_for_update=True)
            if row is None:
                raise BadInput("there is no token with this id; 'revs service token list' shows them")
            if row.revoked_at is None:
                row.revoked_at = rows.now()
                detail = {"token": row.id, "name": row.name, "by": by}
                rows.log(session, "token.revoked", detail=detail, at=row.revoked_at)
            return _record(row)

        return self._database.write(work)

    def of(self, secret: str) -> Token | None:
        """Return the token with this secret, also one that opens nothing any more; None where there is none."""
        hashed = _hash(secret)
        if hashed is None:
            return None
        query = select(tables.Token).where(tables.Token.hash == hashed)
        return self._find(lambda session: session.scalar(query))

    def known(self, secret: str) -> Token | None:
        """Return the usable token with this secret, and note the day; None where there is none."""
        return self._usable(self.of(secret))

    def still(self, token_id: str) -> Token | None:
        """Return the token with this id if it is usable, and note the day; None where it is not."""
        return self._usable(self._find(lambda session: session.get(tables.Token, token_id)))

    def _find(self, find: Callable[[Session], tables.Token | None]) -> Token | None:
        def look(session: Session) -> Token | None:
            row = find(session)
            return None if row is None else _record(row)

        return self._database.read(look)

    def _usable(self, found: Token | None) -> Token | None:
        now = rows.now()
        if found is None or not found.usable(now):
            return None
        if found.last_used != now.date():
            self._database.write(lambda session: _note(session, found.id, now.date()))
        return found


def _note(session: Session, token_id: str, day: date) -> None:
    row = session.get(tables.Token, token_id, with_for_update=True)
    if row is not None:
        row.last_used = day


def _hash(secret: str) -> str | None:
    """The SHA-256 of the bytes of a token; None where the text is none."""
    text = secret.removeprefix(PREFIX)
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        return None
    if text == secret or len(data) != _BYTES:
        return None
    return hashlib.sha256(data).hexdigest()


def _record(row: tables.Token) -> Token:
    return Token(
        id=row.id,
        name=row.name,
        role=cast("Role", row.role),  # only `add` writes it, and checks it
        made_at=row.made_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used=row.last_used,
    )
