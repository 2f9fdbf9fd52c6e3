"""Performs what rules of the cloud have asked for, looks after their deadlines, and tells gateways their rules. (E3)"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, NoReturn

import structlog
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from fieldloom_cloud.alarms import mutes
from fieldloom_cloud.automation import distribution, effects
from fieldloom_cloud.automation.calling import CallOut
from fieldloom_cloud.automation.performing import IN_SQL, SENT_DOWN, Asked, NotPerformed, asked, perform
from fieldloom_cloud.automation.runtime import Runtime, clock
from fieldloom_cloud.database import Database
from fieldloom_cloud.ingest import service as ingest
from fieldloom_cloud.workers.service import NotHeld

log = structlog.get_logger()

AT_ONCE = 100
LOOK_EVERY_S = 5.0  # for what another process of this cloud has left
TELL_EVERY_S = 30.0  # for who has come into a group
FORGET_EVERY_S = 3600.0
DAY_MS = 86_400_000
AT_A_TIME = 8  # calls that go out


class Performer:
    """Takes effects that wait, the oldest first; one that fails holds up no other."""

    def __init__(
        self,
        database: Database,
        runtime: Runtime,
        wake_downlink: Callable[[], None],
        outgoing: Mapping[str, CallOut],
        now: Callable[[], int] = clock,
        days: int = 90,
    ) -> None:
        """Perform with `outgoing` by kind what is not done in SQL; `now` returns Unix ms.

        What has fired and what became of effects is kept for `days`.
        """
        self._database = database
        self._runtime = runtime
        self._wake_downlink = wake_downlink
        self._outgoing = outgoing
        self._now = now
        self._keep_ms = days * DAY_MS
        self._has_worked = asyncio.Event()

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._repeat(self.work, self._runtime.moved), name="rules-effects")
            tasks.create_task(self._repeat(self.call_out, self._has_worked), name="rules-calls")
            tasks.create_task(self._repeat(self.forget, asyncio.Event()), name="rules-history")
            tasks.create_task(self._repeat(self.tell_gateways, self._runtime.refreshed), name="rules-gateways")

    async def work(self) -> float:
        """Do all that is due in SQL, deadlines first, and return for how many seconds nothing will be."""
        deadline = self._runtime.next_deadline()
        if deadline is not None and deadline <= self._now():
            await self._runtime.elapse()
        while waiting := await self._due(others=False):
            for effect in waiting:
                await self._in_sql(effect)
        await self._expire()
        self._has_worked.set()
        async with self._database.transaction() as session:
            times = [await effects.next_due(session, IN_SQL), self._runtime.next_deadline()]
        return max(0.0, (min((time for time in times if time is not None), default=2**62) - self._now()) / 1000)

    async def call_out(self) -> float:
        """Make all calls that are due, and return for how many seconds to wait at most."""
        limit = asyncio.Semaphore(AT_A_TIME)
        while waiting := await self._due(others=True):
            async with asyncio.TaskGroup() as calls:
                for effect in waiting:
                    calls.create_task(self._call_out(effect, limit), name=f"effect-{effect.id}")
        return LOOK_EVERY_S

    async def tell_gateways(self) -> float:
        """Tell gateways what has changed of their rules and of whom those are for; return when to look again."""
        async with self._runtime.turn(), self._database.transaction() as session:
            await self._runtime.lead(session)
            changed = await distribution.distribute(session)
        if changed:
            self._wake_downlink()
        return TELL_EVERY_S

    async def forget(self) -> float:
        """Forget what is too old, piece by piece, and return when to look again."""
        before = self._now() - self._keep_ms
        for piece in (effects.forget, ingest.forget_rules):
            forgotten = AT_ONCE
            while forgotten == AT_ONCE:
                async with self._database.transaction() as session:
                    forgotten = await piece(session, before, AT_ONCE)
        return FORGET_EVERY_S

    async def _expire(self) -> None:
        """End the commands that nobody has answered in time."""
        async with self._database.transaction() as session:
            for row in await effects.unanswered(session, self._now(), AT_ONCE):
                await effects.expire(session, row, self._now())
                self._runtime.counts[f"effects_{row.status}"] += 1

    async def _repeat(self, step: Callable[[], Awaitable[float]], woken: asyncio.Event) -> NoReturn:
        while True:
            woken.clear()
            wait_s = LOOK_EVERY_S
            try:
                wait_s = await step()
            except* SQLAlchemyError:
                log.exception("disk_refused")  # what was not performed still waits
            except* NotHeld:
                pass  # another process does it
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await woken.wait()

    async def _due(self, *, others: bool) -> list[Asked]:
        async with self._database.transaction() as session:
            return [asked(row) for row in await effects.due(session, self._now(), AT_ONCE, IN_SQL, others=others)]

    async def _in_sql(self, effect: Asked) -> None:
        """Perform an effect with its outcome in one transaction."""
        now = self._now()
        async with self._recorded(effect), self._database.transaction() as session:
            row = await effects.waiting(session, effect.id)
            if row is not None:
                await effects.performed(session, row, await perform(session, effect, now), now)
                self._runtime.counts[f"effects_{row.status}"] += 1
        if effect.kind in SENT_DOWN:
            self._wake_downlink()

    async def _call_out(self, effect: Asked, limit: asyncio.Semaphore) -> None:
        async with limit, self._recorded(effect):
            if effect.kind == effects.NOTIFICATION and await self._is_kept_quiet(effect):
                return
            result = await self._out(effect)
            async with self._database.transaction() as session:
                row = await effects.waiting(session, effect.id)
                if row is not None:
                    await effects.performed(session, row, result, self._now())
                    self._runtime.counts["effects_done"] += 1

    async def _is_kept_quiet(self, effect: Asked) -> bool:
        """Withhold a notification about a device that is muted, and say whether it was. (E7)"""
        async with self._database.transaction() as session:
            row = await effects.waiting(session, effect.id)
            if row is None or not await mutes.covers(session, row.device):
                return row is None
            await effects.withheld(session, row, "the device is muted", self._now())
        return True

    async def _out(self, effect: Asked) -> Any:
        call = self._outgoing.get(effect.kind)
        if call is None:
            raise NotPerformed(f"this cloud performs no {effect.kind}", is_final=True)
        return await call(effect)

    @asynccontextmanager
    async def _recorded(self, effect: Asked) -> AsyncIterator[None]:
        """Write down why an effect could not be performed; what nobody foresaw must not stop the others."""
        try:
            yield
        except NotPerformed as error:
            await self._failed(effect, error)
        except (OperationalError, InterfaceError):
            raise
        except Exception as error:
            log.exception("effect_not_performable", effect=effect.id, kind=effect.kind)
            await self._failed(effect, NotPerformed(f"{type(error).__name__}: {error}", is_final=True))

    async def _failed(self, effect: Asked, error: NotPerformed) -> None:
        async with self._database.transaction() as session:
            row = await effects.waiting(session, effect.id)
            if row is not None:
                await effects.failed(session, row, error, self._now())
                self._runtime.counts["effects_failed" if row.status == effects.FAILED else "effects_retried"] += 1
