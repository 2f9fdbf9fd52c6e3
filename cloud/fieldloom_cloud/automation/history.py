"""What is stored of devices as events in the order of their time: what a backtest is fed with. (E6)"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple

from fieldloom_cloud.database import Database
from fieldloom_cloud.ingest import service as ingest
from fieldloom_cloud.timeseries.store import TimeSeries
from fieldloom_engine.rules import Event
from fieldloom_runtime.judged import event_of
from fieldloom_runtime.records import Telemetry

AT_ONCE = 2000  # records


class Span(NamedTuple):
    """Which devices, all if none is named, and which time: Unix ms, `end` excluded."""

    devices: list[str]
    start: int
    end: int


async def replay(database: Database, series: TimeSeries, span: Span) -> AsyncIterator[list[Event]]:
    """Give telemetry and events, piece by piece, in the order of their time.

    Telemetry is what the time series hold: numbers, and booleans as 0 and 1. Presence has no history.
    """
    points = series.replay(span.devices, span.start, span.end, AT_ONCE)
    after = (span.start, 0)

    async def telemetry() -> list[Event]:
        read: list[Telemetry] = await asyncio.to_thread(next, points, [])
        return [event for record in read if (event := event_of(record)) is not None]

    async def events() -> list[Event]:
        nonlocal after
        async with database.transaction() as session:
            told, after = await ingest.told_events(session, span.devices, after, span.end, AT_ONCE)
        return [event for record in told if (event := event_of(record)) is not None]

    ahead = (_Ahead(telemetry), _Ahead(events))
    try:
        while True:
            for one in ahead:
                await one.fill()
            ends = [one.events[-1].ts for one in ahead if one.events]
            if not ends:
                return
            yield sorted((event for one in ahead for event in one.take(min(ends))), key=lambda event: event.key)
    finally:
        with suppress(ValueError):  # one that is being read at this moment ends when nobody holds it any more
            await asyncio.to_thread(points.close)


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
