"""The windows of those partitions that this gateway owns: what it is handed is judged there, once. (D4, E8, ADR 66)"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from fieldloom_engine.rules import Engine, Event, Explanation, Firing, RuleSet, UnreadableRecord
from fieldloom_gateway.automation.windows.parcel import Heard, Lot, Moved, Row, decode_told
from fieldloom_gateway.automation.windows.records import Kept, packed, unpacked

MAX_SOURCES = 1000
"""Of a partition, of which there are 256."""
NOTHING = RuleSet(())

Fired = tuple[Firing, int]
"""What fired, and as of when (Unix ms) it is done."""
Meet = Callable[[str, dict[str, Any]], None]
"""Takes what a device tells of itself, and has rules retargeted if that is news."""


class Judged(NamedTuple):
    """What became of a lot."""

    through: int | None
    """The number up to which all of the stream was judged; None where nothing is known of the partition here."""
    fired: Sequence[Fired] = ()
    unread: Sequence[tuple[bytes, str]] = ()
    """Rows that can't be read, each with the reason."""


class Change(NamedTuple):
    """What is to be kept of a source of a partition."""

    partition: int
    source: str
    kept: Kept


class _Home:
    """What is known in a partition."""

    def __init__(self, rules: RuleSet) -> None:
        self.engine = Engine(rules, max_sources=MAX_SOURCES)
        self.taken: dict[str, dict[str, int]] = {}
        """By source and stream the last number that its state takes into account."""
        self.judged: dict[str, int] = {}
        """By stream the number up to which all was judged since it was loaded."""

    def takes(self, stream: str, row: Row) -> bool:
        """Take a row into account; whether the checkpoint that was loaded has not done so."""
        taken = self.taken.setdefault(row.source, {})
        if row.number <= taken.get(stream, 0):
            return False
        taken[stream] = row.number
        return True

    def hear(self, told: Heard) -> list[Firing]:
        """Judge an event."""
        firings = self.engine.step(told.event, told.at)
        if told.watermark is not None:
            firings += self.engine.advance(told.event.source, told.watermark, told.at)
        return firings

    def go_on(self, told: Moved) -> None:
        """Go on with what a gateway remembers that was alone, if nothing is known here. Raises UnreadableRecord."""
        if self.engine.record(told.source) is None:
            self.engine.put(told.source, told.record)


class Homes:
    """On the disk's thread: what a transaction that is rolled back has touched is `lost`, to be loaded anew."""

    def __init__(self, meet: Meet) -> None:
        self.rules = NOTHING
        self._meet = meet
        self._homes: dict[int, _Home] = {}
        self._touched: set[int] = set()
        self._changed: dict[tuple[int, str], None] = {}
        """What no checkpoint has yet, by partition and source, the oldest change first."""
        self.lost: set[int] = set()
        self.refused = 0
        """Checkpoints that the map had no room for."""

    def use(self, rules: RuleSet) -> None:
        """Go on with other rules; the state of those that are as they were goes on."""
        self.rules = rules
        for partition, home in self._homes.items():
            self._touched.add(partition)
            home.engine.replace(rules)
            self._note(partition, home)

    def retarget(self) -> None:
        """Ask again who is of a type, and tagged."""
        for home in self._homes.values():
            home.engine.retarget()

    def load(self, partition: int, kept: Mapping[str, Kept]) -> None:
        """Go on with a partition as its checkpoints have it. Raises zlib.error, MsgspecError, UnreadableRecord."""
        home = _Home(self.rules)
        for source, one in kept.items():
            home.taken[source] = dict(one.taken)
            if (record := unpacked(one.state)) is not None:
                home.engine.put(source, record)
        self._homes[partition] = home
        self.lost.discard(partition)

    def unload(self, partitions: Iterable[int]) -> None:
        """Forget partitions that are another's now."""
        for partition in partitions:
            self._homes.pop(partition, None)
            self.lost.discard(partition)

    def begin(self) -> None:
        """Take note that a transaction begins: what was judged before is committed, unless it was forgotten."""
        self._touched.clear()

    def judge(self, stream: str, lot: Lot) -> Judged:
        """Judge what comes next of a stream; where something before the lot is missing, nothing of it."""
        home = self._homes.get(lot.partition)
        if home is None:
            return Judged(None)
        judged = home.judged.get(stream, 0)
        if lot.after > judged:
            return Judged(judged)
        fired: list[Fired] = []
        unread: list[tuple[bytes, str]] = []
        for row in lot.rows:
            if row.number <= judged:
                continue
            judged = row.number
            self._touched.add(lot.partition)
            self._changed.setdefault((lot.partition, row.source))
            if home.takes(stream, row):
                try:
                    fired += self._hear(home, decode_told(row.told))
                except (msgspec.MsgspecError, UnreadableRecord) as error:
                    unread.append((bytes(row.told), str(error)))
        home.judged[stream] = judged
        self._note(lot.partition, home)
        return Judged(judged, fired, unread)

    def elapse(self, partitions: Iterable[int], now: int) -> list[Fired]:
        """Return what the time leads to in some partitions, Unix ms."""
        fired: list[Fired] = []
        for partition in partitions:
            if (home := self._homes.get(partition)) is not None and self._is_due(home, now):
                self._touched.add(partition)
                fired += [(firing, now) for firing in home.engine.elapse(now)]
                self._note(partition, home)
        return fired

    def is_due(self, partitions: Iterable[int], now: int) -> bool:
        """Whether the time may lead to something in some partitions."""
        found = (self._homes.get(partition) for partition in partitions)
        return any(home is not None and self._is_due(home, now) for home in found)

    def changes(self, partitions: Collection[int], most: int) -> list[Change]:
        """Return what checkpoints of some partitions lack, the oldest first, about so many bytes; it counts as kept."""
        found: list[Change] = []
        for partition, source in [*self._changed]:
            home = self._homes.get(partition)
            if home is None:
                del self._changed[partition, source]
            elif partition in partitions:
                state = packed(home.engine.record(source))
                found.append(Change(partition, source, Kept(dict(home.taken.get(source, {})), state)))
                del self._changed[partition, source]
                most -= len(state)
                if most <= 0:
                    break
        return found

    def put_back(self, changes: Iterable[Change]) -> None:
        """Take note that changes were not kept after all: they are the oldest."""
        self._changed = {(one.partition, one.source): None for one in changes} | self._changed

    @property
    def unkept(self) -> int:
        """How many sources have changed since their last checkpoint."""
        return len(self._changed)

    @property
    def evicted(self) -> int:
        """How many sources were given up since there were too many."""
        return sum(home.engine.evicted for home in self._homes.values())

    def explain(self, rule: str, event: Event, partition: int) -> Explanation:
        """Return what a rule makes of an event that would come now. Raises KeyError without such a rule."""
        home = self._homes.get(partition)
        return (Engine(self.rules) if home is None else home.engine).explain(rule, event)

    def forget(self) -> None:
        """Forget what was judged last: some transaction was rolled back, which may be that of it."""
        self.unload(self._touched)
        self.lost |= self._touched
        self._touched.clear()

    def _hear(self, home: _Home, told: Heard | Moved) -> list[Fired]:
        if isinstance(told, Moved):
            home.go_on(told)
            return []
        if told.described is not None:
            self._meet(told.event.source, told.described)
        return [(firing, told.at) for firing in home.hear(told)]

    def _note(self, partition: int, home: _Home) -> None:
        for source in home.engine.changed():
            self._changed.setdefault((partition, source))

    def _is_due(self, home: _Home, now: int) -> bool:
        deadline = home.engine.next_deadline()
        return deadline is not None and deadline <= now
