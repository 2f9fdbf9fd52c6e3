"""What happens to an instance. (W2, W4, W6, W7)"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from fieldloom_engine.rules.event import Event


class Started(NamedTuple):
    """It begins; an instance that has begun takes no notice."""


class Answered(NamedTuple):
    """An action that it asked for is done or has failed; one that it does not wait for, or not any more, is ignored."""

    effect: str
    succeeded: bool
    result: Any = None
    error: str | None = None


class Occurred(NamedTuple):
    """An event that it may wait for; it ends every wait that it fits at this moment, and none that begins later."""

    event: Event


class Signalled(NamedTuple):
    """An event for this very instance: nothing has to correlate."""

    event: Event


class TimePassed(NamedTuple):
    """The time that `next_deadline` told has come."""


class Terminated(NamedTuple):
    """A person or an overlap policy ends it; what it did is undone first, or left as it is."""

    reason: str
    undo: bool = True


class Replayed(NamedTuple):
    """It begins again at a state of the workflow's own flow, with the variables that it ended with, and others."""

    state: str
    variables: Mapping[str, Any] = {}


Happening = Started | Answered | Occurred | Signalled | TimePassed | Terminated | Replayed
