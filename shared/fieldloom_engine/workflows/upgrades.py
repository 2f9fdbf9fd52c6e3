"""Which running instances a new version would break, and where. (W7)

Instances finish on the version that they started with; this tells what would be if they did not.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from fieldloom_engine.workflows.model import (
    GIVEN,
    Flow,
    Map,
    Parallel,
    State,
    StatePath,
    Wait,
    Workflow,
    flow_of,
    state_at,
)
from fieldloom_engine.workflows.variables import fits


class Break(NamedTuple):
    """Why an instance could not go on under another version."""

    state: StatePath
    """Where it is, () for the instance as a whole."""
    reason: str

    def __str__(self) -> str:
        where = "/".join(map(str, self.state))
        return f"{where}: {self.reason}" if where else self.reason


def breaks(old: Workflow, new: Workflow, active: Iterable[StatePath], variables: Mapping[str, Any]) -> list[Break]:
    """Return why an instance that is in these states, with these variables, can't go on under a new version."""
    return [
        *_placement(old, new),
        *_variables(new, variables),
        *(found for path in active for found in _state(old.flow, new.flow, path)),
    ]


def _placement(old: Workflow, new: Workflow) -> Iterator[Break]:
    if old.placement != new.placement:
        yield Break((), f"its placement is {new.placement}, and that of the instance is {old.placement}")


def _variables(new: Workflow, values: Mapping[str, Any]) -> Iterator[Break]:
    for name, value in values.items():
        if name in GIVEN:
            continue
        declared = new.variables.get(name)
        if declared is None:
            yield Break((), f"the variable {name} is gone")
        elif value is not None and not fits(declared.type, value):
            yield Break((), f"the variable {name} is of type {declared.type} now, and its value is none")


def _state(old: Flow, new: Flow, path: StatePath) -> Iterator[Break]:
    """Return the first reason on the way to an active state."""
    for end in range(1, len(path) + 1, 2):
        here = path[:end]
        before, after = state_at(old, here), state_at(new, here)
        reason = _changed(before, after) if before is not None else "is no state of the version that it runs"
        if reason is None and end < len(path) and after is not None and flow_of(after, path[end]) is None:
            reason = f"has no branch {path[end]} any more"
        if reason is not None:
            yield Break(here, reason)
            return


def _changed(before: State, after: State | None) -> str | None:
    if after is None:
        return "is gone"
    if before.type != after.type:
        return f"was of type {before.type}, and is of type {after.type}"
    if before.actions != after.actions and not isinstance(before, (Map, Parallel)):
        return "has other actions, and those of before may be under way"
    if isinstance(before, Wait) and isinstance(after, Wait):
        return _waits_otherwise(before, after)
    return None


def _waits_otherwise(before: Wait, after: Wait) -> str | None:
    if before.event is None or after.event is None:
        return None if before.event is after.event else "does not wait for the same: an event, or a time"
    same = (before.event.type, before.event.correlation) == (after.event.type, after.event.correlation)
    return None if same else f"waits for another event: {after.event.type}"
