"""Found devices over HTTP. (C8)"""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from fieldloom_cloud.auth.dependencies import Operator, Transaction, Viewer
from fieldloom_cloud.discoveries import service
from fieldloom_cloud.errors import described
from fieldloom_cloud.pages import MAX_PAGE, Asked, Page
from fieldloom_cloud.registry.schemas import DeviceOut, SiteName, Strict, Text
from fieldloom_cloud.strict import StrictRoute

router = APIRouter(prefix="/api/v1/discoveries", tags=["registry"], route_class=StrictRoute)


class DiscoveryOut(BaseModel):
    device: str
    site: str
    gateway: str
    adapter: str = Field(description="The gateway's adapter that heard it.")
    type: str
    board: str
    firmware: str
    capabilities: list[str]
    first_seen: str
    last_seen: str
    dismissed: str | None = Field(description="When somebody dismissed it.")


class ApprovalIn(Strict):
    """What its owner knows of a found device, and it does not say itself."""

    name: Text | None = None
    site: SiteName | None = Field(None, description="By default the one where it was heard.")


@router.get("")
async def list_discoveries(
    transaction: Transaction,
    _: Viewer,
    site: str | None = None,
    dismissed: Annotated[bool, Query(description="Those that were dismissed, in place of those that wait.")] = False,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
) -> Page[DiscoveryOut]:
    """List the devices that gateways have found and that are not registered."""
    page = Asked(limit=limit, cursor=cursor)
    found, following = await service.discoveries(transaction, site, page, dismissed=dismissed)
    return Page[DiscoveryOut].model_validate({"items": found, "next": following})


@router.post("/{device_id}/approve", status_code=201, responses={409: described(409)})
async def approve_discovery(
    device_id: str, response: Response, transaction: Transaction, _: Operator, body: ApprovalIn | None = None
) -> DeviceOut:
    """Register a found device, a dismissed one too, with what it said of itself and what is told here."""
    told = {} if body is None else body.model_dump(exclude_none=True)
    registered = await service.approve(transaction, device_id, told)
    response.headers["ETag"] = f'"{registered["version"]}"'
    return DeviceOut(**registered)


@router.post("/{device_id}/dismiss")
async def dismiss_discovery(device_id: str, transaction: Transaction, _: Operator) -> DiscoveryOut:
    """Take a found device off the list, for good: it may be approved later all the same."""
    return DiscoveryOut(**await service.dismiss(transaction, device_id))
