"""What people decide about requests, one at a time: `decisions` and `clock`. Every method is one transaction."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from infra.requests import clock, decisions, parts, rows, shredding
from infra.requests.lifecycle import HoldGround, NarrowingReason, RefusalGround
from infra.requests.log_store import LogStore
from infra.requests.reasons import Reason
from infra.requests.records import IdentifierView


class CaseStore(LogStore):
    """The part of `RequestStore` that people work with."""

    def reject(self, request_id: str, reason: Reason) -> None:
        """Set a request aside because it cannot be fulfilled as it stands. Its payload stays sealed. Idempotent.

        Raises:
            BadInput: There is no such request, or it is already closed in another way.
        """
        self._database.write(lambda session: decisions.set_aside(session, request_id, "reject", reason, self._clock))

    def fail(self, request_id: str, reason: Reason) -> None:
        """Set a request aside for a human because processing it failed. Its payload stays sealed. Idempotent.

        Raises:
            BadInput: There is no such request, or it is already closed in another way.
        """
        self._database.write(lambda session: decisions.set_aside(session, request_id, "fail", reason, self._clock))

    def retry(self, request_id: str, *, by: str = "operator") -> str:
        """Put a failed request back in line, once a human has mended the cause. Idempotent.

        Returns:
            The id of the request that is in line now: where the same demand was handed in again meanwhile and is
            pending, it is that one, and this one becomes its duplicate.

        Raises:
            BadInput: There is no such request, or it is neither failed nor received.
        """
        return self._back_in_line(request_id, "retry", by)

    def verify(self, request_id: str, *, by: str) -> str:
        """Put a request in line whose sender is who they say. Idempotent; returns as `retry`.

        Raises:
            BadInput: There is no such request, it is neither unverified nor received, or `by` submitted it.
        """
        return self._back_in_line(request_id, "verify", by)

    def withdraw(self, request_id: str, *, by: str) -> str | None:
        """End a request because the person no longer asks, and destroy its payload. Idempotent.

        Returns:
            The id of a duplicate of it that goes on in its place, on hold if it was; None where there is none.

        Raises:
            BadInput: There is no such request, or it is in a batch or at another end.
        """
        goes_on = self._database.write(lambda session: decisions.withdraw(session, request_id, self._clock, by=by))
        shredding.settle(self._database)
        return goes_on

    def refuse(self, request_id: str, *, ground: RefusalGround, by: str) -> str | None:
        """End a request that will not be fulfilled, on a ground that the law knows. Idempotent; returns as `withdraw`.

        Raises:
            BadInput: There is no such request or ground, or it is in a batch or at another end.
        """
        return self._database.write(
            lambda session: decisions.refuse(session, request_id, self._clock, ground=ground, by=by)
        )

    def accept(self, request_id: str, *, by: str) -> None:
        """Complete a failed request of which nothing is left to erase, and destroy its payload. Idempotent.

        Raises:
            BadInput: There is no such request, it is not with a human, or an identifier of it is neither settled nor
                found nowhere by the last batch.
        """
        keep = self._keep_digests
        self._database.write(
            lambda session: decisions.accept(session, self._vault, request_id, by=by, keep_digests=keep)
        )
        shredding.settle(self._database)

    def narrow(self, request_id: str, *, number: int, reason: NarrowingReason, by: str) -> str | None:
        """Drop one identifier of a request that waits or needs a human, and destroy it. Idempotent.

        Args:
            request_id: The request.
            number: Of the identifier: see `parts`. The others keep theirs.
            reason: Why.
            by: Who decided; for the audit log.

        Returns:
            The id of a duplicate of the request, which asks for all identifiers still and goes on by itself.

        Raises:
            BadInput: There is no such request, number or reason, the identifier is the only one left, or the request is
                in a batch or closed.
            OperationFailed: Its payload does not open.
        """
        goes_on = self._database.write(
            lambda session: decisions.narrow(
                session, self._vault, request_id, self._clock, number=number, reason=reason, by=by
            )
        )
        shredding.settle(self._database)
        return goes_on

    def parts(self, request_id: str) -> list[IdentifierView]:
        """Return the identifiers of a request without their values, by number, and what is known of each.

        Of a request that was rejected or withdrawn there is nothing any more once its payload is destroyed.

        Raises:
            BadInput: There is no such request.
        """
        return self._database.read(
            lambda session: parts.of_request(session, self._vault, rows.request_row(session, request_id))
        )

    def put_on_hold(self, request_id: str, *, ground: HoldGround, by: str) -> None:
        """Keep a request that waits from being processed. Its payload stays sealed, its due date as it is. Idempotent.

        Raises:
            BadInput: There is no such request or ground, or the request does not wait.
        """
        self._database.write(lambda session: decisions.hold(session, request_id, ground=ground, by=by))

    def release_hold(self, request_id: str, *, by: str) -> None:
        """Let a request that was on hold wait for the next batch. Idempotent.

        Raises:
            BadInput: There is no such request, or it is neither on hold nor received.
        """
        self._back_in_line(request_id, "release", by)

    def extend(self, request_id: str, *, reason: str, by: str) -> date:
        """Extend the period of a request once, and return its new due date. The person has to be told, by somebody.

        Args:
            request_id: A request that is still to be answered.
            reason: A code of the request's regime.
            by: Who decided; for the audit log.

        Raises:
            BadInput: There is no such request, it is closed or extended already, its regime has no extension or no such
                reason, or the first period is over.
        """
        return self._database.write(
            lambda session: clock.extend(session, self._clock, request_id, reason=reason, by=by)
        )

    def acknowledge(self, request_id: str, *, by: str) -> datetime:
        """Put on record that receipt was confirmed to the person, and return since when it is. Idempotent.

        Raises:
            BadInput: There is no request with this id.
        """
        return self._database.write(lambda session: clock.acknowledge(session, request_id, by=by))

    def _back_in_line(self, request_id: str, how: Literal["retry", "verify", "release"], by: str) -> str:
        return self._database.write(
            lambda session: decisions.back_in_line(session, request_id, how, self._clock, by=by)
        )
