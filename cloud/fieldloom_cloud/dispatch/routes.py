"""Commands over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Header, Query, Request
from pydantic import BaseModel, Field

from fieldloom_cloud.auth.dependencies import Operator, Transaction, Viewer
from fieldloom_cloud.dispatch import service
from fieldloom_cloud.errors import Fault
from fieldloom_cloud.pages import MAX_PAGE, Asked, Page
from fieldloom_cloud.registry import groups
from fieldloom_cloud.strict import Instant, StrictRoute

router = APIRouter(prefix="/api/v1", tags=["commands"], route_class=StrictRoute)


class CommandIn(BaseModel, extra="forbid"):
    type: str = Field(min_length=1, max_length=64)
    parameters: dict[str, Any] = Field(default_factory=dict)
    expires: Instant | None = Field(None, description="By default five minutes from now.")


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


@router.post("/devices/{device_id}/commands", status_code=202)
async def send_command(
    device_id: str,
    body: CommandIn,
    transaction: Transaction,
    caller: Operator,
    request: Request,
    after: BackgroundTasks,
    idempotency_key: IdempotencyKey = None,
) -> CommandOut:
    sent = await service.send(transaction, _wish(device_id, body, caller.id, idempotency_key))
    after.add_task(request.app.state.wake_downlink)  # once the transaction is committed
    return CommandOut(**sent)


@router.post("/groups/{group_id}/commands", status_code=202)
async def send_to_group(
    group_id: str,
    body: CommandIn,
    transaction: Transaction,
    caller: Operator,
    request: Request,
    after: BackgroundTasks,
    idempotency_key: IdempotencyKey = None,
) -> GroupCommand:
    """Send a command to each device of a group, of 500 at most, and tell of each what became of it."""
    await groups.group(transaction, group_id)
    sent = await service.send_to_group(transaction, group_id, _wish("", body, caller.id, idempotency_key))
    after.add_task(request.app.state.wake_downlink)  # once the transaction is committed
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


def _wish(device: str, body: CommandIn, token: str, idempotency_key: str | None) -> service.Wish:
    expires = None if body.expires is None else round(body.expires.timestamp() * 1000)
    return service.Wish(device, body.type, body.parameters, expires, token, idempotency_key)
