"""A workflow that is well-formed, as plain data. Times and durations in ms, instants in Unix ms. (W1, W2, W4)

A flow is a set of states and the one that it begins with: the workflow itself, each branch of a `parallel`, and the
iterator of a `map`. A state's place is a path of names and numbers: `("both", 1, "measure")` is the state `measure` in
the second branch of `both`, `("each", 4, "measure")` the one for the fifth item of `each`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from fieldloom_engine.rules.action_list import Action
from fieldloom_engine.rules.actions import Kind
from fieldloom_engine.rules.conditions import Condition
from fieldloom_engine.rules.definition import Devices

VariableType = Literal["string", "number", "integer", "boolean", "object", "array", "any"]
StateType = Literal["task", "choice", "parallel", "map", "wait", "succeed", "fail"]
Placement = Literal["edge", "cloud"]
Overlap = Literal["allow", "skip", "queue", "replace"]
Missed = Literal["skip", "once", "all"]
Late = Literal["ignore", "start"]
Ending = Literal["succeeded", "failed"]
StatePath = tuple[str | int, ...]

GIVEN = ("device_id", "error", "event", "failure", "instance", "now", "result", "workflow")
"""What templates and conditions know beside the declared variables. `device_id`: the device that it is about, as it was
authenticated. `event`: what started it, `{id, type, source, ts, data, metadata}`. `result`: what the last action of the
last state gave; of a wait the event that ended it; of a parallel or map the list of its branches' outputs, in order.
`error`: what went wrong last, a text; `failure`: the same as `{kind, message, state}`. `instance`: `{id, correlation}`.
`workflow`: `{id, version}`. `now`: Unix ms."""
ITEM, INDEX = "item", "index"
"""What an iterator knows besides: its item, under the name that the map tells, and the item's place, from 0."""

ACTION_FAILED, TIMEOUT, TEMPLATE, NO_TRANSITION, BRANCH_FAILED, WRONG_TYPE, TOO_LARGE, ENDLESS = (
    "action_failed",
    "timeout",
    "template",
    "no_transition",
    "branch_failed",
    "wrong_type",
    "too_large",
    "endless",
)
"""Kinds of failures, beside those that a state of type `fail` names itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A declared variable."""

    name: str
    type: VariableType = "any"
    default: Any = None
    """None: it has no value until it is given one, and a template that names it fails until then."""
    description: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """Where it goes on, the first whose condition holds; an unknown condition does not hold."""

    target: str
    condition: Condition | None = None
    """Over the variables, as if they were an event's data. None: always, so it is the last one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How often and when a state that failed is tried again, from its first action on."""

    max_attempts: int
    """In all, the first one included."""
    delay: int = 1000
    """Before the second attempt."""
    multiplier: float = 1.0
    """Each further delay is so many times the one before."""
    max_delay: int | None = None
    jitter: float = 0.0
    """The share of a delay that is drawn: with 0.2 it is 80 to 100 % of it, with 1 anything up to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What all states have: actions are done, one after the other; then what its type says; then `assign`."""

    type: ClassVar[StateType]
    name: str
    description: str | None = None
    actions: tuple[Action, ...] = ()
    """One that fails makes the state fail."""
    assign: Mapping[str, Any] = field(default_factory=dict)
    """Variables that are set when it is left in success, all at once: values whose texts may be templates."""
    timeout: int | None = None
    """Of one attempt, from its beginning; failure `timeout`."""
    retry: Retry | None = None
    on_error: tuple[Transition, ...] = ()
    """Where it goes on when it failed and no attempt is left; conditions know `failure.kind`."""
    transitions: tuple[Transition, ...] = ()
    """None at all: its flow succeeds after it."""
    compensate: tuple[Action, ...] = ()
    """What undoes this state, done when the workflow fails or is terminated after the state was left in success: the
    last left first, with the variables as they were then. What would be done twice in the same way is done once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(State):
    """Does its actions."""

    type: ClassVar[StateType] = "task"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice(State):
    """Goes on by what is so."""

    type: ClassVar[StateType] = "choice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parallel(State):
    """Runs all branches at once; the first failure cancels the others. A branch has a copy of the variables."""

    type: ClassVar[StateType] = "parallel"
    branches: tuple["Flow", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Map(State):
    """Runs a flow for each item of a list; the first failure that is not tolerated cancels the others."""

    type: ClassVar[StateType] = "map"
    items: str
    """A path in the variables, to a list."""
    iterator: "Flow"
    item_variable: str = ITEM
    max_concurrency: int | None = None
    """So many at once; None for all."""
    tolerated_failures: int = 0
    """So many items may fail; their outputs are null."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Correlation:
    """Whose events end a wait: those of which a property has a value."""

    value: str
    """A template, or the value itself, as a text."""
    property: str | None = None
    """A path in the event's data; None for the event's source."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaited:
    """An event that ends a wait."""

    type: str
    correlation: Correlation | None
    """None: of whatever source (`any_source` in a file)."""
    condition: Condition | None = None
    """Over the event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait(State):
    """Waits: exactly one of these is told."""

    type: ClassVar[StateType] = "wait"
    duration: int | str | None = None
    """`for` in a file: ms, or a template that gives a duration."""
    until: int | str | None = None
    """An instant, or a template that gives one, in RFC 3339 or Unix ms; one that is over does not wait."""
    event: Awaited | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeed(State):
    """Ends its flow well."""

    type: ClassVar[StateType] = "succeed"
    output: Any = None
    """What the flow gives, a value whose texts may be templates; None: its `result`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fail(State):
    """Ends its flow as failed."""

    type: ClassVar[StateType] = "fail"
    error: str = "failed"
    """The failure's kind."""
    message: str | None = None
    """Its text, or a template."""


