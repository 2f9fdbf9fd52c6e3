"""Commands over HTTP."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query
from pydantic import BaseModel, Field

from fieldloom_cloud.auth.dependencies import Operator, Transaction, Viewer
from fieldloom_cloud.auth.service import Caller
from fieldloom_cloud.dispatch import service
from fieldloom_cloud.dispatch.waking import SENDS_DOWN
from fieldloom_cloud.errors import Fault, Forbidden
from fieldloom_cloud.pages import MAX_PAGE, Asked, Page
from fieldloom_cloud.registry import groups
from fieldloom_cloud.strict import Instant, StrictRoute
from fieldloom_engine.holds import MAX_REASON, Priority, Source, Wanted

router = APIRouter(prefix="/api/v1", tags=["commands"], route_class=StrictRoute)


class HoldIn(BaseModel, extra="forbid"):
    """That a command holds what it moves against others of its priority and below."""

    priority: Literal["safety", "person"] = Field("person", description="`safety` is for admins.")
    reason: str = Field("", max_length=MAX_REASON)
    expires: Instant | None = Field(None, description="null: until it is released.")


class CommandIn(BaseModel, extra="forbid"):
    type: str = Field(min_length=1, max_length=64)
    parameters: dict[str, Any] = Field(default_factory=dict)
    expires: Instant | None = Field(None, description="By default five minutes from now.")
    hold: HoldIn | None = None


class CommandOut(BaseModel):
    id: str
    device: str
    type: str
    parameters: dict[str, Any]
    status: str
    created: str
    expires: str
    result: dict[str, Any] | None
    error: str | None


class MemberCommand(BaseModel):
    device: str
    command: CommandOut | None = Field(description="null where it was refused.")
    errors: list[Fault] = Field(description="Why this device gets none.")


class GroupCommand(BaseModel):
    group: str
    items: list[MemberCommand]


IdempotencyKey = Annotated[str | None, Header(max_length=200)]


@router.post("/devices/{device_id}/commands", status_code=202, dependencies=SENDS_DOWN)
async def send_command(
    device_id: str,
    body: CommandIn,
    transaction: Transaction,
    caller: Operator,
    idempotency_key: IdempotencyKey = None,
) -> CommandOut:
    sent = await service.send(transaction, wish_of(device_id, body, caller, idempotency_key))
    return CommandOut(**sent)


@router.post("/groups/{group_id}/commands", status_code=202, dependencies=SENDS_DOWN)
async def send_to_group(
    group_id: str,
    body: CommandIn,
    transaction: Transaction,
    caller: Operator,
    idempotency_key: IdempotencyKey = None,
) -> GroupCommand:
    """Send a command to each device of a group, of 500 at most, and tell of each what became of it."""
    await groups.group(transaction, group_id)
    sent = await service.send_to_group(transaction, group_id, wish_of("", body, caller, idempotency_key))
    items = [{**one._asdict(), "errors": [] if one.refused is None else one.refused.errors} for one in sent]
    return GroupCommand.model_validate({"group": group_id, "items": items})


@router.get("/devices/{device_id}/commands")
async def list_commands(
    device_id: str,
    transaction: Transaction,
    _: Viewer,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
) -> Page[CommandOut]:
    found, following = await service.commands_of(transaction, device_id, Asked(limit=limit, cursor=cursor))
    return Page[CommandOut].model_validate({"items": found, "next": following})


@router.get("/commands/{command_id}")
async def show_command(command_id: str, transaction: Transaction, _: Viewer) -> CommandOut:
    return CommandOut(**await service.command(transaction, command_id))


def wish_of(device: str, body: CommandIn, caller: Caller, idempotency_key: str | None) -> service.Wish:
    """Return what a caller asks of a device, as the service takes it. Raises Forbidden."""
    hold = None if body.hold is None else Wanted(body.hold.reason, _ms(body.hold.expires))
    source = source_of(caller, "person" if body.hold is None else body.hold.priority)
    command = (device, body.type, body.parameters, _ms(body.expires))
    return service.Wish(*command, caller.id, idempotency_key, source, hold)


def source_of(caller: Caller, priority: Priority) -> Source:
    """Return who asks, for the slots of an actuator. Raises Forbidden for a priority that is not the caller's."""
    if priority == "safety" and not caller.may("admin"):
        raise Forbidden(f"the role {caller.role} may not act on the slot safety, admin may")
    return Source(priority, caller.name or f"session {caller.id}")


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else round(moment.timestamp() * 1000)
