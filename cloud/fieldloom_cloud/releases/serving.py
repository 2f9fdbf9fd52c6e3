"""Answers the gateways that ask for a release's files, over the ingest's connection. (F5)"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import msgspec
import structlog
from sqlalchemy.exc import SQLAlchemyError

from fieldloom_cloud.database import Database
from fieldloom_cloud.releases import service
from fieldloom_contract import topics
from fieldloom_contract.errors import Rejected
from fieldloom_runtime.pieces import Wanted, decode_question, encode

log = structlog.get_logger()

WAITING = 1000

Publish = Callable[[str, bytes], Awaitable[bool]]


class Pieces:
    """A question at a time, beside the ingest; what finds the queue full is dropped, since who asks asks again."""

    def __init__(self, database: Database, publish: Publish) -> None:
        self._database = database
        self._publish = publish
        self._waiting: asyncio.Queue[tuple[str, Wanted]] = asyncio.Queue(WAITING)
        self.counts: Counter[str] = Counter()

    def hear(self, gateway: str, payload: bytes) -> None:
        """Take a question. Raises Rejected."""
        try:
            wanted = decode_question(payload)
        except msgspec.MsgspecError as error:
            raise Rejected("release/request", str(error)) from None
        if self._waiting.full():
            self.counts["dropped"] += 1
            return
        self._waiting.put_nowait((gateway, wanted))

    async def run(self) -> None:
        """Answer until cancelled."""
        while True:
            gateway, wanted = await self._waiting.get()
            try:
                async with self._database.transaction() as session:
                    answer = await service.answer(session, wanted)
            except SQLAlchemyError as error:
                self.counts["disk_errors"] += 1
                log.error("release_not_read", release=wanted.release, error=str(error))  # noqa: TRY400
                continue
            self.counts[type(answer).__name__.lower()] += 1
            await self._publish(topics.gateway(gateway, topics.RELEASE_PIECE), encode(answer))
