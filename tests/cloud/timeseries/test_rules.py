"""Rules and retention over the API and the command, carried out by the maintenance of a cloud. (S3, S4, A2)"""

import asyncio
import contextlib
import time
from collections import Counter
from types import SimpleNamespace

import pytest
from fastapi.testclient import TestClient
from prometheus_client import generate_latest

from cloud.conftest import new_file
from fieldloom_cloud.app import interface
from fieldloom_cloud.auth import service as auth
from fieldloom_cloud.database import Database
from fieldloom_cloud.metrics import Counted, registry_of
from fieldloom_cloud.timeseries import aggregates
from fieldloom_cloud.timeseries.maintenance import Maintenance
from fieldloom_cloud.timeseries.ports import DAY_MS, Point, SeriesError, Tier
from fieldloom_cloud.timeseries.store import TimeSeries

NOW = time.time_ns() // 1_000_000
HOURLY = {"source": "t", "aggregate": "average", "window": "1h", "target": "t_1h", "look_back": "1d"}


class Served:
    """The routes over a real database and DuckDB, with tokens of an admin and an operator."""

    def __init__(self, folder):
        new_file(folder / "cloud.db")
        self.database, self.series = Database(folder / "cloud.db"), TimeSeries(folder)
        self.maintenance = Maintenance(self.database, self.series)
        self.app = interface()
        self.app.state.database, self.app.state.series = self.database, self.series
        self.app.state.wake_maintenance = self.maintenance.wake
        self.app.router.lifespan_context = self._running
        self.client = TestClient(self.app, base_url="http://cloud/api/v1")

    @contextlib.asynccontextmanager
    async def _running(self, _):
        async with self.database.transaction() as session:
            tokens = {role: (await auth.add_token(session, role, role))["token"] for role in ("admin", "operator")}
        self.headers = {role: {"Authorization": f"Bearer {token}"} for role, token in tokens.items()}
        self.client.headers.update(self.headers["admin"])
        yield
        await self.database.close()
        self.series.close()

    def turn(self, now=NOW):
        self.client.portal.call(self.maintenance.turn, now)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    served = Served(tmp_path_factory.mktemp("rules"))
    with served.client:
        yield served


@pytest.fixture
def api(served):
    yield served.client
    for one in served.client.get("/timeseries/rules").json()["items"]:
        assert served.client.delete(f"/timeseries/rules/{one['id']}").status_code == 204


def faults(answer):
    assert answer.status_code == 422, answer.text
    return {fault["path"]: fault["reason"] for fault in answer.json()["errors"]}


def test_a_rule_is_carried_out_and_told(served, api):
    served.series.write([Point("d", "t", NOW - n * 600_000, n) for n in range(30)], Tier.RAW)

    told = api.put("/timeseries/rules/hourly", json=HOURLY).json()
    assert told == {**HOURLY, "id": "hourly", "percentile": None, "made_until": None}
    assert served.maintenance._changed.is_set()
    served.turn()

    query = {"metric": "t_1h", "device": "d", "start": _iso(NOW - 2 * DAY_MS), "end": _iso(NOW + DAY_MS)}
    (made,) = api.get("/telemetry", params=query).json()["series"]
    (shown,) = api.get("/telemetry", params={**query, "metric": "t", "aggregate": "average", "window": "1h"}).json()[
        "series"
    ]
    assert made["points"] == [point for point in shown["points"] if point[0] < _iso(NOW - NOW % 3_600_000)]
    assert api.get("/timeseries/rules/hourly").json()["made_until"] == _iso(NOW - NOW % 3_600_000)
    assert api.put("/timeseries/rules/hourly", json=HOURLY).json()["made_until"] is not None, "nothing was changed"


def _iso(ts):
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(ts // 1000))


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"window": "1x"}, "window"),
        ({"window": "10ms"}, "window"),
        ({"window": "999999999d"}, "window"),
        ({"look_back": "1s"}, "look_back"),
        ({"look_back": "30000d"}, "look_back"),
        ({"aggregate": "mode"}, "aggregate"),
        ({"percentile": 0.5}, "percentile"),
        ({"aggregate": "percentile"}, "percentile"),
        ({"target": "t"}, "source"),
        ({"source": ""}, "source"),
        ({"colour": 1}, "colour"),
    ],
)
def test_a_rule_that_makes_no_sense_names_the_field(api, change, path):
    assert list(faults(api.put("/timeseries/rules/wrong", json={**HOURLY, **change}))) == [path]


def test_rules_go_round_in_no_circle_and_share_no_target(api):
    for name, source, target in (("b", "t_1h", "t_1d"), ("a", "t", "t_1h")):
        assert api.put(f"/timeseries/rules/{name}", json={**HOURLY, "source": source, "target": target}).is_success

    assert [one["id"] for one in api.get("/timeseries/rules").json()["items"]] == ["a", "b"], "in the order of need"
    assert (
        "circle" in faults(api.put("/timeseries/rules/c", json={**HOURLY, "source": "t_1d", "target": "t"}))["source"]
    )
    assert "rule b" in faults(api.put("/timeseries/rules/c", json={**HOURLY, "target": "t_1d"}))["target"]
    assert api.get("/timeseries/rules/c").status_code == 404
    assert api.delete("/timeseries/rules/c").status_code == 404


