"""DuckDB's own side: files of before go on, days are dropped whole, and their space comes back. (S3)"""

import contextlib
import random

import duckdb
import pytest

from cloud.conftest import new_file
from fieldloom_cloud import census
from fieldloom_cloud.guard import Incoming
from fieldloom_cloud.settings import DATABASE
from fieldloom_cloud.timeseries import checkpoint
from fieldloom_cloud.timeseries.ports import DAY_MS, Point, Query, Tier
from fieldloom_cloud.timeseries.store import FILE, TimeSeries
from fieldloom_runtime.records import Telemetry

DAY = 20_700 * DAY_MS
POINTS = 15_000  # a day
OLD = """
CREATE TABLE point (
  device VARCHAR NOT NULL, metric VARCHAR NOT NULL, ts BIGINT NOT NULL, value DOUBLE NOT NULL, boot BIGINT, seq BIGINT
);
CREATE TABLE stream (stream BLOB PRIMARY KEY, number BIGINT NOT NULL);
CREATE TABLE received (device VARCHAR, boot BIGINT, spans VARCHAR NOT NULL, PRIMARY KEY (device, boot));
INSERT INTO stream VALUES ('ssssssssssssssss', 3);
INSERT INTO received VALUES ('dev-1', 7, '[[1, 3]]');
"""


@pytest.fixture
def series(tmp_path):
    with contextlib.closing(TimeSeries(tmp_path)) as series:
        yield series


def everything(series, **fields):
    wanted = {"devices": [], "metrics": [], "start": 0, "end": 2**60, "limit": 10**6, **fields}
    return {(one.device, one.metric): one.points for one in series.query(Query(**wanted))}


def test_a_file_of_before_has_its_points_by_day_and_its_guards(tmp_path):
    with duckdb.connect(tmp_path / FILE) as old:
        old.execute(OLD)
        for seq, ts in ((1, DAY - 1), (2, DAY), (3, DAY + 5 * DAY_MS)):
            old.execute("INSERT INTO point VALUES ('dev-1', 't', ?, ?, 7, ?)", [ts, float(seq), seq])
    for _ in range(2):  # a second start finds it done
        with contextlib.closing(TimeSeries(tmp_path)) as series:
            assert everything(series) == {("dev-1", "t"): [(DAY - 1, 1), (DAY, 2), (DAY + 5 * DAY_MS, 3)]}
            again = Telemetry("dev-1", DAY, DAY, 7, 2, values={"t": 2.0})
            fresh = Telemetry("dev-1", DAY + 7, DAY, 7, 4, values={"t": 4.0})
            sent = Incoming("gw", b"s" * 16, 2, 1, [("dev-1", 7, 2, 2)], [again])
            assert series.ingest([sent]) == [3]
    new_file(tmp_path / DATABASE)
    assert census.take(tmp_path).stored["dev-1", 7].spans == [[1, 3]]
    with contextlib.closing(TimeSeries(tmp_path)) as series:
        assert series.ingest([Incoming("gw", b"s" * 16, 4, 1, [("dev-1", 7, 4, 4)], [fresh])]) == [4]
        assert len(everything(series)["dev-1", "t"]) == 4


def test_days_are_dropped_whole_each_tier_by_its_own_age(series):
    days = [DAY + n * DAY_MS for n in range(5)]
    for tier, metric in ((Tier.RAW, "t"), (Tier.ROLLED, "t_1h")):
        series.write([Point("d", metric, begin + at, at) for begin in days for at in (0, DAY_MS - 1)], tier)

    kept = series.keep(2 * DAY_MS, 4 * DAY_MS, DAY + 5 * DAY_MS - 1)

    assert kept == (2, None)
    found = everything(series)
    assert [ts for ts, _ in found["d", "t"]] == [begin + at for begin in days[2:] for at in (0, DAY_MS - 1)]
    assert [ts for ts, _ in found["d", "t_1h"]] == [begin + at for begin in days for at in (0, DAY_MS - 1)]
    assert series.keep(None, None, 2**50).dropped == 0


def test_dropped_days_give_their_space_back(tmp_path, series, monkeypatch):
    monkeypatch.setattr(checkpoint, "WORTH_BYTES", 1)
    for day in range(6):
        values = [Point("d", "t", DAY + day * DAY_MS + n, random.random()) for n in range(POINTS)]
        series.write(values, Tier.RAW)
    series.keep(None, None, DAY)
    before, kept = size(tmp_path), everything(series, start=DAY + 5 * DAY_MS)

    series.keep(DAY_MS, None, DAY + 6 * DAY_MS)

    assert size(tmp_path) < before / 2
    assert everything(series) == kept
    series.write([Point("d", "t", DAY + 5 * DAY_MS, 1.0)], Tier.RAW)
    series.close()
    (tmp_path / FILE).with_suffix(".new").write_bytes(b"half of a smaller file, as a power cut leaves it")
    with contextlib.closing(TimeSeries(tmp_path)) as again:
        assert not (tmp_path / FILE).with_suffix(".new").exists()
        assert everything(again)["d", "t"][0] == (DAY + 5 * DAY_MS, 1.0)
        assert len(everything(again)["d", "t"]) == POINTS


def size(folder):
    return sum(path.stat().st_size for path in folder.iterdir() if path.name.startswith(FILE))


def test_tags_of_a_record_reach_the_points_of_their_metric(series):
    tags = {"t": {"unit": "°C", "area": "north"}}
    record = Telemetry("dev-1", DAY, DAY, 7, 1, values={"t": 1.5, "h": 3, "mode": "auto"}, tags=tags)

    series.ingest([Incoming("gw", b"s" * 16, 1, 1, [], [record])])

    found = {one.metric: one.tags for one in series.query(Query([], [], 0, 2**60))}
    assert found == {"t": (("area", "north"), ("unit", "°C")), "h": ()}
