"""Commands over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Header
from pydantic import AwareDatetime, BaseModel, Field

from fieldloom_cloud.auth.dependencies import Operator, Transaction, Viewer
from fieldloom_cloud.dispatch import service
from fieldloom_cloud.registry.schemas import Page

router = APIRouter(prefix="/api/v1")


class CommandIn(BaseModel, extra="forbid"):
    type: str = Field(min_length=1, max_length=64)
    parameters: dict[str, Any] = Field(default_factory=dict)
    expires: AwareDatetime | None = Field(None, description="By default five minutes from now.")


class CommandOut(BaseModel):
    id: str
    device: str
    type: str
    parameters: dict[str, Any]
    status: str
    expires: str
    result: dict[str, Any] | None
    error: str | None


@router.post("/devices/{device_id}/commands", status_code=202)
async def send(
    device_id: str,
    body: CommandIn,
    transaction: Transaction,
    caller: Operator,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> CommandOut:
    expires = None if body.expires is None else round(body.expires.timestamp() * 1000)
    wish = service.Wish(device_id, body.type, body.parameters, expires, caller.token, idempotency_key)
    return CommandOut(**await service.send(transaction, wish))


@router.get("/devices/{device_id}/commands")
async def list_commands(device_id: str, transaction: Transaction, _: Viewer) -> Page[CommandOut]:
    return Page[CommandOut].model_validate({"items": await service.commands_of(transaction, device_id)})


@router.get("/commands/{command_id}")
async def show_command(command_id: str, transaction: Transaction, _: Viewer) -> CommandOut:
    return CommandOut(**await service.command(transaction, command_id))
