"""Keeps the audit log: writes down what was refused, and forgets what is older than the settings say. (A2)"""

import asyncio
import time
from typing import NoReturn

import structlog
from sqlalchemy.exc import SQLAlchemyError

from fieldloom_cloud.database import Database
from fieldloom_cloud.trail import service as trail
from fieldloom_cloud.trail.refusals import Refusals

log = structlog.get_logger()

WRITE_EVERY_S = 60.0
FORGET_EVERY = 60  # rounds
DAY_MS = 24 * 3_600_000


class Keeper:
    """The one that writes refusals of this process; a minute of them is lost where it is killed."""

    def __init__(self, database: Database, refusals: Refusals, days: int) -> None:
        self._database = database
        self._refusals = refusals
        self._days = days

    async def run(self) -> NoReturn:
        """Keep the log until cancelled."""
        try:
            while True:
                await self.forget(time.time_ns() // 1_000_000)
                for _ in range(FORGET_EVERY):
                    await asyncio.sleep(WRITE_EVERY_S)
                    await self.write()
        finally:
            await self.write()

    async def write(self) -> None:
        """Write down what was refused since the last time."""
        refused = self._refusals.take()
        try:
            async with self._database.transaction() as session:
                for one in refused:
                    trail.note_refusal(session, *one)
        except SQLAlchemyError:
            log.exception("disk_refused", refusals=len(refused))

    async def forget(self, now: int) -> None:
        """Forget what is too old at a time, Unix ms, piece by piece."""
        try:
            while True:
                async with self._database.transaction() as session:
                    forgotten = await trail.forget(session, now - self._days * DAY_MS)
                if not forgotten:
                    return
                log.info("audit_forgotten", rows=forgotten)
        except SQLAlchemyError:
            log.exception("disk_refused")
