"""Compiled rules, found by what an event is: so a rule that is for other events costs nothing. (E2)"""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from fieldloom_engine.definitions import twice
from fieldloom_engine.rules.compiling import Compiled
from fieldloom_engine.rules.definition import Devices, Rule
from fieldloom_engine.rules.event import Event
from fieldloom_engine.rules.together import Together

MAX_TYPES = 10_000  # of events, whose ways are remembered

Targets = Callable[[Devices, str], bool]
"""Whether a device is one of those that a rule is for, as its tier knows."""


def no_targets(_devices: Devices, _source: str) -> bool:
    """Return False: who supplies no predicate has no groups and no types."""
    return False


class Judges(NamedTuple):
    """Rules by what they remember, since each sort is judged in its own way; None where there are none."""

    stateless: Together | None
    changing: Together | None
    """Those that fire when they begin to hold."""
    repeating: Together | None
    """Those that fire each time, but for their cooldown."""
    waiting: tuple[Compiled, ...]


class Way(NamedTuple):
    """Which rules an event of one type goes to."""

    always: Judges | None = None
    by_property: Mapping[str, Judges] = {}
    """Those that nothing but this property of its data matters to."""

    def is_for(self, event: Event) -> bool:
        """Whether there are any rules for an event of this way."""
        return self.always is not None or any(name in self.by_property for name in event.data)


class RuleSet:
    """Rules, compiled once. Immutable but for their figures and what is found again."""

    def __init__(self, rules: Iterable[Rule], targets: Targets = no_targets) -> None:
        """Compile rules; `targets` says who is in a group or of a type. Raises ValueError for an id given twice."""
        self.rules: dict[str, Compiled] = {}
        told = list(rules)
        if (again := twice(rule.id for rule in told)) is not None:
            raise ValueError(f"the rule {again} is given twice")
        for order, rule in enumerate(told):
            self.rules[rule.id] = Compiled(rule, order)
        self._targets = targets
        self._for_all = [one for one in self.rules.values() if one.is_for_all]
        self._for_some = [one for one in self.rules.values() if not one.is_for_all and one.sources is None]
        self._by_source: dict[str, list[Compiled]] = {}
        for one in self.rules.values():
            for source in one.sources or ():
                self._by_source.setdefault(source, []).append(one)
        self._shared: dict[str, Way] = {}
        self._seen: dict[str, bool] = {}

    def sees(self, type_: str) -> bool:
        """Whether events of a type matter to any rule."""
        found = self._seen.get(type_)
        if found is None:
            found = any(one.sees(type_) for one in self.rules.values())
            if len(self._seen) < MAX_TYPES:
                self._seen[type_] = found
        return found

    def shared(self, type_: str) -> Way:
        """Return the rules that events of a type go to from whatever source."""
        way = self._shared.get(type_)
        if way is None:
            way = _way(self._for_all, type_, "")
            if len(self._shared) < MAX_TYPES:
                self._shared[type_] = way
        return way

    def own(self, type_: str, source: str) -> Way:
        """Return the rules that events of a type go to from this source alone; the caller keeps it."""
        named = self._by_source.get(source, ())
        candidates = [one for one in (*self._for_some, *named) if one.admits(source)]
        return _way([one for one in candidates if self._is_target(one, source)], type_, source)

    def _is_target(self, one: Compiled, source: str) -> bool:
        return one.rule.devices is None or self._targets(one.rule.devices, source)


def _way(candidates: Iterable[Compiled], type_: str, source: str) -> Way:
    always: list[Compiled] = []
    by_property: dict[str, list[Compiled]] = {}
    without_data = Event("", type_, source, 0, {})
    for one in candidates:
        if not one.sees(type_):
            continue
        if one.property is not None and one.holds(without_data, one.fresh(), 0) is None:
            by_property.setdefault(one.property, []).append(one)
        else:
            always.append(one)
    joined = {name: _judges(found, type_, name) for name, found in by_property.items()}
    return Way(_judges(always, type_) if always else None, joined)


def _judges(found: list[Compiled], type_: str, name: str = "") -> Judges:
    def together(rules: list[Compiled]) -> Together | None:
        return Together([(one, one.test_for(type_)) for one in rules], name) if rules else None

    return Judges(
        together([one for one in found if one.is_stateless]),
        together([one for one in found if one.is_instant and one.on_change]),
        together([one for one in found if one.is_instant and not one.on_change]),
        tuple(one for one in found if one.waits),
    )
