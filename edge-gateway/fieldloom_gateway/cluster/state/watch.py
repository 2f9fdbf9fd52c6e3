"""Changes below a prefix, each once and in order, from an index on. (D2)"""

import asyncio
from collections.abc import AsyncIterator

from fieldloom_gateway.cluster.state.errors import Compacted
from fieldloom_gateway.cluster.state.history import Change, Changes
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


class Follow:
    """An async iterator of what lies below a prefix: first all of it, though it be nothing, and then what changes.

    Who was too slow for the history gets at once what has become of all that it knew, in place of each step.
    """

    def __init__(self, machine: ReplicatedMap, news: News, prefix: str) -> None:
        self._machine = machine
        self._news = news
        self._prefix = prefix
        self._watch: Watch | None = None
        self._known: dict[str, int] = {}
        """By key the index at which it was modified last."""

    def __aiter__(self) -> AsyncIterator[Changes]:
        return self

    async def __anext__(self) -> Changes:
        changes = await self._next()
        for change in changes.changes:
            self._known.pop(change.key, None)
            if change.entry is not None:
                self._known[change.key] = change.entry.modified
        return changes

    async def _next(self) -> Changes:
        if self._watch is not None:
            try:
                return await anext(self._watch)
            except Compacted:
                pass
        self._watch = Watch(self._machine, self._news, self._prefix, None)
        entries = {entry.key: entry for entry in self._machine.entries.below(self._prefix)}
        gone = [Change(key, None) for key in self._known if key not in entries]
        fresh = [Change(key, entry) for key, entry in entries.items() if self._known.get(key) != entry.modified]
        return Changes(self._machine.index, (*gone, *fresh))
