"""The table of operations, as Hubwarden 0.1.0 made it without a version of the schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

TABLE = "hubwarden_operations"


def upgrade() -> None:
    """Make the table; a file of 0.1.0 has it, and only gets its version."""
    if sa.inspect(op.get_bind()).has_table(TABLE):
        return
    op.create_table(
        TABLE,
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("username", sa.String(255), nullable=False),
        sa.Column("server_name", sa.String(255), nullable=False),
        sa.Column("actor", sa.String(300), nullable=False),
        sa.Column("request_id", sa.String(36), nullable=False),
        sa.Column("began_at", sa.Float, nullable=False),
        sa.Column("seconds", sa.Float),
        sa.Column("result", sa.String(16)),
        sa.Column("reason", sa.String(64)),
    )
    for column in ("username", "actor", "request_id"):
        op.create_index(f"ix_{TABLE}_{column}", TABLE, [column])
