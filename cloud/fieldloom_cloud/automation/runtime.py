"""The engine at work in the cloud: it steps in the transaction that stores the records. (E2, E5, E8; ADR 42)

What is judged, what fires and its effects commit with the records, or none of it does: so no kill loses a firing or
repeats one.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count

from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.automation import distribution, effects, service
from fieldloom_cloud.automation.memory import MAX_EVENTS, Entry, Memory
from fieldloom_cloud.database import Database
from fieldloom_cloud.ingest.judge import Came
from fieldloom_cloud.workers.leases import Slots
from fieldloom_cloud.workers.service import NotHeld
from fieldloom_engine.rules import MADE_BY_RULES, Devices, Event, Explanation, Firing
from fieldloom_runtime import records
from fieldloom_runtime.judged import event_of


def clock() -> int:
    """Return the time, Unix ms."""
    return time.time_ns() // 1_000_000


def _is_heard(memory: Memory, type_: str) -> bool:
    """Whether to remember that an event came: of what follows from rules only what a rule names."""
    return not type_.startswith(MADE_BY_RULES) or memory.engine.rules.sees(type_)


def _explained(memory: Memory, rule: str, event: Event) -> Explanation | None:
    return memory.engine.explain(rule, event) if rule in memory.engine.rules.rules else None


class Runtime:
    """The rules of the cloud. One transaction at a time has its turn, and one process of several."""

    def __init__(
        self, database: Database, slots: Slots, now: Callable[[], int] = clock, max_journal: int = MAX_EVENTS
    ) -> None:
        """Begin with what is stored; `now` returns Unix ms, `max_journal` is in events."""
        self._database = database
        self._slots = slots
        self._fence = 0
        self._now = now
        self._turn = asyncio.Lock()
        self._max_journal = max_journal
        self._memory: Memory | None = None
        self._is_stale = False
        self._modes: dict[str, str] = {}
        self._both: set[str] = set()
        self._named: dict[str, Devices] = {}
        self._carried: set[tuple[str, str]] = set()
        self._numbers = count(now() * 1000)
        self._has_moved = False
        self.counts: Counter[str] = Counter()
        self.moved = asyncio.Event()
        """Set when effects may wait, or a deadline may be another one."""
        self.refreshed = asyncio.Event()
        """Set when other rules are at work."""

    def refresh(self) -> None:
        """Take note that other rules are at work."""
        self._is_stale = True
        self.moved.set()
        self.refreshed.set()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Hold for a transaction, its commit too; an exception within undoes what memory has taken."""
        async with self._turn:
            try:
                yield
            except BaseException:
                self._memory = None
                raise
            if self._has_moved:
                self._has_moved = False
                self.moved.set()

    async def lead(self, session: AsyncSession) -> None:
        """Keep the right to judge for a transaction. Raises NotHeld when it is another process's."""
        fence = await self._slots.lead(session)
        if fence != self._fence:
            self._memory, self._fence = None, fence  # another one may have judged meanwhile

    async def judge(self, session: AsyncSession, came: Came) -> None:
        """Judge what is new of a gateway's batch, and write what follows with it."""
        memory = await self._at_work(session)
        await self._hear(session, came)
        if not memory.has_rules:
            return
        told = (event for record in came.records if (event := event_of(record)) is not None)
        events = [event for event in told if event.source and _is_heard(memory, event.type)]
        if events:
            meant = await self._meant(session, {event.source for event in events})
            entry = Entry(self._now(), came.gateway, events, dict(came.complete), meant)
            await self._judge(session, memory, entry)

    async def restore(self, session: AsyncSession, gateway: str) -> None:
        """Send a gateway whose stream is new all of its rules."""
        await distribution.restore(session, gateway)
        self._carried = await distribution.carried(session)

    async def elapse(self) -> None:
        """Judge what has waited as long as it may, in a transaction of its own."""
        async with self.turn(), self._database.transaction() as session:
            memory = await self._at_work(session)
            now = self._now()
            deadline = memory.engine.next_deadline()
            if deadline is not None and deadline <= now:
                await self._judge(session, memory, Entry(now))

    def next_deadline(self) -> int | None:
        """Return when `elapse` has to be called, Unix ms; 0 for at once, since other rules are at work."""
        if self._memory is None or self._is_stale:
            return 0
        return self._memory.engine.next_deadline()

    async def explain(self, rule: str, event: Event) -> Explanation | None:
        """Return what a rule of the cloud makes of an event that would come now; None if it is not one."""
        try:
            async with self.turn(), self._database.transaction() as session:
                return _explained(await self._at_work(session), rule, event)
        except NotHeld:
            return await self._explain_aside(rule, event)

    async def _explain_aside(self, rule: str, event: Event) -> Explanation | None:
        """Explain by what the process that judges has written, and keep nothing of it."""
        async with self._turn, self._database.transaction() as session:
            self._memory = None
            explained = _explained(await self._read(session), rule, event)
            self._memory = None
            await session.rollback()
        return explained

    async def _at_work(self, session: AsyncSession) -> Memory:
        """Return what is remembered with the rules that are at work, read anew where memory does not have it."""
        await self.lead(session)
        if self._memory is not None and not self._is_stale:
            return self._memory
        return await self._read(session)

    async def _read(self, session: AsyncSession) -> Memory:
        self._is_stale = False
        here = [one for one in await service.at_work(session) if one.rule.placement != "edge"]
        self._modes = {one.rule.id: one.mode for one in here}
        self._both = {one.rule.id for one in here if one.rule.placement == "both"}
        told = [one.rule.devices for one in here if one.rule.devices is not None]
        self._named = {devices.model_dump_json(): devices for devices in told}
        self._carried = await distribution.carried(session)
        rules = [one.rule for one in here]
        if self._memory is None:
            self._memory = await Memory.read(session, rules, self._max_journal)
        if not self._memory.is_of(rules):
            await self._memory.use(session, rules)
        return self._memory

    async def _hear(self, session: AsyncSession, came: Came) -> None:
        """Take what a gateway says of its own rules, and what commands have come to."""
        heard = False
        for record in came.records:
            if isinstance(record, (records.Result, records.Expired)):
                await self._hear_of_command(session, record.id)
            if (
                isinstance(record, records.Event)
                and record.device == came.gateway
                and record.type in distribution.WORDS
            ):
                heard |= await distribution.hear(session, came.gateway, record)
        if heard:
            self._carried = await distribution.carried(session)

    async def _hear_of_command(self, session: AsyncSession, command: str) -> None:
        """Take what a command has come to, which a rule may have asked for."""
        ended = await effects.hear(session, command, self._now())
        if ended is not None:
            self.counts[f"effects_{ended}"] += 1

    async def _meant(self, session: AsyncSession, sources: set[str]) -> dict[str, list[str]]:
        """Return which of some devices are meant by the rules that name a group, a type or tags."""
        return {
            key: sorted(await service.matching(session, devices, among=sources)) for key, devices in self._named.items()
        }

    async def _judge(self, session: AsyncSession, memory: Memory, entry: Entry) -> None:
        deadline = memory.engine.next_deadline()
        firings = [firing for firing in memory.judge(entry) if not self._is_carried(memory, firing)]
        await memory.keep(session, entry)
        self.counts["events"] += len(entry.events)
        self.counts["firings"] += len(firings)
        waits = await effects.keep(session, firings, self._modes, self._numbers, entry.now)
        self._has_moved |= waits or memory.engine.next_deadline() != deadline

    def _is_carried(self, memory: Memory, firing: Firing) -> bool:
        """Whether the gateway that brings a device's events acts itself by this rule. (E5)"""
        gateway = memory.gateways.get(firing.event.source, "")
        return firing.rule in self._both and (gateway, firing.rule) in self._carried
