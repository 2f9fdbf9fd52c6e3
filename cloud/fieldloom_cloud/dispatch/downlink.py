"""The acknowledged stream down to each gateway, over the ingest's connection."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.database import Database
from fieldloom_cloud.dispatch import service
from fieldloom_contract import batch, topics
from fieldloom_contract.stream import Item, Sender

RESEND_EVERY_S = 0.5
BATCH_BYTES = 64 * 1024

Publish = Callable[[str, bytes], Awaitable[bool]]
Tell = Callable[[AsyncSession, Sequence[service.Waiting]], Awaitable[list[bytes]]]


class _Queue:
    """What one gateway has not acknowledged, as a Sender's store."""

    def __init__(self) -> None:
        self.items: list[Item] = []

    def peek(self, after: tuple[bytes, int] | None, records: int, size: int) -> list[Item]:  # noqa: ARG002 - the Sender cuts
        return [item for item in self.items if after is None or item.seq > after[1]][:records]

    def first(self, life: bytes) -> int | None:
        return self.items[0].seq if self.items and self.items[0].life == life else None

    def discard(self, life: bytes, seq: int) -> int:
        kept = [item for item in self.items if item.life != life or item.seq > seq]
        freed = len(self.items) - len(kept)
        self.items = kept
        return freed


class Downlink:
    """Sends what waits in SQL to those gateways that are ours; one that speaks up again is served at once.

    `tell` gives the bodies of records as they go out, which need not be as they lie.
    """

    def __init__(self, database: Database, publish: Publish, tell: Tell, is_ours: Callable[[str], bool]) -> None:
        self._database = database
        self._publish = publish
        self._tell = tell
        self._is_ours = is_ours
        self._queues: dict[str, _Queue] = {}
        self._senders: dict[str, Sender] = {}
        self._new = asyncio.Event()
        self._new.set()  # what earlier processes have left

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            if self._new.is_set():
                self._new.clear()
                await self._load()
            for gateway, sender in self._senders.items():
                while self._is_ours(gateway) and (message := sender.poll(_now())) is not None:
                    await self._publish(topics.gateway(gateway, "down"), message.payload)
            with suppress(TimeoutError):
                # While something is in flight, its resend is looked after; else a new command wakes this up.
                async with asyncio.timeout(RESEND_EVERY_S if self.waiting else None):
                    await self._new.wait()

    def wake(self) -> None:
        """Take note that there are new commands in SQL."""
        self._new.set()

    def greet(self, gateway: str) -> None:
        """Take note that a gateway has come online: what it may have missed goes out again."""
        if gateway in self._senders:
            self._senders[gateway].connected(_now())
            self._new.set()

    async def acknowledge(self, gateway: str, payload: bytes) -> None:
        """Take a gateway's acknowledgement. Raises Rejected."""
        stream, number = batch.unpack_ack(payload)
        async with self._database.transaction() as session:
            await service.acknowledged(session, gateway, stream, number)
        if gateway in self._senders:
            self._senders[gateway].acknowledge(stream, number, _now())

    @property
    def waiting(self) -> int:
        """How many records gateways have not acknowledged."""
        return sum(len(queue.items) for queue in self._queues.values())

    async def _load(self) -> None:
        async with self._database.transaction() as session:
            held: dict[str, list[Item]] = {}
            rows = await service.waiting(session, self._is_ours)
            for row, body in zip(rows, await self._tell(session, rows), strict=True):
                held.setdefault(row.gateway, []).append(Item(row.stream, row.number, "command", body))
        for gateway in [gateway for gateway in self._senders if not self._is_ours(gateway)]:
            del self._senders[gateway], self._queues[gateway]
        for gateway, items in held.items():
            if gateway not in self._senders:
                self._queues[gateway] = _Queue()
                self._senders[gateway] = Sender(self._queues[gateway], _encode, random.random, BATCH_BYTES)
                self._senders[gateway].connected(_now())
            self._queues[gateway].items = items


def _encode(items: list[Item], first: int) -> bytes:
    return batch.pack(items[0].life, items[0].seq, first, [], [item.body for item in items])


def _now() -> int:
    return time.monotonic_ns() // 1_000_000
