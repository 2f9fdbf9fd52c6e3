"""Who holds the actuators of a device, over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from fieldloom_cloud.auth.dependencies import Operator, Transaction, Viewer
from fieldloom_cloud.dispatch import service as dispatch
from fieldloom_cloud.dispatch.routes import CommandIn, CommandOut, HoldIn, IdempotencyKey, source_of, wish_of
from fieldloom_cloud.dispatch.waking import SENDS_DOWN
from fieldloom_cloud.holds import service
from fieldloom_cloud.strict import StrictRoute
from fieldloom_contract.limits import MAX_NAME
from fieldloom_engine.holds import WRITE, Priority

router = APIRouter(prefix="/api/v1/devices/{device_id}/holds", tags=["holds"], route_class=StrictRoute)


class HoldingCommandIn(HoldIn):
    """The command that is to hold what it moves."""

    type: str = Field(WRITE, min_length=1, max_length=MAX_NAME)
    parameters: dict[str, Any] = Field(default_factory=dict)


class HoldOut(BaseModel):
    id: str = Field(description="Of the command by which it was asked for.")
    priority: Priority
    owner: str = Field(description="A person, a rule, or a workflow with its instance.")
    reason: str
    type: str
    parameters: dict[str, Any]
    since: str
    expires: str | None = Field(description="null: until it is released.")


class SetBy(BaseModel):
    """The last command that the device has executed on an actuator, with a hold or without one."""

    id: str
    priority: Priority
    owner: str
    type: str
    parameters: dict[str, Any]
    at: str = Field(description="When the gateway heard of it.")


class ActuatorOut(BaseModel):
    actuator: str = Field(description="What `write` names, or the type of the command.")
    version: int = Field(description="Of its holds; 0: it was never held.")
    gateway: str
    holds: list[HoldOut] = Field(description="By priority: the first acts, the others wait.")
    set_by: SetBy | None


class ActuatorsOut(BaseModel):
    items: list[ActuatorOut]
    next: str | None = None


@router.get("")
async def show_holds(device_id: str, transaction: Transaction, _: Viewer) -> ActuatorsOut:
    return ActuatorsOut.model_validate({"items": await service.of_device(transaction, device_id)})


@router.post("", status_code=202, dependencies=SENDS_DOWN)
async def hold_actuator(
    device_id: str,
    body: HoldingCommandIn,
    transaction: Transaction,
    caller: Operator,
    idempotency_key: IdempotencyKey = None,
) -> CommandOut:
    """Send a command that holds what it moves: it is `rejected`, and waits, while a higher priority holds that."""
    command = CommandIn(type=body.type, parameters=body.parameters, expires=None, hold=body)
    sent = await dispatch.send(transaction, wish_of(device_id, command, caller, idempotency_key))
    return CommandOut(**sent)


@router.delete("/{actuator}", status_code=202, dependencies=SENDS_DOWN)
async def release_hold(
    device_id: str,
    actuator: Annotated[str, Path(min_length=1, max_length=MAX_NAME)],
    transaction: Transaction,
    caller: Operator,
    priority: Annotated[Priority, Query(description="Which slot; `safety` is for admins.")] = "person",
) -> None:
    """Have a slot held no more, whoever holds it: what waits highest acts then."""
    by = source_of(caller, priority).owner
    await service.release(transaction, device_id, actuator, priority, by)
