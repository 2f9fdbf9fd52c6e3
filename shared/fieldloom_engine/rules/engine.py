"""Rules and what they remember of all sources: an event in, firings out. No I/O, no clock. (E2, E5, E8)"""

import heapq
from collections.abc import Mapping
from itertools import compress
from typing import Any

from fieldloom_engine.rules import source as sources
from fieldloom_engine.rules.compiling import Compiled, Figures, Occurrence
from fieldloom_engine.rules.event import Event
from fieldloom_engine.rules.explaining import Explanation, explain
from fieldloom_engine.rules.firing import Amends, Firing
from fieldloom_engine.rules.ruleset import Judges, RuleSet
from fieldloom_engine.rules.source import Source
from fieldloom_engine.rules.together import NOTHING, Together
from fieldloom_engine.rules.track import Track

MAX_SOURCES = 100_000


class Engine:
    """Judges events as they come; what fires together is in the order of the rules. Not thread-safe.

    The tier that has it performs the effects, and keeps `changes` in the transaction of the events.
    """

    def __init__(self, rules: RuleSet, state: Mapping[str, Any] | None = None, max_sources: int = MAX_SOURCES) -> None:
        """Go on from a checkpoint, by source; the state of rules that are not as they were begins anew."""
        self.rules = rules
        self.evicted = 0
        """Sources whose state was given up since there were too many."""
        self._max_sources = max_sources
        self._sources: dict[str, Source] = {}
        self._changed: dict[str, None] = {}
        self._deadlines: list[tuple[int, str]] = []
        for name, record in (state or {}).items():
            self.put(name, record)

    def step(self, event: Event, now: int) -> list[Firing]:
        """Judge an event, or hold it for rules that need what is missing before it. `now` is the clock, Unix ms.

        Call `advance` after it. An event that comes again changes nothing as long as it is remembered, and later its
        effects have the ids that they had.
        """
        source = self._source(event.source)
        own = source.own.get(event.type)
        if own is None:
            own = source.own[event.type] = self.rules.own(event.type, event.source)
        firings: list[Firing] = []
        follows = source.follows(event.ts)
        if not follows:
            source.settle()
            source.known.clear()
        for way in (self.rules.shared(event.type), own):
            if way.always is not None:
                self._judge(way.always, source, event, now, follows, firings)
            for name in event.data if way.by_property else ():
                if (judges := way.by_property.get(name)) is not None:
                    self._judge(judges, source, event, now, follows, firings)
        if source.tracks:
            self._changed[event.source] = None
            if follows:
                source.note(event)
        return self._ordered(firings)

    def advance(self, name: str, watermark: int, now: int) -> list[Firing]:
        """Judge what has waited until no event of a source up to a time (Unix ms) can be missing any more."""
        source = self._sources.get(name)
        if source is None or not source.waiting:
            return []
        source.watermark = max(watermark, source.watermark)
        return self._released(name, source, now)

    def elapse(self, now: int) -> list[Firing]:
        """Judge what has waited as long as its rule allows. `now` is the clock, Unix ms."""
        firings: list[Firing] = []
        while self._deadlines and self._deadlines[0][0] <= now:
            deadline, name = heapq.heappop(self._deadlines)
            source = self._sources.get(name)
            if source is not None and source.queued == deadline:
                source.queued = None
                firings += self._released(name, source, now)
        return firings

    def next_deadline(self) -> int | None:
        """Return when `elapse` has to be called at the latest, Unix ms; it may find nothing to do then."""
        return self._deadlines[0][0] if self._deadlines else None

    def replace(self, rules: RuleSet) -> None:
        """Go on with other rules; the state of those that are as they were goes on."""
        records = self.checkpoint()
        for name, compiled in rules.rules.items():
            before = self.rules.rules.get(name)
            if before is not None and before.rule.fingerprint == compiled.rule.fingerprint:
                compiled.figures = before.figures
        self.rules, self._sources = rules, {}
        self._deadlines.clear()
        for name, record in records.items():
            self.put(name, record)
        self._changed.update(dict.fromkeys(records))

    def retarget(self) -> None:
        """Ask again who is in a group, of a type, tagged."""
        for source in self._sources.values():
            source.own.clear()
            source.known.clear()

    def put(self, name: str, record: Mapping[str, Any]) -> None:
        """Go on with a source as a checkpoint has it. Raises UnreadableRecord."""
        self._sources[name] = sources.restored(record, self.rules.rules)
        self._note(name, self._sources[name], self._sources[name].deadline())

    def checkpoint(self) -> dict[str, Any]:
        """Return all state as JSON, by source: an engine made of it goes on as this one would."""
        return {name: sources.record_of(source) for name, source in self._sources.items() if source.tracks}

    def changes(self) -> dict[str, Any]:
        """Return the state of the sources that may have changed since it was asked last; null where there is none."""
        return {name: self.record(name) for name in self.changed()}

    def changed(self) -> list[str]:
        """Return the sources whose state may have changed since it was asked last, the oldest change first."""
        changed, self._changed = self._changed, {}
        return list(changed)

    def record(self, name: str) -> dict[str, Any] | None:
        """Return the state of a source as JSON, None where there is none."""
        source = self._sources.get(name)
        return sources.record_of(source) if source is not None and source.tracks else None

    def figures(self) -> dict[str, Figures]:
        """Return what each rule has done, by id."""
        return {name: compiled.figures for name, compiled in self.rules.rules.items()}

    def explain(self, rule: str, event: Event) -> Explanation:
        """Return what a rule makes of an event that would come now, and why. Raises KeyError for an unknown rule."""
        source = self._sources.get(event.source) or Source()
        source.settle()
        track = source.tracks.get(rule)
        return explain(self.rules.rules[rule], event, track.state if track else None)

    def _source(self, name: str) -> Source:
        source = self._sources.pop(name, None)
        if source is None:
            source = Source()
            if len(self._sources) >= self._max_sources:
                self._evict(next(iter(self._sources)))
        self._sources[name] = source  # the last one that was heard of
        return source

    def _evict(self, name: str) -> None:
        source = self._sources.pop(name)
        self.evicted += 1
        for track in source.tracks.values():
            track.compiled.figures.evicted += 1
        self._changed[name] = None

    def _judge(
        self, judges: Judges, source: Source, event: Event, now: int, follows: bool, firings: list[Firing]
    ) -> None:
        """Hold an event against rules: the hot path, on which most change nothing and are not told of the event yet."""
        stateless, changing, repeating, waiting = judges
        if stateless is not None:
            for compiled in compress(stateless.rules, stateless.holds(event)):
                cause = compiled.cause(event, NOTHING, event.ts)
                self._fire(compiled, Occurrence(event, event.ts, True, event.id, cause), None, now, firings)
        if changing is not None:
            held = changing.holds(event)
            if held != source.known.get(changing):
                self._each(changing, held, source, event, now, follows, firings)
        if repeating is not None:
            held = repeating.holds(event)
            if True in held or held != source.known.get(repeating):
                self._each(repeating, held, source, event, now, follows, firings)
        for compiled in waiting:
            self._take(source.track(compiled), source, event, now, firings)

    def _each(
        self,
        together: Together,
        held: list[bool | None],
        source: Source,
        event: Event,
        now: int,
        follows: bool,
        firings: list[Firing],
    ) -> None:
        """Tell those rules of an event for which it may change something."""
        for compiled, holds in zip(together.rules, held, strict=True):
            track = source.tracks.get(compiled.id)
            if track is None:
                track = source.track(compiled)  # of events before it a rule has seen none
            elif follows:
                if holds is None or (holds is track.state.holds and (compiled.on_change or not holds)):
                    continue
                source.catch_up(track)
            before = track.state.holds
            self._take(track, source, event, now, firings)
            if track.state.holds is not before:
                source.known.clear()
        if follows:
            source.know(together, held)

    def _take(self, track: Track, source: Source, event: Event, now: int, firings: list[Firing]) -> None:
        compiled = track.compiled
        for found in track.take(event, now):
            self._fire(compiled, *found, now, firings)
        if compiled.waits:
            for found in track.release(max(source.watermark, now - compiled.lateness)):
                self._fire(compiled, *found, now, firings)
            self._note(event.source, source, track.deadline())
        elif track.backlog is not None:
            source.keep(track)

    def _released(self, name: str, source: Source, now: int) -> list[Firing]:
        firings: list[Firing] = []
        self._changed[name] = None
        for track in list(source.waiting.values()):
            compiled = track.compiled
            found = track.release(max(source.watermark, now - compiled.lateness)) if compiled.waits else []
            if track.backlog is not None:
                found += track.join(source.watermark)
            if not compiled.waits and track.backlog is None:
                del source.waiting[compiled.rule.id]
            for one in found:
                self._fire(compiled, *one, now, firings)
        self._note(name, source, source.deadline())
        return self._ordered(firings)

    def _fire(
        self, compiled: Compiled, found: Occurrence, amends: Amends | None, now: int, firings: list[Firing]
    ) -> None:
        firing = compiled.firing(found, now, amends)
        figures = compiled.figures
        if firing.late and compiled.rule.late == "ignore":
            figures.ignored += 1
            return
        figures.fired += 1
        figures.late += firing.late
        firings.append(firing)

    def _ordered(self, firings: list[Firing]) -> list[Firing]:
        if len(firings) > 1:
            firings.sort(key=lambda firing: self.rules.rules[firing.rule].order)
        return firings

    def _note(self, name: str, source: Source, deadline: int | None) -> None:
        if deadline is not None and (source.queued is None or deadline < source.queued):
            source.queued = deadline
            heapq.heappush(self._deadlines, (deadline, name))
