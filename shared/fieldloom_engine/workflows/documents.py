"""A workflow's file: which keys it has and what may stand under them. (W1, W2, W4)

What goes beyond one value is held against the rules of `checks`.
"""

from functools import lru_cache, reduce
from operator import or_
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, create_model, model_validator

from fieldloom_engine.definitions import MAX_EXPRESSION, Duration, Finite, Name, Part
from fieldloom_engine.durations import instant, milliseconds
from fieldloom_engine.rules import action_list
from fieldloom_engine.rules.actions import Kind
from fieldloom_engine.rules.conditions import Property, Step
from fieldloom_engine.rules.definition import Devices, Id
from fieldloom_engine.rules.templates import MAX_TEMPLATE, is_template
from fieldloom_engine.workflows import schedules, topics
from fieldloom_engine.workflows.model import ITEM, Late, Missed, Overlap, Placement, VariableType

ENGINE = 1
"""The version of this engine: it grows when a workflow may say something that earlier engines do not know."""
MAX_STATES = 200  # of a flow
MAX_BRANCHES = 32
MAX_CONCURRENCY = 1000
MAX_TRANSITIONS = 32
MAX_VARIABLES = 100
MAX_TRIGGERS = 32
MAX_ATTEMPTS = 100

NOT_NAMES = ("and", "else", "false", "if", "in", "is", "none", "not", "or", "true")  # what templates take for their own
_NAME = r"^[a-z_][A-Za-z0-9_]{0,63}$"


def _no_word_of_templates(name: str) -> str:
    if name in NOT_NAMES:
        raise ValueError(f"{name} means something else in a template")
    return name


def _instant(told: object) -> object:
    """Return an instant of RFC 3339 as Unix ms, a template as it is. Raises ValueError."""
    return told if isinstance(told, str) and is_template(told) else instant(told)


def _duration(told: object) -> object:
    return told if isinstance(told, str) and is_template(told) else milliseconds(told)


StateName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
VariableName = Annotated[str, Field(pattern=_NAME), AfterValidator(_no_word_of_templates)]
Text = Annotated[str, Field(min_length=1, max_length=MAX_TEMPLATE)]
Description = Annotated[str, Field(max_length=4096)]
Values = dict[VariableName, Any]
WaitFor = Annotated[int | str, BeforeValidator(_duration, json_schema_input_type=Duration | Text)]
Until = Annotated[int | str, BeforeValidator(_instant, json_schema_input_type=int | Text)]
Cron = Annotated[str, Field(max_length=256), AfterValidator(schedules.checked_cron)]
Zone = Annotated[str, Field(max_length=64), AfterValidator(schedules.checked_zone)]
TopicFilter = Annotated[str, Field(max_length=MAX_EXPRESSION), AfterValidator(topics.checked_filter)]


class Variable(Part):
    """A variable: what it is, and what it is at first."""

    name: VariableName
    type: VariableType = "any"
    default: Any = None
    description: Description | None = None


class Transition(Part):
    """Where it goes on."""

    target: StateName
    condition: Step | None = Field(
        default=None, description="Over the variables: a property is a path in them. None: always."
    )


class Retry(Part):
    """How often and when it is tried again."""

    max_attempts: int = Field(ge=1, le=MAX_ATTEMPTS, description="In all, the first one included.")
    delay: Duration = Field(default=1000, description="Before the second attempt.")
    multiplier: Annotated[Finite, Field(ge=1, le=100)] = 1.0
    max_delay: Duration | None = None
    jitter: Annotated[Finite, Field(ge=0, le=1)] = Field(
        default=0.0, description="The share of a delay that is drawn: with 0.2 it is 80 to 100 % of it."
    )

    @model_validator(mode="after")
    def _grows_to_its_limit(self) -> "Retry":
        if self.max_delay is not None and self.max_delay < self.delay:
            raise ValueError("max_delay is below delay")
        return self


class Correlation(Part):
    """Whose events end a wait."""

    property: Property | None = Field(default=None, description="A path in the event's data; by default its source.")
    value: Text = Field(description="What it has to be, mostly a template.")


