"""Requests get the lot in which they are tried again after their batch was split, batches the one they come from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Nothing waits in a lot yet."""
    op.add_column("requests", sa.Column("lot", sa.String(24)))
    op.add_column("batches", sa.Column("parent", sa.String(20)))


def downgrade() -> None:
    """What waits in lots waits in line, all of it for one batch."""
    op.drop_column("batches", "parent")
    op.drop_column("requests", "lot")
