"""Goes on with instances, makes the calls that they ask for, and keeps the clock. Any number on PostgreSQL. (W6, W8)"""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import NoReturn

import structlog
from sqlalchemy.exc import SQLAlchemyError

from fieldloom_cloud.automation.performing import Asked, NotPerformed
from fieldloom_cloud.database import Database
from fieldloom_cloud.workflows import distribution, performing, retention, scheduling, starts, stepping
from fieldloom_cloud.workflows.definitions import Definitions
from fieldloom_cloud.workflows.performing import Performing, Wanted
from fieldloom_cloud.workflows.starts import Wish
from fieldloom_cloud.workflows.stepping import Interfered, Perform
from fieldloom_engine.workflows import Answered

log = structlog.get_logger()

CallOut = Callable[[Asked], Awaitable[object]]

LOOK_EVERY_S = 5.0
SHARED_LOOK_EVERY_S = 1.0
"""Where other processes may have left something."""
CALLS_AT_ONCE = 8
CALL_MS = 120_000
"""So long a call belongs to the process that makes it."""
LOOKED_AFTER_AT_ONCE = 200
TELL_EVERY_S = 30.0
"""For who has come into a group."""
FIGURES_EVERY_S = 15.0
FORGET_EVERY_S = 3600.0
FORGOTTEN_AT_ONCE = 100
DAY_MS = 86_400_000


def clock() -> int:
    """Return the time, Unix ms."""
    return time.time_ns() // 1_000_000


