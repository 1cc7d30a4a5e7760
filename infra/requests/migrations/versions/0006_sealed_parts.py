"""Every identifier of a request gets a sealed row of its own; what a request was narrowed by stands with it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


KEY = "payloads_pkey"


_NEVER_SAMPLED = (
    ("payloads", "wrapped_key", "bytea"),
    ("payloads", "ciphertext", "bytea"),
    ("erased_digests", "digest", "varchar(64)"),
)
"""Columns that PostgreSQL's ANALYZE must not copy values of into its statistics, where they outlive their rows."""
_AS_CODES = """UPDATE requests SET reason = CASE WHEN status = 'on_hold' THEN {object}('code', reason){text}
ELSE {object}('code', 'told', 'text', reason){text} END WHERE reason IS NOT NULL"""
_JSON = {
    "sqlite": {"object": "json_object", "text": ""},
    "postgresql": {"object": "json_build_object", "text": "::text"},
}
"""Reasons become codes with parameters; what was a sentence stays one, as the parameter of a code."""


def upgrade() -> None:
    """Payloads are still in one piece, each as number -1: `sealing.split_whole` splits them, which takes the key."""
    with op.batch_alter_table("payloads", naming_convention={"pk": KEY}) as table:
        table.add_column(sa.Column("number", sa.Integer, nullable=False, server_default="-1"))
        table.drop_constraint(KEY, type_="primary")
        table.create_primary_key(KEY, ["request_id", "number"])
    if op.get_bind().dialect.name == "postgresql":
        for table_name, column, kind in _NEVER_SAMPLED:
            op.execute(f"ALTER TABLE {table_name} ALTER COLUMN {column} TYPE {kind}")  # forgets what was sampled before
            op.execute(f"ALTER TABLE {table_name} ALTER COLUMN {column} SET STATISTICS 0")
    op.execute(_AS_CODES.format(**_JSON[op.get_bind().dialect.name]))
    op.add_column("requests", sa.Column("dropped", sa.JSON, nullable=False, server_default=sa.text("'[]'")))


def downgrade() -> None:
    """Back to one payload a request; fails where there is one, for it cannot be put together without the key."""
    if op.get_bind().scalar(sa.text("SELECT count(*) FROM payloads")):
        raise RuntimeError("payloads that are sealed in parts cannot be put together by a migration")
    op.drop_column("requests", "dropped")
    with op.batch_alter_table("payloads", naming_convention={"pk": KEY}) as table:
        table.drop_constraint(KEY, type_="primary")
        table.drop_column("number")
        table.create_primary_key(KEY, ["request_id"])
