"""Conditions on one event: type, source, properties, expressions, and what joins conditions. (E2)"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fieldloom_engine import expressions
from fieldloom_engine.rules import patterns
from fieldloom_engine.rules.conditions import EXAMPLE, PropertyEquals, PropertyRange
from fieldloom_engine.rules.event import Event
from fieldloom_engine.rules.judging import Holds, Measures, Memory, Test, nothing

Read = Callable[[Mapping[str, Any]], Any]


def reader(name: str) -> Read:
    """Return what reads a property: the one of that very name, else along the path; None where there is none."""
    if "." not in name:
        return lambda data: data.get(name)
    path = name.split(".")

    def read(data: Mapping[str, Any]) -> Any:
        found: Any = data.get(name)
        if found is not None:
            return found
        found = data
        for step in path:
            if not isinstance(found, Mapping):
                return None
            found = found.get(step)
        return found

    return read


def is_number(value: Any) -> bool:
    """Whether a value is a number; a boolean is none."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def measuring(name: str) -> Measures:
    """Return what tells a property's value."""
    read = reader(name)
    return lambda event, _memory, _at: {name: read(event.data)}


def event_type(told: str) -> Test:
    """Hold an event's type against one."""
    return Test("event_type", told, lambda event, _memory, _at: event.type == told, nothing)


def source_match(told: str) -> Test:
    """Hold the whole of an event's source against a pattern."""
    match = patterns.compiled(told)
    return Test("source_match", told, lambda event, _memory, _at: match(event.source) is not None, nothing)


def property_equals(told: PropertyEquals) -> Test:
    """Hold a property against a value; to Python 1 and true are equal, here they are not."""
    read, value, is_boolean = reader(told.property), told.value, isinstance(told.value, bool)

    def holds(event: Event, _memory: Memory, _at: int) -> bool | None:
        found = read(event.data)
        if found is None:
            return None
        return bool(found == value) and isinstance(found, bool) == is_boolean

    return Test("property_equals", told.model_dump(), holds, measuring(told.property), properties=(told.property,))


def property_range(told: PropertyRange) -> Test:
    """Hold a property against a range; a text or a boolean is in none."""
    measures, shown = measuring(told.property), told.model_dump(exclude_none=True)
    low, high = _limits(shown)
    name, read = told.property, reader(told.property)

    def holds(event: Event, _memory: Memory, _at: int) -> bool | None:
        value = event.data.get(name)
        if value.__class__ is float or value.__class__ is int:
            return low <= value <= high
        return None if value is None else False

    def holds_along(event: Event, _memory: Memory, _at: int) -> bool | None:
        value = read(event.data)
        return None if value is None else is_number(value) and low <= value <= high

    test = holds_along if "." in name else holds
    return Test("property_range", shown, test, measures, properties=(name,))


def range_of(test: Test, name: str) -> tuple[float, float] | None:
    """Return the limits of a condition that is a range of this very property, None for all others."""
    return _limits(test.told) if test.kind == "property_range" and test.properties == (name,) else None


def _limits(told: Mapping[str, Any]) -> tuple[float, float]:
    return told.get("min", float("-inf")), told.get("max", float("inf"))


def cel(told: str) -> Test:
    """Evaluate an expression; what it can't be evaluated on is unknown. Numbers of an event are doubles."""
    execute = expressions.compiled(told, EXAMPLE)

    def holds(event: Event, _memory: Memory, _at: int) -> bool | None:
        known = {"type": event.type, "source": event.source, "ts": event.ts}
        try:
            found = execute({**known, "data": _doubles(event.data), "metadata": _doubles(event.metadata)})
        except expressions.FAILURES:
            return None
        return found if isinstance(found, bool) else None

    return Test("cel", told, holds, lambda event, _memory, _at: {"data": dict(event.data)})


def _doubles(value: Any) -> Any:
    """Return a value whose numbers are all doubles: CEL does not multiply a whole number with one."""
    if isinstance(value, Mapping):
        return {name: _doubles(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_doubles(part) for part in value]
    return float(value) if is_number(value) else value


def both(parts: Sequence[Test]) -> Test:
    """Join with `and`."""
    tests = tuple(part.holds for part in parts)

    def holds(event: Event, memory: Memory, at: int) -> bool | None:
        result: bool | None = True
        for test in tests:
            held = test(event, memory, at)
            if held is False:
                return False
            if held is None:
                result = None
        return result

    return Test("and", None, holds, nothing, tuple(parts))


def either(parts: Sequence[Test]) -> Test:
    """Join with `or`."""
    tests = tuple(part.holds for part in parts)

    def holds(event: Event, memory: Memory, at: int) -> bool | None:
        result: bool | None = False
        for test in tests:
            held = test(event, memory, at)
            if held:
                return True
            if held is None:
                result = None
        return result

    return Test("or", None, holds, nothing, tuple(parts))


def inverse(part: Test) -> Test:
    """Turn a condition round."""
    test: Holds = part.holds

    def holds(event: Event, memory: Memory, at: int) -> bool | None:
        held = test(event, memory, at)
        return None if held is None else not held

    return Test("not", None, holds, nothing, (part,))
