"""What the routes of workflows and instances take and give."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from fieldloom_engine.workflows.history import Kind, Outcome

Version = Annotated[str, Field(pattern=r"^\d{1,5}\.\d{1,5}\.\d{1,5}$", examples=["1.4.0"])]
Document = Annotated[dict[str, Any], Field(description="As its file says it; `/workflows/schema` describes it.")]
Status = Literal["created", "running", "waiting", "succeeded", "failed", "terminated"]
Variables = Annotated[dict[str, Any], Field(description="By name, `device_id` among them.")]


class WorkflowDocument(BaseModel, extra="forbid"):
    document: Document


class Fault(BaseModel):
    path: str
    reason: str


class GraphNode(BaseModel):
    id: str = Field(description="Its path, joined by slashes; in an iterator `*` stands for the item's number.")
    name: str
    type: str
    label: str = Field(description="What it does, in few words.")
    parent: str | None = Field(description="The node of the state that it is within.")
    branch: int | None
    is_initial: bool
    place: str = Field(description="Where it stands in the document.")


class GraphEdge(BaseModel):
    source: str | None = Field(description="Null: from whatever state failed, by the error handler.")
    target: str
    kind: Literal["transition", "error", "handler"]
    condition: str | None = Field(description="In few words; null for always.")
    place: str


class Graph(BaseModel):
    workflow: str
    version: str
    name: str
    triggers: list[str] = Field(description="In few words.")
    nodes: list[GraphNode]
    edges: list[GraphEdge]


class GraphOut(Graph):
    instances: dict[str, int] = Field(description="How many running instances are in a state, by its node.")
    complete: bool = Field(description="False when there are more instances than one picture looks at.")


class WorkflowValidated(BaseModel):
    valid: bool
    errors: list[Fault]
    warnings: list[Fault]
    graph: Graph | None = Field(description="What is valid has one.")


class WorkflowShort(BaseModel):
    id: str
    name: str
    version: str = Field(description="The one that starts instances.")
    revision: int = Field(description="Counts its deployments: the ETag.")
    placement: Literal["cloud", "edge"]
    description: str | None
    updated: str


class WorkflowListed(WorkflowShort):
    instances: dict[str, int] = Field(description="How many there are, by status.")


class WorkflowVersionOut(BaseModel):
    version: str
    created: str
    instances: dict[str, int]


class WorkflowAtGateway(BaseModel):
    gateway: str
    version: str
    status: Literal["sent", "applied", "refused"]
    applied: str | None = Field(description="The version that is at work there, also while a newer one is refused.")
    faults: list[Fault]
    engine: int | None
    at: str | None


class WorkflowOut(WorkflowShort):
    document: dict[str, Any]
    gateways: list[WorkflowAtGateway] = Field(
        description="Where it is told to, of the edge; of the cloud who listens for its messages."
    )
    versions: list[WorkflowVersionOut] = Field(description="Those that are deployed, the newest first.")
    warnings: list[Fault]


class StartWish(BaseModel, extra="forbid"):
    variables: Variables = Field(default_factory=dict)
    version: Version | None = Field(None, description="By default the one that starts instances.")


class StartOut(BaseModel):
    id: str = Field(description="The instance's.")
    workflow: str
    outcome: Literal["created", "sent", "queued", "known"] = Field(
        description="`sent` to the gateway that begins it; `queued` behind others with its key; `known`: this key has "
        "started it before."
    )
    reason: str | None


class InstanceShort(BaseModel):
    id: str
    workflow: str
    version: str
    status: Status
    states: list[str] = Field(description="Where it is, each by its path in the definition.")
    correlation: str | None
    device: str | None
    gateway: str | None = Field(description="Which carries it out; null: the cloud does.")
    parent: str | None = Field(description="The instance that waits for its end.")
    created: str
    ended: str | None
    deadline: str | None = Field(description="When time goes on with it.")
    fault: str | None = Field(description="Why this cloud can't go on with it, or a gateway may have lost it.")


class ActionDone(BaseModel):
    id: str
    kind: str
    succeeded: bool
    result: Any
    error: str | None


class FailureOut(BaseModel):
    kind: str
    message: str
    state: str


class InstanceRecord(BaseModel):
    number: int
    kind: Kind
    at: str = Field(description="Of a state when it was left.")
    state: str | None
    entered: str | None
    took_ms: int | None
    attempt: int
    outcome: Outcome
    actions: list[ActionDone]
    next: str | None
    variables: dict[str, Any] = Field(description="Those that were set.")
    failure: FailureOut | None
    reason: str | None
    again_at: str | None = Field(description="When it is tried again.")
    output: Any


class EffectOpen(BaseModel):
    id: str
    kind: str
    status: Literal["waiting", "sent"]
    attempts: int
    error: str | None


class AwaitedOut(BaseModel):
    type: str
    property: str | None = Field(description="What correlates it: a path in its data; null for its source.")
    key: str | None


class RequestOut(BaseModel):
    id: str
    gateway: str
    kind: Literal["terminate", "signal", "retry"]
    about: str = Field(description="Why it shall end, of what event it is told, or at which state it begins again.")
    asked: str
    status: Literal["sent", "done", "refused"] = Field(description="`sent` until the gateway has answered.")
    answered: str | None
    refused: str | None = Field(description="Why the gateway did not do it.")


class InstanceOut(InstanceShort):
    variables: dict[str, Any]
    output: Any
    failure: FailureOut | None
    effects: list[EffectOpen] = Field(description="What is not done yet.")
    awaits: list[AwaitedOut] = Field(description="The events that it waits for.")
    requests: list[RequestOut] = Field(description="What was asked of it at its gateway, the last first.")
    history: list[InstanceRecord]
    next: int | None = Field(description="`after` for the records behind these; null at the end.")


class Termination(BaseModel, extra="forbid"):
    reason: str = Field(min_length=1, max_length=1024)
    undo: bool = Field(True, description="What it did is undone first.")


class SignalIn(BaseModel, extra="forbid"):
    type: str = Field(min_length=1, max_length=64)
    data: dict[str, Any] = Field(default_factory=dict)


class RetryWish(BaseModel, extra="forbid"):
    state: str | None = Field(None, max_length=64, description="By default the one in which it failed.")
    variables: dict[str, Any] = Field(default_factory=dict, description="Those that shall be otherwise.")


class InstanceTold(BaseModel):
    id: str
    workflow: str
    status: str = Field(description="As it was: what it was told is taken by its next step.")
    request: str | None = Field(description="Of one at a gateway: its answer is among the instance's `requests`.")


class StateBroken(BaseModel):
    state: str = Field(description="Empty for the instance as a whole.")
    reason: str


class InstanceBroken(BaseModel):
    instance: str
    version: str
    breaks: list[StateBroken]


class WorkflowCheck(BaseModel):
    checked: int
    complete: bool = Field(description="False when there are more instances than one check looks at.")
    items: list[InstanceBroken]
