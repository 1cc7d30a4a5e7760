"""The tables of the request store, the same on SQLite and PostgreSQL; `migrations` makes them.

Payloads stand in a table of their own, so that destroying one deletes a row. What must hold whoever writes is a
constraint: one open batch a model, one pending request a demand, one submission a file, an audit log without edits.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from typing import Any, ClassVar

from sqlalchemy import JSON, DateTime, Dialect, ForeignKey, Index, String, TypeDecorator, UniqueConstraint, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from infra.requests.reasons import Reason
from infra.requests.records import IN_LINE, BatchStatus, OutcomeKind, RequestStatus
from revs.errors import OperationFailed


class UtcDateTime(TypeDecorator[datetime]):
    """An aware timestamp in UTC, also on SQLite, which keeps no zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        assert value is None or value.tzinfo is not None
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class StoredReason(TypeDecorator[Reason]):
    """A reason as JSON: its code beside its parameters."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: Reason | None, dialect: Dialect) -> str | None:
        return None if value is None else json.dumps({"code": value.code, **value.parameters})

    def process_result_value(self, value: str | None, dialect: Dialect) -> Reason | None:
        if value is None:
            return None
        try:
            parameters = json.loads(value)
            found = Reason(parameters.pop("code"), parameters)
            str(found)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError):
            raise OperationFailed(
                "the request store is damaged (a reason cannot be read); nothing was changed: restore it from a backup"
            ) from None
        return found


class Base(DeclarativeBase):
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        datetime: UtcDateTime,
        Reason: StoredReason,
        dict[str, Any]: JSON,
        list[str]: JSON,
        list[dict[str, Any]]: JSON,
    }


class Meta(Base):
    """Facts about the store itself: schema version, check value of the deployment key, bytes still to remove."""

    __tablename__ = "meta"

    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    value: Mapped[str] = mapped_column(String(100))


class Submission(Base):
    """One request file as handed in; stored together with all of its requests or not at all."""

    __tablename__ = "submissions"

    id: Mapped[int] = mapped_column(primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64), unique=True)  # HMAC of its bytes and the default model
    submitted_at: Mapped[datetime]


class Batch(Base):
    __tablename__ = "batches"

    id: Mapped[str] = mapped_column(String(20), primary_key=True)
    model: Mapped[str]
    corpus: Mapped[str]
    source: Mapped[str]
    parent: Mapped[str | None] = mapped_column(String(20))  # no foreign key: SQLite adds none to a table that stands
    status: Mapped[BatchStatus] = mapped_column(String(20))
    opened_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    outcome: Mapped[dict[str, Any]]


_OPEN = Batch.status == "open"
Index("one_open_batch_a_model", Batch.model, unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN)


class Request(Base):
    __tablename__ = "requests"
    __table_args__ = (UniqueConstraint("submission_id", "line", "model", name="one_request_a_line_and_model"),)

    id: Mapped[str] = mapped_column(String(20), primary_key=True)
    submission_id: Mapped[int] = mapped_column(ForeignKey("submissions.id"))
    line: Mapped[int]
    model: Mapped[str]
    status: Mapped[RequestStatus] = mapped_column(String(20), index=True)
    received: Mapped[date]
    due: Mapped[date]
    subject: Mapped[str] = mapped_column(String(64))
    digest: Mapped[str] = mapped_column(String(64))
    types: Mapped[list[str]]
    dropped: Mapped[list[dict[str, Any]]]  # identifiers that it was narrowed by: number, type and reason of each
    reason: Mapped[Reason | None]
    duplicate_of: Mapped[str | None] = mapped_column(ForeignKey("requests.id"))
    batch_id: Mapped[str | None] = mapped_column(ForeignKey("batches.id"))
    lot: Mapped[str | None] = mapped_column(String(24))  # `lots`
    case_id: Mapped[str] = mapped_column(String(20), index=True)
    submitted_by: Mapped[str | None] = mapped_column(String(100))
    submitted_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    regime: Mapped[str] = mapped_column(server_default="days")
    policy: Mapped[dict[str, Any]] = mapped_column(server_default=text("'{}'"))  # the regime on the day it was stored
    extended_at: Mapped[datetime | None]
    acknowledged_at: Mapped[datetime | None]


_IN_LINE = Request.status.in_(IN_LINE)
Index("one_pending_request_a_demand", Request.digest, unique=True, sqlite_where=_IN_LINE, postgresql_where=_IN_LINE)


class Payload(Base):
    """A sealed part of a demand (`sealing`): an identifier, or who asks; gone once the request is completed."""

    __tablename__ = "payloads"

    request_id: Mapped[str] = mapped_column(ForeignKey("requests.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    wrapped_key: Mapped[bytes]
    ciphertext: Mapped[bytes]


class Member(Base):
    """A request's place in a batch; stays when the request is sent back to wait for another batch."""

    __tablename__ = "batch_members"

    batch_id: Mapped[str] = mapped_column(ForeignKey("batches.id"), primary_key=True)
    request_id: Mapped[str] = mapped_column(ForeignKey("requests.id"), primary_key=True)
    position: Mapped[int]


