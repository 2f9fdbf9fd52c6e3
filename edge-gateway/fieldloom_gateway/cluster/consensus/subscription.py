"""What somebody who subscribed gets: each applied command once, in order, or word that some were missed. (D1)"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from fieldloom_gateway.cluster.consensus.port import Committed, FellBehind

WAITING = 10_000
"""Entries that wait for a subscriber; one more, and it has fallen behind."""


class Subscription(AsyncIterator[Committed]):
    """Filled by the member; ends when that stops."""

    def __init__(self, last: int) -> None:
        self._waiting: deque[Committed] = deque()
        self._news = asyncio.Event()
        self._last = last
        self._missed = self._ended = False

    @property
    def is_over(self) -> bool:
        """Whether it takes nothing any more."""
        return self._missed or self._ended

    def put(self, committed: Committed) -> None:
        if len(self._waiting) >= WAITING:
            self.miss()
            return
        self._waiting.append(committed)
        self._news.set()

    def miss(self) -> None:
        """Note that entries pass it by."""
        self._missed = True
        self._news.set()

    def end(self) -> None:
        self._ended = True
        self._news.set()

    async def __anext__(self) -> Committed:
        while not self._waiting:
            if self._missed:
                raise FellBehind(self._last)
            if self._ended:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        committed = self._waiting.popleft()
        self._last = committed.index
        return committed
