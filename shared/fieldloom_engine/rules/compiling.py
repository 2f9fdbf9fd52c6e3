"""A rule, compiled once: its condition as closures, what it remembers, and its actions. (E2, E3, E4, E8)"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from fieldloom_engine.rules import instant, patterns, reach, temporal
from fieldloom_engine.rules.actions import ALARMS, WITHDRAW
from fieldloom_engine.rules.anomaly import anomaly
from fieldloom_engine.rules.conditions import Condition
from fieldloom_engine.rules.definition import Rule
from fieldloom_engine.rules.event import Event
from fieldloom_engine.rules.filling import NotFilled, Prepared, prepared
from fieldloom_engine.rules.firing import Amends, Effect, Firing, identity_at
from fieldloom_engine.rules.judging import Holds, Memory, Remembering, Test, nothing

SHADOW = "the rule is in shadow"
LATE = "it is late: what is over is not acted on"
ON_THE_WAY_MS = 30_000
"""What a firing may be behind beside its rule's lateness and still be of now: what the way from a device takes."""


class Occurrence(NamedTuple):
    """A rule that begins or ceases to hold, or holds again, before it is worked out what follows."""

    event: Event
    at: int
    holds: bool
    fired_by: str
    cause: dict[str, Any]
    turn: int = 0
    """How often it was withdrawn before."""

    @property
    def key(self) -> tuple[str, bool]:
        """The same when the history that led to it is another."""
        return self.fired_by, self.holds

    @property
    def moment(self) -> int:
        """When what fired it happened: the event, or the end of a wait. Unix ms; the same for the same `fired_by`."""
        return self.event.ts if self.fired_by == self.event.id else self.at

    @property
    def name(self) -> str:
        """What its effects' ids follow from: others than those that were withdrawn."""
        return f"{self.fired_by}\0{self.turn}" if self.turn else self.fired_by


@dataclass(slots=True)
class Figures:
    """What a rule has done since it was compiled, and what it could not keep."""

    fired: int = 0
    late: int = 0
    """Of those fired, for a time that is over."""
    ignored: int = 0
    """Late events and firings of a rule that ignores them."""
    hurried: int = 0
    """Events that were judged before what is missing came, since too many waited."""
    forgotten: int = 0
    """Values that a condition had no room to remember."""
    backfilled: int = 0
    """Events that were older than all that is remembered."""
    evicted: int = 0
    """Sources whose state was given up for others."""


