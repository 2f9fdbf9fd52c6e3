"""what came of requests to instances, who has set an actuator, and what gateways tell of their cluster."""

import sqlalchemy as sa
from alembic import op

revision = "0029"
down_revision = "0028"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "workflow_request",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("instance", sa.String(length=32), nullable=False),
        sa.Column("gateway", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("about", sa.String(length=1024), nullable=False),
        sa.Column("asked", sa.BigInteger(), nullable=False),
        sa.Column("answered", sa.BigInteger(), nullable=True),
        sa.Column("refused", sa.String(length=4096), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("workflow_request_by_instance", "workflow_request", ["instance", "asked"])
    op.add_column("actuator", sa.Column("set_at", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("actuator", sa.Column("set_by", sa.JSON(), nullable=True))
    op.add_column("gateway_state", sa.Column("waiting", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("gateway_state", sa.Column("release", sa.String(length=64), nullable=False, server_default=""))
    op.add_column("gateway_state", sa.Column("cluster", sa.JSON(), nullable=True))


def downgrade() -> None:
    for column in ("cluster", "release", "waiting"):
        op.drop_column("gateway_state", column)
    op.drop_column("actuator", "set_by")
    op.drop_column("actuator", "set_at")
    op.drop_index("workflow_request_by_instance", "workflow_request")
    op.drop_table("workflow_request")
