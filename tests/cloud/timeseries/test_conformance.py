"""The same cases on every backend of time series: what is written comes back, and windows say the same. (S1, S2, T8)"""

import statistics
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fieldloom_cloud.timeseries import aggregates, lines
from fieldloom_cloud.timeseries.ports import Point, Query, Standing, Tier
from fieldloom_runtime.records import Telemetry

HOUR = 3_600_000
NOW = time.time_ns() // 1_000_000
BASE = NOW - NOW % HOUR - 6 * HOUR
NORTH = (("area", "north"),)
NAMES = ("average", "sum", "min", "max", "count", "first", "last", "percentile", "spread")


@pytest.fixture(autouse=True, scope="module")
def spread():
    aggregates.register("spread", lambda points: max(v for _, v in points) - min(v for _, v in points))


def asked(device, **fields):
    wanted = {"devices": [device], "metrics": [], "start": BASE - HOUR, "end": NOW + HOUR, **fields}
    return Query(**wanted)


def found(ready, query):
    return {(one.metric, one.tags): one.points for one in ready.backend.query(query)}


def test_what_is_written_comes_back_with_its_tags_the_newest_last(ready, device):
    tags = (("area", "north"), ("unit", "°C"))
    points = [Point(device, "t", BASE + n * 1000, n / 3, tags) for n in (2, 0, 1)]
    ready.write([*points, Point(device, "u", BASE, -1e300), Point(device, "v", BASE, 2.0**53)], Tier.RAW)

    series = found(ready, asked(device))

    # VictoriaMetrics keeps twelve digits, the others all.
    assert series["t", tags] == [(BASE + n * 1000, pytest.approx(n / 3, rel=1e-11)) for n in range(3)]
    assert series["u", ()] == [(BASE, pytest.approx(-1e300))]
    assert series["v", ()] == [(BASE, 2.0**53)]
    assert found(ready, asked(device, metrics=["t"], limit=2)) == {("t", tags): series["t", tags][1:]}


def test_a_range_holds_its_start_and_not_its_end(ready, device):
    ready.write([Point(device, "t", BASE + n, n) for n in range(5)], Tier.RAW)

    assert found(ready, asked(device, start=BASE + 1, end=BASE + 4)) == {("t", ()): [(BASE + n, n) for n in (1, 2, 3)]}
    assert found(ready, asked(device, start=BASE + 5, end=BASE + 9)) == {}


def test_series_are_chosen_by_device_metric_and_tags(ready, device):
    other = device + "-2"
    ready.write(
        [
            Point(device, "t", BASE, 1, NORTH),
            Point(device, "t", BASE, 2, (("area", "south"),)),
            Point(device, "h", BASE, 3, (*NORTH, ("floor", "2"))),
            Point(other, "t", BASE, 4),
        ],
        Tier.RAW,
    )

    def values(**fields):
        return sorted(one.points[0][1] for one in ready.backend.query(asked(device, **fields)))

    assert values(devices=[device, other]) == [1, 2, 3, 4]
    assert values(devices=[device, other], metrics=["t"]) == [1, 2, 4]
    assert values(metrics=["t", "h"], tags=NORTH) == [1, 3]
    assert values(tags=(*NORTH, ("floor", "2"))) == [3]
    assert values(tags=(("area", "west"),)) == []
    assert values(tags=NORTH, aggregate="sum", window=1000) == [1, 3]


@pytest.mark.parametrize("aggregate", NAMES)
@pytest.mark.parametrize("window", [1000, 7000, 60_000, HOUR, None])
def test_windows_are_the_same_everywhere(ready, aggregate, window):
    device = "windows"
    # Gaps, several points a second, an end inside of a window, a begin inside of one.
    points = [Point(device, "t", BASE + n * 370, (n * 7919) % 101 / 4) for n in range(400) if n % 50 < 30]
    if not ready.backend.query(asked(device, limit=1)):
        ready.write(points, Tier.RAW)
    query = asked(device, start=BASE + 5_500, end=BASE + 120_500, aggregate=aggregate, window=window, percentile=0.9)

    told = found(ready, query)["t", ()]

    inside = [(one.ts, one.value) for one in points if query.start <= one.ts < query.end]
    expected = aggregates.windowed(inside, query)
    assert [ts for ts, _ in told] == [ts for ts, _ in expected]
    assert [value for _, value in told] == pytest.approx([value for _, value in expected])
    assert all(ts % (window or 1) == 0 for ts, _ in told)


def test_windows_of_this_minute_are_right_too(ready, device):
    now = time.time_ns() // 1_000_000
    points = [Point(device, "t", now - now % 1000 - 40_000 + n * 100, n) for n in range(400)]
    ready.write(points, Tier.RAW)
    query = asked(device, start=points[0].ts, end=now, aggregate="sum", window=10_000)

    told = found(ready, query)["t", ()]

    inside = [(one.ts, one.value) for one in points if one.ts < now]
    assert told == aggregates.windowed(inside, query)


