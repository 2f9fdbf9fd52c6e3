"""Makes what rules of downsampling want, and has forgotten what is older than points are kept. (S3)"""

import asyncio
import time
from collections import Counter
from contextlib import suppress
from typing import NoReturn

import duckdb
import structlog
from sqlalchemy.exc import SQLAlchemyError

from fieldloom_cloud.database import Database
from fieldloom_cloud.timeseries import downsampling, service
from fieldloom_cloud.timeseries.aggregates import AggregateFailed
from fieldloom_cloud.timeseries.downsampling import Rule
from fieldloom_cloud.timeseries.ports import Backend, SeriesError

log = structlog.get_logger()

EVERY_S = 60.0
HOUR_MS = 3_600_000  # how often the store is asked to forget, when nothing has changed
FAILURES = (SeriesError, AggregateFailed, SQLAlchemyError, duckdb.Error)


class Maintenance:
    """One task; it starts over every minute, and when a rule or the retention was changed."""

    def __init__(self, database: Database, store: Backend) -> None:
        self._database = database
        self.store = store
        self._changed = asyncio.Event()
        self._kept: tuple[int | None, int | None, int] | None = None
        self.counts: Counter[str] = Counter()

    def wake(self) -> None:
        """Say that a rule or the retention was changed."""
        self._changed.set()

    async def run(self) -> NoReturn:
        """Do it until cancelled."""
        while True:
            self._changed.clear()
            await self.turn(time.time_ns() // 1_000_000)
            with suppress(TimeoutError):
                async with asyncio.timeout(EVERY_S):
                    await self._changed.wait()

    async def turn(self, now: int) -> None:
        """Do all that is due at a time, Unix ms; what fails is told, and done the next time."""
        try:
            async with self._database.transaction() as session:
                retention = await service.retention(session)
                rules = await service.rules(session)
        except SQLAlchemyError as error:
            self._count_failure("rules", error)
            return
        for rule in rules:
            try:
                await self._make(rule, service.kept_of(rule, rules, retention), now)
            except FAILURES as error:
                self._count_failure(rule.id, error)
        try:
            await self._keep(retention, now)
        except FAILURES as error:
            self._count_failure("retention", error)

    async def _make(self, rule: Rule, kept_ms: int | None, now: int) -> None:
        start, end = downsampling.due(rule, kept_ms, now)
        self.counts["points"] += await asyncio.to_thread(downsampling.make, self.store, rule, start, end)
        async with self._database.transaction() as session:
            await service.note_made(session, rule, end)

    async def _keep(self, retention: service.Retention, now: int) -> None:
        """Have forgotten what is old; where nobody has set a time, the store is left as its operator has it."""
        wanted = (retention.raw_ms, retention.rolled_ms, now // HOUR_MS)
        if not retention.is_set or wanted == self._kept:
            return
        kept = await asyncio.to_thread(self.store.keep, retention.raw_ms, retention.rolled_ms, now)
        self.counts["dropped"] += kept.dropped
        async with self._database.transaction() as session:
            await service.note_kept(session, kept.note)
        self._kept = wanted

    def _count_failure(self, what: str, error: Exception) -> None:
        self.counts["failures"] += 1
        log.error("series_maintenance_failed", what=what, error=str(error))
