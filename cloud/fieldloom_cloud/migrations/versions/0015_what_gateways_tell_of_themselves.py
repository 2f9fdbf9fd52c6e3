"""what gateways tell of themselves, and when devices held nothing."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "gateway_state",
        sa.Column("gateway", sa.String(length=64), nullable=False),
        sa.Column("online", sa.Boolean(), nullable=False),
        sa.Column("heard", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("stream", sa.LargeBinary(length=16), nullable=False),
        sa.Column("numbered", sa.BigInteger(), nullable=True),
        sa.Column("holds", sa.JSON(), nullable=False),
        sa.Column("settled", sa.BigInteger(), nullable=True),
        sa.Column("since", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("gateway"),
    )
    op.add_column("device_state", sa.Column("quiet_at", sa.BigInteger(), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table("device_state", schema=None) as batch_op:
        batch_op.drop_column("quiet_at")
    op.drop_table("gateway_state")
