"""Answers the gateways that ask for a release's files, over the ingest's connection. (F5)"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import structlog
from sqlalchemy.exc import SQLAlchemyError

from fieldloom_cloud.database import Database
from fieldloom_cloud.releases import service
from fieldloom_contract import topics
from fieldloom_contract.errors import Rejected
from fieldloom_runtime.decoding import UNREADABLE
from fieldloom_runtime.pieces import Wanted, decode_question, encode

log = structlog.get_logger()

Publish = Callable[[str, bytes], Awaitable[bool]]


class Pieces:
    """Answers beside the ingest, in turn. A gateway's newer question takes the place of one that still waits.

    So no gateway keeps the others waiting, however much it asks for.
    """

    def __init__(self, database: Database, publish: Publish) -> None:
        self._database = database
        self._publish = publish
        self._waiting: dict[str, Wanted] = {}
        self._new = asyncio.Event()
        self.counts: Counter[str] = Counter()

    def hear(self, gateway: str, payload: bytes) -> None:
        """Take a question. Raises Rejected."""
        try:
            wanted = decode_question(payload)
        except UNREADABLE as error:
            raise Rejected("release/request", str(error)) from None
        self.counts["replaced"] += gateway in self._waiting
        self._waiting[gateway] = wanted
        self._new.set()

    async def run(self) -> None:
        """Answer until cancelled."""
        while True:
            await self._new.wait()
            self._new.clear()
            while self._waiting:
                gateway = next(iter(self._waiting))
                await self._answer(gateway, self._waiting.pop(gateway))

    async def _answer(self, gateway: str, wanted: Wanted) -> None:
        try:
            async with self._database.transaction() as session:
                answer = await service.answer(session, wanted)
        except SQLAlchemyError as error:
            self.counts["disk_errors"] += 1
            log.error("release_not_read", release=wanted.release, error=str(error))  # noqa: TRY400
            return
        self.counts[type(answer).__name__.lower()] += 1
        await self._publish(topics.gateway(gateway, topics.RELEASE_PIECE), encode(answer))
