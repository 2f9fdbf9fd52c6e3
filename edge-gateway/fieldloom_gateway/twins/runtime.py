"""Takes the patches that wait here into the shared map, tells what came of them, and tells devices. (R4, D7)"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from itertools import groupby
from typing import Any, Protocol

import structlog

from fieldloom_contract.errors import Rejected
from fieldloom_engine.twin import Patch
from fieldloom_gateway.cluster.consensus.port import NoLeader, Unknown
from fieldloom_gateway.cluster.state.errors import Conflict, StateError
from fieldloom_gateway.ingest.twins import Decided, Row, Twins
from fieldloom_gateway.twins.deciding import Wanted, decide

log = structlog.get_logger()

MOST = 100
"""Rows that are read together."""
MOST_OF_DEVICE = 16
"""Rows of one device that one change takes: it says which they were."""
LOOK_EVERY_S = 0.1
PAUSE_S = 1.0
ANSWER_WITHIN_S = 3.0
"""So long who asks waits for the site to decide; afterwards the patch is pending."""

Commit = Callable[..., Awaitable[Any]]
"""Calls something in a transaction of its own, on the thread that has the gateway's database."""


class SharedMap(Protocol):
    """The map, as `kept.Kept` has it."""

    @property
    def gateway(self) -> str:
        """The name of this member."""
        ...

    def one(self, device: str) -> Wanted:
        """Return what is kept of a device."""
        ...

    async def write(self, device: str, before: Wanted, after: Wanted) -> None:
        """Put something in the place of what was read. Raises Conflict, Rejected, NoLeader and Unknown."""
        ...

    def changes(self) -> AsyncIterator[list[str]]:
        """Yield of which devices something else is wanted, for ever; first all that there are."""
        ...


class Runtime:
    """The twins of a site as one gateway has them. `now` gives Unix ms.

    `tell(devices)` has those told what is wanted that are here, `on_news` says that something was committed.
    """

    def __init__(
        self,
        service: Twins,
        kept: SharedMap,
        commit: Commit,
        tell: Callable[[Collection[str]], Awaitable[None]],
        on_news: Callable[[], None],
        now: Callable[[], int],
    ) -> None:
        self._service = service
        self._kept = kept
        self._commit = commit
        self._tell = tell
        self._on_news = on_news
        self._now = now
        self._turn = asyncio.Lock()
        self._woken = asyncio.Event()
        self._changed: set[str] = set()
        """Devices of which something else is wanted, and that were not told of it here."""
        self._asking: dict[tuple[str, str], asyncio.Future[Decided]] = {}
        """Who waits, by device and the patch's id."""

    async def run(self) -> None:
        """Go on until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(), name="twins-of-others")
            while True:
                try:
                    await self.turn()
                except (NoLeader, Unknown, StateError, sqlite3.Error) as error:
                    # Nothing is lost: what is asked for is in the inbox still.
                    log.warning("twins_not_committed", error=str(error))
                    await asyncio.sleep(PAUSE_S)
                await self._until_woken()

    def look(self) -> None:
        """Look at once, if something waits."""
        if self._service.has_more:
            self.wake()

    def wake(self) -> None:
        """Say that something may wait."""
        self._woken.set()

    def note(self, devices: Collection[str]) -> None:
        """Take note that something else is wanted of devices."""
        self._changed.update(devices)
        self.wake()

    async def ask(self, device: str, patch: Patch, expected: int | None = None) -> Decided | str | None:
        """Have a patch decided; return what became of it, why no device would take it, or None: it is pending.

        `expected` is the version for which alone it is meant. Raises sqlite3.Error.
        """
        key = (device, patch.id or "")
        decided = self._asking.setdefault(key, asyncio.get_running_loop().create_future())
        try:
            refused: str | None = await self._commit(self._service.ask, device, patch, self._now(), expected)
            if refused is not None:
                return refused
            self.wake()
            async with asyncio.timeout(ANSWER_WITHIN_S):
                return await asyncio.shield(decided)
        except TimeoutError:
            return None
        finally:
            self._asking.pop(key, None)

    async def turn(self) -> None:
        """Tell devices what has changed, and decide all that waits.

        Raises NoLeader, Unknown, StateError and sqlite3.Error: another turn goes on.
        """
        async with self._turn:
            await self._tell_changed()
            try:
                while self._service.has_more:
                    rows: list[Row] = await self._commit(self._service.waiting, MOST)
                    decided = await self._take(rows)
                    self._service.has_more |= len(rows) == MOST and decided > 0
            except BaseException:
                self._service.has_more = True
                raise

    async def _until_woken(self) -> None:
        try:
            async with asyncio.timeout(LOOK_EVERY_S):
                await self._woken.wait()
        except TimeoutError:
            return
        self._woken.clear()

    async def _follow(self) -> None:
        async for devices in self._kept.changes():
            self.note(devices)

    async def _tell_changed(self) -> None:
        changed = sorted(self._changed)
        if changed:
            await self._commit(self._service.compare, changed, self._now())
            self._changed.difference_update(changed)
            await self._tell(changed)

    async def _take(self, rows: list[Row]) -> int:
        """Decide rows, those of each device in their order, and return how many could be. Raises as `turn` does."""
        in_order = sorted(rows, key=lambda row: (row.device, row.number))
        of_devices = [list(own) for _, own in groupby(in_order, key=lambda row: row.device)]
        outcomes = await asyncio.gather(*(self._decide(own) for own in of_devices), return_exceptions=True)
        decided = [one for outcome in outcomes if not isinstance(outcome, BaseException) for one in outcome]
        if decided:
            await self._commit(self._service.follow, decided, self._now())
            self._on_news()
            for one in decided:
                self._answer(one)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome
        return len(decided)

    async def _decide(self, rows: list[Row]) -> list[Decided]:
        """Put into the map what rows of a device ask for, anew as often as another gateway is first."""
        own = rows[:MOST_OF_DEVICE]
        if len(own) < len(rows):
            self._service.has_more = True
        while True:
            before = self._kept.one(own[0].device)
            after, decided = decide(before, self._kept.gateway, own)
            try:
                if after is not before:
                    await self._kept.write(own[0].device, before, after)
            except Conflict:
                continue
            except Rejected as error:  # the map is full: what nobody has asked for waits until it is not
                log.warning("twin_not_kept", device=own[0].device, reason=str(error))
                asked = [row for row in own if row.patch is not None]
                return [Decided(row, before.desired, str(error), is_news=True) for row in asked]
            return decided

    def _answer(self, one: Decided) -> None:
        asking = self._asking.get((one.row.device, one.row.patch or ""))
        if asking is not None and not asking.done():
            asking.set_result(one)
