"""search by every field, the outbox of the registry's events, and twins that go with their devices."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

WERE_INDEXED = ("firmware", "site", "status", "type")
INDEXED = ("site", "name", "type", "manufacturer", "model", "firmware", "board", "status", "created", "updated")
TWINS = ("twin", "twin_patch")

# SQLite's trigram index is a table of its own, which follows `device_text` by triggers.
TRIGRAMS = """
CREATE VIRTUAL TABLE device_trigram USING fts5(text, content='device_text', content_rowid='number', tokenize='trigram')
"""
FOLLOWS_ADDED = """
CREATE TRIGGER device_text_added AFTER INSERT ON device_text BEGIN
  INSERT INTO device_trigram(rowid, text) VALUES (new.number, new.text);
END
"""
FOLLOWS_REMOVED = """
CREATE TRIGGER device_text_removed AFTER DELETE ON device_text BEGIN
  INSERT INTO device_trigram(device_trigram, rowid, text) VALUES ('delete', old.number, old.text);
END
"""
FOLLOWS_CHANGED = """
CREATE TRIGGER device_text_changed AFTER UPDATE ON device_text BEGIN
  INSERT INTO device_trigram(device_trigram, rowid, text) VALUES ('delete', old.number, old.text);
  INSERT INTO device_trigram(rowid, text) VALUES (new.number, new.text);
END
"""


def upgrade() -> None:
    for name in WERE_INDEXED:
        op.drop_index(f"ix_device_{name}", "device")
    for name in INDEXED:
        op.create_index(f"device_by_{name}", "device", [name, "id"])
    op.create_table(
        "device_capability",
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(["device"], ["device.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("device", "name"),
    )
    op.create_index("device_capability_by_name", "device_capability", ["name", "device"])
    op.create_table(
        "device_text",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["device"], ["device.id"], ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("number"),
        sa.UniqueConstraint("device"),
    )
    if op.get_bind().dialect.name == "sqlite":
        for statement in (TRIGRAMS, FOLLOWS_ADDED, FOLLOWS_REMOVED, FOLLOWS_CHANGED):
            op.execute(statement)
    else:
        op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
        # Without fastupdate: a list of what is not indexed yet would be read at every search.
        op.execute("CREATE INDEX device_trigram ON device_text USING gin (text gin_trgm_ops) WITH (fastupdate = off)")
    _fill()
    op.create_table(
        "outbox",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("device", sa.String(length=64), nullable=False),
        sa.Column("ts", sa.BigInteger(), nullable=False),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
    )
    for table in TWINS:
        op.execute(f"DELETE FROM {table} WHERE device NOT IN (SELECT id FROM device)")  # noqa: S608 - our own names
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.create_foreign_key(f"{table}_device", "device", ["device"], ["id"], ondelete="CASCADE")


def _fill() -> None:
    """Give the devices that are there their texts and the rows of their capabilities."""
    metadata = sa.MetaData()
    connection = op.get_bind()
    tables = {name: sa.Table(name, metadata, autoload_with=connection) for name in ("device", "device_tag")}
    texts = sa.Table("device_text", metadata, autoload_with=connection)
    capabilities = sa.Table("device_capability", metadata, autoload_with=connection)
    tags: dict[str, list[str]] = {}
    for tag in connection.execute(sa.select(tables["device_tag"])):
        tags.setdefault(tag.device, []).append(f"{tag.key}:{tag.value}")
    for device in connection.execute(sa.select(tables["device"])).all():
        told = (device.id, device.name, device.type, device.manufacturer, device.model, *tags.get(device.id, ()))
        connection.execute(texts.insert().values(device=device.id, text="\n".join(told).casefold()))
        for name in dict.fromkeys(device.capabilities):
            connection.execute(capabilities.insert().values(device=device.id, name=name))


def downgrade() -> None:
    for table in TWINS:
        with op.batch_alter_table(table, schema=None) as batch_op:
            batch_op.drop_constraint(f"{table}_device", type_="foreignkey")
    op.drop_table("outbox")
    if op.get_bind().dialect.name == "sqlite":
        op.drop_table("device_trigram")
    op.drop_table("device_text")
    op.drop_table("device_capability")
    for name in INDEXED:
        op.drop_index(f"device_by_{name}", "device")
    for name in WERE_INDEXED:
        op.create_index(f"ix_device_{name}", "device", [name])
