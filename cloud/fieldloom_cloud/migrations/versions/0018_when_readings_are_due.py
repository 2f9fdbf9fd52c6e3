"""by when devices have to read again."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "reading_due",
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("gateway", sa.String(length=64), nullable=False),
        sa.Column("interval", sa.BigInteger(), nullable=True),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=True),
        sa.Column("stale_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("device"),
    )
    op.create_index("reading_due_by_gateway", "reading_due", ["gateway", "due"])


def downgrade() -> None:
    op.drop_index("reading_due_by_gateway", table_name="reading_due")
    op.drop_table("reading_due")
