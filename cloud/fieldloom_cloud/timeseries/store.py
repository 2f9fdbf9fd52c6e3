"""The embedded time series: DuckDB, one process, a batch a transaction with its guards. (S1, S2)"""

import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import duckdb

from fieldloom_cloud.guard import Guard, Incoming
from fieldloom_cloud.timeseries import aggregates, days
from fieldloom_cloud.timeseries.checkpoint import File
from fieldloom_cloud.timeseries.gate import Gate
from fieldloom_cloud.timeseries.measures import POINTS, measured
from fieldloom_cloud.timeseries.ports import Kept, Point, Query, Receipt, Seen, Series, Standing, Tags, Tier
from fieldloom_contract.ranges import Ranges
from fieldloom_runtime.errors import StartFailed
from fieldloom_runtime.records import AnyRecord, Telemetry

FILE = "telemetry.duckdb"
AGGREGATES = {
    "average": "avg(value)",
    "sum": "sum(value)",
    "min": "min(value)",
    "max": "max(value)",
    "count": "count(value)",
    "first": "arg_min(value, ts)",
    "last": "arg_max(value, ts)",
}
SCHEMA = """
CREATE TABLE IF NOT EXISTS stream (stream BLOB PRIMARY KEY, number BIGINT NOT NULL);
CREATE TABLE IF NOT EXISTS received (device VARCHAR, boot BIGINT, spans VARCHAR NOT NULL, PRIMARY KEY (device, boot));
"""
ALL_TIERS = (Tier.RAW, Tier.ROLLED)
Columns = dict[str, str]  # a name and Arrow's type


class Table(NamedTuple):
    """How rows get into a table: by column, as Arrow."""

    insert: str
    columns: Columns


TS = 2  # its place among the columns
POINT: Columns = {
    "device": "string",
    "metric": "string",
    "ts": "int64",
    "value": "float64",
    "boot": "int64",
    "seq": "int64",
    "tags": "string",
}
STREAM = Table("INSERT OR REPLACE INTO stream", {"stream": "binary", "number": "int64"})
RECEIVED = Table("INSERT OR REPLACE INTO received", {"device": "string", "boot": "int64", "spans": "string"})
LAST_MS = 2**53
STORED = Receipt("", 0)