@dataclass(frozen=True, slots=True)
class Flow:
    """States, and the one that it begins with."""

    initial_state: str
    states: Mapping[str, State]


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorHandler:
    """What is done when a state failed and nothing in its flow takes that over, once; then it ends so."""

    action: Action | None = None
    result_state: str | None = None
    """A state of the workflow itself at which it goes on; None: it ends as `ending` says."""
    ending: Ending = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class OnEvent:
    """Events of a type."""

    type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OnSchedule:
    """Times of the clock."""

    cron: str
    timezone: str = "UTC"
    missed: Missed = "skip"
    """What becomes of those times at which nobody ran: nothing; one start for all; a start for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnApi:
    """A person or a program asks for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnDeviceState:
    """A device changes to a state: an event of type `device.STATE`."""

    state: str
    device: str | None = None
    """None for all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnMessage:
    """A message on a topic of the site, at the broker of one of its gateways."""

    topic: str
    """A topic filter of MQTT."""


TriggerSource = OnEvent | OnSchedule | OnApi | OnDeviceState | OnMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """What starts an instance."""

    on: TriggerSource
    condition: Condition | None = None
    """Over the event."""
    overlap: Overlap = "skip"
    """What becomes of a start while an instance with the same correlation key is active."""
    correlation: str | None = None
    """A template over the variables that gives the key. None: the device; of a schedule or a message the workflow
    itself; of who asks for it no key at all. Who has no key overlaps with nobody."""
    variables: Mapping[str, Any] = field(default_factory=dict)
    """What is set at the start besides; values whose texts may be templates."""
    late: Late = "ignore"
    """What becomes of an event that tells of what is over, as after a night without a link."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """A workflow that is well-formed."""

    id: str
    name: str
    version: str
    description: str | None
    placement: Placement
    engine: int
    """The oldest engine that knows all that it says: a tier with an older one refuses it. (E5)"""
    devices: Devices | None
    """Whose events start it; None for all."""
    triggers: tuple[Trigger, ...]
    variables: Mapping[str, Variable]
    flow: Flow
    error_handler: ErrorHandler | None
    metadata: Mapping[str, Any]
    document: Mapping[str, Any]
    """As it was told."""
    fingerprint: str
    """The same for the same definition, whatever the order of its keys."""
    kinds: Mapping[str, Kind]


def state_at(flow: Flow, path: StatePath) -> State | None:
    """Return the state at a path, None where there is none."""
    state = flow.states.get(str(path[0])) if path else None
    if len(path) <= 1 or state is None:
        return state
    inner = flow_of(state, path[1])
    return None if inner is None else state_at(inner, path[2:])


def flow_of(state: State, number: str | int) -> Flow | None:
    """Return the flow of a branch or an item of a state, None where there is none."""
    match state:
        case Parallel() if isinstance(number, int) and 0 <= number < len(state.branches):
            return state.branches[number]
        case Map():
            return state.iterator
        case _:
            return None
