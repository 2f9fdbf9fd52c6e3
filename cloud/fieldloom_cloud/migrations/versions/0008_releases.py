"""releases, and the board that a device says it is."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "release",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("board", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("mpy", sa.String(length=16), nullable=False),
        sa.Column("floor", sa.String(length=64), nullable=False),
        sa.Column("expires", sa.BigInteger(), nullable=False),
        sa.Column("key_serial", sa.BigInteger(), nullable=False),
        sa.Column("signature", sa.String(length=16), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("release_by_board", "release", ["board", "created"])
    op.create_table(
        "release_content",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("sha256"),
    )
    op.create_table(
        "release_file",
        sa.Column("release", sa.String(length=64), nullable=False),
        sa.Column("path", sa.String(length=128), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["release"], ["release.id"], ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["sha256"], ["release_content.sha256"]),
        sa.PrimaryKeyConstraint("release", "path"),
    )
    op.create_index("ix_release_file_sha256", "release_file", ["sha256"])
    op.add_column("device", sa.Column("board", sa.String(length=64), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("device", "board")
    op.drop_table("release_file")
    op.drop_table("release_content")
    op.drop_table("release")
