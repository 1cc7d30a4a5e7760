"""What submissions with an Idempotency-Key were answered, so that the same key gives the same answer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from infra.requests import rows, tables
from infra.requests.batch_store import BatchStore
from revs.errors import BadInput

KEPT_DAYS = 7


class AnotherBody(BadInput):
    """The key was sent before with another body."""


class Answers:
    """The answers of an installation, in the database of its request store."""

    def __init__(self, store: BatchStore) -> None:
        self._database, self._vault = store._database, store._vault  # the package's own: one engine a store

    def begin(self, token_id: str, key: str, body: bytes) -> dict[str, Any] | None:
        """Note that a token sent a body under a key; return what it was answered before, None where nothing was.

        Answers older than `KEPT_DAYS` are forgotten.

        Raises:
            AnotherBody: It sent another body under this key.
        """
        marks = self._vault.pseudonyms(body.decode("utf-8", "surrogateescape"), kind="body of a keyed submission")

        def work(session: Session) -> dict[str, Any] | None:
            old = rows.now() - timedelta(days=KEPT_DAYS)
            session.execute(delete(tables.Answer).where(tables.Answer.at < old))
            row = self._row(session, token_id, key)
            if row is None:
                name = self._names(key)[0]
                session.add(tables.Answer(token_id=token_id, key=name, body=marks[0], at=rows.now(), answer={}))
                return None
            if row.body not in marks:
                raise AnotherBody("this Idempotency-Key was sent with another body; use a new key for a new submission")
            return row.answer or None

        return self._database.write(work)

    def end(self, token_id: str, key: str, answer: dict[str, Any]) -> dict[str, Any]:
        """Keep the answer and return it; where another call was faster, that one's."""

        def work(session: Session) -> dict[str, Any]:
            row = self._row(session, token_id, key)
            if row is None:
                return answer
            row.answer = row.answer or answer
            return row.answer

        return self._database.write(work)

    def _row(self, session: Session, token_id: str, key: str) -> tables.Answer | None:
        """The row of a key, locked; also one that was stored under an earlier deployment key."""
        query = select(tables.Answer).where(tables.Answer.token_id == token_id, tables.Answer.key.in_(self._names(key)))
        return session.scalars(query.with_for_update()).first()

    def _names(self, key: str) -> list[str]:
        return self._vault.pseudonyms(key, kind="key of a submission")
