"""What a rule remembers of one source, and how it is put right by what comes out of order. (E8)

A track keeps the last events in two chunks, each with the state before it. What comes in order is judged at once. What
comes out of order is put in its place, and all from there is judged again: what would have fired is added, what should
not have fired is withdrawn. What is older than the chunks runs through a state of its own, from nothing, in the order
in which it comes: so a night's backlog that is sent behind the readings of now is judged like a night.
"""

from bisect import bisect, insort
from dataclasses import dataclass
from operator import attrgetter
from typing import NamedTuple

from fieldloom_engine.rules.compiling import Compiled, Occurrence
from fieldloom_engine.rules.event import Event
from fieldloom_engine.rules.firing import Amends
from fieldloom_engine.rules.state import State, due, judge, pass_time

CHUNK = 32  # events; between one and two chunks are kept
MAX_HELD = 1000  # events that wait for what is missing

_KEY = attrgetter("key")
_TS = attrgetter("ts")


class Found(NamedTuple):
    """An occurrence, and whether it puts right what was found before."""

    occurrence: Occurrence
    amends: Amends | None


@dataclass(slots=True)
class Chunk:
    """Some events, the state before them, and what they have led to."""

    before: State
    events: tuple[Event, ...] = ()
    """Tracks that keep the same events share them."""
    occurrences: tuple[Occurrence, ...] = ()


