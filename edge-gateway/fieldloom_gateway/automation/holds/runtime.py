"""Takes what is asked of actuators into the shared map, lets holds expire, and hands over what follows. (E9)"""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import structlog

from fieldloom_contract.errors import Rejected
from fieldloom_engine.holds import Actuator, elapse, next_expiry, release, take
from fieldloom_engine.ports import Ownership
from fieldloom_gateway.automation.holds.kept import Kept, Key
from fieldloom_gateway.automation.holds.service import Asks, Drops, Frees, Holds, Row
from fieldloom_gateway.cluster.consensus.port import NoLeader, Unknown
from fieldloom_gateway.cluster.state.errors import Conflict, StateError

log = structlog.get_logger()

MOST = 100
"""Wishes that are read together."""
LOOK_EVERY_S = 0.1
PAUSE_S = 1.0
FORGET_AFTER_MS = 3_600_000
"""So long after the last change an actuator that nobody holds is kept: a request may come again."""

InStore = Callable[..., Awaitable[Any]]
"""Calls something in a transaction of its own, on the thread that has the gateway's database."""


class Runtime:
    """The slots of a site's actuators. `now` gives Unix ms; `on_news` says that something was committed."""

    def __init__(
        self,
        service: Holds,
        kept: Kept,
        ownership: Ownership,
        commit: InStore,
        on_news: Callable[[], Awaitable[None]],
        now: Callable[[], int],
    ) -> None:
        self._service = service
        self._kept = kept
        self._ownership = ownership
        self._commit = commit
        self._on_news = on_news
        self._now = now
        self._turn = asyncio.Lock()
        self._behind: set[Key] = set()
        """Actuators of which something may have to be told."""

    async def load(self) -> None:
        """Take the slots from the map; what was not told of them yet is told by the first turn."""
        told = await self._commit(self._service.told)
        self._service.view.update(self._kept.all())
        self._behind = {key for key, slots in self._service.view.items() if slots.version > told.get(key, 0)}

    async def run(self) -> None:
        """Go on until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_others(), name="holds-of-others")
            while True:
                try:
                    await self.turn()
                except (NoLeader, Unknown, StateError, sqlite3.Error) as error:
                    # Nothing is lost: the wish is in the inbox still, and what was not told is told again.
                    log.warning("holds_not_committed", error=str(error))
                    await asyncio.sleep(PAUSE_S)
                await asyncio.sleep(LOOK_EVERY_S)

    async def turn(self) -> None:
        """Take all that was asked, let expire what has to, and tell what follows.

        Raises NoLeader, Unknown, StateError and sqlite3.Error: another turn goes on.
        """
        async with self._turn:
            try:
                await self._go_on()
            except BaseException:
                self._service.has_more = True
                raise

    async def _go_on(self) -> None:
        while self._service.has_more:
            rows: list[Row] = await self._commit(self._service.waiting, MOST)
            for row in rows:
                await self._take(row)
            self._service.has_more = self._service.has_more or len(rows) == MOST
        for key in self._due():
            await self._change(key, lambda slots: elapse(slots, self._now()))
        await self._hand_over()

    def _due(self) -> list[Key]:
        """Return the actuators of which a slot has expired, or that nobody holds any more."""
        now = self._now()
        return [key for key, slots in self._service.view.items() if _deadline(slots) <= now]

    async def _take(self, row: Row) -> None:
        told = row.told
        if isinstance(told, Drops):
            for key in [key for key in self._service.view if key.device == told.device]:
                await self._drop(key)
        else:
            await self._answer(told)
        await self._hand_over()
        await self._commit(self._service.done, row.number)

    async def _answer(self, told: Asks | Frees) -> None:
        try:
            await self._change(told.key, lambda slots: _apply(told, slots, self._now()))
        except Rejected as error:
            await self._commit(self._service.give_up, told, str(error), self._now())

    async def _drop(self, key: Key) -> None:
        """Forget an actuator, whatever another gateway does with it."""
        while (place := self._kept.one(key)).modified:
            with suppress(Conflict):
                await self._kept.forget(key, place)
        self._look(key)

    async def _change(self, key: Key, decide: Callable[[Actuator], Actuator]) -> None:
        """Put into the map what is decided of the slots there, anew as often as another gateway is first."""
        while True:
            before = self._kept.one(key)
            after = decide(before.actuator)
            try:
                if after is not before.actuator:
                    await self._kept.write(key, before, after)
                elif before.modified and _deadline(after) <= self._now():
                    await self._kept.forget(key, before)
            except Conflict:
                continue
            self._look(key)
            return

    def _look(self, key: Key) -> None:
        place, view = self._kept.one(key), self._service.view
        if place.actuator != view.get(key):
            self._behind.add(key)
        if place.modified:
            view[key] = place.actuator
        else:
            view.pop(key, None)

    async def _follow_others(self) -> None:
        async for keys in self._kept.changes():
            for key in keys:
                self._look(key)

    async def _hand_over(self) -> None:
        own = [key for key in self._behind if self._ownership.owns(key.device)]
        for key in own:
            slots = self._service.view.get(key)
            if slots is None:
                await self._commit(self._service.forget, key)
            else:
                await self._commit(self._service.follow, key, slots, self._now())
            if self._service.view.get(key) is slots:  # else it has changed meanwhile
                self._behind.discard(key)
        if own:
            await self._on_news()


def _apply(told: Asks | Frees, slots: Actuator, now: int) -> Actuator:
    return take(slots, told.hold, now) if isinstance(told, Asks) else release(slots, told.request, now)


def _deadline(slots: Actuator) -> float:
    """Return when something is due by itself, Unix ms."""
    if not slots.holds:
        return slots.version + FORGET_AFTER_MS
    expiry = next_expiry(slots)
    return float("inf") if expiry is None else expiry