class Compiled:
    """A rule that can be judged. What it remembers is whoever's who keeps its memory."""

    def __init__(self, rule: Rule, order: int = 0) -> None:
        self.rule, self.order, self.id = rule, order, rule.id
        builder = _Builder()
        self.test: Test = builder.build(rule.when)
        self.holds: Holds = self.test.holds
        self.remembering: tuple[Remembering, ...] = tuple(builder.remembering)
        self.waits = bool(self.remembering)
        """Whether events have to come to it in order."""
        self.on_change = rule.fire == "on_change"
        self.has_end = bool(rule.otherwise)
        self.figures = Figures()
        self.is_stateless = not self.waits and not self.on_change and rule.cooldown is None
        self.is_instant = not self.waits and not self.is_stateless
        """It remembers no more than whether it held, and when it fired."""
        self.lateness, self.cooldown = rule.lateness, rule.cooldown
        self.sees = reach.sight(rule.when)
        """Whether events of a type matter to it."""
        self._patterns = [patterns.compiled(one) for one in reach.patterns_of(rule.when)]
        self.sources = reach.sources(rule.when)
        """The only sources that matter to it, where its patterns tell them by name."""
        self.is_for_all = rule.devices is None and all(test.kind != "source_match" for test in self.test.walk())
        self.property = self._only_property()
        self.concern = (reach.types(rule.when), reach.named(rule.when), self.property)
        """The same events matter to all rules of which this is the same."""
        self._measures = [test.measures for test in self.test.walk() if test.measures is not nothing]
        actions = enumerate(prepared(one, rule.kinds) for one in (*rule.do, *rule.otherwise))
        self._actions: tuple[tuple[int, Prepared], ...] = tuple(actions)
        """With their places among all actions of the rule: parts of their effects' ids."""

    def admits(self, source: str) -> bool:
        """Whether its patterns let events of a source be judged at all."""
        return all(match(source) for match in self._patterns)

    def test_for(self, type_: str) -> Test:
        """Return what decides it for events of a type and a source that it admits: all parts that say more."""
        if self.test.kind != "and":
            return self.test
        known = ("event_type", type_)
        rest = [part for part in self.test.parts if (part.kind, part.told) != known and part.kind != "source_match"]
        return rest[0] if len(rest) == 1 else instant.both(rest)

    def of_concern(self, events: Iterable[Event]) -> tuple[Event, ...]:
        """Return those of some events that matter to it."""
        sees, name = self.sees, self.property
        return tuple([event for event in events if sees(event.type) and (name is None or name in event.data)])

    def fresh(self) -> Memory:
        """Return a memory of nothing."""
        return [list(one.fresh) for one in self.remembering]

    def cause(self, event: Event, memory: Memory, at: int) -> dict[str, Any]:
        """Return the values that the conditions look at, those that there are."""
        found: dict[str, Any] = {}
        for measures in self._measures:
            found.update(measures(event, memory, at))
        return {name: value for name, value in found.items() if value is not None}

    def is_late(self, at: int, now: int) -> bool:
        """Whether something at a time is further behind than the rule allows. Times in Unix ms."""
        return at < now - self.lateness - ON_THE_WAY_MS

    def firing(self, found: Occurrence, now: int, amends: Amends | None = None) -> Firing:
        """Return what follows from an occurrence at a time, Unix ms."""
        rule = self.rule
        late = self.is_late(found.at, now)
        actions = self._actions[: len(rule.do)] if found.holds else self._actions[len(rule.do) :]
        if amends == "withdraws":
            effects = [self._withdrawal(place, one, found) for place, one in actions if one.action.kind in ALARMS]
        else:
            known = _known(rule, found)
            reason = SHADOW if rule.shadow else LATE if late and rule.late != "fire" else None
            effects = [self._effect(place, one, found, known, reason) for place, one in actions]
        return Firing(
            rule.id, rule.version, found.event, found.at, found.holds, found.cause, late, amends, tuple(effects)
        )

    def _only_property(self) -> str | None:
        """Return the property without which the rule neither holds nor remembers anything, if there is such a one."""
        tests = list(self.test.walk())
        names = {name for test in tests for name in test.properties}
        others = {"cel", "sequence", "count_in_window", "absent_for"}
        if len(names) != 1 or any(test.kind in others for test in tests):
            return None
        (name,) = names
        return None if "." in name else name

    def _effect(
        self, place: int, one: Prepared, found: Occurrence, known: dict[str, Any], reason: str | None
    ) -> Effect:
        kind, told = one.action
        if reason == LATE and one.kind.is_record:
            reason = None
        effect = identity_at(found.moment, self.rule.id, self.rule.version, found.name, place)
        try:
            parameters = one.fill(known)
        except NotFilled as error:
            return Effect(effect, kind, told, str(error))
        return Effect(effect, kind, parameters, reason)

    def _withdrawal(self, place: int, one: Prepared, found: Occurrence) -> Effect:
        done = self._effect(place, one, found, _known(self.rule, found), SHADOW if self.rule.shadow else None)
        name = f"{found.name}\0{WITHDRAW}"
        identifier = identity_at(found.moment, self.rule.id, self.rule.version, name, place)
        return Effect(identifier, WITHDRAW, {**done.parameters, "kind": done.kind, "effect": done.id}, done.withheld)


def condition_of(condition: Condition) -> Test:
    """Return a condition on one event alone, compiled."""
    return _Builder().build(condition)


class _Builder:
    """Compiles conditions, and gives each that remembers a slot."""

    def __init__(self) -> None:
        self.remembering: list[Remembering] = []
        self._kinds: Mapping[str, Callable[[Any], Test]] = {
            "event_type": instant.event_type,
            "source_match": instant.source_match,
            "property_equals": instant.property_equals,
            "property_range": instant.property_range,
            "cel": instant.cel,
            "and": lambda parts: instant.both([self.build(part) for part in parts]),
            "or": lambda parts: instant.either([self.build(part) for part in parts]),
            "not": lambda part: instant.inverse(self.build(part)),
            "sequence": lambda told: self._remembered(
                lambda slot: temporal.sequence(told, tuple(map(self.build, told.steps)), slot)
            ),
            "count_in_window": lambda told: self._remembered(
                lambda slot: temporal.count_in_window(told, self._optional(told.where), slot)
            ),
            "absent_for": lambda told: self._remembered(
                lambda slot: temporal.absent_for(told, self.build(told.event), self._optional(told.after), slot)
            ),
            "rate_of_change": lambda told: self._remembered(lambda slot: temporal.rate_of_change(told, slot)),
            "anomaly": lambda told: self._remembered(lambda slot: anomaly(told, slot)),
        }

    def build(self, condition: Condition) -> Test:
        """Return a condition, compiled."""
        return self._kinds[condition.kind](condition.content)

    def _optional(self, condition: Condition | None) -> Test | None:
        return None if condition is None else self.build(condition)

    def _remembered(self, build: Callable[[int], temporal.Built]) -> Test:
        test, remembering = build(len(self.remembering))
        self.remembering.append(remembering)
        return test


def _known(rule: Rule, found: Occurrence) -> dict[str, Any]:
    """Return what templates know."""
    event = found.event
    return {
        "device_id": event.source,
        "event": {"id": event.id, "type": event.type, "source": event.source, "ts": event.ts},
        "data": event.data,
        "metadata": event.metadata,
        "cause": found.cause,
        "at": found.at,
        "rule": {"id": rule.id, "version": rule.version},
    }
