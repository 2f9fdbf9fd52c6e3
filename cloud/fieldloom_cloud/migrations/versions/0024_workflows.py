"""workflows: definitions, instances, what happens to them and what they ask for."""

import sqlalchemy as sa
from alembic import op

revision = "0024"
down_revision = "0022"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TABLES = (
    "workflow",
    "workflow_version",
    "workflow_instance",
    "workflow_happening",
    "workflow_awaited",
    "workflow_effect",
    "workflow_command",
    "workflow_history",
    "workflow_queue",
    "workflow_schedule",
)


def upgrade() -> None:
    op.create_table(
        "workflow",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=20), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("updated", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_table(
        "workflow_version",
        sa.Column("workflow", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=20), nullable=False),
        sa.Column("document", sa.JSON(), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("deployed", sa.BigInteger(), nullable=True),
        sa.Column("changed", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("workflow", "version"),
    )
    op.create_table(
        "workflow_instance",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("workflow", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=20), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("correlation", sa.String(length=256), nullable=True),
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("parent", sa.String(length=32), nullable=True),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("ended", sa.BigInteger(), nullable=True),
        sa.Column("deadline", sa.BigInteger(), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("checkpoint", sa.LargeBinary(), nullable=False),
        sa.Column("fault", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("workflow_instance_by_deadline", "workflow_instance", ["deadline"])
    op.create_index("workflow_instance_by_workflow", "workflow_instance", ["workflow", "status"])
    op.create_index("workflow_instance_by_key", "workflow_instance", ["workflow", "correlation", "status"])
    op.create_index("workflow_instance_by_device", "workflow_instance", ["device"])
    op.create_table(
        "workflow_happening",
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("instance", sa.String(length=32), nullable=False),
        sa.Column("told", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("workflow_happening_by_instance", "workflow_happening", ["instance"])
    op.create_table(
        "workflow_awaited",
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("instance", sa.String(length=32), nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("property", sa.Text(), nullable=True),
        sa.Column("key", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("number"),
    )
    op.create_index("workflow_awaited_by_event", "workflow_awaited", ["type", "key"])
    op.create_index("workflow_awaited_by_instance", "workflow_awaited", ["instance"])
    op.create_table(
        "workflow_effect",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("instance", sa.String(length=32), nullable=False),
        sa.Column("workflow", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("parameters", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due", sa.BigInteger(), nullable=False),
        sa.Column("created", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("workflow_effect_by_status", "workflow_effect", ["status", "due"])
    op.create_index("workflow_effect_by_instance", "workflow_effect", ["instance"])
    op.create_table(
        "workflow_command",
        sa.Column("command", sa.String(length=32), nullable=False),
        sa.Column("effect", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("command"),
    )
    op.create_index("workflow_command_by_effect", "workflow_command", ["effect"])
    op.create_table(
        "workflow_history",
        sa.Column("instance", sa.String(length=32), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("record", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("instance", "number"),
    )
    op.create_table(
        "workflow_queue",
        sa.Column("number", NUMBER, nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("workflow", sa.String(length=64), nullable=False),
        sa.Column("correlation", sa.String(length=256), nullable=False),
        sa.Column("parent", sa.String(length=32), nullable=True),
        sa.Column("checkpoint", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("id"),
    )
    op.create_index("workflow_queue_by_key", "workflow_queue", ["workflow", "correlation"])
    op.create_table(
        "workflow_schedule",
        sa.Column("workflow", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("told", sa.Text(), nullable=False),
        sa.Column("after", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("workflow", "number"),
    )


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
