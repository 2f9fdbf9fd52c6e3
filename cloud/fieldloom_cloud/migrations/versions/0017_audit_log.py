"""the audit log."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

INDEXES = {name: name for name in ("actor", "actor_name", "object", "subject", "action")} | {"time": "at"}
TEXTS = {"actor_kind": 16, "actor": 64, "actor_name": 200, "address": 64, "action": 64, "method": 8, "route": 200}
TEXTS |= {"kind": 32, "object": 200, "subject": 64}


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.String(length=length), nullable=False) for name, length in TEXTS.items()),
        sa.Column("before", sa.Text(), nullable=True),
        sa.Column("after", sa.Text(), nullable=True),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("reason", sa.String(length=500), nullable=True),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("number"),
    )
    for name, column in INDEXES.items():
        op.create_index(f"audit_by_{name}", "audit", [column, "number"])
    ends = op.create_table(
        "audit_ends",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("first", sa.BigInteger(), nullable=False),
        sa.Column("before", sa.String(length=64), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.bulk_insert(ends, [{"id": 1, "first": 1, "before": "", "number": 0, "sha256": ""}])


def downgrade() -> None:
    op.drop_table("audit_ends")
    for name in INDEXES:
        op.drop_index(f"audit_by_{name}", table_name="audit")
    op.drop_table("audit")
