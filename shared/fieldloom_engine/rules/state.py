"""How a rule's state for one source goes on from event to event: pure but for the state that it is given. (E2)"""

from fieldloom_engine.rules.compiling import Compiled, Occurrence
from fieldloom_engine.rules.event import Event
from fieldloom_engine.rules.judging import Memory

AFTER_ALL = "\U0010ffff"  # an id behind all others: at the end of a wait what happened at its time has been seen


class State:
    """A rule's state for one source, up to a place in the order of its events."""

    __slots__ = ("event", "fired_at", "holds", "id", "is_open", "memory", "ts")

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.holds: bool | None = None
        self.is_open = False
        """It has fired, and its end is still to come."""
        self.fired_at: int | None = None
        self.ts, self.id = -1, ""
        self.event: Event | None = None
        """The last one."""

    @property
    def key(self) -> tuple[int, str]:
        """The place in the order of events up to which it goes."""
        return self.ts, self.id

    def copy(self) -> "State":
        """Return the same, apart."""
        other = State([slot[:] for slot in self.memory] if self.memory else self.memory)
        other.holds, other.is_open, other.fired_at = self.holds, self.is_open, self.fired_at
        other.ts, other.id, other.event = self.ts, self.id, self.event
        return other


def judge(compiled: Compiled, state: State, event: Event) -> Occurrence | None:
    """Take in the next event, and return what it makes the rule do."""
    for remembering, slot in zip(compiled.remembering, state.memory, strict=True):
        if remembering.feed(event, slot):
            compiled.figures.forgotten += 1
    state.ts, state.id, state.event = event.ts, event.id, event
    holds = compiled.holds(event, state.memory, event.ts)
    if holds is None:
        return None
    held, state.holds = state.holds, holds
    if not holds:
        return _end(compiled, state, event, event.ts, event.id)
    if held and compiled.on_change:
        return None
    return _begin(compiled, state, event, event.ts, event.id)


def due(compiled: Compiled, state: State) -> int | None:
    """Return when time alone may change what a rule says next, Unix ms."""
    times = [
        time
        for remembering, slot in zip(compiled.remembering, state.memory, strict=True)
        if (time := remembering.due(slot)) is not None and time > state.ts
    ]
    return min(times) if times else None


def pass_time(compiled: Compiled, state: State, at: int) -> Occurrence | None:
    """Go on to a time at which a wait ends, without an event, and return what it makes the rule do.

    The rest of the condition is judged by the last event.
    """
    event = state.event
    state.ts, state.id = at, AFTER_ALL
    if event is None:
        return None
    holds = compiled.holds(event, state.memory, at)
    if holds is None or holds == state.holds:
        return None
    state.holds = holds
    fired_by = f"{event.source}@{at}"
    return (_begin if holds else _end)(compiled, state, event, at, fired_by)


def _begin(compiled: Compiled, state: State, event: Event, at: int, fired_by: str) -> Occurrence | None:
    cooldown, before = compiled.cooldown, state.fired_at
    if cooldown is not None and before is not None and at - before < cooldown:
        return None
    state.fired_at, state.is_open = at, True
    return Occurrence(event, at, True, fired_by, compiled.cause(event, state.memory, at))


def _end(compiled: Compiled, state: State, event: Event, at: int, fired_by: str) -> Occurrence | None:
    if not state.is_open:
        return None
    state.is_open = False
    if not compiled.has_end:
        return None
    return Occurrence(event, at, False, fired_by, compiled.cause(event, state.memory, at))