class TimeSeries:
    """Points on disk. One writes at a time; each query has a cursor of its own."""

    name = "duckdb"

    def __init__(self, data: Path) -> None:
        path = data / FILE
        try:
            self._file = File(path)
        except (duckdb.Error, OSError) as error:
            way_out = "stop the other process on it, or restore it from a copy"
            raise StartFailed(f"{path} can't be opened ({str(error).splitlines()[0]})", way_out) from None
        path.chmod(0o600)
        self._writing = threading.Lock()
        self._gate = Gate()
        self._db.execute(SCHEMA)
        days.migrate(self._db)
        self._guard = self._stored_guard()

    @property
    def _db(self) -> duckdb.DuckDBPyConnection:
        return self._file.connection

    @measured("write")
    def ingest(self, group: list[Incoming]) -> list[int]:
        """Store what is new of some batches, durably, and return the position of each one's stream."""
        with self._transaction():
            columns = _columns([record for sent in group for record in self._guard.take(sent)])
            self._insert_points(Tier.RAW, columns)
            changes = self._guard.changes()
            self._insert(STREAM, list(zip(*changes.positions.items(), strict=True)))
            lives = [(device, boot, json.dumps(spans)) for (device, boot), spans in changes.spans.items()]
            self._insert(RECEIVED, list(zip(*lives, strict=True)))
        POINTS.labels("stored").inc(len(columns[0]))
        return [self._guard.position(sent.stream) for sent in group]

    @measured("write")
    def write(self, points: list[Point], tier: Tier) -> Receipt:
        """Store points, durably; one of the same series and time is overwritten."""
        newest = {(point.device, point.metric, point.tags, point.ts): point for point in points}.values()
        columns: list[list[Any]] = [[] for _ in POINT]
        for point in newest:
            row = (point.device, point.metric, point.ts, point.value, point.boot, point.seq, _text(point.tags))
            for column, value in zip(columns, row, strict=True):
                column.append(value)
        with self._transaction():
            self._insert_points(tier, columns, replace=True)
        return STORED

    def standing(self, _: Receipt) -> Standing:
        """Return that a write is on the disk: it was when it returned."""
        return Standing.DURABLE

    @measured("query")
    def query(self, asked: Query) -> list[Series]:
        """Return the newest raw points of each series, or one point a window. Raises AggregateFailed."""
        if asked.aggregate is None:
            return self._newest(asked)
        what = f"quantile_cont(value, {asked.percentile!r})" if asked.aggregate == aggregates.PERCENTILE else None
        what = AGGREGATES.get(asked.aggregate, what)
        if what is None:
            found = self._select(asked, "ts, value", "", [])
            return [one._replace(points=aggregates.windowed(one.points, asked)) for one in found]
        moment = f"{asked.start}" if asked.window is None else f"ts - ts % {asked.window}"
        return self._select(asked, f"{moment} AS at, {what}", "GROUP BY 1, 2, 3, 4", [])

    def _newest(self, asked: Query) -> list[Series]:
        """Return each series for itself, the newest first up to the limit."""
        newest = "QUALIFY row_number() OVER (PARTITION BY device, metric, tags ORDER BY ts DESC) <= ?"
        return self._select(asked, "ts, value", newest, [asked.limit])

    def _select(self, asked: Query, what: str, how: str, values: list[Any]) -> list[Series]:
        with self._reading() as cursor:
            source = days.between(cursor, ALL_TIERS, asked.start, asked.end)
            where, wanted = _condition(cursor, source, asked)
            sql = f"SELECT device, metric, tags, {what} FROM {source} WHERE {where} {how} ORDER BY 1, 2, 3, 4"  # noqa: S608 - the words are ours
            rows = cursor.execute(sql, [*wanted, *values]).fetchall()
        return [
            Series(device, metric, _tags(text), [(ts, float(value)) for *_, ts, value in points])
            for (device, metric, text), points in groupby(rows, key=lambda row: row[:3])
        ]

    @measured("query")
    def seen(self, device: str, start: int, end: int) -> Seen:
        """Return what the numbered points of a device say of a window, Unix ms, `end` excluded. (T8)"""
        numbered = "WHERE device = ? AND boot IS NOT NULL AND seq IS NOT NULL"
        with self._reading() as cursor:
            earlier, within, later = (
                days.between(cursor, (Tier.RAW,), *span) for span in ((0, start), (start, end), (end, LAST_MS))
            )
            before = f"SELECT boot, seq, ts FROM {earlier} {numbered} AND ts < ? ORDER BY ts DESC LIMIT 1"  # noqa: S608 - ours
            after = f"SELECT boot, seq, ts FROM {later} {numbered} AND ts >= ? ORDER BY ts LIMIT 1"  # noqa: S608 - ours
            figures = "boot, min(seq), max(seq), min(ts), max(ts)"
            inside = f"SELECT {figures} FROM {within} {numbered} AND ts >= ? AND ts < ? GROUP BY boot"  # noqa: S608 - ours
            first = cursor.execute(before, [device, start]).fetchone()
            last = cursor.execute(after, [device, end]).fetchone()
            return Seen(first, cursor.execute(inside, [device, start, end]).fetchall(), last)

    def boots_of(self, device: str, boots: set[int]) -> set[int]:
        """Return those of some boots of a device of which there is a numbered point."""
        with self._reading() as cursor:
            source = days.between(cursor, (Tier.RAW,), 0, LAST_MS)
            query = f"SELECT DISTINCT boot FROM {source} WHERE device = ? AND list_contains(?, boot)"  # noqa: S608 - ours
            return {boot for (boot,) in cursor.execute(query, [device, sorted(boots)]).fetchall()}

    @measured("keep")
    def keep(self, raw_ms: int | None, rolled_ms: int | None, now: int) -> Kept:
        """Drop the days that are wholly older than that, and shrink the file when half of it is free."""
        dropped = 0
        for tier, kept_ms in ((Tier.RAW, raw_ms), (Tier.ROLLED, rolled_ms)):
            with self._transaction():
                old = (
                    [] if kept_ms is None else [day for day in days.listed(self._db, tier) if day.ends <= now - kept_ms]
                )
                for day in old:
                    self._db.execute(f"DROP TABLE {day.table}")
                dropped += len(old)
        if dropped:
            with self._writing:
                self._give_space_back()
        return Kept(dropped, None)

    def _give_space_back(self) -> None:
        """Have the blocks of what was dropped used again, and give them back where they are half of the file."""
        self._file.checkpoint()
        if self._file.is_half_free():
            with self._gate.alone():
                self._file.shrink()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Have a transaction that is committed at the end, or undone by an exception."""
        with self._writing:
            self._db.execute("BEGIN")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                # What memory took may not be on the disk: read the guards again.
                self._db.execute("ROLLBACK")
                self._guard = self._stored_guard()
                raise
            self._file.checkpoint_when_due()

    @contextmanager
    def _reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Have a cursor that sees one state of the file."""
        with self._gate.together(), self._db.cursor() as cursor:
            cursor.execute("BEGIN")
            yield cursor

    def _stored_guard(self) -> Guard:
        positions = {bytes(stream): number for stream, number in self._db.execute("FROM stream").fetchall()}
        spans = self._db.execute("FROM received").fetchall()
        return Guard(positions, {(device, boot): Ranges(json.loads(text)) for device, boot, text in spans})

    def _insert(self, table: Table, columns: Sequence[Sequence[Any]]) -> None:
        if columns and columns[0]:
            with self._arriving(table.columns, columns):
                self._db.execute(f"{table.insert} FROM arriving")

    def _insert_points(self, tier: Tier, columns: Sequence[Sequence[Any]], *, replace: bool = False) -> None:
        if not columns[0]:
            return
        with self._arriving(POINT, columns):
            for day in sorted({days.of(tier, ts) for ts in columns[TS]}):
                days.create(self._db, day)
                of_day = f"ts >= {day.begins} AND ts < {day.ends}"
                if replace:
                    same = " AND ".join(f"old.{name} = arriving.{name}" for name in ("device", "metric", "tags", "ts"))
                    self._db.execute(f"DELETE FROM {day.table} AS old USING arriving WHERE {same}")  # noqa: S608 - ours
                self._db.execute(f"INSERT INTO {day.table} FROM arriving WHERE {of_day}")

    @contextmanager
    def _arriving(self, named: Columns, columns: Sequence[Sequence[Any]]) -> Iterator[None]:
        """Have columns as the table `arriving`."""
        import pyarrow as pa  # noqa: PLC0415 - it takes a tenth of the time of a start, and a start writes nothing

        arrays = [pa.array(column, kind) for column, kind in zip(columns, named.values(), strict=True)]
        self._db.register("arriving", pa.table(arrays, list(named)))
        try:
            yield
        finally:
            self._db.unregister("arriving")


