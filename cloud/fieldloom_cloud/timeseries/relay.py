"""Brings points to a server, and keeps them in SQL until it has them durably. (S1, T5, ADR 37)

The lines of a batch are put into `series_pending` in the transaction of its guards, so the acknowledgement means that
they are on a disk of ours. From there they go out in order, wait until the server says that they outlive a crash, and
are deleted; when the server was restarted meanwhile, or this process, they go out again. That is harmless: a point
written twice is one.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple, NoReturn

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.database import Database
from fieldloom_cloud.timeseries import lines, service
from fieldloom_cloud.timeseries.measures import POINTS
from fieldloom_cloud.timeseries.ports import Receipt, Refused, Server, Standing, Tier, Unreachable
from fieldloom_runtime.records import Telemetry

log = structlog.get_logger()

MOST_WAITING_BYTES = 256 * 1024 * 1024
"""What may wait for a server; when it is more, batches stay at their gateways."""
SEND_BYTES = 4 * 1024 * 1024  # about so much a request
LOOK_S = 1.0  # how often the server is asked what became of what it took
RETRY_S = (1.0, 10.0)  # the first wait after a failure, and the longest

Refuse = Callable[[AsyncSession, bytes, str], None]
"""Puts a line that no server will take with the dead letters."""


class Sent(NamedTuple):
    """Rows that the server has in memory at least; no receipt if it refused all of them."""

    rows: list[int]
    receipt: Receipt | None


class Relay:
    """One forwarder: the rows of `series_pending` to a server, in order."""

    def __init__(self, database: Database, server: Server, refuse: Refuse) -> None:
        self._database = database
        self._server = server
        self._refuse = refuse
        self._more = asyncio.Event()
        self._sent: deque[Sent] = deque()
        self.waiting_bytes = 0
        """What the server does not have durably."""
        self.counts: Counter[str] = Counter()
        self.trouble: str | None = None
        """Why nothing goes out, if so."""

    @property
    def is_full(self) -> bool:
        """Whether nothing more may be left here."""
        return self.waiting_bytes >= MOST_WAITING_BYTES

    async def leave(self, session: AsyncSession, telemetry: list[Telemetry]) -> None:
        """Leave the points of records to be brought, in the transaction that takes the records; then `wake`."""
        text, points = lines.of_records(telemetry)
        if text:
            await service.leave(session, text, points)

    def wake(self) -> None:
        """Say that more was left."""
        self._more.set()

    async def run(self) -> NoReturn:
        """Bring points until cancelled."""
        self._sent.clear()  # another process may have brought them meanwhile
        pause, looked = RETRY_S[0], 0.0
        while True:
            try:
                is_more = await self._send_some()
                if not is_more or time.monotonic() - looked >= LOOK_S:
                    await self._settle()
                    looked = time.monotonic()
                if not is_more:
                    await self._rest()
                self.trouble, pause = None, RETRY_S[0]
            except (Unreachable, SQLAlchemyError) as error:
                self.trouble = str(error)
                self.counts["failures"] += 1
                log.warning("series_not_brought", error=str(error), again_in_s=pause)
                await asyncio.sleep(pause)
                pause = min(2 * pause, RETRY_S[1])

    async def keep_level(self) -> NoReturn:
        """Know how much waits, whoever brings it, until cancelled."""
        while True:
            try:
                async with self._database.transaction() as session:
                    self.waiting_bytes = await service.waiting_bytes(session)
            except SQLAlchemyError as error:
                log.warning("level_not_read", error=str(error))
            await asyncio.sleep(LOOK_S)

    async def _rest(self) -> None:
        """Wait until more was left, or it is time to ask about what was sent."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_S):
                await self._more.wait()
        self._more.clear()

    async def _send_some(self) -> bool:
        """Send the next rows. Return whether there were any."""
        known = [row for sent in self._sent for row in sent.rows]
        async with self._database.transaction() as session:
            self.waiting_bytes = await service.waiting_bytes(session)
            rows = await service.pending(session, known, SEND_BYTES)
        if not rows:
            return False
        receipt = await self._brought(b"\n".join(row.lines for row in rows))
        self._sent.append(Sent([row.id for row in rows], receipt))
        POINTS.labels("sent").inc(points := sum(row.points for row in rows))
        self.counts["points"] += points
        return True

    async def _brought(self, text: bytes) -> Receipt | None:
        """Send lines; those that are refused go to the dead letters, and the others are stored."""
        try:
            receipt = await asyncio.to_thread(self._server.send, text, Tier.RAW)
        except Refused as error:
            parts = text.split(b"\n")
            if len(parts) == 1:
                await self._put_aside(text, str(error))
                return None
            middle = len(parts) // 2
            first = await self._brought(b"\n".join(parts[:middle]))
            rest = await self._brought(b"\n".join(parts[middle:]))
            # When the server lives on, the later one stands for both; when it does not, the earlier one is lost.
            return first if rest is None or (first is not None and first.life != rest.life) else rest
        POINTS.labels("expired").inc(receipt.expired)
        return receipt

    async def _put_aside(self, line: bytes, reason: str) -> None:
        POINTS.labels("refused").inc()
        self.counts["refused"] += 1
        async with self._database.transaction() as session:
            self._refuse(session, line, f"the store of time series refuses it: {reason}")

    async def _settle(self) -> None:
        """Forget what is durable; send again what is lost."""
        done: list[int] = []
        standing = Standing.DURABLE
        while self._sent and standing is Standing.DURABLE:
            standing = await self._standing(self._sent[0].receipt)
            if standing is Standing.DURABLE:
                done += self._sent.popleft().rows
        if done:
            async with self._database.transaction() as session:
                await service.forget(session, done)
        if standing is Standing.LOST:
            self.counts["repeated"] += 1
            log.warning("series_written_again", requests=len(self._sent))
            self._sent.clear()
            self._more.set()

    async def _standing(self, receipt: Receipt | None) -> Standing:
        if receipt is None:
            return Standing.DURABLE
        return await asyncio.to_thread(self._server.standing, receipt)
