"""VictoriaMetrics: points by its InfluxDB write path, questions in MetricsQL. (S1, S2, S3, ADR 37)

What it does otherwise than the others is mended here:
- It answers before a point is on its disk: a write is durable when the process that took it still runs after FLUSH_S.
- It keeps both when a point is written twice, unless it runs with `-dedup.minScrapeInterval=1ms`: it has to. Of two
  that differ it then keeps either, so a corrected point of a downsampling rule goes into a series of its own (`fold`),
  and the highest wins.
- For the last half minute its windows of less than a minute repeat older values: these are computed here.
- It finds nothing when it is asked from 1970 on: no point is older than the contract takes (2020).
- It keeps all for one time, `-retentionPeriod`: what is older than a tier keeps is hidden, and the operator told.
"""

import json
import re
import time
from collections.abc import Iterator
from typing import Any

from fieldloom_cloud.settings import SeriesSettings
from fieldloom_cloud.timeseries import aggregates, lines
from fieldloom_cloud.timeseries.http import Http
from fieldloom_cloud.timeseries.measures import measured
from fieldloom_cloud.timeseries.ports import DAY_MS, Kept, Point, Query, Receipt, Seen, Series, Standing, Tags, Tier
from fieldloom_contract.limits import MIN_TS
from fieldloom_runtime.errors import StartFailed

FLUSH_S = 15.0
"""Points wait for 1 s in memory, then their part for 5 s until a flush that runs every 5 s; and a margin."""

OLD_ENOUGH_S = 2.0
LOOK_AGAIN_S = 0.2

FUNCTIONS = {
    "average": "avg_over_time({})",
    "sum": "sum_over_time({})",
    "min": "min_over_time({})",
    "max": "max_over_time({})",
    "count": "count_over_time({})",
    "first": "first_over_time({})",
    "last": "last_over_time({})",
    aggregates.PERCENTILE: "quantile_over_time({}, {})",
}
UNSURE_MS = 120_000  # how recent windows may be repeated ones
LEAST_STEP_MS = 60_000  # below which they are
MOST_WINDOWS = 10_000  # a question
LAST_MS = 9_223_372_036_854
AHEAD_MS = 2 * DAY_MS  # a later point is not taken
DEDUPLICATION = "dedup.minScrapeInterval"
RETENTION = "retentionPeriod"
FOLD = "fold"

_START = re.compile(r"^process_start_time_seconds (\S+)", re.MULTILINE)
_UPTIME = re.compile(r"^vm_app_uptime_seconds (\S+)", re.MULTILINE)
_FLAG = re.compile(r'^flag\{name="([^"]+)", value="([^"]*)"', re.MULTILINE)
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_]")
_UNITS = {"h": 3_600_000, "d": DAY_MS, "w": 7 * DAY_MS, "y": 365 * DAY_MS, "": 31 * DAY_MS}


