"""One happening, while it is worked out: the instance as it will be, what it asks for, what is written down. (W6)"""

from collections import deque
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace as copy

from fieldloom_engine.rules.event import Event
from fieldloom_engine.rules.filling import Prepared
from fieldloom_engine.rules.firing import Effect
from fieldloom_engine.workflows.history import Kind, Record
from fieldloom_engine.workflows.instance import (
    MAX_BYTES,
    ROOT,
    Instance,
    Scope,
    around,
    effect_id,
)
from fieldloom_engine.workflows.model import TOO_LARGE
from fieldloom_engine.workflows.program import Program, ReadyEvent, ReadyFlow, ReadyState, StateFailed, asked


class Turn:
    """What one happening does to an instance. The instance that it is given stays as it was."""

    def __init__(self, program: Program, instance: Instance, now: int) -> None:
        self.program, self.now = program, now
        self.instance: Instance = copy(instance)
        self.scopes = self.instance.scopes = dict(instance.scopes)
        self.effects: list[Effect] = []
        self.abandoned: list[str] = []
        """Actions whose outcome does not matter any more."""
        self.history: list[Record] = []
        self.agenda: deque[tuple[str, str]] = deque()
        """Scopes, and the states that they have to enter."""
        self._own: set[str] = set()

    @property
    def is_changed(self) -> bool:
        """Whether anything has come of it."""
        return bool(self._own or self.history)

    def scope(self, path: str) -> Scope:
        """Return a scope to be changed."""
        scope = self.scopes[path]
        if path not in self._own:
            self._own.add(path)
            scope = self.scopes[path] = copy(scope)
        return scope

    def add(self, path: str, scope: Scope) -> None:
        """Begin with a scope."""
        self._own.add(path)
        self.scopes[path] = scope
        self.instance.size += scope.size

    def remove(self, path: str) -> None:
        """Forget a scope."""
        scope = self.scopes.pop(path)
        self.instance.size -= scope.size + scope.held

    def flow(self, path: str) -> ReadyFlow:
        """Return what runs in a scope."""
        if path == ROOT:
            return self.program.flow
        name, _, number = path.rpartition("/")[2].rsplit(".", 2)
        return self.flow(around(path)).states[name].flow(int(number))

    def state(self, path: str) -> ReadyState:
        """Return the state in which a scope is."""
        return self.flow(path).states[self.scopes[path].state]

    def awaited(self, path: str) -> ReadyEvent | None:
        """Return the event that a scope waits for, None when it waits for none."""
        return self.state(path).awaits if self.scopes[path].waits == "event" else None

    def variables(self, path: str) -> Mapping[str, Any]:
        """Return the variables that a scope sees."""
        own = self.scopes[path].variables
        return own if path == ROOT else {**self.variables(around(path)), **own}

    def known(self, path: str, now: int | None = None) -> dict[str, Any]:
        """Return what templates and conditions of a scope's state know."""
        instance = self.instance
        known = {
            **self.variables(path),
            "instance": {"id": instance.id, "correlation": instance.correlation},
            "workflow": self.program.about,
            "now": self.now if now is None else now,
        }
        if performed := self.scopes[path].performed:
            known["result"] = performed[-1].result
        return known

    def event(self, known: Mapping[str, Any]) -> Event:
        """Return what is known as what conditions judge."""
        return Event(self.instance.id, self.program.workflow.id, str(known.get("device_id", "")), self.now, known)

    def ask(self, path: str, scope: Scope, action: Prepared) -> None:
        """Ask for the next action of a scope's state. Raises StateFailed."""
        parameters = self.parameters(path, action, self.now)
        scope.waits, scope.since = "action", self.now
        scope.effect = effect_id(self.instance.id, path, scope.state, scope.step, len(scope.performed))
        self.effects.append(Effect(scope.effect, action.action.kind, parameters))

    def parameters(self, path: str, action: Prepared, now: int) -> dict[str, Any]:
        """Return the parameters of an action of a scope's state that is asked for at a time. Raises StateFailed."""
        return asked(action, self.known(path, now)) if action.fills else action.parameters

    def allow(self, size: int) -> None:
        """Hold bytes that the instance is to hold more against what it may. Raises StateFailed."""
        held = self.instance.size + size
        if size > 0 and held > MAX_BYTES:
            raise StateFailed(TOO_LARGE, f"the instance would hold {held} bytes, and {MAX_BYTES} is the most")

    def hold(self, scope: Scope, size: int) -> None:
        """Count bytes that a scope holds more. Raises StateFailed when there are too many."""
        self.allow(size)
        scope.held += size
        self.instance.size += size

    def set_variables(self, scope: Scope, variables: dict[str, Any], size: int) -> None:
        """Set the variables of a scope, which are so many bytes, however many there are then."""
        self.instance.size += size - scope.size
        scope.variables, scope.size = variables, size

    def settle(self, scope: Scope) -> None:
        """Drop what a scope's state has gathered: its variables alone remain."""
        scope.waits, scope.effect, scope.key = "", "", None
        scope.deadline = scope.wakes = None
        scope.performed, scope.outputs = (), []
        scope.begun = scope.ended = scope.lost = 0
        self.instance.size -= scope.held
        scope.held = 0

    def stop(self, path: str) -> None:
        """Abandon what a scope's state has begun: its action, and all branches within."""
        inside = f"{path}/" if path else ""
        for name in [name for name in self.scopes if name != path and name.startswith(inside)]:
            scope = self.scopes[name]
            self._abandon(scope)
            if scope.waits not in {"", "retry"}:
                self.note(name, scope, outcome="cancelled")
            self.remove(name)
        self._abandon(self.scopes[path])

    def _abandon(self, scope: Scope) -> None:
        if scope.effect:
            self.abandoned.append(scope.effect)

    def note(self, path: str, scope: Scope, **others: Any) -> None:
        """Write down how a state was left."""
        self.instance.recorded += 1
        record = Record(
            number=self.instance.recorded,
            at=self.now,
            kind="state",
            path=path,
            state=scope.state,
            step=scope.step,
            entered=scope.entered,
            attempt=scope.attempt,
            actions=scope.performed,
            **others,
        )
        self.history.append(record)

    def record(self, kind: Kind, **others: Any) -> None:
        """Write down what has happened."""
        self.instance.recorded += 1
        self.history.append(Record(number=self.instance.recorded, at=self.now, kind=kind, **others))
