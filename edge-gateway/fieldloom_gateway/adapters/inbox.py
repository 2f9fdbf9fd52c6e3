"""What an adapter has received and the ingest has not taken yet."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from fieldloom_gateway.adapters.base import Message

MESSAGES = 10_000
BYTES = 32 * 1024 * 1024


class Inbox:
    """A bounded queue, in bytes too; what finds it full is the adapter's to refuse and to count.

    No asyncio.Queue, which takes a microsecond more for each message: the gateway's hot path goes through here.
    """

    def __init__(self) -> None:
        self._messages: deque[Message] = deque()
        self._bytes = 0
        self._arrived = asyncio.Event()

    def put(self, message: Message) -> bool:
        """Keep a message, and say whether there was room."""
        size = len(message.payload)
        if len(self._messages) >= MESSAGES or self._bytes + size > BYTES:
            return False
        if not self._messages:
            self._arrived.set()
        self._bytes += size
        self._messages.append(message)
        return True

    async def receive(self) -> AsyncIterator[Message]:
        """Yield what comes in, until cancelled."""
        while True:
            await self._arrived.wait()
            for message in self.pending(1):
                yield message

    def pending(self, limit: int) -> list[Message]:
        """Return, without waiting, up to `limit` of what has come in meanwhile."""
        taken = [self._messages.popleft() for _ in range(min(limit, len(self._messages)))]
        self._bytes -= sum(len(message.payload) for message in taken)
        if not self._messages:
            self._arrived.clear()
        return taken
