"""workflow_instance: an index by the time of its end, by which those that are old are forgotten."""

from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("workflow_instance_by_ended", "workflow_instance", ["ended"])


def downgrade() -> None:
    op.drop_index("workflow_instance_by_ended", "workflow_instance")
