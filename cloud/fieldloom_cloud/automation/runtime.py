"""The engine at work in the cloud: it steps in the transaction that stores the records. (E2, E5, E8; ADR 42)

What a step changes of the engine's state, the firings and their effects commit with the records, or none of it does:
so no kill loses a firing or repeats one.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import structlog
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.automation import distribution, effects, service
from fieldloom_cloud.automation.models import RuleState
from fieldloom_cloud.database import Database, insert
from fieldloom_cloud.ingest.judge import Came
from fieldloom_engine.rules import Devices, Engine, Event, Explanation, Firing, RuleSet
from fieldloom_runtime import records
from fieldloom_runtime.judged import event_of

log = structlog.get_logger()


def clock() -> int:
    """Return the time, Unix ms."""
    return time.time_ns() // 1_000_000


OWN = "rule."
"""How the types of those events begin that rules make themselves."""


def _is_judged(event: Event) -> bool:
    return bool(event.source) and not event.type.startswith(OWN)


class Targets:
    """Who is in a group, of a type, tagged, as far as it was asked."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], bool] = {}

    def __call__(self, devices: Devices, source: str) -> bool:
        """Whether a device is one of those that a rule is for."""
        return self._known.get((devices.model_dump_json(), source), False)

    def learn(self, devices: Devices, sources: set[str], matching: set[str]) -> bool:
        """Take who of some devices is one of those, and say whether that is news."""
        key = devices.model_dump_json()
        found = {(key, source): source in matching for source in sources}
        is_news = any(self._known.get(one) != holds for one, holds in found.items())
        self._known |= found
        return is_news


class Runtime:
    """The rules of the cloud. One transaction at a time has its turn."""

    def __init__(self, database: Database, now: Callable[[], int] = clock) -> None:
        """Begin with what is stored; `now` returns Unix ms."""
        self._database = database
        self._now = now
        self._turn = asyncio.Lock()
        self._engine: Engine | None = None
        self._is_stale = False
        self._targets = Targets()
        self._modes: dict[str, str] = {}
        self._both: set[str] = set()
        self._named: dict[str, Devices] = {}
        self._gateways: dict[str, str] = {}
        self._carried: set[tuple[str, str]] = set()
        self._numbers = count(now() * 1000)
        self._has_moved = False
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
                self._engine = None
                raise
            if self._has_moved:
                self._has_moved = False
                self.moved.set()

    async def judge(self, session: AsyncSession, came: Came) -> None:
        """Judge what is new of a gateway's batch, and write what follows with it."""
        engine = await self._at_work(session)
        await self._hear(session, came)
        if not engine.rules.rules:
            return
        events = [event for record in came.records if (event := event_of(record)) is not None and _is_judged(event)]
        if not events:
            return
        await self._aim(session, engine, {event.source for event in events})
        now, deadline = self._now(), engine.next_deadline()
        firings: list[Firing] = []
        for event in events:
            self._gateways[event.source] = came.gateway
            firings += engine.step(event, now)
        for device, watermark in came.complete.items():
            firings += engine.advance(device, watermark, now)
        await self._keep(session, engine, firings, now)
        self._has_moved |= engine.next_deadline() != deadline

    async def restore(self, session: AsyncSession, gateway: str) -> None:
        """Send a gateway whose stream is new all of its rules."""
        await distribution.restore(session, gateway)
        self._carried = await distribution.carried(session)

    async def elapse(self) -> None:
        """Judge what has waited as long as it may, in a transaction of its own."""
        async with self.turn(), self._database.transaction() as session:
            engine = await self._at_work(session)
            now = self._now()
            deadline = engine.next_deadline()
            if deadline is not None and deadline <= now:
                await self._keep(session, engine, engine.elapse(now), now)

    def next_deadline(self) -> int | None:
        """Return when `elapse` has to be called, Unix ms; 0 for at once, since other rules are at work."""
        if self._engine is None or self._is_stale:
            return 0
        return self._engine.next_deadline()

    async def explain(self, rule: str, event: Event) -> Explanation | None:
        """Return what a rule of the cloud makes of an event that would come now; None if it is not one."""
        async with self._turn, self._database.transaction() as session:
            engine = await self._at_work(session)
            return engine.explain(rule, event) if rule in engine.rules.rules else None

    async def _at_work(self, session: AsyncSession) -> Engine:
        """Return the engine with the rules that are at work, read anew where memory does not have them."""
        if self._engine is not None and not self._is_stale:
            return self._engine
        self._is_stale = False
        here = [one for one in await service.at_work(session) if one.rule.placement != "edge"]
        self._modes = {one.rule.id: one.mode for one in here}
        self._both = {one.rule.id for one in here if one.rule.placement == "both"}
        told = [one.rule.devices for one in here if one.rule.devices is not None]
        self._named = {devices.model_dump_json(): devices for devices in told}
        self._carried = await distribution.carried(session)
        rules = RuleSet([one.rule for one in here], self._targets)
        if self._engine is not None:
            self._engine.replace(rules)
        else:
            states: dict[str, Any] = {}
            for row in await session.scalars(select(RuleState)):
                states[row.source], self._gateways[row.source] = json.loads(row.state), row.gateway
            self._engine = Engine(rules, states)
        return self._engine

    async def _hear(self, session: AsyncSession, came: Came) -> None:
        """Take what a gateway says of its own rules."""
        heard = False
        for record in came.records:
            is_own = isinstance(record, records.Event) and record.device == came.gateway
            if is_own and isinstance(record, records.Event) and record.type in distribution.WORDS:
                heard |= await distribution.hear(session, came.gateway, record)
        if heard:
            self._carried = await distribution.carried(session)

    async def _aim(self, session: AsyncSession, engine: Engine, sources: set[str]) -> None:
        """Ask who of some devices is meant by the rules that name a group, a type or tags."""
        is_news = False
        for devices in self._named.values():
            matching = await service.matching(session, devices, among=sources)
            is_news |= self._targets.learn(devices, sources, matching)
        if is_news:
            engine.retarget()

    async def _keep(self, session: AsyncSession, engine: Engine, firings: list[Firing], now: int) -> None:
        own = [firing for firing in firings if not self._is_carried(firing)]
        if await effects.keep(session, own, self._modes, self._numbers, now):
            self._has_moved = True
        changed = engine.changes()
        gone = [source for source, state in changed.items() if state is None]
        if gone:
            await session.execute(delete(RuleState).where(RuleState.source.in_(gone)))
        rows = [
            {"source": source, "gateway": self._gateways.get(source, ""), "state": json.dumps(state)}
            for source, state in changed.items()
            if state is not None
        ]
        if rows:
            insertion = insert(session, RuleState)
            told = {"gateway": insertion.excluded.gateway, "state": insertion.excluded.state}
            await session.execute(insertion.on_conflict_do_update(index_elements=[RuleState.source], set_=told), rows)

    def _is_carried(self, firing: Firing) -> bool:
        """Whether the gateway that brings a device's events acts itself by this rule. (E5)"""
        gateway = self._gateways.get(firing.event.source, "")
        return firing.rule in self._both and (gateway, firing.rule) in self._carried
