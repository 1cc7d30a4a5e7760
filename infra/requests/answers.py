"""What submissions with an Idempotency-Key were answered, so that the same key gives the same answer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import delete
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
        mark = self._vault.pseudonym(body.decode("utf-8", "surrogateescape"), kind="body of a keyed submission")
        hashed = self._mark(key)

        def work(session: Session) -> dict[str, Any] | None:
            old = rows.now() - timedelta(days=KEPT_DAYS)
            session.execute(delete(tables.Answer).where(tables.Answer.at < old))
            row = session.get(tables.Answer, (token_id, hashed), with_for_update=True)
            if row is None:
                session.add(tables.Answer(token_id=token_id, key=hashed, body=mark, at=rows.now(), answer={}))
                return None
            if row.body != mark:
                raise AnotherBody("this Idempotency-Key was sent with another body; use a new key for a new submission")
            return row.answer or None

        return self._database.write(work)

    def end(self, token_id: str, key: str, answer: dict[str, Any]) -> dict[str, Any]:
        """Keep the answer and return it; where another call was faster, that one's."""

        def work(session: Session) -> dict[str, Any]:
            row = session.get(tables.Answer, (token_id, self._mark(key)), with_for_update=True)
            if row is None:
                return answer
            row.answer = row.answer or answer
            return row.answer

        return self._database.write(work)

    def _mark(self, key: str) -> str:
        return self._vault.pseudonym(key, kind="key of a submission")
