"""InfluxDB 1.x: points by `/write`, questions in InfluxQL, retention by its own policies. (S1, S2, S3, ADR 37)

A write that is answered is on its disk: InfluxDB syncs its write-ahead log first. Each tier has a retention policy
in the one database, so each is dropped by whole shards.
"""

import re
from typing import Any

from fieldloom_cloud.settings import SeriesSettings
from fieldloom_cloud.timeseries import aggregates, lines
from fieldloom_cloud.timeseries.http import WAY_OUT, Http
from fieldloom_cloud.timeseries.measures import measured
from fieldloom_cloud.timeseries.ports import (
    Kept,
    Point,
    Query,
    Receipt,
    Refused,
    Seen,
    Series,
    SeriesError,
    Standing,
    Tier,
)
from fieldloom_runtime.errors import StartFailed

FUNCTIONS = {
    "average": "mean",
    "sum": "sum",
    "min": "min",
    "max": "max",
    "count": "count",
    "first": "first",
    "last": "last",
}
"""Its percentile takes the nearest value, ours lies between two: that is computed here."""

LAST_MS = 9_223_372_036_854  # its times are ns in 64 bits
SHARDS = "SHARD DURATION 1d"  # what is dropped at once
_BEYOND_RETENTION = re.compile(r"points beyond retention policy dropped=(\d+)")


