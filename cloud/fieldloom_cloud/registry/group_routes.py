"""Groups over HTTP; commands to a group are `dispatch`'s. (R3)"""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from fieldloom_cloud.auth.dependencies import Operator, Transaction, Viewer
from fieldloom_cloud.etags import IfMatch, version_of
from fieldloom_cloud.pages import MAX_PAGE, Asked, Page
from fieldloom_cloud.registry import groups, search
from fieldloom_cloud.registry.schemas import DeviceName, DeviceOut, Strict, Text
from fieldloom_cloud.registry.search import DeviceQuery, Traits
from fieldloom_cloud.strict import StrictRoute

router = APIRouter(prefix="/api/v1/groups", tags=["groups"], route_class=StrictRoute)

Limit = Annotated[int, Query(ge=1, le=MAX_PAGE)]


class GroupPatch(Strict):
    name: Text | None = None
    query: Traits | None = Field(None, description="Which devices are in it, as `/devices` is asked.")


class GroupIn(GroupPatch):
    """Without a query the members are listed."""

    id: DeviceName


class GroupOut(BaseModel):
    id: str
    name: str
    query: dict[str, Any] | None = Field(description="null where the members are listed.")
    version: int
    created: str
    updated: str


@router.get("")
async def list_groups(
    transaction: Transaction, _: Viewer, cursor: str | None = None, limit: Limit = 100
) -> Page[GroupOut]:
    found, following = await groups.groups(transaction, Asked(limit=limit, cursor=cursor))
    return Page[GroupOut].model_validate({"items": found, "next": following})


@router.post("", status_code=201)
async def add_group(body: GroupIn, response: Response, transaction: Transaction, _: Operator) -> GroupOut:
    return _tagged(await groups.add_group(transaction, _fields(body)), response)


@router.get("/{group_id}")
async def show_group(group_id: str, response: Response, transaction: Transaction, _: Viewer) -> GroupOut:
    return _tagged(await groups.group(transaction, group_id), response)


@router.patch("/{group_id}")
async def change_group(
    group_id: str,
    body: GroupPatch,
    response: Response,
    transaction: Transaction,
    _: Operator,
    if_match: IfMatch = None,
) -> GroupOut:
    return _tagged(await groups.change_group(transaction, group_id, _fields(body), version_of(if_match)), response)


@router.delete("/{group_id}", status_code=204)
async def remove_group(group_id: str, transaction: Transaction, _: Operator, if_match: IfMatch = None) -> None:
    """Remove a group; its devices stay."""
    await groups.remove_group(transaction, group_id, version_of(if_match))


@router.get("/{group_id}/devices")
async def list_members(
    group_id: str, transaction: Transaction, _: Viewer, cursor: str | None = None, limit: Limit = 100
) -> Page[DeviceOut]:
    await groups.group(transaction, group_id)
    asked = Asked(limit=limit, cursor=cursor)
    items, following = await search.devices(transaction, DeviceQuery(group=group_id), "id", asked)
    return Page[DeviceOut].model_validate({"items": items, "next": following})


@router.put("/{group_id}/devices/{device_id}", status_code=204)
async def add_member(group_id: str, device_id: str, transaction: Transaction, _: Operator) -> None:
    """List a device in a group that has no query."""
    await groups.add_member(transaction, group_id, device_id)


@router.delete("/{group_id}/devices/{device_id}", status_code=204)
async def remove_member(group_id: str, device_id: str, transaction: Transaction, _: Operator) -> None:
    """List a device no more in a group that has no query."""
    await groups.remove_member(transaction, group_id, device_id)


def _fields(body: GroupPatch) -> dict[str, Any]:
    return body.model_dump(mode="json", exclude_none=True)


def _tagged(group: dict[str, Any], response: Response) -> GroupOut:
    response.headers["ETag"] = f'"{group["version"]}"'
    return GroupOut(**group)
