"""points that wait for a server of time series, rules of downsampling, retention."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "series_pending",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("lines", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("points", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "series_rule",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("aggregate", sa.String(length=64), nullable=False),
        sa.Column("percentile", sa.Float(), nullable=True),
        sa.Column("window_ms", sa.BigInteger(), nullable=False),
        sa.Column("target", sa.String(length=64), nullable=False),
        sa.Column("look_back_ms", sa.BigInteger(), nullable=False),
        sa.Column("made_until", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "series_retention",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("raw_ms", sa.BigInteger(), nullable=True),
        sa.Column("rolled_ms", sa.BigInteger(), nullable=True),
        sa.Column("note", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )


def downgrade() -> None:
    op.drop_table("series_retention")
    op.drop_table("series_rule")
    op.drop_table("series_pending")
