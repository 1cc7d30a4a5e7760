"""What submissions with an Idempotency-Key were answered, so that the same key gives the same answer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Select, delete, select
from sqlalchemy.orm import Session

from infra.requests import rows, tables
from infra.requests.batch_store import BatchStore
from revs.errors import BadInput

KEPT_DAYS = 7
_SWEEP_EVERY = timedelta(hours=1)


class AnotherBody(BadInput):
    """The key was sent before with another body."""


class Answers:
    """The answers of an installation, in the database of its request store.

    Before a submission is stored, a plan of it is noted under its key: by which models it is read, and what tells it
    from an equal one. Cut off before its end, the same call goes on by that plan, whatever is registered meanwhile.
    """

    def __init__(self, store: BatchStore) -> None:
        self._database, self._vault = store._database, store._vault  # the package's own: one engine a store
        self._swept = datetime.min.replace(tzinfo=UTC)

    def known(self, token_id: str, key: str, body: bytes) -> dict[str, Any] | None:
        """Return what was noted under a key of a token: a plan or an answer; None where nothing was, or too long ago.

        Raises:
            AnotherBody: It sent another body under this key.
        """
        marks = self._marks(body)

        def work(session: Session) -> dict[str, Any] | None:
            row = session.scalars(self._query(token_id, key)).first()
            return None if row is None or row.at < _forgotten() else _noted(row, marks)

        return self._database.read(work)

    def begin(self, token_id: str, key: str, body: bytes, plan: dict[str, Any]) -> dict[str, Any]:
        """Note the plan of a submission, and return it; where another call was faster, what that one noted.

        Answers older than `KEPT_DAYS` are forgotten.

        Raises:
            AnotherBody: As `known`.
        """
        marks = self._marks(body)

        def work(session: Session) -> dict[str, Any]:
            self._forget(session, token_id, key)
            row = session.scalars(self._query(token_id, key).with_for_update()).first()
            if row is None:
                name = self._names(key)[0]
                row = tables.Answer(token_id=token_id, key=name, body=marks[0], at=rows.now(), answer=plan)
                session.add(row)
            row.answer = _noted(row, marks) or plan
            return row.answer

        return self._database.write(work)

    def end(self, token_id: str, key: str, answer: dict[str, Any]) -> dict[str, Any]:
        """Put the answer in the place of its plan and return it."""

        def work(session: Session) -> None:
            row = session.scalars(self._query(token_id, key).with_for_update()).first()
            if row is not None:
                row.answer = answer

        self._database.write(work)
        return answer

    def _forget(self, session: Session, token_id: str, key: str) -> None:
        """Delete what is too old: of this key always, of all keys now and then, since that reads all of them."""
        query = delete(tables.Answer).where(tables.Answer.at < _forgotten())
        if rows.now() - self._swept < _SWEEP_EVERY:
            query = query.where(tables.Answer.token_id == token_id, tables.Answer.key.in_(self._names(key)))
        else:
            self._swept = rows.now()
        session.execute(query)

    def _query(self, token_id: str, key: str) -> Select[tuple[tables.Answer]]:
        """Find the row of a key, also one that was stored under an earlier deployment key."""
        return select(tables.Answer).where(tables.Answer.token_id == token_id, tables.Answer.key.in_(self._names(key)))

    def _names(self, key: str) -> list[str]:
        return self._vault.pseudonyms(key, kind="key of a submission")

    def _marks(self, body: bytes) -> list[str]:
        return self._vault.pseudonyms(body.decode("utf-8", "surrogateescape"), kind="body of a keyed submission")


def _noted(row: tables.Answer, marks: Sequence[str]) -> dict[str, Any]:
    if row.body not in marks:
        raise AnotherBody("this Idempotency-Key was sent with another body; use a new key for a new submission")
    return row.answer


def _forgotten() -> datetime:
    return rows.now() - timedelta(days=KEPT_DAYS)
