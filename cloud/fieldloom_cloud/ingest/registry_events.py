"""Passes on what the registry has left in its outbox: among the events, and to those who watch. (R2)"""

import asyncio
from contextlib import suppress

import structlog
from sqlalchemy.exc import SQLAlchemyError

from fieldloom_cloud.changes import announce
from fieldloom_cloud.database import Database
from fieldloom_cloud.ingest.models import Event
from fieldloom_cloud.outbox import service as outbox

log = structlog.get_logger()

LOOK_EVERY_S = 5.0  # for what another process of this cloud has left


class Publisher:
    """Moves events out of the outbox, each in one transaction with its place among the events: once, over any kill."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self) -> None:
        """Pass events on until cancelled, at once those of this process."""
        while True:
            self._database.event_left.clear()
            try:
                while await self._pass_on():
                    pass
            except SQLAlchemyError:
                log.exception("disk_refused")  # what was not passed on is still there
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._database.event_left.wait()

    async def _pass_on(self) -> int:
        async with self._database.transaction() as session:
            taken = await outbox.take(session)
            for left in taken:
                session.add(Event(device=left.device, type=left.type, ts=left.ts, gateway="", data=left.data))
                announce(session, "event", left.device, {"type": left.type, "ts": left.ts, "data": left.data})
        return len(taken)
