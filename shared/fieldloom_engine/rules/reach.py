"""Which events a rule has to see at all: so a rule for others costs nothing, and does not end by what is none of it."""

from collections.abc import Callable
from functools import reduce
from typing import NamedTuple

from fieldloom_engine.rules import patterns
from fieldloom_engine.rules.conditions import Condition
from fieldloom_engine.rules.event import MADE_BY_RULES

Types = frozenset[str] | None
"""Types of events, None for all."""


class _Reach(NamedTuple):
    types: Types
    is_own: bool = False
    """The types are those that a condition remembers; beside others it bounds nothing."""
    remembered: frozenset[str] = frozenset()


def types(condition: Condition) -> Types:
    """Return the types of events that a condition may hold for or has to remember."""
    found = _reach(condition)
    return None if found.types is None else found.types | found.remembered


def named(condition: Condition) -> frozenset[str]:
    """Return all types of events that a condition names, wherever in it."""
    told = condition.content
    match condition.kind:
        case "event_type":
            return frozenset((told,))
        case "and" | "or":
            parts = told
        case "not":
            parts = [told]
        case "sequence":
            parts = told.steps
        case "count_in_window":
            parts = [told.where]
        case "absent_for":
            parts = [told.event, told.after]
        case _:
            parts = []
    return frozenset().union(*(named(part) for part in parts if part is not None))


def sight(condition: Condition) -> Callable[[str], bool]:
    """Return what tells of a type whether its events go to a rule: those that follow from rules only by their name."""
    bounds, by_name = types(condition), named(condition)
    if bounds is not None:
        return bounds.__contains__
    return lambda type_: not type_.startswith(MADE_BY_RULES) or type_ in by_name


def patterns_of(condition: Condition) -> list[str]:
    """Return the patterns of which every one has to match an event's source."""
    if condition.source_match is not None:
        return [condition.source_match]
    return [pattern for part in condition.and_ or [] for pattern in patterns_of(part)]


def sources(condition: Condition) -> frozenset[str] | None:
    """Return the only sources that a condition may hold for, None when its patterns do not list them."""
    listed = [names for one in patterns_of(condition) if (names := patterns.names_of(one)) is not None]
    return reduce(frozenset.intersection, listed) if listed else None


def _reach(condition: Condition) -> _Reach:
    told = condition.content
    match condition.kind:
        case "event_type":
            found = _Reach(frozenset((told,)))
        case "and":
            found = _all_of([_reach(part) for part in told])
        case "or":
            parts = [_reach(part) for part in told]
            found = _Reach(_joined(parts), all(part.is_own for part in parts), _remembered(parts))
        case "not":
            found = _Reach(None, remembered=_reach(told).remembered)
        case "sequence":
            found = _own([_reach(step) for step in told.steps])
        case "count_in_window" if told.where is not None:
            found = _own([_reach(told.where)])
        case "absent_for":
            found = _own([_reach(one) for one in (told.event, told.after) if one is not None])
        case _:
            found = _Reach(None)
    return found


def _all_of(parts: list[_Reach]) -> _Reach:
    bounds = [part.types for part in parts if not part.is_own and part.types is not None]
    if bounds:
        return _Reach(reduce(frozenset.intersection, bounds), remembered=_remembered(parts))
    if all(part.is_own for part in parts):
        return _Reach(_joined(parts), is_own=True, remembered=_remembered(parts))
    return _Reach(None, remembered=_remembered(parts))


def _own(parts: list[_Reach]) -> _Reach:
    joined = _joined(parts)
    return _Reach(joined, joined is not None, joined or frozenset())


def _joined(parts: list[_Reach]) -> Types:
    found: frozenset[str] = frozenset()
    for part in parts:
        if part.types is None:
            return None
        found |= part.types
    return found


def _remembered(parts: list[_Reach]) -> frozenset[str]:
    return frozenset().union(*(part.remembered for part in parts))
