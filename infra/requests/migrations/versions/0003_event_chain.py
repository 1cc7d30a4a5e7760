"""Events get a MAC that chains each to the one before."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Events that stand get none: the chain begins after them, with a MAC over all of them."""
    op.add_column("events", sa.Column("mac", sa.String(64)))


def downgrade() -> None:
    """The chain is given up."""
    op.drop_column("events", "mac")
    op.execute("DELETE FROM meta WHERE name IN ('events_head', 'events_genesis')")