class Awaited(Part):
    """An event that ends a wait."""

    type: Name
    correlation: Correlation | None = Field(
        default=None, description="Whose; by default of the device that the workflow is about."
    )
    any_source: bool = Field(default=False, description="Of whatever source.")
    condition: Step | None = Field(default=None, description="Over the event.")

    @model_validator(mode="after")
    def _is_of_one_or_of_any(self) -> "Awaited":
        if self.any_source and self.correlation is not None:
            raise ValueError("correlation tells whose event it is, and any_source that it does not matter")
        return self


class StateDocument(Part):
    """What every state may say."""

    description: Description | None = None
    assign: Values = Field(default={}, description="Variables that are set when it is left in success.")
    timeout: Duration | None = Field(default=None, description="Of one attempt.")
    retry: Retry | None = None


class ActiveDocument(StateDocument):
    """What a state may say after which it can go on."""

    transitions: Annotated[list[Transition], Field(max_length=MAX_TRANSITIONS)] = Field(
        default=[], description="The first that holds; none at all: its flow succeeds."
    )
    on_error: Annotated[list[Transition], Field(max_length=MAX_TRANSITIONS)] = Field(
        default=[], description="Where it goes on when it failed; conditions know `failure.kind`."
    )


class TaskDocument(ActiveDocument):
    """Does its actions, one after the other."""

    type: Literal["task"]


class ChoiceDocument(ActiveDocument):
    """Goes on by what is so."""

    type: Literal["choice"]
    transitions: Annotated[list[Transition], Field(min_length=1, max_length=MAX_TRANSITIONS)]


class ParallelDocument(ActiveDocument):
    """Runs its branches at once, the first failure cancels the others; `result` is the list of their outputs."""

    type: Literal["parallel"]


class MapDocument(ActiveDocument):
    """Runs its iterator for each item of a list; `result` is the list of the outputs, in order."""

    type: Literal["map"]
    items: Property = Field(description="A path in the variables, to a list.")
    item_variable: VariableName = ITEM
    max_concurrency: Annotated[int, Field(ge=1, le=MAX_CONCURRENCY)] | None = None
    tolerated_failures: Annotated[int, Field(ge=0)] = Field(
        default=0, description="So many items may fail; their outputs are null."
    )


class WaitDocument(ActiveDocument):
    """Waits: for a time, until an instant, or for an event."""

    type: Literal["wait"]
    for_: WaitFor | None = Field(default=None, alias="for")
    until: Until | None = None
    event: Awaited | None = None

    @model_validator(mode="after")
    def _is_one(self) -> "WaitDocument":
        if sum(told is not None for told in (self.for_, self.until, self.event)) != 1:
            raise ValueError("must have exactly one of for, until, event")
        return self


class SucceedDocument(StateDocument):
    """Ends its flow well."""

    type: Literal["succeed"]
    output: Any = Field(default=None, description="What the flow gives; by default its `result`.")


class FailDocument(StateDocument):
    """Ends its flow as failed."""

    type: Literal["fail"]
    error: Name = Field(default="failed", description="The failure's kind.")
    message: Text | None = None


class OnEvent(Part):
    """Events of a type."""

    type: Name


class OnSchedule(Part):
    """Times of the clock."""

    cron: Cron = Field(description="Minute, hour, day, month, day of the week; or @hourly, @daily, ...")
    timezone: Zone = "UTC"
    missed: Missed = Field(default="skip", description="What becomes of the times at which nobody ran.")


class OnApi(Part):
    """Who asks for it."""


class OnDeviceState(Part):
    """A device that changes to a state."""

    state: Annotated[str, Field(pattern=r"^[a-z_]{1,32}$", description="online, offline, asleep, stale, ...")]
    device: Name | None = None


class OnMessage(Part):
    """Messages on topics of the site, at the brokers of its gateways."""

    topic: TopicFilter


SOURCES = ("event", "schedule", "api", "device_state", "message")


