"""What is stored of devices as events in the order of their time: what a backtest is fed with. (E6)"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from operator import itemgetter
from typing import NamedTuple

from fieldloom_cloud.database import Database
from fieldloom_cloud.ingest import service as ingest
from fieldloom_cloud.timeseries.ports import Query, Reader, Series
from fieldloom_engine.rules import Event
from fieldloom_runtime.judged import event_of
from fieldloom_runtime.records import Telemetry, Value

AT_ONCE = 2000  # events of SQL
LEAST_MS = 1000  # of a slice
FEW, MANY = 5000, 20_000  # points of a slice: behind fewer the next one is longer, with more it is cut
MOST = 1_000_000  # points of a series in a slice


class Span(NamedTuple):
    """Which devices, all if none is named, and which time: Unix ms, `end` excluded."""

    devices: list[str]
    start: int
    end: int


async def replay(database: Database, series: Reader, span: Span) -> AsyncIterator[list[Event]]:
    """Give telemetry and events, piece by piece, in the order of their time. Raises SeriesError.

    Telemetry is what the time series hold: numbers, and booleans as 0 and 1. Presence has no history.
    """
    slices = _Slices(series, span)
    after = (span.start, 0)

    async def telemetry() -> list[Event]:
        return await asyncio.to_thread(slices.read)

    async def events() -> list[Event]:
        nonlocal after
        async with database.transaction() as session:
            told, after = await ingest.told_events(session, span.devices, after, span.end, AT_ONCE)
        return [event for record in told if (event := event_of(record)) is not None]

    ahead = (_Ahead(telemetry), _Ahead(events))
    while True:
        for one in ahead:
            await one.fill()
        ends = [one.events[-1].ts for one in ahead if one.events]
        if not ends:
            return
        yield sorted((event for one in ahead for event in one.take(min(ends))), key=lambda event: event.key)


class _Slices:
    """Reads telemetry slice by slice: any store answers that, and nobody has to hold all of it."""

    def __init__(self, series: Reader, span: Span) -> None:
        self._series = series
        self._span = span
        self._begin = span.start
        self._length = max(1, span.end - span.start)

    def read(self) -> list[Event]:
        """Return the readings of the next slice that has any, in order; nothing at the end. Raises SeriesError."""
        while self._begin < self._span.end:
            end = min(self._begin + self._length, self._span.end)
            count = sum(one.points[0][1] for one in self._ask(end, "count"))
            if count > MANY and self._length > LEAST_MS:
                self._length = max(self._length // 4, LEAST_MS)
                continue
            events = _events(self._ask(end, None)) if count else []
            self._begin = end
            if count < FEW:
                self._length *= 4
            if events:
                return events
        return []

    def _ask(self, end: int, aggregate: str | None) -> list[Series]:
        return self._series.query(Query(self._span.devices, [], self._begin, end, aggregate, limit=MOST))


def _events(found: list[Series]) -> list[Event]:
    """Return series as the readings that they are made of."""
    values: dict[tuple[int, str], dict[str, Value]] = {}
    for one in found:
        for ts, value in one.points:
            values.setdefault((ts, one.device), {})[one.metric] = value
    readings = (
        Telemetry(device=device, ts=ts, at=ts, values=told)
        for (ts, device), told in sorted(values.items(), key=itemgetter(0))
    )
    return [event for reading in readings if (event := event_of(reading)) is not None]


class _Ahead:
    """Events of one store, in order, read ahead."""

    def __init__(self, read: Callable[[], Awaitable[list[Event]]]) -> None:
        self.events: list[Event] = []
        self._read = read
        self._has_ended = False

    async def fill(self) -> None:
        """Read on if there is nothing ahead."""
        if not self.events and not self._has_ended:
            self.events = await self._read()
            self._has_ended = not self.events

    def take(self, until: int) -> list[Event]:
        """Take what is ahead up to a time, Unix ms."""
        count = sum(event.ts <= until for event in self.events)
        taken, self.events = self.events[:count], self.events[count:]
        return taken
