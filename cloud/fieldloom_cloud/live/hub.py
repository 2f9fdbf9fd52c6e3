"""Who watches the fleet live: each watcher has a bounded queue, and none of them can hold up the ingest. (A1)"""

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from fieldloom_cloud.changes import Change

QUEUE = 1000


class Watcher:
    """One stream's queue. What does not fit is not kept: `missed` counts it until the watcher is told."""

    def __init__(self, device: str | None, *, every_alarm: bool) -> None:
        self.device = device
        self.every_alarm = every_alarm
        self.missed = 0
        self._queue: asyncio.Queue[Change | None] = asyncio.Queue(QUEUE)

    def offer(self, change: Change) -> None:
        """Queue a change, or count it as missed."""
        if self.device not in (None, change.device) and not (self.every_alarm and change.kind == "alarm"):
            return
        if self._queue.full():
            self.missed += 1
        else:
            self._queue.put_nowait(change)

    def end(self) -> None:
        """Let the watcher's next `get` return None; what it has not read is dropped."""
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(None)

    async def get(self) -> Change | None:
        """Return the next change, None at the end; what was missed is told when all before it has been."""
        if self.missed and self._queue.empty():
            gap = Change("lagged", "", {"missed": self.missed})
            self.missed = 0
            return gap
        return await self._queue.get()


class Hub:
    """Tells changes to all watchers."""

    def __init__(self) -> None:
        self._watchers: set[Watcher] = set()
        self._is_closed = False

    @property
    def watchers(self) -> int:
        """How many watch."""
        return len(self._watchers)

    def miss(self, count: int) -> None:
        """Count changes that were made elsewhere and could not be told, as missed by all watchers."""
        for watcher in self._watchers:
            watcher.missed += count

    @contextmanager
    def watch(self, device: str | None, *, every_alarm: bool = False) -> Iterator[Watcher]:
        """Give a watcher of one device, or of all; it may be told the alarms of all in any case."""
        watcher = Watcher(device, every_alarm=every_alarm)
        self._watchers.add(watcher)
        if self._is_closed:
            watcher.end()
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)

    def tell(self, changes: Iterable[Change]) -> None:
        """Tell changes that are committed. Never waits."""
        if not self._watchers:
            return
        for change in changes:
            for watcher in self._watchers:
                watcher.offer(change)

    def close(self) -> None:
        """End all streams, those that begin later too: a server with an open one would not stop."""
        self._is_closed = True
        for watcher in self._watchers:
            watcher.end()
