"""What the routes of rules take and give."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from fieldloom_cloud.automation.checking import Mode
from fieldloom_cloud.strict import Instant

Version = Annotated[str, Field(pattern=r"^\d{1,5}\.\d{1,5}\.\d{1,5}$", examples=["1.4.0"])]
RuleId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
DeviceName = Annotated[str, Field(min_length=1, max_length=64)]
Document = Annotated[dict[str, Any], Field(description="A rule as its file says it; `/rules/schema` describes it.")]


class Deployment(BaseModel, extra="forbid"):
    document: Document
    mode: Mode = Field("active", description="In shadow it is judged and recorded, and does nothing.")


class Activation(BaseModel, extra="forbid"):
    version: Version | None = Field(None, description="By default the one at work.")
    mode: Mode = "active"


class Validation(BaseModel, extra="forbid"):
    document: Document


class Fault(BaseModel):
    path: str
    reason: str


class Warned(BaseModel):
    rule: str | None = Field(description="The other rule; null where it is a workflow.")
    workflow: str | None = Field(description="The workflow; null where it is a rule.")
    path: str
    reason: str


class Validated(BaseModel):
    valid: bool
    errors: list[Fault]
    warnings: list[Warned]


class VersionOut(BaseModel):
    version: str
    created: str


class AtGateway(BaseModel):
    gateway: str
    version: str
    mode: Mode
    status: Literal["sent", "applied", "refused"]
    applied: str | None = Field(description="The version that it runs, also while a newer one is refused.")
    faults: list[Fault]
    engine: int | None
    at: str | None


class RuleShort(BaseModel):
    id: str
    version: str = Field(description="The one at work.")
    mode: Mode
    revision: int = Field(description="Counts the changes of version and mode: the ETag.")
    placement: Literal["edge", "cloud", "both"]
    description: str | None
    updated: str


class RuleListed(RuleShort):
    gateways: dict[str, int] = Field(description="How many have it, by `sent`, `applied` and `refused`.")
    last_fired: str | None = Field(description="null when it is none of the newest 10,000 firings of all rules.")


class RuleShown(RuleShort):
    document: dict[str, Any]
    versions: list[VersionOut]
    gateways: list[AtGateway]
    effects: dict[str, int] = Field(
        description="Of the cloud's own engine, by `waiting`, `sent`, `done`, `failed`, `withheld`."
    )
    warnings: list[Warned] = Field(description="Others that write the same actuator.")


class EffectOut(BaseModel):
    id: str
    kind: str
    withheld: str | None = Field(None, description="Why it must not be done.")
    status: Literal["waiting", "withheld", "done", "failed"] = Field(
        description="Of a command it is what the device has answered: `result` has its status."
    )
    result: Any = None
    error: str | None = None


class FiringOut(BaseModel):
    rule: str
    version: str
    mode: str
    device: str
    at: str
    gateway: str = Field(description="Which fired it; empty for the cloud.")
    event: dict[str, Any]
    values: dict[str, Any] = Field(description="What its conditions looked at.")
    holds: bool = Field(True, description="False when it is over: what `otherwise` does.")
    late: bool
    amends: str | None = None
    effects: list[EffectOut]


class Question(BaseModel, extra="forbid"):
    """What a rule makes of an event: one that is deployed, by what it remembers, or a document, from nothing."""

    rule: RuleId | None = None
    document: Document | None = None
    event: "AskedEvent"


class AskedEvent(BaseModel, extra="forbid"):
    type: str = Field("device.telemetry", min_length=1, max_length=64)
    source: DeviceName
    ts: Instant | None = Field(None, description="By default now.")
    data: dict[str, Any] = Field(default_factory=dict)
    metadata: dict[str, Any] = Field(default_factory=dict)


class Part(BaseModel):
    kind: str
    told: Any
    holds: bool | None = Field(description="null when the event does not tell.")
    values: dict[str, Any]
    parts: list["Part"]


class Explained(BaseModel):
    rule: str
    version: str
    fires: bool
    reason: str
    condition: Part


class Backtest(BaseModel, extra="forbid"):
    """A document, or a rule that is deployed, and the time to try it on."""

    document: Document | None = None
    rule: RuleId | None = None
    version: Version | None = Field(None, description="Of that rule, by default the one at work.")
    against: Document | None = Field(None, description="Another version, which is tried beside it.")
    against_version: Version | None = Field(None, description="Another version of that rule.")
    since: str | None = Field(None, pattern=r"^[1-9][0-9]{0,5}(s|m|h|d)$", description="As 7d: from then until now.")
    start: Instant | None = None
    end: Instant | None = None
    devices: list[DeviceName] = Field(default_factory=list, max_length=1000, description="By default all.")


class Progress(BaseModel):
    kind: Literal["progress"] = "progress"
    at: str
    share: float
    events: int


class Fired(BaseModel):
    kind: Literal["firing"] = "firing"
    of: Literal["rule", "against"]
    version: str
    device: str
    at: str
    holds: bool
    values: dict[str, Any]
    event: dict[str, Any]
    effects: list[dict[str, Any]]


class Summary(BaseModel):
    """The last line."""

    kind: Literal["summary"] = "summary"
    events: int
    fired: dict[str, int]
    only: dict[str, int] = Field(description="Firings that the other version does not have.")
    complete: bool = Field(description="False when not all of the history was tried.")
    error: str | None = Field(None, description="Why not.")


Question.model_rebuild()
Part.model_rebuild()