class TriggerDocument(Part):
    """What starts it: one of event, schedule, api, device_state, message."""

    event: OnEvent | None = None
    schedule: OnSchedule | None = None
    api: OnApi | None = None
    device_state: OnDeviceState | None = None
    message: OnMessage | None = None
    condition: Step | None = Field(default=None, description="Over the event.")
    overlap: Overlap = Field(default="skip", description="What becomes of a start while one with its key is active.")
    correlation: Text | None = Field(default=None, description="The key; by default the device.")
    variables: Values = Field(default={}, description="What is set at the start besides.")
    late: Late = Field(default="ignore", description="What becomes of an event that tells of what is over.")

    @model_validator(mode="after")
    def _is_one(self) -> "TriggerDocument":
        told = [name for name in SOURCES if getattr(self, name) is not None]
        if len(told) != 1:
            raise ValueError(f"must have exactly one of {', '.join(SOURCES)}")
        if self.condition is not None and told[0] in {"schedule", "api"}:
            raise ValueError(f"condition is over an event, and a {told[0]} has none")
        return self


class HandlerDocument(Part):
    """What is done when nothing took a failure over."""

    result_state: StateName = Field(
        default="failed", description="A state at which it goes on; or else how it ends: failed or succeeded."
    )


class Document(Part):
    """A workflow's file, without its states."""

    id: Id
    name: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    version: Annotated[str, Field(pattern=r"^\d{1,5}\.\d{1,5}\.\d{1,5}$", description="As 1.4.0.")] = "1.0.0"
    description: Description | None = None
    placement: Placement = Field(default="cloud", description="Where it runs.")
    engine: int = Field(default=1, ge=1, le=ENGINE, description="The oldest engine that knows all that it says.")
    devices: Devices | None = Field(default=None, description="Whose events start it; by default all.")
    triggers: Annotated[list[TriggerDocument], Field(max_length=MAX_TRIGGERS)] = []  # noqa: RUF012 - frozen
    variables: Annotated[list[Variable], Field(max_length=MAX_VARIABLES)] = []  # noqa: RUF012 - frozen
    metadata: dict[str, Any] = {}  # noqa: RUF012 - frozen


@lru_cache(maxsize=16)
def model(kinds: tuple[tuple[str, Kind], ...]) -> type[Document]:
    """Return the model of a file whose actions are of these kinds."""
    action = action_list.model(dict(kinds))
    some, one = action_list.some(action), action_list.some(action, at_least=1)
    common: dict[str, Any] = {
        "actions": (some, Field(default=[], description="Done on entry, one after the other.")),
        "compensate": (some, Field(default=[], description="What undoes it, when the workflow fails later.")),
    }
    flow: Any = "Flow"  # which holds what is made here
    branches: Any = Annotated[list[flow], Field(min_length=1, max_length=MAX_BRANCHES)]
    parallel = create_model("Parallel", __base__=ParallelDocument, branches=(branches, ...), **common)
    each = create_model("Map", __base__=MapDocument, iterator=(flow, ...), **common)
    kinds_of_states = [
        create_model("Task", __base__=TaskDocument, **(common | {"actions": (one, ...)})),
        create_model("Choice", __base__=ChoiceDocument, **common),
        parallel,
        each,
        create_model("Wait", __base__=WaitDocument, **common),
        create_model("Succeed", __base__=SucceedDocument, actions=common["actions"]),
        create_model("Fail", __base__=FailDocument, actions=common["actions"]),
    ]
    state: Any = Annotated[reduce(or_, kinds_of_states), Field(discriminator="type")]
    states: Any = Annotated[dict[StateName, state], Field(min_length=1, max_length=MAX_STATES)]
    begin: dict[str, Any] = {"initial_state": (StateName, ...), "states": (states, ...)}
    flow = create_model("Flow", __base__=Part, **begin)
    for nested in (parallel, each, flow):
        nested.model_rebuild(_types_namespace={"Flow": flow})
    handler: Any = create_model("ErrorHandler", __base__=HandlerDocument, action=(action | None, None))
    return create_model("Workflow", __base__=Document, error_handler=(handler | None, None), **begin)
