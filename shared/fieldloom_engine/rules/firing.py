"""What a rule asks for when it fires. (E3, E8)"""

import hashlib
from typing import Any, Literal, NamedTuple

from fieldloom_engine.rules.event import Event

Amends = Literal["adds", "withdraws"]


class Effect(NamedTuple):
    """Something to do, or to keep undone."""

    id: str
    """The same for the same rule, cause and action, whenever and wherever it is worked out: doing it twice is once."""
    kind: str
    parameters: dict[str, Any]
    withheld: str | None = None
    """Why it must not be done: then it is recorded alone."""


class Firing(NamedTuple):
    """A rule that fires for a device."""

    rule: str
    version: str
    event: Event
    """What fired it; for `absent_for` and other ends of a wait the last event of the source."""
    at: int
    """The time for which it fires, Unix ms: the event's, or the wait's end."""
    holds: bool
    """False when it held and holds no more: what `otherwise` does."""
    cause: dict[str, Any]
    """The values that its conditions looked at, by name."""
    late: bool
    """It is further behind than the rule's lateness: not now, but how it was."""
    amends: Amends | None
    """What came out of order made it: it adds a firing that was missing, or withdraws one that should not have been."""
    effects: tuple[Effect, ...]
    asks: Literal["rule", "workflow"] = "rule"
    """What asks: a workflow's action is done as a firing of its instance."""


def identity(*parts: str | int) -> str:
    """Return an effect's id: 32 hexadecimal digits that follow from what asks for it, and from its place there."""
    return hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=16).hexdigest()


def identity_at(moment: int, *parts: str | int) -> str:
    """Return the same beginning with a moment (Unix ms), which has to follow from the parts, in 12 of the digits.

    Ids that sort as they come are appended to a database's indices, where random ones would touch a page each.
    """
    return f"{moment:012x}{identity(*parts)[:20]}"