def test_retention_is_set_and_carried_out(served, api):
    assert api.get("/timeseries/retention").json() == {"raw": None, "rolled": None, "note": None}
    served.series.write([Point("old", "t", NOW - n * DAY_MS, n) for n in range(9)], Tier.RAW)
    api.put("/timeseries/rules/hourly", json={**HOURLY, "look_back": "3d"})

    assert (
        "rule hourly looks back" in faults(api.put("/timeseries/retention", json={"raw": "2d", "rolled": None}))["raw"]
    )
    assert list(faults(api.put("/timeseries/retention", json={"raw": "1h", "rolled": None}))) == ["raw"]
    told = api.put("/timeseries/retention", json={"raw": "5d", "rolled": "730d"})
    assert told.json() == {"raw": "5d", "rolled": "730d", "note": None}
    assert "kept" in faults(api.put("/timeseries/rules/hourly", json={**HOURLY, "look_back": "6d"}))["look_back"]
    served.turn()

    query = {"device": "old", "metric": "t", "start": "2020-01-01T00:00:00Z"}
    (series,) = api.get("/telemetry", params=query).json()["series"]
    assert len(series["points"]) in (6, 7), "whole days"
    assert api.put("/timeseries/retention", json={"raw": None, "rolled": None}).is_success


def test_only_an_admin_changes_them(served, api):
    as_operator = {"headers": served.headers["operator"]}

    assert api.put("/timeseries/rules/x", json=HOURLY, **as_operator).status_code == 403
    assert api.delete("/timeseries/rules/x", **as_operator).status_code == 403
    assert api.put("/timeseries/retention", json={"raw": None, "rolled": None}, **as_operator).status_code == 403
    assert api.get("/timeseries/rules", **as_operator).status_code == 200


def test_an_aggregate_of_ones_own_and_one_that_fails(served, api):
    aggregates.register("range_of", lambda points: max(v for _, v in points) - min(v for _, v in points))
    aggregates.register("broken", lambda points: 1 / 0)
    served.series.write([Point("own", "t", NOW - 1000 + n, n) for n in range(5)], Tier.RAW)
    query = {"device": "own", "aggregate": "range_of", "window": "1d"}

    assert [value for one in api.get("/telemetry", params=query).json()["series"] for _, value in one["points"]][-1] > 0
    assert "ZeroDivisionError" in faults(api.get("/telemetry", params={**query, "aggregate": "broken"}))["aggregate"]
    assert "range_of" in faults(api.get("/telemetry", params={**query, "aggregate": "mode"}))["aggregate"]
    with pytest.raises(ValueError, match="built in"):
        aggregates.register("sum", sum)


def test_a_store_that_can_not_be_asked_is_told(served, api, monkeypatch):
    def fail(*_):
        raise SeriesError("it is away")

    monkeypatch.setattr(served.app.state, "series", SimpleNamespace(query=fail))

    answer = api.get("/telemetry")

    assert answer.status_code == 503
    assert answer.json()["detail"] == "the store of time series can't answer: it is away"


def test_a_rule_that_fails_is_counted_and_holds_up_no_other(served, api):
    aggregates.register("broken", lambda points: 1 / 0)
    served.series.write([Point("d", "t", NOW - 7_200_000, 1)], Tier.RAW)
    api.put("/timeseries/rules/a", json={**HOURLY, "aggregate": "broken", "target": "t_broken"})
    api.put("/timeseries/rules/b", json=HOURLY)
    before = served.maintenance.counts["failures"]

    served.turn()

    assert served.maintenance.counts["failures"] == before + 1
    assert api.get("/timeseries/rules/b").json()["made_until"] is not None
    counting = SimpleNamespace(counts=served.maintenance.counts)
    worker = SimpleNamespace(counts=counting.counts, pieces=counting, is_connected=True, relay=None)
    worker.downlink = SimpleNamespace(waiting=0)
    slots = SimpleNamespace(counts=counting.counts, held=())
    workflows = SimpleNamespace(counts=counting.counts, active=Counter(), delay_ms=0)
    counted = Counted(worker, slots, counting, served.maintenance, workflows)
    figures = generate_latest(registry_of(counted, SimpleNamespace(counts={}))).decode()
    for name in (
        'fieldloom_cloud_series_seconds_count{backend="duckdb",operation="query"}',
        'fieldloom_cloud_series_seconds_count{backend="duckdb",operation="write"}',
        'fieldloom_cloud_series_failures_total{backend="duckdb",operation="query"}',
        'fieldloom_cloud_series_upkeep_total{outcome="failures"}',
    ):
        assert name in figures


async def test_maintenance_starts_over_when_something_was_changed(tmp_path):
    new_file(tmp_path / "cloud.db")
    database = Database(tmp_path / "cloud.db")
    maintenance = Maintenance(database, SimpleNamespace(name="none"))
    turns = asyncio.Queue()

    async def turn(now):
        turns.put_nowait(now)

    maintenance.turn = turn
    running = asyncio.create_task(maintenance.run())
    for _ in range(2):
        await asyncio.wait_for(turns.get(), 20)
        maintenance.wake()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await database.close()
