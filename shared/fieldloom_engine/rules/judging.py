"""Compiled conditions. What an event does not tell is unknown, neither true nor false. (E2)

`and` is false when a part is false, else unknown when a part is; `or` is true when a part is true, else unknown when a
part is; `not` leaves the unknown unknown. So a record without a rule's metric neither fires the rule nor ends it.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from fieldloom_engine.rules.event import Event

Slot = list[Any]
Memory = list[Slot]
"""What a rule remembers of a source: a flat list of numbers for each condition that remembers."""

Holds = Callable[[Event, Memory, int], bool | None]
"""Whether a condition holds by an event, what is remembered, and the time (Unix ms); None for unknown. Pure."""
Measures = Callable[[Event, Memory, int], dict[str, Any]]
"""The values that a condition looks at, by name. Pure."""


class Remembering(NamedTuple):
    """What a condition remembers of a source."""

    fresh: tuple[Any, ...]
    feed: Callable[[Event, Slot], bool]
    """Takes an event in, in the order of their time, and says whether something had to be forgotten for it."""
    due: Callable[[Slot], int | None]
    """When time alone may change what the condition says, Unix ms."""


class Test(NamedTuple):
    """A compiled condition."""

    kind: str
    told: Any
    """What stands under its key, where that is no condition."""
    holds: Holds
    measures: Measures
    parts: tuple["Test", ...] = ()
    properties: tuple[str, ...] = ()
    """What it reads of an event's data."""

    def walk(self) -> Iterator["Test"]:
        """Return this condition and all within."""
        yield self
        for part in self.parts:
            yield from part.walk()


def nothing(event: Event, memory: Memory, at: int) -> dict[str, Any]:  # noqa: ARG001 - of all measures one signature
    """Return no values."""
    return {}
