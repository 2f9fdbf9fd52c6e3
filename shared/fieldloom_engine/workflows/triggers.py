"""What starts workflows, compiled once and found by an event's type; what an instance starts with. (W4)"""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from fieldloom_engine.rules import templates
from fieldloom_engine.rules.compiling import ON_THE_WAY_MS, condition_of
from fieldloom_engine.rules.definition import LATENESS_MS
from fieldloom_engine.rules.event import Event
from fieldloom_engine.rules.firing import identity
from fieldloom_engine.rules.ruleset import Targets, no_targets
from fieldloom_engine.rules.templates import TemplateFailed
from fieldloom_engine.workflows import topics
from fieldloom_engine.workflows.model import (
    GIVEN,
    OnApi,
    OnDeviceState,
    OnEvent,
    OnMessage,
    OnSchedule,
    Trigger,
    TriggerSource,
    Workflow,
)
from fieldloom_engine.workflows.variables import event_variable, fits

MESSAGE = "message"
"""The type of the event that a message on a topic is: its topic stands in `metadata.topic`, its payload is `data`."""
LATE_MS = LATENESS_MS + ON_THE_WAY_MS
"""What is further behind tells of what is over."""
MAX_KEY = 256


class Start(NamedTuple):
    """An instance that shall start."""

    id: str
    """The instance's, the same whenever and wherever it is worked out: so an event starts a workflow once."""
    workflow: Workflow
    trigger: Trigger
    variables: dict[str, Any]
    """All but defaults."""
    correlation: str | None
    """Its key; None: it overlaps with nobody."""


class NotStarted(NamedTuple):
    """An instance that can't start, and why."""

    id: str
    workflow: Workflow
    trigger: Trigger
    reason: str


class Scheduled(NamedTuple):
    """A schedule of a workflow."""

    workflow: Workflow
    number: int
    """Its place among the workflow's triggers."""
    schedule: OnSchedule


class Triggers:
    """The triggers of workflows. Immutable: whoever deploys or removes one makes a new one of these."""

    def __init__(self, workflows: Iterable[Workflow], targets: Targets = no_targets) -> None:
        """Compile triggers; `targets` says who is in a group or of a type."""
        self.schedules: list[Scheduled] = []
        self._by_type: dict[str, list[_Ready]] = {}
        self._filters: list[Callable[[str], bool]] = []
        for workflow in workflows:
            for number, trigger in enumerate(workflow.triggers):
                if isinstance(trigger.on, OnSchedule):
                    self.schedules.append(Scheduled(workflow, number, trigger.on))
                elif (type_ := _type(trigger.on)) is not None:
                    self._by_type.setdefault(type_, []).append(_Ready(workflow, trigger, targets))
                if isinstance(trigger.on, OnMessage):
                    self._filters.append(topics.matching(trigger.on.topic))

    @property
    def types(self) -> frozenset[str]:
        """The types of events that may start something."""
        return frozenset(self._by_type)

    def is_for(self, topic: str) -> bool:
        """Whether a message on a topic may start something."""
        return any(matches(topic) for matches in self._filters)

    def by_event(self, event: Event, now: int) -> list[Start | NotStarted]:
        """Return what an event starts, each workflow once, by the first of its triggers that holds. `now`: Unix ms."""
        found: dict[str, Start | NotStarted] = {}
        for one in self._by_type.get(event.type, ()):
            if one.workflow.id not in found and one.holds(event, now):
                id_ = identity(one.workflow.id, "event", event.id)
                found[one.workflow.id] = _start(id_, one.workflow, one.trigger, event, now)
        return list(found.values())


def by_schedule(one: Scheduled, at: int) -> Start | NotStarted:
    """Return what a schedule starts at one of its times, Unix ms."""
    id_ = identity(one.workflow.id, f"schedule {one.number}", str(at))
    return _start(id_, one.workflow, one.workflow.triggers[one.number], None, at)


def by_request(workflow: Workflow, id_: str, given: Mapping[str, Any], now: int) -> Start | NotStarted:
    """Return what starts when somebody asks for it; who asks tells variables, `device_id` among them."""
    trigger = next((one for one in workflow.triggers if isinstance(one.on, OnApi)), Trigger(on=OnApi()))
    for name, value in given.items():
        if (fault := _refused(workflow, name, value)) is not None:
            return NotStarted(id_, workflow, trigger, f"{name} {fault}")
    return _start(id_, workflow, trigger, None, now, given)


