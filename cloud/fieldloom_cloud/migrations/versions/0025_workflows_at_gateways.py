"""workflows at gateways: which gateway has a workflow, and carries out an instance; over which one a device speaks."""

import sqlalchemy as sa
from alembic import op

revision = "0025"
down_revision = "0024"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "workflow_at_gateway",
        sa.Column("workflow", sa.String(length=64), nullable=False),
        sa.Column("gateway", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=20), nullable=False),
        sa.Column("devices", sa.JSON(), nullable=True),
        sa.Column("status", sa.String(length=8), nullable=False),
        sa.Column("applied", sa.String(length=20), nullable=True),
        sa.Column("faults", sa.JSON(), nullable=False),
        sa.Column("engine", sa.Integer(), nullable=True),
        sa.Column("at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("workflow", "gateway"),
    )
    op.add_column("workflow_instance", sa.Column("gateway", sa.String(length=64), nullable=False, server_default=""))
    op.add_column("device_state", sa.Column("gateway", sa.String(length=64), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("device_state", "gateway")
    op.drop_column("workflow_instance", "gateway")
    op.drop_table("workflow_at_gateway")
