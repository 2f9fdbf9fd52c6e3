"""Twins over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Response
from pydantic import BaseModel, Field

from fieldloom_cloud.auth.dependencies import Operator, Transaction, Viewer
from fieldloom_cloud.dispatch.waking import SENDS_DOWN
from fieldloom_cloud.errors import Fault, described
from fieldloom_cloud.registry import groups
from fieldloom_cloud.strict import StrictRoute
from fieldloom_cloud.twins import service

router = APIRouter(prefix="/api/v1", tags=["twins"], route_class=StrictRoute)


class TwinPatchIn(BaseModel, extra="forbid"):
    desired: dict[str, Any] = Field(description="A merge patch (RFC 7396): null removes what is wanted no more.")


class PendingPatch(BaseModel):
    id: str
    desired: dict[str, Any]
    created: str


class TwinOut(BaseModel):
    device: str
    version: int = Field(description="Of `desired`: counted by the gateway that owns the device.")
    desired: dict[str, Any]
    reported_version: int = Field(description="The version that `reported` answers to.")
    reported: dict[str, Any]
    errors: dict[str, str] = Field(description="By path, why the device did not take a value.")
    reported_at: str | None
    delta: dict[str, Any] = Field(description="What is wanted and not reported.")
    pending: list[PendingPatch] = Field(description="Patches that the gateway has not decided on.")


class MemberTwin(BaseModel):
    device: str
    twin: TwinOut | None = Field(description="null where the patch was refused.")
    errors: list[Fault] = Field(description="Why this device gets no patch.")


class GroupTwins(BaseModel):
    group: str
    items: list[MemberTwin]


IdempotencyKey = Annotated[str | None, Header(max_length=200)]


@router.get("/devices/{device_id}/twin")
async def show_twin(device_id: str, response: Response, transaction: Transaction, _: Viewer) -> TwinOut:
    return _tagged(await service.show(transaction, device_id), response)


@router.patch("/devices/{device_id}/twin", status_code=202, responses={429: described(429)}, dependencies=SENDS_DOWN)
async def patch_twin(
    device_id: str,
    body: TwinPatchIn,
    response: Response,
    transaction: Transaction,
    caller: Operator,
    if_match: Annotated[str | None, Header(description='The ETag of the twin that is meant, as "3".')] = None,
    idempotency_key: IdempotencyKey = None,
) -> TwinOut:
    """Send a patch to the gateway that owns the device; it is pending until that has decided."""
    wish = service.Wish(device_id, body.desired, if_match, caller.id, idempotency_key)
    changed = await service.change(transaction, wish)
    return _tagged(changed, response)


@router.patch("/groups/{group_id}/twin", status_code=202, dependencies=SENDS_DOWN)
async def patch_twins_of_group(
    group_id: str,
    body: TwinPatchIn,
    transaction: Transaction,
    caller: Operator,
    idempotency_key: IdempotencyKey = None,
) -> GroupTwins:
    """Send a patch for each device of a group, of 500 at most, and tell of each what became of it."""
    await groups.group(transaction, group_id)
    wish = service.Wish("", body.desired, None, caller.id, idempotency_key)
    changed = await service.change_group(transaction, group_id, wish)
    items = [{"device": one.device, "twin": one.twin, "errors": one.refused} for one in changed]
    return GroupTwins.model_validate({"group": group_id, "items": items})


def _tagged(twin: dict[str, Any], response: Response) -> TwinOut:
    response.headers["ETag"] = twin.pop("etag")
    return TwinOut(**twin)
