"""The embedded time series: DuckDB, one process, a batch a transaction with its guards. (S1, S2)"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pyarrow as pa

from fieldloom_cloud.guard import Guard, Incoming
from fieldloom_cloud.timeseries.checkpoint import File
from fieldloom_contract.ranges import Ranges
from fieldloom_runtime.errors import StartFailed
from fieldloom_runtime.records import AnyRecord, Telemetry

FILE = "telemetry.duckdb"
AGGREGATES = {"average": "avg", "sum": "sum", "min": "min", "max": "max", "count": "count"}
SCHEMA = """
CREATE TABLE IF NOT EXISTS point (
  device VARCHAR NOT NULL, metric VARCHAR NOT NULL, ts BIGINT NOT NULL, value DOUBLE NOT NULL, boot BIGINT, seq BIGINT
);
CREATE TABLE IF NOT EXISTS stream (stream BLOB PRIMARY KEY, number BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS received (device VARCHAR, boot BIGINT, spans VARCHAR NOT NULL, PRIMARY KEY (device, boot));
"""


class Table(NamedTuple):
    """How rows get into a table: by column, as Arrow."""

    insert: str
    schema: pa.Schema


POINT = Table(
    "INSERT INTO point",
    pa.schema(
        {
            "device": pa.string(),
            "metric": pa.string(),
            "ts": pa.int64(),
            "value": pa.float64(),
            "boot": pa.int64(),
            "seq": pa.int64(),
        }
    ),
)
STREAM = Table("INSERT OR REPLACE INTO stream", pa.schema({"stream": pa.binary(), "number": pa.int64()}))
RECEIVED = Table(
    "INSERT OR REPLACE INTO received", pa.schema({"device": pa.string(), "boot": pa.int64(), "spans": pa.string()})
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


class Seen(NamedTuple):
    """Numbered records about a window: the last before it and the first after it, as (boot, seq, ts)."""

    before: tuple[int, int, int] | None
    inside: list[tuple[int, int, int, int, int]]
    """(boot, lowest seq, highest seq, first ts, last ts) of each boot in it."""
    after: tuple[int, int, int] | None


class TimeSeries:
    """Points on disk. Writing is one thread's; each query has a cursor of its own."""

    def __init__(self, data: Path) -> None:
        path = data / FILE
        try:
            self._file = File(path)
        except (duckdb.Error, OSError) as error:
            way_out = "stop the other process on it, or restore it from a copy"
            raise StartFailed(f"{path} can't be opened ({str(error).splitlines()[0]})", way_out) from None
        path.chmod(0o600)
        self._db = self._file.connection
        self._db.execute(SCHEMA)
        self._guard = self._stored_guard()

    def write(self, group: list[Incoming]) -> list[int]:
        """Store what is new of some batches, durably, and return the position of each one's stream."""
        self._db.execute("BEGIN")
        try:
            fresh = [record for sent in group for record in self._guard.take(sent)]
            self._insert(POINT, _columns(fresh))
            changes = self._guard.changes()
            self._insert(STREAM, list(zip(*changes.positions.items(), strict=True)))
            lives = [(device, boot, json.dumps(spans)) for (device, boot), spans in changes.spans.items()]
            self._insert(RECEIVED, list(zip(*lives, strict=True)))
            self._db.execute("COMMIT")
        except BaseException:
            # What memory took may not be on the disk: read the guards again.
            self._db.execute("ROLLBACK")
            self._guard = self._stored_guard()
            raise
        self._file.checkpoint_when_due()
        return [self._guard.position(sent.stream) for sent in group]

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

    def seen(self, device: str, start: int, end: int) -> Seen:
        """Return what the numbered points of a device say of a window, Unix ms, `end` excluded. (T8)"""
        numbered = "FROM point WHERE device = ? AND boot IS NOT NULL AND seq IS NOT NULL"
        before = f"SELECT boot, seq, ts {numbered} AND ts < ? ORDER BY ts DESC LIMIT 1"
        after = f"SELECT boot, seq, ts {numbered} AND ts >= ? ORDER BY ts LIMIT 1"
        inside = f"SELECT boot, min(seq), max(seq), min(ts), max(ts) {numbered} AND ts >= ? AND ts < ? GROUP BY boot"
        with self._db.cursor() as cursor:
            first = cursor.execute(before, [device, start]).fetchone()
            last = cursor.execute(after, [device, end]).fetchone()
            return Seen(first, cursor.execute(inside, [device, start, end]).fetchall(), last)

    def boots_of(self, device: str, boots: set[int]) -> set[int]:
        """Return those of some boots of a device of which there is a numbered point."""
        query = "SELECT DISTINCT boot FROM point WHERE device = ? AND list_contains(?, boot)"
        with self._db.cursor() as cursor:
            return {boot for (boot,) in cursor.execute(query, [device, sorted(boots)]).fetchall()}

    def _stored_guard(self) -> Guard:
        positions = {bytes(stream): number for stream, number in self._db.execute("FROM stream").fetchall()}
        spans = self._db.execute("FROM received").fetchall()
        return Guard(positions, {(device, boot): Ranges(json.loads(text)) for device, boot, text in spans})

    def _insert(self, table: Table, columns: Sequence[Sequence[Any]]) -> None:
        if not columns or not columns[0]:
            return
        arrays = [pa.array(column, field.type) for column, field in zip(columns, table.schema, strict=True)]
        self._db.register("arriving", pa.table(arrays, table.schema))
        self._db.execute(f"{table.insert} FROM arriving")
        self._db.unregister("arriving")

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()


def _columns(records: list[AnyRecord]) -> list[list[Any]]:
    """Return the numbers of telemetry by column; booleans count as 0 and 1, texts are state and not series."""
    devices: list[str] = []
    metrics: list[str] = []
    times: list[int] = []
    values: list[float] = []
    boots: list[int | None] = []
    seqs: list[int | None] = []
    for record in records:
        if not isinstance(record, Telemetry):
            continue
        for metric, value in record.values.items():
            if isinstance(value, (int, float)):
                devices.append(record.device)
                metrics.append(metric)
                times.append(record.ts)
                values.append(float(value))
                boots.append(record.boot)
                seqs.append(record.seq)
    return [devices, metrics, times, values, boots, seqs]
