"""A registry of before is found by all that it says, and loses the twins of devices that are gone. (R1, R4)"""

from alembic import command
from alembic.config import Config

from cloud.conftest import in_database, made, url
from fieldloom_cloud.database import Database, migrate
from fieldloom_cloud.pages import Asked
from fieldloom_cloud.registry import search
from fieldloom_cloud.registry.search import DeviceQuery

BEFORE = "0009"
ROWS = """
INSERT INTO site VALUES ('default', 'default', '2026-01-01 00:00:00.000000');
INSERT INTO device (id, site, name, type, manufacturer, model, firmware, board, status, capabilities, version, created,
  updated) VALUES ('old-1', 'default', 'Wärmepumpe', 'pump', 'Acme', 'M1', '', '', 'unknown', '["read", "dim", "read"]',
  3, '2026-01-01 00:00:00.000000', '2026-01-02 00:00:00.000000');
INSERT INTO device_tag VALUES ('old-1', 'floor', '2');
INSERT INTO twin VALUES ('old-1', 1, 1, '{"interval": 500}', 0, '{}', '{}', FALSE, NULL);
INSERT INTO twin VALUES ('gone', 1, 1, '{}', 0, '{}', '{}', FALSE, NULL);
INSERT INTO twin_patch VALUES ('p1', 'gone', 1, '{}', 'pending', NULL, 't', NULL, '2026-01-01 00:00:00.000000')
"""


async def test_what_was_registered_before_is_found_by_all_that_it_says(tmp_path, new_database):
    where = made(new_database, tmp_path)
    config = Config()
    config.set_main_option("script_location", "fieldloom_cloud:migrations")
    config.set_main_option("sqlalchemy.url", url(where).replace("%", "%%"))
    command.downgrade(config, BEFORE)
    with in_database(where) as sql:
        for row in ROWS.split(";\n"):
            sql.exec_driver_sql(row)

    migrate(where)

    database = Database(where)
    async with database.transaction() as session:
        for asked in ({"q": "WÄRME"}, {"q": "floor:2"}, {"capability": ["dim"]}, {"type": "pump"}):
            found, _ = await search.devices(session, DeviceQuery(**asked), "id", Asked(limit=10))
            assert [(one["id"], one["version"], one["tags"]) for one in found] == [("old-1", 3, {"floor": "2"})], asked
    await database.close()
    with in_database(where) as sql:
        twins = sql.exec_driver_sql("SELECT device FROM twin UNION ALL SELECT device FROM twin_patch")
        assert list(twins.scalars()) == ["old-1"]
