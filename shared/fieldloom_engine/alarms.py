"""When an alarm was active, from all that is known to have begun and ended it, in whatever order it came. (E7, E8)"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from operator import attrgetter
from typing import NamedTuple

SEVERITIES = ("info", "warning", "minor", "major", "critical")


class Mark(NamedTuple):
    """Something that begins an alarm, or ends it. Times in Unix ms."""

    at: int
    effect: str
    begins: bool
    rule: str | None = None
    severity: str = SEVERITIES[0]
    message: str = ""


@dataclass
class Episode:
    """One time of being active. What begins an alarm that is active already is counted, and may make it more severe."""

    opened_by: str
    """The effect that began it."""
    rule: str | None
    raised_at: int
    severity: str
    message: str
    last: int
    """When it was begun again for the last time."""
    effects: list[str] = field(default_factory=list)
    """All that began it."""
    cleared_at: int | None = None


def episodes(marks: Iterable[Mark]) -> list[Episode]:
    """Return the episodes of one alarm of one device, the oldest first; only the last one can be active."""
    found: list[Episode] = []
    active: Episode | None = None
    for mark in sorted(marks, key=attrgetter("at", "effect")):
        if not mark.begins:
            if active is not None:
                active.cleared_at = mark.at
            active = None
        elif active is None:
            active = Episode(mark.effect, mark.rule, mark.at, mark.severity, mark.message, mark.at, [mark.effect])
            found.append(active)
        else:
            active.last = mark.at
            active.effects.append(mark.effect)
            active.severity = graver(active.severity, mark.severity)
    return found


def graver(one: str, other: str) -> str:
    """Return the graver of two severities."""
    return max(one, other, key=SEVERITIES.index)
