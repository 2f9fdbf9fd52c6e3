"""Rules that an event is held against together: all their conditions at once, rather than a call for each. (E2)"""

from collections.abc import Sequence

from fieldloom_engine.rules.compiling import Compiled
from fieldloom_engine.rules.event import Event
from fieldloom_engine.rules.instant import range_of
from fieldloom_engine.rules.judging import Memory, Test

NOTHING: Memory = []


class Together:
    """Rules that do not look at what came before, each with what decides it for events of one type.

    Most conditions are a metric and its limits: the metric is read once, and held against all limits in one loop.
    """

    __slots__ = ("_limits", "_others", "_property", "rules")

    def __init__(self, told: Sequence[tuple[Compiled, Test]], name: str = "") -> None:
        """Join rules; `name` is a property that all events for them have, if there is such a one."""
        in_range = {one: limits for one, test in told if (limits := range_of(test, name)) is not None}
        others = {one: test.holds for one, test in told if one not in in_range}
        self.rules = (*in_range, *others)
        self._property = name
        self._limits = tuple(in_range.values())
        self._others = tuple(others.values())

    def holds(self, event: Event) -> list[bool | None]:
        """Return whether each rule holds by an event alone; None for unknown."""
        held: list[bool | None] = []
        if self._limits:
            value = event.data[self._property]
            if value.__class__ is float or value.__class__ is int:
                held = [low <= value <= high for low, high in self._limits]
            else:
                held = [None if value is None else False] * len(self._limits)
        for holds in self._others:
            held.append(holds(event, NOTHING, event.ts))
        return held