class InfluxDb:
    """A database of an InfluxDB server."""

    name = "influxdb"

    def __init__(self, settings: SeriesSettings) -> None:
        """Take settings. Raises StartFailed for a CA or a token that can't be used."""
        self._http = Http(settings)
        self._database = settings.database

    def open(self) -> None:
        """See that the server answers, and make database and policies if they are missing. Raises StartFailed."""
        self._http.check("/ping")
        try:
            self._ask(f"CREATE DATABASE {_name(self._database)}")
            known = {row[0] for row in _rows(self._ask(f"SHOW RETENTION POLICIES ON {_name(self._database)}"))}
            for tier in Tier:
                if tier.value not in known:
                    self._ask(f"CREATE {self._policy(tier)} DURATION INF REPLICATION 1 {SHARDS}")
        except SeriesError as error:
            raise StartFailed(f"series: {error}", WAY_OUT) from None

    def write(self, points: list[Point], tier: Tier) -> Receipt:
        """Take points. Raises SeriesError."""
        return self.send(lines.of_points(points, tier), tier)

    @measured("write")
    def send(self, text: bytes, tier: Tier) -> Receipt:
        """Take lines; the answer comes after the sync of the log. Raises SeriesError."""
        where = {"db": self._database, "rp": tier.value, "precision": "ms"}
        try:
            self._http.ask("POST", "/write", params=where, content=text)
        except Refused as error:
            found = _BEYOND_RETENTION.search(str(error))
            if found is None:
                raise
            return Receipt("", 0, int(found[1]))
        return Receipt("", 0)

    def standing(self, _: Receipt) -> Standing:
        """Return that a write is on the disk: it was when it was answered."""
        return Standing.DURABLE

    @measured("query")
    def query(self, asked: Query) -> list[Series]:
        """Return the newest raw points of each series, or one point a window. Raises SeriesError, AggregateFailed."""
        where = _condition(asked)
        if asked.aggregate is None:
            return self._series(f"SELECT {lines.FIELD}", f"{where} GROUP BY * ORDER BY time DESC LIMIT {asked.limit}")
        if asked.aggregate not in FUNCTIONS:
            found = self._series(f"SELECT {lines.FIELD}", f"{where} GROUP BY *")
            return [one._replace(points=aggregates.windowed(one.points, asked)) for one in found]
        what = f"SELECT {FUNCTIONS[asked.aggregate]}({lines.FIELD})"
        if asked.window is not None:
            return self._series(what, f"{where} GROUP BY time({asked.window}ms), * fill(none)")
        found = self._series(what, f"{where} GROUP BY *")
        return [one._replace(points=[(asked.start, value) for _, value in one.points]) for one in found]

    @measured("query")
    def seen(self, device: str, start: int, end: int) -> Seen:
        """Return what the numbered points of a device say of a window. Raises SeriesError. (T8)"""
        begins, ends = min(start, LAST_MS), min(end, LAST_MS)
        within = f"time >= {begins}ms AND time < {ends}ms"
        source = f"FROM {self._measurement(Tier.RAW, lines.RECORD)} WHERE device = {_text(device)} AND"
        statements = [
            f"SELECT last(seq) {source} time < {begins}ms GROUP BY boot",
            f"SELECT first(seq) {source} time >= {ends}ms GROUP BY boot",
            f"SELECT min(seq), max(seq) {source} {within} GROUP BY boot",
            f"SELECT first(seq) {source} {within} GROUP BY boot",
            f"SELECT last(seq) {source} {within} GROUP BY boot",
        ]
        before, after, spans, firsts, lasts = (_by_boot(found) for found in self._ask(";".join(statements)))
        inside = [
            (boot, int(low), int(high), firsts[boot][0], lasts[boot][0]) for boot, (_, low, high) in spans.items()
        ]
        earlier = [(boot, int(seq), ts) for boot, (ts, seq) in before.items()]
        later = [(boot, int(seq), ts) for boot, (ts, seq) in after.items()]
        return Seen(max(earlier, key=_ts, default=None), inside, min(later, key=_ts, default=None))

    def boots_of(self, device: str, boots: set[int]) -> set[int]:
        """Return those of some boots of a device of which there is a numbered point. Raises SeriesError."""
        if not boots:
            return set()
        wanted = " OR ".join(f"boot = '{boot}'" for boot in sorted(boots))
        source = self._measurement(Tier.RAW, lines.RECORD)
        asked = f"SELECT last(seq) FROM {source} WHERE device = {_text(device)} AND ({wanted}) GROUP BY boot"  # noqa: S608 - quoted
        return set(_by_boot(self._ask(asked)[0]))

    @measured("keep")
    def keep(self, raw_ms: int | None, rolled_ms: int | None, now: int) -> Kept:  # noqa: ARG002 - the server has a clock
        """Have the server forget whole shards that are older than that. Raises SeriesError."""
        for tier, kept_ms in ((Tier.RAW, raw_ms), (Tier.ROLLED, rolled_ms)):
            duration = "INF" if kept_ms is None else f"{kept_ms}ms"
            self._ask(f"ALTER {self._policy(tier)} DURATION {duration} {SHARDS}")
        return Kept(0, None)

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def _policy(self, tier: Tier) -> str:
        return f"RETENTION POLICY {_name(tier.value)} ON {_name(self._database)}"

    def _measurement(self, tier: Tier, name: str) -> str:
        return f"{_name(self._database)}.{_name(tier.value)}.{_name(name)}"

    def _series(self, what: str, how: str) -> list[Series]:
        sources = ", ".join(self._measurement(tier, name) for tier, name in lines.MEASUREMENTS.items())
        found = [
            Series(
                lines.decoded(one["tags"]["device"]),
                lines.decoded(one["tags"]["metric"]),
                lines.tags_of(one["tags"]),
                sorted((ts, float(value)) for ts, value in one["values"]),
            )
            for one in self._ask(f"{what} FROM {sources} WHERE {how}")[0]
        ]
        return sorted(found)

    def _ask(self, statements: str) -> list[list[dict[str, Any]]]:
        """Return the series that each statement found. Raises SeriesError."""
        asked = {"q": statements, "db": self._database, "epoch": "ms"}
        results = self._http.ask("POST", "/query", data=asked).json()["results"]
        for one in results:
            if "error" in one:
                raise Refused(one["error"])
        return [one.get("series", []) for one in results]


def _rows(results: list[list[dict[str, Any]]]) -> list[list[Any]]:
    return [row for one in results[0] for row in one.get("values", [])]


def _by_boot(found: list[dict[str, Any]]) -> dict[int, list[Any]]:
    """Return the one row of each boot."""
    return {int(one["tags"]["boot"]): one["values"][0] for one in found}


def _ts(sighting: tuple[int, int, int]) -> int:
    return sighting[2]


def _condition(asked: Query) -> str:
    parts = [f"time >= {min(asked.start, LAST_MS)}ms", f"time < {min(asked.end, LAST_MS)}ms"]
    for name, allowed in (("device", asked.devices), ("metric", asked.metrics)):
        if allowed:
            parts.append("(" + " OR ".join(f"{name} = {_text(lines.coded(one))}" for one in allowed) + ")")
    tags = [(lines.TAG + lines.coded(name), lines.coded(value)) for name, value in asked.tags]
    return " AND ".join([*parts, *(f"{_name(name)} = {_text(value)}" for name, value in tags)])


def _name(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
