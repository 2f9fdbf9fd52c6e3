"""Changes below a prefix, each once and in order, from an index on. (D2)"""

import asyncio
from collections.abc import AsyncIterator

from fieldloom_gateway.cluster.state.history import Changes
from fieldloom_gateway.cluster.state.machine import ReplicatedMap


class News:
    """Tells all who wait that the map has moved on."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def tell(self) -> None:
        """Wake who waits."""
        self._event.set()
        self._event = asyncio.Event()

    def next(self) -> asyncio.Event:
        """Return an event that is set when the map moves on after this call."""
        return self._event


class Watch:
    """An async iterator of the changes of what lies below a prefix, a command's together.

    It begins where it was made, not where it is first asked. `index` is up to where all is told, so that another
    watch can go on from there. Raises Compacted when it was asked too late: list anew, and watch from there.
    """

    def __init__(self, machine: ReplicatedMap, news: News, prefix: str, after: int | None) -> None:
        self._machine = machine
        self._news = news
        self._prefix = prefix
        self.index = machine.index if after is None else after

    def __aiter__(self) -> AsyncIterator[Changes]:
        return self

    async def __anext__(self) -> Changes:
        while True:
            moved = self._news.next()
            changes = self._take(1)
            if changes:
                return changes[0]
            await moved.wait()

    def ready(self) -> list[Changes]:
        """Return the changes that are there already, without waiting. Raises Compacted."""
        return self._take(None)

    def _take(self, most: int | None) -> list[Changes]:
        found: list[Changes] = []
        for changes in self._machine.history.after(self.index):
            self.index = changes.index
            below = changes.below(self._prefix)
            if below.changes:
                found.append(below)
            if len(found) == most:
                return found
        self.index = max(self.index, self._machine.index)
        return found
