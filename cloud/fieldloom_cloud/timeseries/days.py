"""DuckDB's tables of points: one a day (UTC) and tier, so that a day can be dropped whole. (S3, ADR 38)"""

from datetime import UTC, datetime
from typing import NamedTuple

import duckdb

from fieldloom_cloud.timeseries.ports import DAY_MS, Tier

COLUMNS = (
    "device VARCHAR NOT NULL, metric VARCHAR NOT NULL, ts BIGINT NOT NULL, value DOUBLE NOT NULL, "
    "boot BIGINT, seq BIGINT, tags VARCHAR NOT NULL"
)
NAMES = "device, metric, ts, value, boot, seq, tags"
_NOTHING = "SELECT ''::VARCHAR, ''::VARCHAR, 0::BIGINT, 0::DOUBLE, NULL::BIGINT, NULL::BIGINT, ''::VARCHAR WHERE false"


class Day(NamedTuple):
    """A table: the points of a tier from the begin of a day, Unix ms, to its end."""

    tier: Tier
    begins: int

    @property
    def table(self) -> str:
        """Its name."""
        moment = datetime.fromtimestamp(self.begins / 1000, UTC)
        return f"{self.tier.value}_{moment.year:04}{moment:%m%d}"

    @property
    def ends(self) -> int:
        """When it ends, excluded."""
        return self.begins + DAY_MS


def of(tier: Tier, ts: int) -> Day:
    """Return the day that a point belongs to."""
    return Day(tier, ts - ts % DAY_MS)


def listed(connection: duckdb.DuckDBPyConnection, tier: Tier) -> list[Day]:
    """Return the days that there are of a tier, in ascending time."""
    rows = connection.execute(
        "SELECT table_name FROM duckdb_tables() WHERE database_name = current_database() "
        "AND regexp_full_match(table_name, ? || '_[0-9]{8}') ORDER BY 1",
        [tier.value],
    ).fetchall()
    return [Day(tier, _begin(name)) for (name,) in rows]


def _begin(table: str) -> int:
    return int(datetime.strptime(table[-8:], "%Y%m%d").replace(tzinfo=UTC).timestamp()) * 1000


def create(connection: duckdb.DuckDBPyConnection, day: Day) -> None:
    """Make a day's table if there is none."""
    connection.execute(f"CREATE TABLE IF NOT EXISTS {day.table} ({COLUMNS})")


def between(connection: duckdb.DuckDBPyConnection, tiers: tuple[Tier, ...], start: int, end: int) -> str:
    """Return what to select from for all points from `start` to `end`, which may hold some beyond them."""
    wanted = [day for tier in tiers for day in listed(connection, tier) if day.begins < end and start < day.ends]
    selects = [f"SELECT {NAMES} FROM {day.table}" for day in wanted]  # noqa: S608 - the names are ours
    return f"({' UNION ALL '.join(selects or [_NOTHING])}) AS point({NAMES})"


def migrate(connection: duckdb.DuckDBPyConnection) -> None:
    """Bring the points of a file of before, one table without tags, to their days: in one transaction."""
    if not connection.execute(
        "SELECT 1 FROM duckdb_tables() WHERE database_name = current_database() AND table_name = 'point'"
    ).fetchall():
        return
    connection.execute("BEGIN")
    days = connection.execute(f"SELECT DISTINCT ts - ts % {DAY_MS} FROM point").fetchall()  # noqa: S608 - a number
    for (begins,) in days:
        day = Day(Tier.RAW, begins)
        create(connection, day)
        connection.execute(
            f"INSERT INTO {day.table} SELECT device, metric, ts, value, boot, seq, '' FROM point "  # noqa: S608 - ours
            f"WHERE ts >= {day.begins} AND ts < {day.ends}"
        )
    connection.execute("DROP TABLE point")
    connection.execute("COMMIT")
