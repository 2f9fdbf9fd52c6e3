"""Makes a rule's points of others: window by window, and anew for as far as it looks back. (S3, ADR 38)"""

from collections.abc import Iterator
from math import isclose
from typing import NamedTuple, Protocol

from fieldloom_cloud.timeseries.ports import Point, Query, Reader, Series, Tier, Writer

AT_ONCE = 1000  # windows
SAME = 1e-9
"""By how much a value may differ and still be the same: VictoriaMetrics keeps twelve digits."""


class Rule(NamedTuple):
    """What is made of what. Times in ms; `made_until` is the end of the last window that is made, Unix ms."""

    id: str
    source: str
    aggregate: str
    percentile: float | None
    window_ms: int
    target: str
    look_back_ms: int
    made_until: int | None


class Store(Reader, Writer, Protocol):
    """Where points are taken from and put."""


def due(rule: Rule, kept_ms: int | None, now: int) -> tuple[int, int]:
    """Return from when until when a rule's windows have to be made now, aligned.

    All from where it was left, and for its look-back before that, since late points may have come; no window of which
    retention may have dropped a part already.
    """
    end = now - now % rule.window_ms
    left = end if rule.made_until is None else min(rule.made_until, end)
    start = max(0, left - rule.look_back_ms)
    start -= start % rule.window_ms
    if kept_ms is not None:
        start = max(start, -((kept_ms - now) // rule.window_ms) * rule.window_ms)
    return start, end


def make(store: Store, rule: Rule, start: int, end: int) -> int:
    """Make a rule's windows and write those that differ from what is there. Return how many points that were.

    Raises SeriesError, AggregateFailed.
    """
    written = 0
    for begins, ends in _pieces(start, end, AT_ONCE * rule.window_ms):
        share = 0.5 if rule.percentile is None else rule.percentile
        asked = Query([], [rule.source], begins, ends, rule.aggregate, rule.window_ms, percentile=share)
        had = store.query(Query([], [rule.target], begins, ends, limit=AT_ONCE))
        changed = list(_changed(store.query(asked), had, rule.target))
        if changed:
            store.write(changed, Tier.ROLLED)
        written += len(changed)
    return written


def _pieces(start: int, end: int, length: int) -> Iterator[tuple[int, int]]:
    for begins in range(start, end, length):
        yield begins, min(begins + length, end)


def _changed(made: list[Series], had: list[Series], target: str) -> Iterator[Point]:
    known = {(one.device, one.tags, ts): value for one in had for ts, value in one.points}
    for series in made:
        for ts, value in series.points:
            before = known.get((series.device, series.tags, ts))
            if before is None or not isclose(before, value, rel_tol=SAME):
                yield Point(series.device, target, ts, value, series.tags)
