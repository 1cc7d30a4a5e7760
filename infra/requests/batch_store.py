"""Batches of the request store: who works on one, what is in it, how it ends. Every method is one transaction."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy.orm import Session

from infra.keys.vault import Vault
from infra.requests import closing, leases, lots, opening, published, rows, sealing, shredding, tables, timestamps
from infra.requests.clock import Clock
from infra.requests.database import Database
from infra.requests.leases import Holder, Lease
from infra.requests.records import Batch, ClosingStatus, Identifier, IdentifierOutcome

if TYPE_CHECKING:
    from infra.settings import Settings


class BatchStore:
    """The part of `RequestStore` that runs work with."""

    def __init__(
        self,
        url: str,
        vault: Vault,
        clock: Clock | None = None,
        lease_seconds: float = leases.LEASE_SECONDS,
        *,
        keep_digests: bool = False,
        log_heads: Path | None = None,
        authority: timestamps.Authority | None = None,
        stay_connected: bool = False,
    ) -> None:
        """Open the store; create it where there is none.

        Args:
            url: SQLAlchemy URL of a SQLite file or of PostgreSQL.
            vault: Seals payloads and makes pseudonyms.
            clock: How the installation counts time; None: the GDPR's months, days in UTC.
            lease_seconds: How long a batch is held for a run that gives no sign of life.
            keep_digests: Completed requests leave keyed digests of their identifiers behind, for `erased`.
            log_heads: File to which the end of the audit log is added when a batch ends.
            authority: Who is asked for a timestamp of it.
            stay_connected: Keep database connections until `close`: for a process that stores many small things. Else
                SQLite's are closed after each transaction.

        Raises:
            BadInput: The URL is of neither database.
            OperationFailed: No database answers there, or it was made with another deployment key.
        """
        self._vault = vault
        self._clock = clock or Clock()
        self._lease_seconds = lease_seconds
        self._keep_digests = keep_digests
        self._log_heads = log_heads
        self._authority = authority
        self._key_checks = vault.pseudonyms("revs request store", kind="key check")
        self._database = Database(
            url, key_checks=self._key_checks, sign=vault.sign_event, adopt=self._adopt, stay_connected=stay_connected
        )
        shredding.settle(self._database)

    def _adopt(self, session: Session) -> None:
        sealing.split_whole(session, self._vault)

    @classmethod
    def from_settings(cls, settings: Settings, *, stay_connected: bool = False) -> Self:
        """Open the store of this installation; `stay_connected` as of `__init__`.

        Raises:
            BadInput: As `__init__`, or the deployment key is none.
            OperationFailed: As `__init__`.
        """
        return cls(
            settings.requests_url,
            Vault.from_settings(settings),
            Clock.of(settings),
            keep_digests=settings.keep_digests,
            log_heads=settings.log_heads,
            authority=timestamps.Authority.of(settings),
            stay_connected=stay_connected,
        )

    def open_batch(self, *, model: str, corpus: str, source: str, at_most: int | None = None) -> Batch | None:
        """Return the model's unfinished batch as it was opened; without one, open one.

        Where lots of a batch that was split wait, it takes the largest, else all received requests. The calling thread
        holds the batch from then on. None when no request waits.

        Args:
            model: Of which model.
            corpus: Where a new one seeks.
            source: The version that a new one edits.
            at_most: How many requests a new one takes, due first; the others stay where they are. None: all.

        Raises:
            BatchHeld: Another live run works on it.
        """

        def work(session: Session) -> tuple[Batch, int] | None:
            batch = opening.open_batch(session, model=model, corpus=corpus, source=source, at_most=at_most)
            return None if batch is None else (batch, leases.take(session, batch.id, self._lease_seconds))

        opened = self._database.write(work)
        if opened is None:
            return None
        batch, token = opened
        leases.register(self._database, batch.id, token, self._lease_seconds)
        return batch

    def parent_of_next(self, model: str) -> Batch | None:
        """Return the batch that was split into the lot which a new batch of a model takes; None where no lot waits."""

        def work(session: Session) -> Batch | None:
            row = lots.parent_of_next(session, model)
            return None if row is None else rows.batch(session, row)

        return self._database.read(work)

    def splits(self, batch_id: str) -> int:
        """Return how many batches were split of those that come from the same first batch as this one.

        Raises:
            BadInput: There is no such batch.
        """
        return self._database.read(lambda session: lots.splits(session, batch_id))

    def batch(self, batch_id: str) -> Batch:
        """Return one batch.

        Raises:
            BadInput: There is none with this id.
        """
        return self._database.read(lambda session: rows.batch(session, rows.batch_row(session, batch_id)))

    def batches(self, model: str | None = None) -> builtins.list[Batch]:
        """Return the batches, oldest first."""
        query = rows.matching(tables.Batch, model=model).order_by(tables.Batch.opened_at, tables.Batch.id)
        return self._database.read(lambda session: [rows.batch(session, row) for row in session.scalars(query)])

    def identifiers(self, batch_id: str) -> dict[str, tuple[Identifier, ...]]:
        """Return the identifiers of the batch's requests that are still processing, by request id, due first.

        They are personal data: keep them in this process's memory.

        Raises:
            BadInput: There is no such batch.
            OperationFailed: A payload does not open, or is not the one that was stored with its request.
        """
        return {held.request_id: sealing.opened(self._vault, held).identifiers for held in self._in_work(batch_id)}

    def unreadable(self, batch_id: str) -> builtins.list[str]:
        """Return the requests that are still processing and whose payload cannot be used.

        Raises:
            BadInput: There is no such batch.
        """
        return [held.request_id for held in self._in_work(batch_id) if not sealing.is_usable(self._vault, held)]

    def close_batch(
        self,
        batch_id: str,
        *,
        status: ClosingStatus,
        outcome: dict[str, Any],
        outcomes: Sequence[IdentifierOutcome] = (),
        again: Sequence[Sequence[str]] = (),
    ) -> None:
        """End a batch. Idempotent: closing it again in the same way changes nothing.

        "completed" and "refused" complete those of the requests still processing of which every identifier has an
        outcome that is settled, and destroy their payloads; the others go to a human as failed, with the reason.
        "split" does the same with those that are in no lot; the others wait, lot by lot, for batches of their own.
        "waiting" hands all of them to a human, until `accept_batch`. "failed" and "abandoned" send them back to
        `received`.
        The event `payloads.destroyed` is logged once no byte of them is left in the database files; when another
        process keeps it busy, that happens when the store is next opened.

        Args:
            batch_id: A batch of this store.
            status: How it ended.
            outcome: Safe values that JSON can hold; numbers that it cannot (NaN, infinity) become null.
            outcomes: What became of the identifiers of its requests.
            again: Of a batch that is split, the requests of each lot.

        Raises:
            BadInput: There is no such batch, it is already closed in another way, or these can be no lots of it.
            BatchHeld: Another run works on it.
        """
        vault, keep = self._vault, self._keep_digests
        self._database.write(
            lambda session: closing.close(
                session, vault, batch_id, status, outcome, outcomes, again=again, keep_digests=keep
            )
        )
        self._batch_ended()

    def accept_batch(self, batch_id: str, *, by: str, outcome: dict[str, Any] | None = None) -> None:
        """Complete a waiting batch, whose candidate a human promoted. Idempotent.

        Its requests that are still with a human, and of which every identifier is settled, are completed and their
        payloads destroyed; the others stay where they are.

        Args:
            batch_id: A batch of this store.
            by: Who decided; for the audit log.
            outcome: What takes the place of the recorded outcome; None leaves that.

        Raises:
            BadInput: There is no such batch, or it does not wait for a decision.
            BatchHeld: A run works on it.
        """
        vault, keep = self._vault, self._keep_digests
        self._database.write(lambda session: closing.accept(session, vault, batch_id, by, outcome, keep_digests=keep))
        self._batch_ended()

    def outcomes(self, request_id: str | None = None, batch_id: str | None = None) -> builtins.list[IdentifierOutcome]:
        """Return the outcomes that match, by request and number; of a request alone, those of its latest batch."""
        return self._database.read(lambda session: closing.find_outcomes(session, request_id, batch_id))

    def moving_alias(self, model: str) -> AbstractContextManager[None]:
        """Be the only one to move the aliases of a model, on any machine of the installation; wait for another.

        Raises:
            OperationFailed: Somebody else was still at it after ten minutes.
        """
        return self._database.alone(f"moving the aliases of {model!r}")

    def hold(self, batch_id: str, *, force: bool = False) -> Lease:
        """Return this process's lease of a batch, open or closed; takes it where the process has none.

        Args:
            batch_id: A batch of this store.
            force: Take it from a live holder, whose writes are refused from then on.

        Raises:
            BadInput: There is no such batch.
            BatchHeld: Another run works on it, or took it over from this process.
        """
        return leases.hold(self._database, batch_id, self._lease_seconds, force=force)

    def release(self, batch_id: str) -> None:
        """Give this process's lease of a batch back, if it has one."""
        leases.give_back(self._database, batch_id)

    def holder(self, batch_id: str) -> Holder | None:
        """Return who works on a batch; None where nobody does."""
        return self._database.read(lambda session: leases.holder_of(session, batch_id))

    def _in_work(self, batch_id: str) -> builtins.list[sealing.Held]:
        """The payloads of the batch's requests that are still processing, due first."""

        def work(session: Session) -> builtins.list[sealing.Held]:
            rows.batch_row(session, batch_id)
            request = tables.Request
            return sealing.find(session, request.batch_id == batch_id, request.status == "processing")

        return self._database.read(work)

    def _batch_ended(self) -> None:
        shredding.settle(self._database)
        if self._log_heads is not None and (head := self._database.read(published.head)) is not None:
            timestamps.note(self._log_heads, head, self._authority)
