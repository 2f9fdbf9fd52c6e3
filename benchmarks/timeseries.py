"""Stores of time series through their port, beside their own clients: `timeseries.py [--seconds N] [--json] [--setup]`.

Each backend takes the same batches of records: ours as the ingest hands them over (DuckDB with its guards; InfluxDB and
VictoriaMetrics as lines made of records), theirs as their client's users would (DuckDB by Arrow; `influxdb` 5.3 for
InfluxDB 1.x; influxdb-client for VictoriaMetrics), from the same Python objects. Points of 20 devices and 2 metrics,
a second apart. Times of queries are of an hour of one series: raw, by minute, a percentile.
"""

import argparse
import importlib.util
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import httpx2
import pyarrow as pa
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.client.write_api import SYNCHRONOUS

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from fieldloom_cloud.guard import Incoming
from fieldloom_cloud.settings import SeriesSettings
from fieldloom_cloud.timeseries import lines
from fieldloom_cloud.timeseries.opening import open_series
from fieldloom_cloud.timeseries.ports import Query, Tier
from fieldloom_runtime.records import Telemetry
from fixtures.series_servers import InfluxServer, VictoriaServer

UV = Path(__file__).parents[1] / "scripts" / "uv"
ROUNDS = 5
DEVICES = 20
RECORDS = 5_000  # a batch, of two points each
HOUR = 3_600_000
START = time.time_ns() // 1_000_000 // HOUR * HOUR - 24 * HOUR


