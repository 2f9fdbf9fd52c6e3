"""What an adapter has received and the ingest has not taken yet."""

import asyncio
from collections.abc import AsyncIterator

from fieldloom_gateway.adapters.base import Message

QUEUE = 10_000
QUEUE_BYTES = 32 * 1024 * 1024


class Inbox:
    """A bounded queue, in bytes too; what finds it full is the adapter's to refuse and to count."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Message] = asyncio.Queue(QUEUE)
        self._bytes = 0

    def put(self, message: Message) -> bool:
        """Keep a message, and say whether there was room."""
        size = len(message.payload)
        if self._queue.full() or self._bytes + size > QUEUE_BYTES:
            return False
        self._bytes += size
        self._queue.put_nowait(message)
        return True

    async def receive(self) -> AsyncIterator[Message]:
        """Yield what comes in, until cancelled."""
        while True:
            yield self._given(await self._queue.get())

    def pending(self, limit: int) -> list[Message]:
        """Return, without waiting, up to `limit` of what has come in meanwhile."""
        return [self._given(self._queue.get_nowait()) for _ in range(min(limit, self._queue.qsize()))]

    def _given(self, message: Message) -> Message:
        self._bytes -= len(message.payload)
        return message
