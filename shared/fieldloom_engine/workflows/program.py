"""A workflow, compiled once: conditions as closures, templates ready to be filled, flows within flows. (W2, E4)"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from fieldloom_contract.errors import Rejected
from fieldloom_contract.plain import plain
from fieldloom_engine.durations import instant, milliseconds
from fieldloom_engine.rules import templates
from fieldloom_engine.rules.compiling import condition_of
from fieldloom_engine.rules.event import Event
from fieldloom_engine.rules.filling import NotFilled, Prepared, prepared
from fieldloom_engine.rules.instant import Read, reader
from fieldloom_engine.rules.judging import Holds, Memory
from fieldloom_engine.rules.templates import TemplateFailed
from fieldloom_engine.workflows.instance import MAX_DEPTH
from fieldloom_engine.workflows.model import (
    INDEX,
    NO_TRANSITION,
    TEMPLATE,
    WRONG_TYPE,
    Awaited,
    Fail,
    Flow,
    Map,
    Parallel,
    State,
    Succeed,
    Transition,
    Wait,
    Workflow,
)
from fieldloom_engine.workflows.variables import fits

NOTHING: Memory = []
"""What conditions on one event remember."""

Known = Mapping[str, Any]
"""What templates and conditions know, by name."""


class StateFailed(Exception):  # noqa: N818 - it reads as what happened
    """What a state was to do and can't; the text says why."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class Program:
    """A workflow that can be run; what is done with it is done to instances. Immutable."""

    def __init__(self, workflow: Workflow) -> None:
        self.workflow = workflow
        self.flow = ReadyFlow(workflow.flow, workflow)
        handler = workflow.error_handler
        action = handler.action if handler else None
        self.handler = handler
        self.handling = prepared(action, workflow.kinds, None) if action else None
        self.about = {"id": workflow.id, "version": workflow.version}
        """What templates know as `workflow`."""


class ReadyFlow:
    """States that can be run."""

    def __init__(self, flow: Flow, workflow: Workflow) -> None:
        self.initial_state = flow.initial_state
        self.states = {name: ReadyState(state, workflow) for name, state in flow.states.items()}


class ReadyState:
    """A state, compiled."""

    def __init__(self, state: State, workflow: Workflow) -> None:
        self.told = state
        self.name, self.type = state.name, state.type
        self.timeout, self.retry = state.timeout, state.retry
        self.actions = tuple(prepared(one, workflow.kinds, None) for one in state.actions)
        self.compensate = tuple(prepared(one, workflow.kinds, None) for one in state.compensate)
        self._assign = Value(dict(state.assign))
        self._types = {name: workflow.variables[name].type for name in state.assign if name in workflow.variables}
        self._transitions = _ways(state.transitions)
        self.is_decided = not state.transitions or state.transitions[0].condition is None
        """No condition decides where it goes on."""
        self.next_state = state.transitions[0].target if state.transitions and self.is_decided else None
        """Where it goes on then; None when its flow ends."""
        self._on_error = _ways(state.on_error)
        self.output = Value(state.output) if isinstance(state, Succeed) and state.output is not None else None
        self.error = state.error if isinstance(state, Fail) else ""
        self.message = Value(state.message) if isinstance(state, Fail) and state.message is not None else None
        self.looks = bool(state.assign or state.compensate or self.output or not self.is_decided)
        """What is known matters when it is left."""
        self.wait = ReadyWait(state) if isinstance(state, Wait) else None
        self.awaits = self.wait.event if self.wait else None
        self.flows = _flows(state, workflow)
        self._items = reader(state.items) if isinstance(state, Map) else None
        self._item = state.item_variable if isinstance(state, Map) else ""
        self.at_once = state.max_concurrency if isinstance(state, Map) else None
        """How many items at most are worked on at the same time, None for all."""
        self.tolerated = state.tolerated_failures if isinstance(state, Map) else 0

    def assigned(self, known: Known) -> dict[str, Any]:
        """Return the variables that are set when it is left. Raises StateFailed."""
        if not self.told.assign:
            return {}
        values: dict[str, Any] = self._assign.filled(known)
        for name, type_ in self._types.items():
            if not fits(type_, values[name]):
                raise StateFailed(WRONG_TYPE, f"{name} would be no {type_}: {shortened(values[name])}")
        return values

    def choose(self, event: Event) -> str:
        """Return where it goes on by the variables, as an event's data. Raises StateFailed."""
        target = _first(self._transitions, event)
        if target is None:
            raise StateFailed(NO_TRANSITION, "no condition of its transitions holds")
        return target

    def on_error(self, event: Event) -> str | None:
        """Return where it goes on after a failure, None when nothing here takes it over. Raises StateFailed."""
        return _first(self._on_error, event)

    def number_of_flows(self, known: Known) -> int:
        """Return how many branches or items it has. Raises StateFailed when `items` is no list."""
        return len(self.flows) if self._items is None else len(_listed(self._items(known)))

    def flow(self, number: int) -> ReadyFlow:
        """Return what the branch or item of a number runs."""
        return self.flows[number if self._items is None else 0]

    def given(self, number: int, known: Known) -> dict[str, Any]:
        """Return the variables that a branch or item has of its own at first."""
        return {} if self._items is None else {self._item: _listed(self._items(known))[number], INDEX: number}


