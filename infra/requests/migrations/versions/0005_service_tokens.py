"""Tokens of the HTTP service, and what it answered to keyed submissions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make both tables."""
    op.create_table(
        "service_tokens",
        sa.Column("id", sa.String(20), primary_key=True),
        sa.Column("hash", sa.String(64), nullable=False, unique=True),
        sa.Column("name", sa.String(80), nullable=False, unique=True),
        sa.Column("role", sa.String(20), nullable=False),
        sa.Column("made_at", MOMENT, nullable=False),
        sa.Column("expires_at", MOMENT, nullable=False),
        sa.Column("revoked_at", MOMENT),
        sa.Column("last_used", sa.Date),
    )
    op.create_table(
        "service_answers",
        sa.Column("token_id", sa.String(20), sa.ForeignKey("service_tokens.id"), primary_key=True),
        sa.Column("key", sa.String(64), primary_key=True),
        sa.Column("body", sa.String(64), nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.Column("answer", sa.JSON, nullable=False),
    )


def downgrade() -> None:
    """Drop both tables."""
    op.drop_table("service_answers")
    op.drop_table("service_tokens")
