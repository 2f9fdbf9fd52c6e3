"""The embedded time series: DuckDB, one process, a batch a transaction with its guards. (S1, S2)"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from fieldloom_cloud.guard import Guard, Incoming
from fieldloom_contract.ranges import Ranges
from fieldloom_runtime.errors import StartFailed

FILE = "telemetry.duckdb"
AGGREGATES = {"average": "avg", "sum": "sum", "min": "min", "max": "max", "count": "count"}
SCHEMA = """
CREATE TABLE IF NOT EXISTS point (
  device VARCHAR NOT NULL, metric VARCHAR NOT NULL, ts BIGINT NOT NULL, value DOUBLE NOT NULL, boot BIGINT, seq BIGINT
);
CREATE TABLE IF NOT EXISTS stream (stream BLOB PRIMARY KEY, number BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS received (device VARCHAR, boot BIGINT, spans VARCHAR NOT NULL, PRIMARY KEY (device, boot));
"""
COLUMNS = pa.schema(
    [
        ("device", pa.string()),
        ("metric", pa.string()),
        ("ts", pa.int64()),
        ("value", pa.float64()),
        ("boot", pa.int64()),
        ("seq", pa.int64()),
    ]
)


class Query(NamedTuple):
    """Which points: times in Unix ms, `end` excluded; `window` in ms, aligned to the epoch."""

    devices: list[str]
    metrics: list[str]
    start: int
    end: int
    aggregate: str | None = None
    window: int | None = None
    limit: int = 1000


class TimeSeries:
    """Points on disk. Writing is one thread's; each query has a cursor of its own."""

    def __init__(self, data: Path) -> None:
        path = data / FILE
        try:
            self._db = duckdb.connect(path)
        except duckdb.Error as error:
            way_out = "stop the other process on it, or restore it from a copy"
            raise StartFailed(f"{path} can't be opened ({str(error).splitlines()[0]})", way_out) from None
        path.chmod(0o600)
        self._db.execute(SCHEMA)
        self._guard = self._stored_guard()

    def write(self, sent: Incoming) -> int:
        """Store what is new of a batch, durably, and return the position of its stream."""
        fresh = self._guard.fresh(sent)
        if fresh is None:
            return self._guard.position(sent.stream)
        rows = [row for record in fresh if record["kind"] == "telemetry" for row in _points(record)]
        self._db.execute("BEGIN")
        try:
            return self._commit(rows, sent)
        except BaseException:
            # What memory took may not be on the disk: read the guards again.
            self._db.execute("ROLLBACK")
            self._guard = self._stored_guard()
            raise

    def query(self, asked: Query) -> list[dict[str, Any]]:
        """Return series of [ts, value] in ascending time: the newest raw points, or one a window."""
        where = "ts >= ? AND ts < ?"
        values: list[Any] = [asked.start, asked.end]
        for column, wanted in (("device", asked.devices), ("metric", asked.metrics)):
            if wanted:
                where += f" AND {column} IN ({', '.join('?' * len(wanted))})"
                values += wanted
        if asked.aggregate is None:
            # Newest first up to the limit, each series for itself.
            sql = f"SELECT device, metric, ts, value FROM point WHERE {where} "  # noqa: S608 - the words are ours
            sql += "QUALIFY row_number() OVER (PARTITION BY device, metric ORDER BY ts DESC) <= ? ORDER BY 1, 2, 3"
            values.append(asked.limit)
        else:
            moment = "?" if asked.window is None else "ts - ts % ?"
            values.insert(0, asked.start if asked.window is None else asked.window)
            what = f"{AGGREGATES[asked.aggregate]}(value)"
            sql = f"SELECT device, metric, {moment} AS at, {what} FROM point WHERE {where} "  # noqa: S608 - as above
            sql += "GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        series: dict[tuple[str, str], list[list[float]]] = {}
        with self._db.cursor() as cursor:
            for device, metric, ts, value in cursor.execute(sql, values).fetchall():
                series.setdefault((device, metric), []).append([ts, value])
        return [{"device": device, "metric": metric, "points": points} for (device, metric), points in series.items()]

    def _stored_guard(self) -> Guard:
        positions = {bytes(stream): number for stream, number in self._db.execute("FROM stream").fetchall()}
        spans = self._db.execute("FROM received").fetchall()
        return Guard(positions, {(device, boot): Ranges(json.loads(text)) for device, boot, text in spans})

    def _commit(self, rows: list[tuple[Any, ...]], sent: Incoming) -> int:
        last, touched = self._guard.remember(sent)
        if rows:
            fields = zip(zip(*rows, strict=True), COLUMNS, strict=True)
            arriving = pa.table([pa.array(column, field.type) for column, field in fields], COLUMNS)
            self._db.register("arriving", arriving)
            self._db.execute("INSERT INTO point FROM arriving")
            self._db.unregister("arriving")
        self._db.execute("INSERT OR REPLACE INTO stream VALUES (?, ?)", [sent.stream, last])
        for device, boot in touched:
            spans = json.dumps(self._guard.spans(device, boot))
            self._db.execute("INSERT OR REPLACE INTO received VALUES (?, ?, ?)", [device, boot, spans])
        self._db.execute("COMMIT")
        return last

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()


def _points(record: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return a record's numbers; booleans count as 0 and 1, texts are state and not series."""
    return [
        (record["device"], metric, record["ts"], float(value), record["boot"], record["seq"])
        for metric, value in record["values"].items()
        if isinstance(value, (int, float))
    ]