class WorkflowWorker:
    """A worker over a database; several share what is there."""

    def __init__(
        self,
        database: Database,
        outgoing: Mapping[str, CallOut],
        now: Callable[[], int] = clock,
        perform: Perform | None = None,
        days: int = 90,
    ) -> None:
        """Call out with `outgoing` by kind. `now` returns Unix ms; `perform` does what else instances ask for.

        Instances that have ended are kept for `days`.
        """
        self._database = database
        self.wake_downlink: Callable[[], None] = lambda: None
        """Called when there may be more to send down."""
        self._outgoing = outgoing
        self._now = now
        self.definitions = Definitions()
        self._performing = Performing(self.definitions)
        self._perform: Perform = perform or self._performing
        self._moved = asyncio.Event()
        self._has_asked = asyncio.Event()
        self._deployed = asyncio.Event()
        self._is_to_tell = asyncio.Event()
        self._is_turn = asyncio.Lock()
        self._look_every_s = LOOK_EVERY_S if database.is_sqlite else SHARED_LOOK_EVERY_S
        self._keep_ms = days * DAY_MS
        self.counts: Counter[str] = Counter()
        self.active: Counter[str] = Counter()
        """By status the instances that are not over, those that other processes go on with too."""
        self.delay_ms = 0
        """How late the timer is that waits longest."""

    def wake(self) -> None:
        """Take note that something has happened to an instance."""
        self._moved.set()

    def refresh(self) -> None:
        """Take note that other workflows are deployed."""
        self._deployed.set()
        self._is_to_tell.set()

    async def run(self) -> None:
        """Work until cancelled."""
        async with self._database.transaction() as session:
            await stepping.try_again(session)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._repeat(self.go_on, self._moved), name="workflows-steps")
            tasks.create_task(self._repeat(self.call_out, self._has_asked), name="workflows-calls")
            tasks.create_task(self._repeat(self.keep_time, self._deployed), name="workflows-schedules")
            tasks.create_task(self._repeat(self.tell_gateways, self._is_to_tell), name="workflows-gateways")
            tasks.create_task(self._repeat(self.measure, asyncio.Event()), name="workflows-figures")
            tasks.create_task(self._repeat(self.forget, asyncio.Event()), name="workflows-history")

    async def go_on(self) -> float:
        """Go on with all that can, and return for how many seconds nothing will by itself."""
        while (await self.step())["instances"]:
            pass
        async with self._database.transaction() as session:
            deadline = await stepping.next_time(session)
        return self._wait_s(deadline)

    async def step(self) -> Counter[str]:
        """Go on with some instances in one transaction, and count what was done."""
        try:
            async with self._is_turn, self._database.transaction() as session:
                counts = await stepping.advance(session, self.definitions, self._perform, self._now())
        except Interfered:
            self.counts["interfered"] += 1
            raise
        self.counts += counts
        if counts["instances"]:
            self.wake_downlink()
            self._has_asked.set()
        return counts

    async def call_out(self) -> float:
        """Make all calls that are due, and return for how many seconds to wait at most."""
        limit = asyncio.Semaphore(CALLS_AT_ONCE)
        while wanted := await self._claimed():
            async with asyncio.TaskGroup() as calls:
                for one in wanted:
                    calls.create_task(self._call(one, limit), name=f"workflow-call-{one.id}")
        return self._look_every_s

    async def keep_time(self) -> float:
        """Start what is due by the clock, look after effects, and return for how many seconds to wait at most."""
        now = self._now()
        async with self._is_turn, self._database.transaction() as session:
            following = await scheduling.run(session, self.definitions, now)
        async with self._is_turn, self._database.transaction() as session:
            await starts.hold_writers(session)
            await performing.look_after(session, self._performing, now, LOOKED_AFTER_AT_ONCE)
        self.wake()
        return self._wait_s(following)

    async def tell_gateways(self) -> float:
        """Tell gateways what has changed of their workflows and of whom those are for; return when to look again."""
        async with self._is_turn, self._database.transaction() as session:
            changed = await distribution.distribute(session, self.definitions)
        if changed:
            self.wake_downlink()
        return TELL_EVERY_S

    async def measure(self) -> float:
        """Count what is active and how late it is, and return when to look again."""
        async with self._database.transaction() as session:
            self.active = await stepping.active(session)
            deadline = await stepping.next_time(session)
        self.delay_ms = 0 if deadline is None else max(0, self._now() - deadline)
        return FIGURES_EVERY_S

    async def forget(self) -> float:
        """Forget instances that are too old, piece by piece, and return when to look again."""
        forgotten = FORGOTTEN_AT_ONCE
        while forgotten == FORGOTTEN_AT_ONCE:
            async with self._is_turn, self._database.transaction() as session:
                forgotten = await retention.forget(session, self._now() - self._keep_ms, FORGOTTEN_AT_ONCE)
        return FORGET_EVERY_S

    async def start(self, asked: Asked) -> dict[str, str]:
        """Start a workflow for a rule, which does not wait for its end. Raises NotPerformed."""
        now = self._now()
        async with self._database.transaction() as session:
            start = await self._performing.start_of(session, asked.id, asked.parameters, now)
            begun = (await starts.begin(session, [Wish(start)], now))[start.id]
            if begun.outcome in {"refused", "skipped"}:
                raise NotPerformed(f"{start.workflow.id} does not start: {begun.reason}", is_final=True)
        self.wake()
        self.wake_downlink()
        return {"instance": start.id, "outcome": begun.outcome}

    def _wait_s(self, until: int | None) -> float:
        if until is None:
            return self._look_every_s
        return min(self._look_every_s, max(0.0, (until - self._now()) / 1000))

    async def _claimed(self) -> list[Wanted]:
        async with self._database.transaction() as session:
            await starts.hold_writers(session)
            return await performing.claim(session, self._now(), CALL_MS, CALLS_AT_ONCE)

    async def _call(self, wanted: Wanted, limit: asyncio.Semaphore) -> None:
        async with limit:
            outcome = await self._outcome(wanted)
        async with self._database.transaction() as session:
            await performing.performed(session, wanted.id, outcome, self._now())
        self.wake()

    async def _outcome(self, wanted: Wanted) -> Answered | NotPerformed:
        """Make a call; what nobody foresaw is its failure, and stops no other."""
        call = self._outgoing.get(wanted.kind)
        if call is None:
            return NotPerformed(f"this cloud performs no {wanted.kind}", is_final=True)
        asked = Asked(
            *(wanted.id, wanted.kind, wanted.workflow, wanted.parameters), wanted.created, False, wanted.created
        )
        try:
            return Answered(wanted.id, True, await call(asked))
        except NotPerformed as error:
            return error
        except Exception as error:
            log.exception("effect_not_performable", effect=wanted.id, kind=wanted.kind)
            return NotPerformed(f"{type(error).__name__}: {error}", is_final=True)

    async def _repeat(self, work: Callable[[], Awaitable[float]], woken: asyncio.Event) -> NoReturn:
        while True:
            woken.clear()
            wait_s = self._look_every_s
            try:
                wait_s = await work()
            except* (SQLAlchemyError, Interfered):
                log.exception("disk_refused")  # what was not done is still there
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await woken.wait()
