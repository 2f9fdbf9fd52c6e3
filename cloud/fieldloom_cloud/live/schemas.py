"""What a live stream tells."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, RootModel


class Ready(BaseModel):
    """The first event: all that changes from now on is told, so what was read before has to be read again."""

    kind: Literal["ready"]


class Lagged(BaseModel):
    """The reader was too slow, and so many changes are not told: read again what is shown."""

    kind: Literal["lagged"]
    missed: int


class TelemetryStored(BaseModel):
    kind: Literal["telemetry"]
    device: str
    ts: str
    values: dict[str, Any]
    tags: dict[str, dict[str, str]] = Field(description="By metric, what its gateway says of it.")


class EventStored(BaseModel):
    kind: Literal["event"]
    device: str
    ts: str
    type: str
    data: dict[str, Any]


class PresenceChanged(BaseModel):
    kind: Literal["presence"]
    device: str
    status: str
    firmware: str


class CommandMoved(BaseModel):
    kind: Literal["command"]
    device: str
    id: str
    type: str
    status: str
    result: dict[str, Any] | None
    error: str | None


class DeadLetterKept(BaseModel):
    kind: Literal["dead_letter"]
    device: str
    gateway: str
    ts: str
    reason: str


class AlarmMoved(BaseModel):
    kind: Literal["alarm"]
    device: str
    ts: str
    id: int
    alarm: str
    state: str
    severity: str
    message: str
    muted: bool


class InstanceMoved(BaseModel):
    kind: Literal["instance"]
    device: str = Field(description="Empty where it is about none.")
    ts: str
    id: str
    workflow: str
    version: str
    status: str
    states: list[str] = Field(description="Where it is, each by its path in the definition.")


class GatewayMoved(BaseModel):
    """A gateway has come or gone, or tells of other members, another leader or other shares of its cluster."""

    kind: Literal["gateway"]
    device: str = Field(description="Empty.")
    ts: str
    id: str
    online: bool


Stored = TelemetryStored | EventStored | DeadLetterKept
Moved = PresenceChanged | CommandMoved | AlarmMoved | InstanceMoved | GatewayMoved
Told = Ready | Lagged | Stored | Moved


class StreamEvent(RootModel[Annotated[Told, Field(discriminator="kind")]]):
    """One event of a live stream; `kind` tells which."""
