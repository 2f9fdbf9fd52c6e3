"""Rules make windows of points, late ones are folded in, and what is old is forgotten: on every backend. (S3)"""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieldloom_cloud.timeseries import aggregates
from fieldloom_cloud.timeseries.downsampling import Rule, due, make
from fieldloom_cloud.timeseries.ports import DAY_MS, Point, Query, Tier

MINUTE = 60_000
NOW = time.time_ns() // 1_000_000
BASE = NOW - NOW % DAY_MS - DAY_MS
NORTH = (("area", "north"),)


class Shown:
    """A backend in which what was written is found at once."""

    def __init__(self, ready):
        self.ready = ready
        self.query = ready.backend.query

    def write(self, points, tier):
        return self.ready.write(points, tier)


def rule(device, **fields):
    """A rule of a metric that no other test has."""
    wanted = {"id": "r", "source": device, "aggregate": "average", "percentile": None, "window_ms": MINUTE}
    wanted |= {"target": f"{device}_1m", "look_back_ms": 10 * MINUTE, "made_until": None, **fields}
    return Rule(**wanted)


@pytest.mark.parametrize(("aggregate", "percentile"), [("average", None), ("percentile", 0.9)])
def test_late_points_are_folded_in_and_nothing_is_written_for_nothing(ready, device, aggregate, percentile):
    points = [Point(device, device, BASE + n * 7000, n / 7, NORTH) for n in range(40)]
    made_of = rule(device, aggregate=aggregate, percentile=percentile)
    ready.write(points, Tier.RAW)
    end = BASE + 4 * MINUTE

    def expected(points):
        asked = Query([], [], BASE, end, aggregate, MINUTE, percentile=percentile or 0.5)
        inside = sorted((one.ts, one.value) for one in points if one.ts < end)
        return [(ts, pytest.approx(value)) for ts, value in aggregates.windowed(inside, asked)]

    def made():
        (series,) = ready.backend.query(Query([device], [made_of.target], BASE, end))
        return series.tags, series.points

    assert make(Shown(ready), made_of, BASE, end) == 4
    assert made() == (NORTH, expected(points))
    assert make(Shown(ready), made_of, BASE, end) == 0

    late = [Point(device, device, BASE + MINUTE + 1, -100.0, NORTH)]
    ready.write(late, Tier.RAW)
    assert make(Shown(ready), made_of, BASE, end) == 1
    assert made() == (NORTH, expected(points + late))
    assert make(Shown(ready), made_of, BASE, end) == 0


def test_a_rule_may_take_what_another_makes(ready, device):
    ready.write([Point(device, device, BASE + n * 20_000, n) for n in range(15)], Tier.RAW)
    first = rule(device, aggregate="max")
    second = rule(device, source=first.target, aggregate="sum", window_ms=5 * MINUTE, target=f"{device}_5m")

    for one in (first, second):
        make(Shown(ready), one, BASE, BASE + 5 * MINUTE)

    (series,) = ready.backend.query(Query([device], [second.target], BASE, NOW))
    assert series.points == [(BASE, 2 + 5 + 8 + 11 + 14)]


moments = st.integers(0, 2**43)


@given(
    moments, st.integers(1, 10**9), st.integers(1, 1000), st.none() | moments, st.none() | st.integers(DAY_MS, 2**41)
)
def test_what_is_due_is_aligned_whole_and_reaches_back(now, window, count, made_until, kept_ms):
    left = None if made_until is None else made_until - made_until % window
    one = rule("d", window_ms=window, look_back_ms=count * window, made_until=left)

    start, end = due(one, kept_ms, now)

    assert start % window == end % window == 0
    assert end <= now < end + window
    begun = min(end, end if left is None else left)
    wanted = max(0, begun - count * window)
    assert start == max(wanted, 0 if kept_ms is None else start)
    assert kept_ms is None or start >= now - kept_ms
    assert kept_ms is None or start == wanted or start - window < now - kept_ms


def test_what_is_older_than_it_is_kept_is_forgotten(ready, device):
    times = [NOW - 5 * DAY_MS, NOW - 3 * DAY_MS, NOW - 60_000]
    for tier, metric in ((Tier.RAW, device), (Tier.ROLLED, f"{device}_1h")):
        ready.write([Point(device, metric, ts, 1) for ts in times], tier)

    def left():
        asked = Query([device], [], NOW - 9 * DAY_MS, NOW)
        return {one.metric: [ts for ts, _ in one.points] for one in ready.backend.query(asked)}

    kept = ready.backend.keep(DAY_MS, 4 * DAY_MS, NOW)
    deadline = time.monotonic() + 30
    while left() != {device: times[2:], f"{device}_1h": times[1:]} and time.monotonic() < deadline:
        time.sleep(0.1)

    assert left() == {device: times[2:], f"{device}_1h": times[1:]}
    if ready.name == "victoriametrics":
        assert kept.note == "VictoriaMetrics runs with -retentionPeriod=1y: start it with -retentionPeriod=4d"
    else:
        assert kept.note is None
    ready.backend.keep(None, None, NOW)
