"""An instance of a workflow: all that has to be kept of it to go on, and no more. (W5, W6)

An instance has a scope for the workflow's own flow, and one for each branch and item that runs; a scope is in one
state. Scopes are named by paths: the workflow's own has the empty one, and `both.3.1/each.2.4` is what runs for the
fifth item of `each`, in the second branch of `both`, which the workflow came to in its third step. A scope counts its
steps: every entry of a state and every retry is one. So what is named by path, state and step never comes again.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import msgspec
from msgspec import Struct

from fieldloom_contract.errors import Rejected
from fieldloom_contract.plain import plain
from fieldloom_engine.rules.firing import identity
from fieldloom_engine.workflows.model import GIVEN, StatePath, Workflow
from fieldloom_engine.workflows.variables import fits

FORMAT = 1
MAX_BYTES = 256 * 1024
"""What an instance may hold in variables, results and outputs, as JSON."""
MAX_DEPTH = 64
"""How deep that may be nested."""
MAX_SCOPES = 1000
MAX_UNDOING = 1000
ROOT = ""

Status = Literal["created", "running", "waiting", "succeeded", "failed", "terminated"]
FINAL = ("succeeded", "failed", "terminated")


class InvalidStart(Exception):  # noqa: N818 - it reads as what happened
    """Variables that a workflow can't start with: `faults` says of each name what is wrong."""

    def __init__(self, faults: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{name} {reason}" for name, reason in faults.items()))
        self.faults = dict(faults)


class UnreadableInstance(Exception):  # noqa: N818 - it reads as what happened
    """A checkpoint that this engine can't read."""


class Failure(Struct, frozen=True):
    """What went wrong."""

    kind: str
    message: str
    state: str

    def __str__(self) -> str:
        return f"{self.state}: {self.message}"


class Performed(Struct, frozen=True, omit_defaults=True):
    """An action of which it is known how it went."""

    id: str
    kind: str
    succeeded: bool
    result: Any = None
    error: str | None = None


class Scope(Struct, omit_defaults=True):
    """Where a flow is. Times in Unix ms."""

    state: str
    step: int = 0
    """Of this scope: grows at each entry of a state and at each retry."""
    entered: int = 0
    """When this attempt began."""
    attempt: int = 1
    waits: Literal["", "action", "time", "event", "branches", "retry"] = ""
    """What it goes on by; nothing when it has not begun, or is over."""
    effect: str = ""
    """The action that is being done."""
    since: int = 0
    """When it began to wait."""
    performed: tuple[Performed, ...] = ()
    """The actions of this attempt that are done."""
    deadline: int | None = None
    """When this attempt is over."""
    wakes: int | None = None
    """When its wait is over, or the next attempt begins."""
    key: str | None = None
    """What correlates the event that it waits for."""
    variables: dict[str, Any] = {}
    """Those of its own: it sees those of the scope around it too."""
    outputs: list[Any] = []
    """What its branches gave, by place; null of those that run."""
    begun: int = 0
    """How many branches have begun."""
    ended: int = 0
    lost: int = 0
    """How many of these failed and were tolerated."""
    size: int = 0
    """Bytes of its variables, as JSON."""
    held: int = 0
    """Bytes of the results and outputs that its state has gathered."""


class Undoing(Struct, frozen=True):
    """An action that undoes a state which was left in success."""

    id: str
    kind: str
    parameters: dict[str, Any]
    path: str
    state: str


class Pending(Struct, frozen=True):
    """What is being done when no state goes on: by the error handler, or to undo what states did."""

    purpose: Literal["handler", "compensation"]
    action: Undoing


class Instance(Struct, omit_defaults=True, kw_only=True):
    """An instance, as it is kept; nothing in it is changed but by `step`, which leaves the old one as it was."""

    format: int = FORMAT
    id: str
    workflow: str
    version: str
    status: Status = "created"
    created: int
    correlation: str | None = None
    metadata: dict[str, Any] = {}
    scopes: dict[str, Scope] = {}
    undo: list[Undoing] = []
    """What is undone if it fails or is terminated, in the order in which it was done."""
    pending: Pending | None = None
    closing: Status | None = None
    """How it will have ended once all is undone."""
    handled: bool = False
    """The error handler had its turn."""
    taken: list[str] = []
    """Ids of the last events that ended a wait."""
    recorded: int = 0
    """How many records of history there are."""
    size: int = 0
    """Bytes of what it holds, as JSON."""
    output: Any = None
    failure: Failure | None = None
    reason: str | None = None
    """Why it was terminated."""

    @property
    def is_over(self) -> bool:
        """Whether nothing happens to it any more."""
        return self.status in FINAL

    @property
    def variables(self) -> Mapping[str, Any]:
        """Those of the workflow itself."""
        return self.scopes[ROOT].variables

    @property
    def active(self) -> list[StatePath]:
        """The paths of the states that it is in, as those of its definition. Empty once it is over."""
        return [place(path, scope.state) for path, scope in self.scopes.items() if scope.waits]


class Waiting(NamedTuple):
    """An event that an instance waits for."""

    type: str
    property: str | None
    """What correlates it: a path in its data; None for its source."""
    key: str | None
    """What that has to be; None: whatever it is."""


def create(
    workflow: Workflow,
    id_: str,
    variables: Mapping[str, Any],
    now: int,
    *,
    correlation: str | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Instance:
    """Return an instance that has not started. `now` in Unix ms.

    Raises InvalidStart with every name that is neither declared nor given by a tier, and every value of a wrong type.
    """
    values = {name: one.default for name, one in workflow.variables.items() if one.default is not None}
    values |= variables
    size = checked(workflow, values)
    return Instance(
        id=id_,
        workflow=workflow.id,
        version=workflow.version,
        created=now,
        correlation=correlation,
        metadata=dict(metadata or {}),
        scopes={ROOT: Scope(workflow.flow.initial_state, variables=values, size=size)},
        size=size,
    )


def checked(workflow: Workflow, values: Mapping[str, Any]) -> int:
    """Return how many bytes variables take with which a workflow is to go on. Raises InvalidStart."""
    faults = {name: "is not declared" for name in values if name not in workflow.variables and name not in GIVEN}
    for name, value in values.items():
        declared = workflow.variables.get(name)
        if declared is not None and not fits(declared.type, value):
            faults[name] = f"is no {declared.type}"
        try:
            plain(value, name, MAX_DEPTH)
        except Rejected as error:
            faults[name] = error.reason
    if not faults and (size := weight(values)) > MAX_BYTES:
        faults = {"variables": f"have {size} bytes, and {MAX_BYTES} is the most"}
    if faults:
        raise InvalidStart(faults)
    return size


def next_deadline(instance: Instance) -> int | None:
    """Return when time goes on with an instance next, Unix ms: then `step` wants `TimePassed`."""
    times = [time for scope in instance.scopes.values() for time in (scope.deadline, scope.wakes) if time is not None]
    return min(times, default=None)


def effect_id(instance: str, path: str, state: str, step: int, action: str | int) -> str:
    """Return the id of what an instance asks for: the same after a crash, another one in a further round or attempt."""
    return identity(instance, path, state, step, action)


def place(path: str, state: str) -> StatePath:
    """Return the path of a scope's state in the definition."""
    steps: list[str | int] = []
    for part in path.split("/") if path else ():
        name, _, number = part.rsplit(".", 2)
        steps += (name, int(number))
    return (*steps, state)


def around(path: str) -> str:
    """Return the path of the scope around a scope."""
    return path.rpartition("/")[0]


def number_of(path: str) -> int:
    """Return which branch or item of the state around it a scope is, from 0."""
    return int(path.rpartition(".")[2])


def within(path: str, state: str, step: int, number: int) -> str:
    """Return the path of a branch that begins in a scope's step."""
    return f"{path}/{state}.{step}.{number}" if path else f"{state}.{step}.{number}"


def weight(value: Any) -> int:
    """Return how many bytes a plain value has as JSON."""
    return len(encode(value))


encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Instance).decode


def decode(checkpoint: bytes) -> Instance:
    """Return the instance of a checkpoint. Raises UnreadableInstance."""
    try:
        instance = _decode(checkpoint)
    except msgspec.MsgspecError as error:
        raise UnreadableInstance(str(error)) from error
    if instance.format > FORMAT:
        raise UnreadableInstance(f"has format {instance.format}, and this engine knows {FORMAT}: update it first")
    return instance
