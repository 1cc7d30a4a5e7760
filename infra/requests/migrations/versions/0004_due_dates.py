"""Under which regime a request came in, what that promised then, and when it was extended and acknowledged.

Requests that were stored before are of the regime `days`, keep their due dates, and promise nothing more.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Add the columns; SQLite adds one that may not be null only with a default."""
    op.add_column("requests", sa.Column("regime", sa.String, nullable=False, server_default="days"))
    op.add_column("requests", sa.Column("policy", sa.JSON, nullable=False, server_default=sa.text("'{}'")))
    op.add_column("requests", sa.Column("extended_at", MOMENT))
    op.add_column("requests", sa.Column("acknowledged_at", MOMENT))


def downgrade() -> None:
    """Drop them; due dates stay as they are, extended ones too."""
    for name in ("acknowledged_at", "extended_at", "policy", "regime"):
        op.drop_column("requests", name)