def test_a_percentile_lies_between_two_values(ready, device):
    ready.write([Point(device, "t", BASE + n, value) for n, value in enumerate((10, 1, 4, 2))], Tier.RAW)

    for share, value in ((0, 1), (0.25, 1.75), (0.5, 3), (0.95, 9.1), (1, 10)):
        for window in (None, HOUR):
            query = asked(device, start=BASE, aggregate="percentile", percentile=share, window=window)
            assert found(ready, query)["t", ()] == [(BASE, pytest.approx(value))]
    values = [10, 1, 4, 2]
    assert aggregates.percentile([(0, value) for value in values], 0.5) == statistics.median(values)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=12),
    value=st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=12),
)
def test_any_text_may_be_a_tag_and_a_metric(ready, name, value):
    tags, device = ((name, value),), f"text-{hash((name, value))}"
    ready.write([Point(device, value, BASE, 1, tags)], Tier.RAW)

    assert found(ready, asked(device, metrics=[value], tags=tags)) == {(value, tags): [(BASE, 1)]}
    assert found(ready, asked(device, metrics=[value], aggregate="sum", window=HOUR)) == {(value, tags): [(BASE, 1)]}


@pytest.mark.parametrize("text", ["a\\", "a,b=c d", 'say "x"', "it's", "50%", "%41", "a\nb", "__name__", "db", "|.*"])
def test_what_servers_read_as_their_own_signs_comes_back(ready, device, text):
    tags = ((text, text),)
    ready.write([Point(device, text, BASE, 1, tags)], Tier.RAW)

    assert found(ready, asked(device, metrics=[text, "x"], tags=tags)) == {(text, tags): [(BASE, 1)]}


def test_a_point_that_is_written_again_is_there_once(ready, device):
    points = [Point(device, "t", BASE + n * 1000, n, NORTH, 7, n + 1) for n in range(10)]
    for _ in range(3):
        ready.write(points, Tier.RAW)

    assert found(ready, asked(device)) == {("t", NORTH): [(one.ts, one.value) for one in points]}
    counted = found(ready, asked(device, aggregate="count", window=HOUR))
    assert counted == {("t", NORTH): [(BASE, 10)]}


def test_a_rules_point_is_overwritten_by_a_corrected_one(ready, device):
    for value in (5.0, 3.0, 3.0, 4.0):
        ready.write([Point(device, "t_1m", BASE, value, NORTH), Point(device, "t_1m", BASE + 60_000, 1)], Tier.ROLLED)

    assert found(ready, asked(device)) == {("t_1m", NORTH): [(BASE, 4)], ("t_1m", ()): [(BASE + 60_000, 1)]}
    assert found(ready, asked(device, aggregate="max", window=HOUR))["t_1m", NORTH] == [(BASE, 4)]


def test_numbered_records_are_seen_about_a_window(ready, device):
    points = [
        Point(device, "t", BASE + boot * 100_000 + seq * 1000, seq, (), boot, seq)
        for boot in (1, 2, 3)
        for seq in range(1, 11)
    ]
    ready.write([*points, Point(device, "t", BASE + 50_000, 1)], Tier.RAW)

    seen = ready.backend.seen(device, BASE + 105_000, BASE + 303_000)

    assert seen.before == (1, 4, BASE + 104_000)
    assert sorted(seen.inside) == [
        (1, 5, 10, BASE + 105_000, BASE + 110_000),
        (2, 1, 10, BASE + 201_000, BASE + 210_000),
        (3, 1, 2, BASE + 301_000, BASE + 302_000),
    ]
    assert seen.after == (3, 3, BASE + 303_000)
    assert ready.backend.seen("nobody", BASE, NOW) == (None, [], None)
    assert ready.backend.boots_of(device, {1, 3, 4}) == {1, 3}


def test_a_write_is_durable_in_the_end(ready, device, monkeypatch):
    monkeypatch.setattr("fieldloom_cloud.timeseries.victoriametrics.FLUSH_S", 0.5)
    receipt = ready.write([Point(device, "t", BASE, 1)], Tier.RAW)

    deadline = time.monotonic() + 20
    while (standing := ready.backend.standing(receipt)) is Standing.PENDING and time.monotonic() < deadline:
        time.sleep(0.05)

    assert standing is Standing.DURABLE


def test_records_become_the_lines_of_their_points():
    record = Telemetry(
        "d", BASE, BASE, 7, 3, values={"t": 1.5, "on": True, "mode": "auto"}, tags={"t": {"b": "2", "a": "1"}}
    )

    text, points = lines.of_records([record])

    assert points == 2
    told = [Point("d", "t", BASE, 1.5, (("a", "1"), ("b", "2")), 7, 3), Point("d", "on", BASE, 1.0, (), 7, 3)]
    assert text == lines.of_points(told, Tier.RAW)