def batch(number: int, name: str) -> list[Telemetry]:
    """The next records of all devices."""
    first = number * RECORDS // DEVICES
    return [
        Telemetry(f"dev-{n % DEVICES}", START + 1000 * (first + n // DEVICES), START, 7, first + n // DEVICES + 1,
                  values={f"t-{name}": 20 + n % 97 / 10, f"h-{name}": 40 + n % 31})
        for n in range(RECORDS)
    ]  # fmt: skip


class DuckDb:
    """Ours, and DuckDB by Arrow into one table of a file of its own."""

    def __init__(self, folder: Path) -> None:
        self.store = open_series(folder, SeriesSettings())
        self.native = duckdb.connect(folder / "native.duckdb")
        self.native.execute("CREATE TABLE point (device VARCHAR, metric VARCHAR, ts BIGINT, value DOUBLE)")
        self.offset = 1

    def ours(self, records: list[Telemetry]) -> None:
        sent = Incoming("gw.bench", b"s" * 16, self.offset, 1, [], records)
        self.offset += len(records)
        self.store.ingest([sent])

    def theirs(self, records: list[Telemetry]) -> None:
        rows = [(one.device, name, one.ts, value) for one in records for name, value in one.values.items()]
        names = ("device", "metric", "ts", "value")
        arriving = pa.table([pa.array(column) for column in zip(*rows, strict=True)], names)
        self.native.register("arriving", arriving)
        self.native.execute("INSERT INTO point FROM arriving")
        self.native.unregister("arriving")

    def ask(self, metric: str) -> dict[str, Callable[[], Any]]:
        where = f"FROM point WHERE device = 'dev-1' AND metric = '{metric}' AND ts >= {START} AND ts < {START + HOUR}"
        windows = f"SELECT ts - ts %% 60000, %s {where} GROUP BY 1 ORDER BY 1"
        sql = {"raw": f"SELECT ts, value {where} ORDER BY ts", "minutes": windows % "avg(value)"}
        sql["percentile"] = windows % "quantile_cont(value, 0.95)"
        return {name: (lambda text=text: self.native.execute(text).fetchall()) for name, text in sql.items()}

    def close(self) -> None:
        self.store.close()
        self.native.close()


class Influx:
    """Ours, and the client `influxdb` with a database of its own."""

    def __init__(self, folder: Path) -> None:
        from influxdb import InfluxDBClient as Native  # noqa: PLC0415 - only here, by --setup

        self.server = InfluxServer(folder / "influx").start()
        self.store = open_series(folder, self.server.settings())
        self.native = Native("127.0.0.1", self.server.port, database="native")
        self.native.create_database("native")

    def ours(self, records: list[Telemetry]) -> None:
        self.store.send(lines.of_records(records)[0], Tier.RAW)

    def theirs(self, records: list[Telemetry]) -> None:
        self.native.write_points(
            [
                {"measurement": "point", "tags": {"device": one.device, "metric": name}, "time": one.ts,
                 "fields": {"value": float(value)}}
                for one in records for name, value in one.values.items()
            ],
            time_precision="ms",
        )  # fmt: skip

    def ask(self, metric: str) -> dict[str, Callable[[], Any]]:
        where = f"FROM point WHERE device = 'dev-1' AND metric = '{metric}'"
        where += f" AND time >= {START}ms AND time < {START + HOUR}ms"
        texts = {"raw": f"SELECT value {where}", "minutes": f"SELECT mean(value) {where} GROUP BY time(60s)"}
        texts["percentile"] = f"SELECT percentile(value, 95) {where} GROUP BY time(60s)"
        return {name: (lambda text=text: self.native.query(text)) for name, text in texts.items()}

    def close(self) -> None:
        self.store.close()
        self.native.close()
        self.server.stop()


class Victoria:
    """Ours, and influxdb-client, with questions over plain HTTP, for which VictoriaMetrics has no client."""

    def __init__(self, folder: Path) -> None:
        self.server = VictoriaServer(folder / "victoria").start()
        self.store = open_series(folder, self.server.settings())
        self.client = InfluxDBClient(self.server.url, "", org="native")
        self.native = self.client.write_api(write_options=SYNCHRONOUS)
        self.http = httpx2.Client(base_url=self.server.url, timeout=60)

    def ours(self, records: list[Telemetry]) -> None:
        self.store.send(lines.of_records(records)[0], Tier.RAW)

    def theirs(self, records: list[Telemetry]) -> None:
        points = [
            {"measurement": "native", "tags": {"device": one.device, "metric": name}, "time": one.ts,
             "fields": {"value": float(value)}}
            for one in records for name, value in one.values.items()
        ]  # fmt: skip
        self.native.write("native", record=points, write_precision="ms")

    def ask(self, metric: str) -> dict[str, Callable[[], Any]]:
        self.server.show()
        series = f'native_value{{device="dev-1",metric="{metric}"}}'
        span = {"start": START / 1000, "end": (START + HOUR) / 1000, "step": "60s", "nocache": 1}
        asked = {
            "raw": ("/api/v1/export", {"match[]": series, "start": span["start"], "end": span["end"]}),
            "minutes": ("/api/v1/query_range", {**span, "query": f"avg_over_time({series}[60s])"}),
            "percentile": ("/api/v1/query_range", {**span, "query": f"quantile_over_time(0.95, {series}[60s])"}),
        }
        return {
            name: (lambda path=path, data=data: self.http.post(path, data=data).json())
            for name, (path, data) in asked.items()
        }

    def close(self) -> None:
        self.store.close()
        self.client.close()
        self.http.close()
        self.server.stop()


BACKENDS = {"duckdb": DuckDb, "influxdb": Influx, "victoriametrics": Victoria}


def asked_of_ours(store: Any, metric: str) -> dict[str, Callable[[], Any]]:
    asked = Query(["dev-1"], [metric], START, START + HOUR, limit=10_000)
    return {
        "raw": lambda: store.query(asked),
        "minutes": lambda: store.query(asked._replace(aggregate="average", window=60_000)),
        "percentile": lambda: store.query(asked._replace(aggregate="percentile", percentile=0.95, window=60_000)),
    }


def rate(write: Callable[[list[Telemetry]], None], seconds: float, name: str, first: int) -> tuple[float, int]:
    """(points/s, batches): records are made before the clock starts."""
    points, spent, number = 0, 0.0, first
    while spent < seconds:
        records = batch(number, name)
        begun = time.perf_counter()
        write(records)
        spent += time.perf_counter() - begun
        points += 2 * RECORDS
        number += 1
    return points / spent, number


def milliseconds(call: Callable[[], Any]) -> float:
    times = []
    for _ in range(5):
        begun = time.perf_counter()
        call()
        times.append((time.perf_counter() - begun) * 1000)
    return statistics.median(times)


def measure(name: str, folder: Path, seconds: float) -> dict[str, Any]:
    backend = BACKENDS[name](folder)
    rates: dict[str, list[float]] = {"ours": [], "native": []}
    reached = {"ours": 0, "native": 0}
    for _ in range(ROUNDS):
        for who, write in (("ours", backend.ours), ("native", backend.theirs)):
            points_per_s, reached[who] = rate(write, seconds / ROUNDS / 2, "bench", reached[who])
            rates[who].append(points_per_s)
    questions = {"native": backend.ask("t-bench"), "ours": asked_of_ours(backend.store, "t-bench")}
    queries = {
        who: {what: round(milliseconds(ask), 2) for what, ask in asks.items()} for who, asks in questions.items()
    }
    backend.close()
    return {
        who: {"points_per_s": round(statistics.median(rates[who])), **{f"{k}_ms": v for k, v in queries[who].items()}}
        for who in ("ours", "native")
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="of writing, for all backends together")
    parser.add_argument("--json", action="store_true", help="print the JSON line alone")
    parser.add_argument("--setup", action="store_true", help="install the client of InfluxDB 1.x, and end")
    arguments = parser.parse_args()
    if arguments.setup or importlib.util.find_spec("influxdb") is None:
        subprocess.run([UV, "pip", "install", "--quiet", "influxdb>=5.3"], check=True)
    if arguments.setup:
        return
    figures: dict[str, Any] = {}
    peers: dict[str, Any] = {}
    ratios: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in BACKENDS:
            own = Path(folder) / name
            own.mkdir()
            found = measure(name, own, arguments.seconds / len(BACKENDS))
            figures[name], peers[f"native_{name}"] = found["ours"], found["native"]
            for figure, ours in found["ours"].items():
                key = "ingest" if figure == "points_per_s" else f"query_{figure.removesuffix('_ms')}"
                ratios[f"{key}_vs_native_{name}"] = round(ours / found["native"][figure], 3)
            if not arguments.json:
                print(name, json.dumps(found))
    machine = f"{platform.machine()} Python {platform.python_version()}"
    print(json.dumps({"name": "timeseries", "figures": figures, "peers": peers, "ratios": ratios, "machine": machine}))


if __name__ == "__main__":
    main()
