"""found devices, and sites that register them at once."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("site", sa.Column("automatic_entry", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_table(
        "discovery",
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("site", sa.String(length=64), nullable=False),
        sa.Column("gateway", sa.String(length=64), nullable=False),
        sa.Column("adapter", sa.String(length=64), nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("board", sa.String(length=64), nullable=False),
        sa.Column("firmware", sa.String(length=64), nullable=False),
        sa.Column("capabilities", sa.JSON(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("dismissed", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("device"),
    )
    op.create_index("discovery_by_site", "discovery", ["site", "device"])


def downgrade() -> None:
    op.drop_index("discovery_by_site", table_name="discovery")
    op.drop_table("discovery")
    op.drop_column("site", "automatic_entry")
