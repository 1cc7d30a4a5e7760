"""Requests get the case they belong to and who submitted them; what is on hold stands in line too."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

PENDING = "one_pending_request_a_demand"
LINE = "one_request_a_line_and_model"


def upgrade() -> None:
    """One request a line becomes one for each model of a line."""
    op.drop_index(PENDING, "requests")
    op.add_column("requests", sa.Column("case_id", sa.String(20)))
    op.execute("UPDATE requests SET case_id = 'C' || substr(id, 2)")
    with op.batch_alter_table("requests", naming_convention={"uq": "requests_%(column_0_name)s_line_key"}) as table:
        table.add_column(sa.Column("submitted_by", sa.String(100)))
        table.alter_column("case_id", existing_type=sa.String(20), nullable=False)
        table.drop_constraint("requests_submission_id_line_key", type_="unique")
        table.create_unique_constraint(LINE, ["submission_id", "line", "model"])
    op.create_index("ix_requests_case_id", "requests", ["case_id"])
    _one_pending("'received', 'processing', 'on_hold'")


def downgrade() -> None:
    """Back to one request a line; fails where there are several."""
    op.drop_index(PENDING, "requests")
    op.drop_index("ix_requests_case_id", "requests")
    with op.batch_alter_table("requests") as table:
        table.drop_constraint(LINE, type_="unique")
        table.create_unique_constraint("requests_submission_id_line_key", ["submission_id", "line"])
        table.drop_column("submitted_by")
        table.drop_column("case_id")
    _one_pending("'received', 'processing'")


def _one_pending(states: str) -> None:
    where = sa.text(f"status IN ({states})")
    op.create_index(PENDING, "requests", ["digest"], unique=True, sqlite_where=where, postgresql_where=where)