class Outcome(Base):
    """What became of one identifier of a request in a batch."""

    __tablename__ = "outcomes"

    request_id: Mapped[str] = mapped_column(ForeignKey("requests.id"), primary_key=True)
    batch_id: Mapped[str] = mapped_column(ForeignKey("batches.id"), primary_key=True, index=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    type: Mapped[str] = mapped_column(String(20))
    kind: Mapped[OutcomeKind] = mapped_column(String(20))
    detail: Mapped[dict[str, Any]]
    at: Mapped[datetime]


class ErasedDigest(Base):
    """What was erased from a model, as a keyed digest; written only where the installation keeps digests."""

    __tablename__ = "erased_digests"
    __table_args__ = ({"sqlite_with_rowid": False},)  # row ids tell what came together

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    model: Mapped[str] = mapped_column(primary_key=True)
    type: Mapped[str] = mapped_column(String(20))
    erased_on: Mapped[date]


class Lease(Base):
    """Who works on a batch. The row stays when the work ends: its token only ever grows, which is what fences."""

    __tablename__ = "leases"

    batch_id: Mapped[str] = mapped_column(ForeignKey("batches.id"), primary_key=True)
    token: Mapped[int]
    holder: Mapped[str] = mapped_column(String(60))  # the process numbering that `pid` belongs to, and the thread
    host: Mapped[str] = mapped_column(String(255))
    pid: Mapped[int]
    pid_started: Mapped[float]  # seconds since 1970; tells a process from a later one with the same number
    expires_at: Mapped[datetime]


class Address(Base):
    """Where a corpus or another text lies, under the reference that registry and orchestration hold in its place."""

    __tablename__ = "addresses"

    reference: Mapped[str] = mapped_column(String(40), primary_key=True)
    address: Mapped[str]


class Token(Base):
    """Who may use the HTTP service, and as what; of the token itself its SHA-256 alone."""

    __tablename__ = "service_tokens"

    id: Mapped[str] = mapped_column(String(20), primary_key=True)
    hash: Mapped[str] = mapped_column(String(64), unique=True)
    name: Mapped[str] = mapped_column(String(80), unique=True)  # stands in the audit log, so it is never given again
    role: Mapped[str] = mapped_column(String(20))
    made_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    last_used: Mapped[date | None]


class Answer(Base):
    """What a submission with an Idempotency-Key was answered; `body` is an HMAC of it, the answer holds ids alone."""

    __tablename__ = "service_answers"

    token_id: Mapped[str] = mapped_column(ForeignKey("service_tokens.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(64), primary_key=True)  # HMAC of the header
    body: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime]
    answer: Mapped[dict[str, Any]]  # empty until all of it is stored


class Delivery(Base):
    """A delivery of a webhook that was taken, by the SHA-256 of its id; kept for an hour."""

    __tablename__ = "service_deliveries"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    at: Mapped[datetime]


class Event(Base):
    """The audit log; triggers refuse every change of a line that stands, the chain shows what was changed anyway."""

    __tablename__ = "events"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    event: Mapped[str]
    batch_id: Mapped[str | None] = mapped_column(ForeignKey("batches.id"), index=True)
    request_id: Mapped[str | None] = mapped_column(ForeignKey("requests.id"), index=True)
    detail: Mapped[dict[str, Any]]
    mac: Mapped[str | None] = mapped_column(String(64))  # `chain`; none of events from before there was one
