"""alarms, mutes and escalations."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

ALARM_INDEXES = {
    "alarm_by_device": ["device", "id"],
    "alarm_by_name": ["device", "name", "raised_at"],
    "alarm_by_state": ["state", "id"],
    "alarm_by_severity": ["severity", "id"],
    "alarm_by_time": ["raised_at", "id"],
}


def upgrade() -> None:
    op.create_table(
        "alarm_mark",
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("effect", sa.String(length=64), nullable=False),
        sa.Column("alarm", sa.String(length=64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=True),
        sa.Column("begins", sa.Boolean(), nullable=True),
        sa.Column("severity", sa.String(length=16), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("rule", sa.String(length=64), nullable=True),
        sa.Column("withdrawn", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("device", "effect"),
    )
    op.create_index("alarm_mark_by_alarm", "alarm_mark", ["device", "alarm", "at"])
    op.create_table(
        "alarm",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("opened_by", sa.String(length=64), nullable=False),
        sa.Column("rule", sa.String(length=64), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("severity", sa.String(length=16), nullable=False),
        sa.Column("message", sa.Text(), nullable=False),
        sa.Column("raised_at", sa.BigInteger(), nullable=False),
        sa.Column("cleared_at", sa.BigInteger(), nullable=True),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("known_at", sa.BigInteger(), nullable=False),
        sa.Column("acknowledged_by", sa.String(length=64), nullable=True),
        sa.Column("muted", sa.Boolean(), nullable=False),
        sa.Column("raised_to", sa.String(length=16), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )
    for name, columns in ALARM_INDEXES.items():
        op.create_index(name, "alarm", columns)
    op.create_table(
        "alarm_change",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("alarm", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("what", sa.String(length=16), nullable=False),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["alarm"], ["alarm.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_alarm_change_alarm", "alarm_change", ["alarm"])
    op.create_table(
        "alarm_escalated",
        sa.Column("alarm", sa.Integer(), nullable=False),
        sa.Column("escalation", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["alarm"], ["alarm.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("alarm", "escalation"),
    )
    op.create_table(
        "mute",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("target", sa.String(length=64), nullable=False),
        sa.Column("starts", sa.DateTime(), nullable=False),
        sa.Column("ends", sa.DateTime(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("ix_mute_ends", "mute", ["ends"])
    op.create_table(
        "escalation",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("after", sa.BigInteger(), nullable=False),
        sa.Column("severity", sa.String(length=16), nullable=False),
        sa.Column("site", sa.String(length=64), nullable=True),
        sa.Column("group", sa.String(length=64), nullable=True),
        sa.Column("raise_to", sa.String(length=16), nullable=True),
        sa.Column("recipient", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("id"),
    )


def downgrade() -> None:
    for table in ("escalation", "mute", "alarm_escalated", "alarm_change", "alarm", "alarm_mark"):
        op.drop_table(table)