def _condition(cursor: duckdb.DuckDBPyConnection, source: str, asked: Query) -> tuple[str, list[Any]]:
    """Return what a point has to be, and the values for its question marks."""
    where = "ts >= ? AND ts < ?"
    values: list[Any] = [asked.start, asked.end]
    wanted: list[tuple[str, list[str]]] = [("device", asked.devices), ("metric", asked.metrics)]
    for column, allowed in wanted:
        if allowed:
            where += f" AND {column} IN ({', '.join('?' * len(allowed))})"
            values += allowed
    if asked.tags:
        sets = cursor.execute(f"SELECT DISTINCT tags FROM {source} WHERE {where}", values).fetchall()  # noqa: S608 - ours
        fitting = [text for (text,) in sets if set(asked.tags) <= set(_tags(text))]
        where += f" AND tags IN ({', '.join('?' * len(fitting))})" if fitting else " AND false"
        values += fitting
    return where, values


def _columns(records: list[AnyRecord]) -> list[list[Any]]:
    """Return the numbers of telemetry by column; booleans count as 0 and 1, texts are state and not series."""
    devices: list[str] = []
    metrics: list[str] = []
    times: list[int] = []
    values: list[float] = []
    boots: list[int | None] = []
    seqs: list[int | None] = []
    tags: list[str] = []
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
                tags.append(_text(sorted(record.tags[metric].items())) if record.tags and metric in record.tags else "")
    return [devices, metrics, times, values, boots, seqs, tags]


def _text(tags: Iterable[tuple[str, str]]) -> str:
    """Return sorted tags as their column has them: equal texts are equal tags."""
    told = dict(tags)
    return json.dumps(told, ensure_ascii=False) if told else ""


def _tags(text: str) -> Tags:
    return tuple(json.loads(text).items()) if text else ()
