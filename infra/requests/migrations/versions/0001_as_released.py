"""The tables as they were before there were migrations.

Stores of schemas 1 and 2 hold these tables or some of them; what is missing is made, what is there stays.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

MOMENT = sa.DateTime(timezone=True)
PENDING = sa.text("status IN ('received', 'processing')")
OPEN = sa.text("status = 'open'")


def upgrade() -> None:
    """Make what is missing."""
    for name, parts in TABLES.items():
        op.create_table(name, *parts, if_not_exists=True, sqlite_with_rowid=name != "erased_digests")
    for name, table, columns in (
        ("ix_requests_status", "requests", ["status"]),
        ("ix_outcomes_batch_id", "outcomes", ["batch_id"]),
        ("ix_events_batch_id", "events", ["batch_id"]),
        ("ix_events_request_id", "events", ["request_id"]),
    ):
        op.create_index(name, table, columns, if_not_exists=True)
    for name, table, column, where in (
        ("one_open_batch_a_model", "batches", "model", OPEN),
        ("one_pending_request_a_demand", "requests", "digest", PENDING),
    ):
        op.create_index(
            name, table, [column], unique=True, sqlite_where=where, postgresql_where=where, if_not_exists=True
        )
    for statement in APPEND_ONLY[op.get_bind().dialect.name]:
        op.execute(statement)


def _request(column: str = "request_id", *, primary_key: bool = False) -> sa.Column[str]:
    return sa.Column(column, sa.String(20), sa.ForeignKey("requests.id"), primary_key=primary_key)


def _batch(*, primary_key: bool = False) -> sa.Column[str]:
    return sa.Column("batch_id", sa.String(20), sa.ForeignKey("batches.id"), primary_key=primary_key)


TABLES: dict[str, list[sa.schema.SchemaItem]] = {
    "meta": [sa.Column("name", sa.String(40), primary_key=True), sa.Column("value", sa.String(100), nullable=False)],
    "submissions": [
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("fingerprint", sa.String(64), nullable=False, unique=True),
        sa.Column("submitted_at", MOMENT, nullable=False),
    ],
    "batches": [
        sa.Column("id", sa.String(20), primary_key=True),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("corpus", sa.String, nullable=False),
        sa.Column("source", sa.String, nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("opened_at", MOMENT, nullable=False),
        sa.Column("closed_at", MOMENT),
        sa.Column("outcome", sa.JSON, nullable=False),
    ],
    "requests": [
        sa.Column("id", sa.String(20), primary_key=True),
        sa.Column("submission_id", sa.Integer, sa.ForeignKey("submissions.id"), nullable=False),
        sa.Column("line", sa.Integer, nullable=False),
        sa.Column("model", sa.String, nullable=False),
        sa.Column("status", sa.String(20), nullable=False),
        sa.Column("received", sa.Date, nullable=False),
        sa.Column("due", sa.Date, nullable=False),
        sa.Column("subject", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("types", sa.JSON, nullable=False),
        sa.Column("reason", sa.String),
        _request("duplicate_of"),
        _batch(),
        sa.Column("submitted_at", MOMENT, nullable=False),
        sa.Column("closed_at", MOMENT),
        sa.UniqueConstraint("submission_id", "line"),
    ],
    "payloads": [
        _request(primary_key=True),
        sa.Column("wrapped_key", sa.LargeBinary, nullable=False),
        sa.Column("ciphertext", sa.LargeBinary, nullable=False),
    ],
    "batch_members": [
        _batch(primary_key=True),
        _request(primary_key=True),
        sa.Column("position", sa.Integer, nullable=False),
    ],
    "outcomes": [
        _request(primary_key=True),
        _batch(primary_key=True),
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("type", sa.String(20), nullable=False),
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("detail", sa.JSON, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
    ],
    "erased_digests": [
        sa.Column("digest", sa.String(64), primary_key=True),
        sa.Column("model", sa.String, primary_key=True),
        sa.Column("type", sa.String(20), nullable=False),
        sa.Column("erased_on", sa.Date, nullable=False),
    ],
    "leases": [
        _batch(primary_key=True),
        sa.Column("token", sa.Integer, nullable=False),
        sa.Column("holder", sa.String(60), nullable=False),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("pid_started", sa.Float, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
    ],
    "addresses": [
        sa.Column("reference", sa.String(40), primary_key=True),
        sa.Column("address", sa.String, nullable=False),
    ],
    "events": [
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("event", sa.String, nullable=False),
        _batch(),
        _request(),
        sa.Column("detail", sa.JSON, nullable=False),
    ],
}  # fmt: skip

APPEND_ONLY = {
    "sqlite": [
        f"CREATE TRIGGER IF NOT EXISTS events_no_{change.lower()} BEFORE {change} ON events "
        "BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END"
        for change in ("UPDATE", "DELETE")
    ],
    "postgresql": [
        "CREATE OR REPLACE FUNCTION refuse_event_change() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$",
        "CREATE OR REPLACE TRIGGER events_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON events "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_event_change()",
    ],
}
