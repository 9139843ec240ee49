"""The table of batches."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table, unless a Hub has made it before the schema had versions."""
    if sa.inspect(op.get_bind()).has_table("hubwarden_batches"):
        return
    op.create_table(
        "hubwarden_batches",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("id", sa.String(36), nullable=False, unique=True),
        sa.Column("batch", sa.JSON, nullable=False),
    )