class Track:
    """A rule's state for one source."""

    __slots__ = ("backlog", "chunks", "compiled", "held", "state", "withdrawn")

    def __init__(self, compiled: Compiled) -> None:
        self.compiled = compiled
        self.state = State(compiled.fresh())
        self.chunks = [Chunk(self.state.copy())]
        self.held: list[Event] = []
        """What waits until nothing before it can be missing, in order."""
        self.backlog: State | None = None
        """The state of what is older than all that is kept."""
        self.withdrawn: dict[tuple[str, bool], int] = {}
        """How often occurrences were withdrawn, by key: one that comes again is another one to who performs effects."""

    def take(self, event: Event, now: int) -> list[Found]:
        """Judge an event, or hold it until `release`. `now` is the clock, Unix ms."""
        if event.key <= self.state.key:
            return self._put_right(event, now)
        if not self.compiled.waits:
            return self._judged(event)
        insort(self.held, event, key=_KEY)
        if len(self.held) <= MAX_HELD:
            return []
        self.compiled.figures.hurried += 1
        return self.release(self.held[0].ts)

    def release(self, horizon: int) -> list[Found]:
        """Judge what has waited, events and ends of waits, up to a time (Unix ms) before which nothing is missing."""
        found: list[Found] = []
        while True:
            end = due(self.compiled, self.state)
            head = self.held[0] if self.held else None
            if head is not None and (end is None or head.ts <= end):
                if head.ts > horizon:
                    return found
                del self.held[0]
                # What was held twice, or overtaken by the end of a wait, is out of order by now.
                found += self._judged(head) if head.key > self.state.key else []
            else:
                if end is None or end > horizon:
                    return found
                found += self._waited(end)

    def deadline(self) -> int | None:
        """Return the time of the clock (Unix ms) at which something is judged, whatever is missing."""
        times = [self.held[0].ts] if self.held else []
        if (end := due(self.compiled, self.state)) is not None:
            times.append(end)
        return min(times) + self.compiled.lateness if times else None

    def join(self, watermark: int) -> list[Found]:
        """End what the backlog has begun, once nothing is missing between it and what is kept."""
        backlog, oldest = self.backlog, self.chunks[0].before
        if backlog is None or watermark < oldest.ts:
            return []
        self.backlog = None
        event = oldest.event
        if event is None or not backlog.is_open or not self.compiled.has_end or self.state.is_open:
            return []
        cause = self.compiled.cause(event, oldest.memory, oldest.ts)
        return [Found(Occurrence(event, oldest.ts, False, event.id, cause), "adds")]

    def catch_up(self, events: tuple[Event, ...]) -> None:
        """Remember events of its concern, in order, of which is known that they change nothing, but for those seen."""
        if events and events[0].ts <= self.state.ts:
            events = events[bisect(events, self.state.ts, key=_TS) :]
        if events:
            self._keep(events)

    def _keep(self, events: tuple[Event, ...]) -> None:
        """Remember events that have been judged."""
        last = events[-1]
        self.state.ts, self.state.id, self.state.event = last.ts, last.id, last
        self.chunks[-1].events += events
        if len(self.chunks[-1].events) >= CHUNK:
            del self.chunks[:-1]
            self.chunks.append(Chunk(self.state.copy()))

    def _judged(self, event: Event) -> list[Found]:
        occurrence = judge(self.compiled, self.state, event)
        if occurrence is not None:
            self.chunks[-1].occurrences += (occurrence,)
        self._keep((event,))
        return [] if occurrence is None else [Found(occurrence, None)]

    def _waited(self, end: int) -> list[Found]:
        occurrence = pass_time(self.compiled, self.state, end)
        if occurrence is None:
            return []
        self.chunks[-1].occurrences += (occurrence,)
        return [Found(occurrence, None)]

    def _put_right(self, event: Event, now: int) -> list[Found]:
        """Put an event in its place, and return what is otherwise for it."""
        if self.compiled.rule.late == "ignore" and self.compiled.is_late(event.ts, now):
            self.compiled.figures.ignored += 1
            return []
        kept = [chunk for chunk in self.chunks if event.key > chunk.before.key]
        if not kept:
            return self._backfilled(event)
        redone = self.chunks[self.chunks.index(kept[-1]) :]
        events = [one for chunk in redone for one in chunk.events]
        if any(one.key == event.key for one in events):
            return []
        insort(events, event, key=_KEY)
        was = {one.key: one for chunk in redone for one in chunk.occurrences}
        becomes = self._again(redone[0], events)
        gone = [one for key, one in was.items() if key not in becomes]
        for one in gone:
            self._note_withdrawal(one)
        now_is = {key: was.get(key) or one._replace(turn=self.withdrawn.get(key, 0)) for key, one in becomes.items()}
        for chunk in self.chunks:
            chunk.occurrences = tuple(now_is.get(one.key, one) for one in chunk.occurrences)
        added = [one for key, one in now_is.items() if key not in was]
        return [Found(one, "withdraws") for one in gone] + [Found(one, "adds") for one in added]

    def _note_withdrawal(self, one: Occurrence) -> None:
        self.withdrawn[one.key] = self.withdrawn.pop(one.key, 0) + 1
        if len(self.withdrawn) > 2 * CHUNK:
            del self.withdrawn[next(iter(self.withdrawn))]

    def _again(self, first: Chunk, events: list[Event]) -> dict[tuple[str, bool], Occurrence]:
        """Judge events again from the beginning of a chunk to where it was, and return what they lead to, by key."""
        until = self.state.ts
        self.chunks = [*self.chunks[: self.chunks.index(first)], Chunk(first.before)]
        self.state = first.before.copy()
        found: list[Found] = []
        for event in events:
            found += self._waits_before(event.ts)
            found += self._judged(event)
        found += self._waits_before(until + 1)
        return {one.occurrence.key: one.occurrence for one in found}

    def _waits_before(self, ts: int) -> list[Found]:
        found: list[Found] = []
        while (end := due(self.compiled, self.state)) is not None and end < ts:
            found += self._waited(end)
        return found

    def _backfilled(self, event: Event) -> list[Found]:
        """Judge what is older than all that is kept, by a state of its own."""
        self.compiled.figures.backfilled += 1
        if self.backlog is None or event.key <= self.backlog.key:
            self.backlog = State(self.compiled.fresh())
        found: list[Occurrence | None] = []
        while (end := due(self.compiled, self.backlog)) is not None and end < event.ts:
            found.append(pass_time(self.compiled, self.backlog, end))
        found.append(judge(self.compiled, self.backlog, event))
        return [Found(one, "adds") for one in found if one is not None]
