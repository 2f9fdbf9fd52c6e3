"""What several ingest workers leave for the one process that judges: in their transaction, until it is judged. (ADR 45)

A device may be heard over gateways of several workers, and what the engine remembers of it has to be in one place.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import NoReturn

import msgspec
import structlog
from msgspec import Struct
from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.automation import distribution
from fieldloom_cloud.automation.models import Rule, RuleInbox
from fieldloom_cloud.automation.runtime import Runtime
from fieldloom_cloud.database import Database
from fieldloom_cloud.ingest.judge import Came
from fieldloom_cloud.workers.service import NotHeld
from fieldloom_runtime.records import AnyRecord, Event, Expired, Result, State, Telemetry

log = structlog.get_logger()

AT_ONCE = 64  # transactions of ingest workers that one of ours may take
JUDGED = (Telemetry, Event, State, Result, Expired)
LOOK_EVERY_S = 1.0  # for what a worker has left that was killed before it could say so


class Left(Struct):
    """What is new of a gateway's batch, as `Came` tells it."""

    records: list[AnyRecord]
    complete: dict[str, int]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Left).decode


class Inbox:
    """The judge of an ingest worker among several: it leaves what has to be judged, and says so by `tell()`."""

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell
        self._has_left = False

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Hold for a transaction, its commit too."""
        self._has_left = False
        yield
        if self._has_left:
            self._tell()

    async def judge(self, session: AsyncSession, came: Came) -> None:
        """Leave what is new of a gateway's batch, if there is any rule."""
        records: list[AnyRecord] = [one for one in came.records if isinstance(one, JUDGED) and one.device]
        if records and await session.scalar(select(Rule.id).limit(1)) is not None:
            session.add(RuleInbox(gateway=came.gateway, came=_encode(Left(records, dict(came.complete)))))
            await session.flush()  # the order of the numbers is the order in which they came
            self._has_left = True

    async def restore(self, session: AsyncSession, gateway: str) -> None:
        """Send a gateway whose stream is new all of its rules; it says of each that it carries it."""
        await distribution.restore(session, gateway)


class Judging:
    """Judges what was left, in the order in which it was: each entry once, in the transaction that takes it out."""

    def __init__(self, database: Database, runtime: Runtime) -> None:
        self._database = database
        self._runtime = runtime
        self._more = asyncio.Event()

    def wake(self) -> None:
        """Say that something was left."""
        self._more.set()

    async def run(self) -> NoReturn:
        """Judge until cancelled."""
        while True:
            self._more.clear()
            try:
                while await self.judge_some():
                    pass
            except NotHeld:
                pass  # another process leads, and judges it
            except SQLAlchemyError:
                log.exception("disk_refused")  # what was not judged is still there
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_EVERY_S):
                    await self._more.wait()

    async def judge_some(self) -> int:
        """Judge the oldest entries, and return how many those were. Raises NotHeld.

        One that can't be judged, which nobody foresaw, is dropped alone: it must not hold up all others for ever.
        """
        for limit in (AT_ONCE, 1):
            try:
                return await self._judge(limit)
            except (SQLAlchemyError, NotHeld):
                raise
            except Exception:
                log.exception("not_judgeable", entries=limit)
        self._runtime.counts["unforeseen"] += 1
        return await self._drop_oldest()

    async def _judge(self, limit: int) -> int:
        async with self._runtime.turn(), self._database.transaction() as session:
            await self._runtime.lead(session)  # first: what another leader has taken out is seen as gone
            rows = list(await session.scalars(select(RuleInbox).order_by(RuleInbox.number).limit(limit)))
            for row in rows:
                left = _decode(row.came)
                await self._runtime.judge(session, Came(row.gateway, left.records, left.complete))
            await session.execute(delete(RuleInbox).where(RuleInbox.number.in_([row.number for row in rows])))
        return len(rows)

    async def _drop_oldest(self) -> int:
        async with self._database.transaction() as session:
            await self._runtime.lead(session)
            oldest = select(RuleInbox.number).order_by(RuleInbox.number).limit(1)
            await session.execute(delete(RuleInbox).where(RuleInbox.number.in_(oldest.scalar_subquery())))
        return 1