class ReadyWait:
    """What a state waits for, compiled."""

    def __init__(self, state: Wait) -> None:
        self._duration = None if state.duration is None else Value(state.duration)
        self._until = None if state.until is None else Value(state.until)
        self.event = None if state.event is None else ReadyEvent(state.event)

    def ends_at(self, known: Known, now: int) -> int | None:
        """Return when it is over, Unix ms; None when an event ends it. Raises StateFailed."""
        if self._duration is not None:
            told = self._duration.filled(known)
            return now + (told if self._duration.is_fixed else _read(milliseconds, told))
        if self._until is not None:
            return _read(instant, self._until.filled(known))
        return None


class ReadyEvent:
    """An event that ends a wait, compiled."""

    def __init__(self, told: Awaited) -> None:
        self.type = told.type
        self.property = told.correlation.property if told.correlation else None
        self._value = Value(told.correlation.value) if told.correlation else None
        self._read: Read | None = None if self.property is None else reader(self.property)
        self._holds = None if told.condition is None else condition_of(told.condition).holds

    def key(self, known: Known) -> str | None:
        """Return what correlates: what the property of an event, or its source, has to be. Raises StateFailed."""
        return None if self._value is None else written(self._value.filled(known))

    def matches(self, event: Event, key: str | None) -> bool:
        """Whether an event of the type, whichever it correlates to, ends the wait."""
        if key is not None:
            found = event.source if self._read is None else self._read(event.data)
            if found is None or written(found) != key:
                return False
        return self.holds(event)

    def holds(self, event: Event) -> bool:
        """Whether its condition holds for an event of the type."""
        return self._holds is None or self._holds(event, NOTHING, event.ts) is True


class Value:
    """A value of a definition whose texts may be templates."""

    def __init__(self, told: Any) -> None:
        self._told, self._render = told, templates.rendering(told, None)
        self.is_fixed = self._render is None

    def filled(self, known: Known) -> Any:
        """Return the value with what is known in it. Raises StateFailed."""
        if self._render is None:
            return self._told
        try:
            return plain(self._render(known), "template", MAX_DEPTH)
        except TemplateFailed as error:
            raise StateFailed(TEMPLATE, str(error)) from error
        except Rejected as error:
            raise StateFailed(TEMPLATE, f"what it gives {error.reason}") from error


def asked(action: Prepared, known: Known) -> dict[str, Any]:
    """Return the parameters of an action. Raises StateFailed."""
    try:
        return action.fill(known)
    except NotFilled as error:
        raise StateFailed(TEMPLATE, f"{action.action.kind}: {error}") from error


def shortened(value: Any) -> str:
    """Return a value as a message shows it."""
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


_Way = tuple[str, Holds | None]


def _ways(transitions: tuple[Transition, ...]) -> tuple[_Way, ...]:
    return tuple(
        (one.target, None if one.condition is None else condition_of(one.condition).holds) for one in transitions
    )


def _first(ways: tuple[_Way, ...], event: Event) -> str | None:
    return next((target for target, holds in ways if holds is None or holds(event, NOTHING, event.ts)), None)


def _flows(state: State, workflow: Workflow) -> tuple[ReadyFlow, ...]:
    match state:
        case Parallel():
            return tuple(ReadyFlow(branch, workflow) for branch in state.branches)
        case Map():
            return (ReadyFlow(state.iterator, workflow),)
        case _:
            return ()


def _listed(found: Any) -> list[Any]:
    if not isinstance(found, list):
        raise StateFailed(WRONG_TYPE, f"items is no list: {shortened(found)}")
    return found


def _read(read: Callable[[Any], int], told: Any) -> int:
    try:
        return read(told)
    except ValueError as error:
        raise StateFailed(TEMPLATE, f"{shortened(told)} {error}") from error


def written(value: Any) -> str:
    """Return a value as a text, texts as they are."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
