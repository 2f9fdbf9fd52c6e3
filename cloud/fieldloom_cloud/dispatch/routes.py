"""Commands over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, BackgroundTasks, Header, Query, Request
from pydantic import BaseModel, Field

from fieldloom_cloud.auth.dependencies import Operator, Transaction, Viewer
from fieldloom_cloud.dispatch import service
from fieldloom_cloud.pages import MAX_PAGE, Asked, Page
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


@router.post("/devices/{device_id}/commands", status_code=202)
async def send_command(
    device_id: str,
    body: CommandIn,
    transaction: Transaction,
    caller: Operator,
    request: Request,
    after: BackgroundTasks,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> CommandOut:
    expires = None if body.expires is None else round(body.expires.timestamp() * 1000)
    wish = service.Wish(device_id, body.type, body.parameters, expires, caller.id, idempotency_key)
    sent = await service.send(transaction, wish)
    after.add_task(request.app.state.wake_downlink)  # once the transaction is committed
    return CommandOut(**sent)


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
