"""What becomes of a start while instances with the same correlation key are active. (W4)"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from fieldloom_engine.workflows.model import Overlap

MAX_QUEUED = 100
"""So many starts wait by key at most."""


class Decision(NamedTuple):
    """What is done with a start."""

    does: Literal["start", "skip", "queue"]
    terminates: tuple[str, ...] = ()
    """The instances that are terminated first."""
    reason: str | None = None
    """Why it is not started now."""


def decide(policy: Overlap, active: Sequence[str], queued: int) -> Decision:
    """Return what becomes of a start: `active` are the instances of its workflow and key, `queued` the starts waiting.

    Whoever keeps the queue asks again when an instance ends, with the start that has waited longest, as if it came
    then and the others behind it did not wait.
    """
    if policy == "allow" or not (active or queued):
        return Decision("start")
    if policy == "replace":
        return Decision("start", tuple(active))
    if policy == "skip":
        return Decision("skip", reason=f"{active[0]} is active" if active else "another start waits")
    if queued >= MAX_QUEUED:
        return Decision("skip", reason=f"{queued} starts wait already")
    return Decision("queue", reason=f"{active[0]} is active" if active else "others wait before it")