class VictoriaMetrics:
    """A single VictoriaMetrics, or what speaks as one."""

    name = "victoriametrics"

    def __init__(self, settings: SeriesSettings) -> None:
        """Take settings. Raises StartFailed for a CA or a token that can't be used."""
        self._http = Http(settings)
        self._kept_ms: dict[Tier, int | None] = dict.fromkeys(Tier)

    def open(self) -> None:
        """See that the server answers and drops what is written twice. Raises StartFailed."""
        flags = dict(_FLAG.findall(self._http.check("/metrics").text))
        if flags.get(DEDUPLICATION) not in ("1ms", "0.001s"):
            raise StartFailed(
                f"series: {self._http.url} would keep points twice", f"start VictoriaMetrics with -{DEDUPLICATION}=1ms"
            )

    def write(self, points: list[Point], tier: Tier) -> Receipt:
        """Take points. Raises SeriesError."""
        if tier is Tier.ROLLED and points:
            return self._write_rolled(points)
        return self.send(lines.of_points(points, tier), tier)

    @measured("write")
    def send(self, text: bytes, tier: Tier) -> Receipt:  # noqa: ARG002 - the measurement says it
        """Take lines, which are in memory then. Raises SeriesError."""
        life = self._distinct_life()
        self._http.ask("POST", "/api/v2/write", params={"precision": "ms"}, content=text)
        return Receipt(life, time.monotonic())

    def standing(self, receipt: Receipt) -> Standing:
        """Return whether the process that took a write has lived on long enough to flush it. Raises Unreachable."""
        waited = time.monotonic() - receipt.at
        if self._life() != receipt.life:
            return Standing.LOST
        return Standing.DURABLE if waited >= FLUSH_S else Standing.PENDING

    @measured("query")
    def query(self, asked: Query) -> list[Series]:
        """Return the newest raw points of each series, or one point a window. Raises SeriesError, AggregateFailed."""
        if asked.aggregate is None:
            return [one._replace(points=one.points[-asked.limit :]) for one in self._raw(asked)]
        window = asked.window
        if asked.aggregate not in FUNCTIONS or window is None or self._has_folds(asked):
            return self._computed(asked)
        asked = asked._replace(start=self._kept_since(Tier.RAW, asked.start))
        begins = -(-asked.start // window) * window  # the first whole window
        sure = min(asked.end, _now() + (AHEAD_MS if window >= LEAST_STEP_MS else -UNSURE_MS))
        sure = max(begins, sure - sure % window)
        parts = [
            self._computed(asked._replace(end=min(begins, asked.end))),
            self._windows(asked, window, begins, sure),
            self._computed(asked._replace(start=sure)),
        ]
        return _joined(parts)

    @measured("query")
    def seen(self, device: str, start: int, end: int) -> Seen:
        """Return what the numbered points of a device say of a window. Raises SeriesError. (T8)"""
        ahead = _now() + AHEAD_MS
        spans = {"before": (MIN_TS, start), "inside": (start, end), "after": (end, max(end, ahead))}
        told = {name: self._sightings(device, *span) for name, span in spans.items()}
        inside = [(boot, low, high, first, last) for boot, (low, high, first, last, *_) in told["inside"].items()]
        before = [(boot, seq, last) for boot, (_, _, _, last, _, seq) in told["before"].items()]
        after = [(boot, seq, first) for boot, (_, _, first, _, seq, _) in told["after"].items()]
        return Seen(max(before, key=_ts, default=None), inside, min(after, key=_ts, default=None))

    def boots_of(self, device: str, boots: set[int]) -> set[int]:
        """Return those of some boots of a device of which there is a numbered point. Raises SeriesError."""
        selector = f"{lines.RECORD}_{lines.SEQ}{{device={_text(device)}}}"
        asked = {"match[]": selector, "start": MIN_TS / 1000, "end": (_now() + AHEAD_MS) / 1000}
        known = {int(one["boot"]) for one in self._http.ask("GET", "/api/v1/series", params=asked).json()["data"]}
        return known & boots

    @measured("keep")
    def keep(self, raw_ms: int | None, rolled_ms: int | None, now: int) -> Kept:  # noqa: ARG002 - the server has a clock
        """Hide what is older than that; say so where the server keeps it, or drops it before. Raises SeriesError."""
        self._kept_ms = {Tier.RAW: raw_ms, Tier.ROLLED: rolled_ms}
        told = dict(_FLAG.findall(self._http.ask("GET", "/metrics").text)).get(RETENTION, "1")
        kept_ms = _duration(told)
        wanted_ms = None if raw_ms is None or rolled_ms is None else max(raw_ms, rolled_ms)
        if kept_ms is None or kept_ms == wanted_ms:
            return Kept(0, None)
        wanted = "100y" if wanted_ms is None else f"{-(-wanted_ms // DAY_MS)}d"
        return Kept(0, f"VictoriaMetrics runs with -{RETENTION}={told}: start it with -{RETENTION}={wanted}")

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def _life(self) -> str:
        """Return when the server's process was started."""
        return _life_in(self._http.ask("GET", "/metrics").text)

    def _distinct_life(self) -> str:
        """Return when the server's process was started, once another one can't have been started at the same time.

        It tells whole seconds: of two that were started within one, the writes of the first would not be missed.
        """
        while True:
            told = self._http.ask("GET", "/metrics").text
            uptime = _UPTIME.search(told)
            if uptime is None or float(uptime[1]) >= OLD_ENOUGH_S:
                return _life_in(told)
            time.sleep(LOOK_AGAIN_S)

    def _write_rolled(self, points: list[Point]) -> Receipt:
        """Take points of a rule: one that differs from what is there goes one fold higher."""
        times = [point.ts for point in points]
        devices, metrics = {point.device for point in points}, {point.metric for point in points}
        asked = Query(sorted(devices), sorted(metrics), min(times), max(times) + 1)
        known: dict[tuple[str, str, Tags, int], tuple[int, float]] = {}
        for device, metric, tags, fold, found in self._folds(asked):
            known |= {(device, metric, tags, ts): (fold, value) for ts, value in found}
        text = b"\n".join(
            _folded(point, known.get((point.device, point.metric, point.tags, point.ts))) for point in points
        )
        return self.send(text, Tier.ROLLED)

    def _has_folds(self, asked: Query) -> bool:
        """Whether there are points of rules among what is asked for: only here can be seen which are valid."""
        selector = _selector(Tier.ROLLED, asked)
        told = {"match[]": selector, **self._span(Tier.ROLLED, asked)}
        return bool(self._http.ask("POST", "/api/v1/series", data=told).json()["data"])

    def _windows(self, asked: Query, window: int, begins: int, ends: int) -> list[Series]:
        """Return whole windows as the server computes them; each holds the points up to 1 ms before the next."""
        found: dict[tuple[str, str, Tags], list[tuple[int, float]]] = {}
        inside = f"{_selector(Tier.RAW, asked)}[{window}ms]"
        function = FUNCTIONS[asked.aggregate or ""]
        told = function.format(asked.percentile, inside) if function.count("{}") == 2 else function.format(inside)
        for start in range(begins, ends, MOST_WINDOWS * window):
            last = min(ends, start + MOST_WINDOWS * window) - window
            span = {"start": _seconds(start + window - 1), "end": _seconds(last + window - 1), "step": f"{window}ms"}
            answer = self._http.ask("POST", "/api/v1/query_range", data={"query": told, **span, "nocache": 1})
            for one in answer.json()["data"]["result"]:
                points = [(round(at * 1000) - window + 1, float(value)) for at, value in one["values"]]
                found.setdefault(_identity(one["metric"]), []).extend(points)
        return [Series(*series, points) for series, points in found.items()]

    def _computed(self, asked: Query) -> list[Series]:
        return [one._replace(points=aggregates.windowed(one.points, asked)) for one in self._raw(asked)]

    def _raw(self, asked: Query) -> list[Series]:
        """Return all points of a range; of a rule's, those of the highest fold."""
        if asked.start >= asked.end:
            return []
        found: dict[tuple[str, str, Tags], dict[int, float]] = {}
        for labels, points in self._export(Tier.RAW, asked):
            found.setdefault(_identity(labels), {}).update(points)
        for device, metric, tags, _, points in self._folds(asked):
            found.setdefault((device, metric, tags), {}).update(points)
        return sorted(Series(*series, sorted(points.items())) for series, points in found.items())

    def _folds(self, asked: Query) -> list[tuple[str, str, Tags, int, list[tuple[int, float]]]]:
        """Return (device, metric, tags, fold, points) of rules, the lowest fold first."""
        found = [(*_identity(labels), int(labels[FOLD]), points) for labels, points in self._export(Tier.ROLLED, asked)]
        return sorted(found, key=lambda one: one[3])

    def _export(self, tier: Tier, asked: Query) -> Iterator[tuple[dict[str, str], list[tuple[int, float]]]]:
        told = {"match[]": _selector(tier, asked), **self._span(tier, asked)}
        answer = self._http.ask("POST", "/api/v1/export", data=told)
        for line in filter(None, answer.content.split(b"\n")):
            one = json.loads(line)
            yield one["metric"], list(zip(one["timestamps"], map(float, one["values"]), strict=True))

    def _span(self, tier: Tier, asked: Query) -> dict[str, str]:
        start = min(self._kept_since(tier, asked.start), LAST_MS)
        return {"start": _seconds(start), "end": _seconds(min(asked.end, LAST_MS) - 1)}

    def _kept_since(self, tier: Tier, start: int) -> int:
        kept_ms = self._kept_ms[tier]
        return max(start, MIN_TS if kept_ms is None else _now() - kept_ms)

    def _sightings(self, device: str, start: int, end: int) -> dict[int, list[int]]:
        """Return [lowest seq, highest seq, first ts, last ts, first seq, last seq] by boot."""
        if start >= end:
            return {}
        selector = f"{lines.RECORD}_{lines.SEQ}{{device={_text(device)}}}"
        inside = f"{selector}[{end - start}ms]"
        found: dict[int, list[int]] = {}
        for function in ("min", "max", "tfirst", "tlast", "first", "last"):
            told = {"query": f"{function}_over_time({inside})", "time": _seconds(end - 1), "nocache": 1}
            for one in self._http.ask("POST", "/api/v1/query", data=told).json()["data"]["result"]:
                scale = 1000 if function.startswith("t") else 1
                found.setdefault(int(one["metric"]["boot"]), []).append(round(float(one["value"][1]) * scale))
        return found


def _joined(found: list[list[Series]]) -> list[Series]:
    """Return series that were asked for by parts of their range, in their order."""
    series: dict[tuple[str, str, Tags], list[tuple[int, float]]] = {}
    for one in (one for part in found for one in part):
        series.setdefault((one.device, one.metric, one.tags), []).extend(one.points)
    return sorted(Series(*identity, points) for identity, points in series.items())


def _folded(point: Point, known: tuple[int, float] | None) -> bytes:
    """Return a point's line, above the one that is known at its place if their values differ."""
    fold = 0 if known is None else known[0] + (known[1] != point.value)
    return lines.of_points([point], Tier.ROLLED).replace(b",device=", f",{FOLD}={fold},device=".encode(), 1)


def _identity(labels: dict[str, Any]) -> tuple[str, str, Tags]:
    return lines.decoded(labels["device"]), lines.decoded(labels["metric"]), lines.tags_of(labels)


def _selector(tier: Tier, asked: Query) -> str:
    wanted = []
    for name, allowed in (("device", asked.devices), ("metric", asked.metrics)):
        if len(allowed) == 1:
            wanted.append(f"{name}={_text(lines.coded(allowed[0]))}")
        elif allowed:
            wanted.append(f"{name}=~{_text('|'.join(re.escape(lines.coded(one)) for one in allowed))}")
    wanted += [f"{_name(lines.TAG + lines.coded(name))}={_text(lines.coded(value))}" for name, value in asked.tags]
    return f"{lines.MEASUREMENTS[tier]}_{lines.FIELD}{{{','.join(wanted)}}}"


def _name(text: str) -> str:
    """Return a label's name as MetricsQL reads it: other bytes than letters, digits and _ are escaped."""
    return "".join(one if _PLAIN_NAME.match(one) else f"\\{one}" for one in text)


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _seconds(moment_ms: int) -> str:
    return f"{moment_ms / 1000:.3f}"


def _duration(told: str) -> int | None:
    """Return a retention flag in ms: a number of months, or with a unit."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([hdwy]?)", told)
    return None if found is None else int(float(found[1]) * _UNITS[found[2]])


def _ts(sighting: tuple[int, int, int]) -> int:
    return sighting[2]


def _now() -> int:
    return time.time_ns() // 1_000_000


def _life_in(metrics: str) -> str:
    found = _START.search(metrics)
    return found[1] if found else ""
