"""The engine and what it remembers, in SQL: as exact after a kill as before it. (E8, ADR 42)

What the engine remembers of a source is large and changes with every event, so what was judged is written with each
transaction: the journal. Now and then a checkpoint takes its place. A start goes on from the checkpoint and judges the
journal again; what followed from it was committed with it, and is not done again.
"""

import json
from collections.abc import Iterable

import msgspec
from msgspec import Struct
from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.automation.models import RuleCheckpoint, RuleJournal, RuleState
from fieldloom_cloud.database import insert
from fieldloom_engine.rules import Devices, Engine, Event, Firing, Rule, RuleSet

MAX_EVENTS = 10_000  # of the journal: judged again in a second or two
ONLY = 1  # the key of a table of one row


class Entry(Struct, omit_defaults=True):
    """What the engine is told in a transaction: events and watermarks, or that time has gone on. Times in Unix ms."""

    now: int
    gateway: str = ""
    events: list[Event] = []
    complete: dict[str, int] = {}
    meant: dict[str, list[str]] = {}
    """Which of the events' sources are those that a rule names, by what it names."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Entry).decode


class Memory:
    """The engine, who is meant by its rules, and over which gateway each source was heard last."""

    def __init__(self, rules: Iterable[Rule], states: dict[str, object], max_events: int) -> None:
        """Begin with rules and what is stored of sources; `max_events` is how long the journal may grow."""
        self.gateways: dict[str, str] = {}
        self._meant: dict[tuple[str, str], bool] = {}
        self._rules = list(rules)
        self.engine = Engine(self._compiled(), states)
        self._max_events = max_events
        self._length = 0

    @classmethod
    async def read(cls, session: AsyncSession, rules: list[Rule], max_events: int) -> "Memory":
        """Go on from what is stored, with those of some rules that were at work then."""
        checkpoint = await session.get(RuleCheckpoint, ONLY)
        had = {} if checkpoint is None else checkpoint.fingerprints
        rows = list(await session.scalars(select(RuleState)))
        states = {row.source: json.loads(row.state) for row in rows}
        memory = cls([rule for rule in rules if had.get(rule.id) == rule.fingerprint], states, max_events)
        memory.gateways = {row.source: row.gateway for row in rows}
        for row in await session.scalars(select(RuleJournal).order_by(RuleJournal.number)):
            entry = _decode(row.entry)
            memory._length += len(entry.events) or 1
            memory.judge(entry)
        return memory

    @property
    def has_rules(self) -> bool:
        """Whether there is anything to judge by."""
        return bool(self._rules)

    def is_of(self, rules: list[Rule]) -> bool:
        """Whether these rules are at work."""
        return [rule.fingerprint for rule in rules] == [rule.fingerprint for rule in self._rules]

    def judge(self, entry: Entry) -> list[Firing]:
        """Judge what an entry tells, and return what fires. The same entries lead to the same state."""
        if self._learn(entry):
            self.engine.retarget()
        if not entry.events:
            return self.engine.elapse(entry.now)
        firings: list[Firing] = []
        for event in entry.events:
            self.gateways[event.source] = entry.gateway
            firings += self.engine.step(event, entry.now)
        if self._remembers:
            for source, watermark in entry.complete.items():
                firings += self.engine.advance(source, watermark, entry.now)
        return firings

    async def keep(self, session: AsyncSession, entry: Entry) -> None:
        """Write what was judged."""
        if not self._remembers:
            return
        self._length += len(entry.events) or 1
        if self._length > self._max_events:
            await self.checkpoint(session)
        else:
            session.add(RuleJournal(entry=_encode(entry)))

    async def use(self, session: AsyncSession, rules: list[Rule]) -> None:
        """Go on with other rules; the state of those that are as they were goes on."""
        self._rules = rules
        self.engine.replace(self._compiled())
        await self.checkpoint(session)

    async def checkpoint(self, session: AsyncSession) -> None:
        """Write what has changed since the last checkpoint, and begin the journal anew."""
        changes = self.engine.changes()
        gone = [source for source, state in changes.items() if state is None]
        if gone:
            await session.execute(delete(RuleState).where(RuleState.source.in_(gone)))
        rows = [
            {"source": source, "gateway": self.gateways.get(source, ""), "state": json.dumps(state)}
            for source, state in changes.items()
            if state is not None
        ]
        if rows:
            insertion = insert(session, RuleState)
            told = {"gateway": insertion.excluded.gateway, "state": insertion.excluded.state}
            await session.execute(insertion.on_conflict_do_update(index_elements=[RuleState.source], set_=told), rows)
        await session.execute(delete(RuleJournal))
        fingerprints = {rule.id: rule.fingerprint for rule in self._rules}
        await session.merge(RuleCheckpoint(number=ONLY, fingerprints=fingerprints))
        self._length = 0

    def _compiled(self) -> RuleSet:
        rules = RuleSet(self._rules, self._is_meant)
        self._remembers = any(not compiled.is_stateless for compiled in rules.rules.values())
        return rules

    def _is_meant(self, devices: Devices, source: str) -> bool:
        return self._meant.get((devices.model_dump_json(), source), False)

    def _learn(self, entry: Entry) -> bool:
        """Take who is meant by what rules name, and say whether that is news."""
        sources = {event.source for event in entry.events}
        found = {(key, one): one in meant for key, meant in entry.meant.items() for one in sources}
        is_news = any(self._meant.get(one) != holds for one, holds in found.items())
        self._meant |= found
        return is_news