def start_variables(workflow: Workflow, trigger: Trigger, event: Event | None, now: int) -> dict[str, Any]:
    """Return what a trigger sets. Raises TemplateFailed, and ValueError for a value of a wrong type.

    Of an event's data those declared variables are filled that it has by name and type. `device_id` is always the
    event's source as it was authenticated, whatever the data says; who sent a message is not known.
    """
    variables: dict[str, Any] = {}
    if event is not None:
        variables = {name: value for name, value in event.data.items() if _is_filled(workflow, name, value)}
        variables["event"] = event_variable(event)
        if not isinstance(trigger.on, OnMessage):
            variables["device_id"] = event.source
    render = templates.rendering(trigger.variables, names=None)
    told = trigger.variables if render is None else render({**variables, "now": now})
    for name, value in told.items():
        if name in workflow.variables and not fits(workflow.variables[name].type, value):
            raise ValueError(f"{name} is no {workflow.variables[name].type}")
    return variables | dict(told)


class _Ready:
    """A trigger for events, compiled."""

    def __init__(self, workflow: Workflow, trigger: Trigger, targets: Targets) -> None:
        self.workflow, self.trigger = workflow, trigger
        self._targets = targets
        self._condition = None if trigger.condition is None else condition_of(trigger.condition).holds
        self._admits = _admission(trigger.on)

    def holds(self, event: Event, now: int) -> bool:
        """Whether an event starts the workflow."""
        if not self._admits(event) or (event.ts < now - LATE_MS and self.trigger.late == "ignore"):
            return False
        if self._condition is not None and self._condition(event, [], event.ts) is not True:
            return False
        devices = self.workflow.devices
        return devices is None or event.type == MESSAGE or self._targets(devices, event.source)


def _type(on: TriggerSource) -> str | None:
    """Return the type of the events that a trigger is for, None if it is for none."""
    match on:
        case OnEvent():
            return on.type
        case OnDeviceState():
            return f"device.{on.state}"
        case OnMessage():
            return MESSAGE
        case _:
            return None


def _admission(on: TriggerSource) -> Callable[[Event], bool]:
    """Return whether an event of the right type is one that a trigger is for."""
    match on:
        case OnDeviceState(device=str(device)):
            return lambda event: event.source == device
        case OnMessage():
            matches = topics.matching(on.topic)
            return lambda event: matches(str(event.metadata.get("topic", "")))
        case _:
            return lambda _event: True


def _start(
    id_: str,
    workflow: Workflow,
    trigger: Trigger,
    event: Event | None,
    now: int,
    given: Mapping[str, Any] | None = None,
) -> Start | NotStarted:
    try:
        variables = start_variables(workflow, trigger, event, now) | dict(given or {})
        return Start(id_, workflow, trigger, variables, _key(workflow, trigger, variables, now))
    except (TemplateFailed, ValueError) as error:
        return NotStarted(id_, workflow, trigger, str(error))


def _key(workflow: Workflow, trigger: Trigger, variables: Mapping[str, Any], now: int) -> str | None:
    """Return an instance's correlation key. Raises TemplateFailed, and ValueError when that gives no key."""
    if trigger.correlation is not None:
        defaults = {name: one.default for name, one in workflow.variables.items() if one.default is not None}
        value = templates.compiled(trigger.correlation, names=None)({**defaults, **variables, "now": now})
        key = value if isinstance(value, str) else json.dumps(value)
        if value is None or isinstance(value, (list, Mapping)) or not 1 <= len(key) <= MAX_KEY:
            raise ValueError(f"correlation gives no text of 1 to {MAX_KEY} characters")
        return key
    if isinstance(trigger.on, (OnSchedule, OnMessage)):
        return workflow.id
    return None if isinstance(trigger.on, OnApi) else str(variables["device_id"])


def _refused(workflow: Workflow, name: str, value: Any) -> str | None:
    """Return why a variable can't be told at the start."""
    if name not in workflow.variables:
        return None if name == "device_id" and isinstance(value, str) else "is not declared"
    type_ = workflow.variables[name].type
    return None if fits(type_, value) else f"is no {type_}"


def _is_filled(workflow: Workflow, name: str, value: Any) -> bool:
    declared = workflow.variables.get(name)
    return declared is not None and name not in GIVEN and value is not None and fits(declared.type, value)
