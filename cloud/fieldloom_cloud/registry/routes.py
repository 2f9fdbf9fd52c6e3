"""The registry over HTTP. Who removes a device takes its rights too: see `removal`."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import Field

from fieldloom_cloud.auth.dependencies import Admin, Operator, Transaction, Viewer
from fieldloom_cloud.etags import IfMatch, version_of
from fieldloom_cloud.pages import MAX_PAGE, Asked, Page
from fieldloom_cloud.registry import search, service
from fieldloom_cloud.registry.schemas import (
    DeviceIn,
    DeviceOut,
    DevicePatch,
    DeviceShown,
    GatewayIn,
    GatewayOut,
    SiteIn,
    SiteOut,
    SitePatch,
)
from fieldloom_cloud.registry.search import SORTED_BY, DeviceQuery
from fieldloom_cloud.strict import StrictRoute

router = APIRouter(prefix="/api/v1", tags=["registry"], route_class=StrictRoute)


@router.get("/sites")
async def list_sites(transaction: Transaction, _: Viewer) -> Page[SiteOut]:
    return Page[SiteOut].model_validate({"items": await service.sites(transaction)})


@router.post("/sites", status_code=201)
async def add_site(body: SiteIn, transaction: Transaction, _: Operator) -> SiteOut:
    return SiteOut(**await service.add_site(transaction, body.id, body.name))


@router.patch("/sites/{site_id}")
async def change_site(site_id: str, body: SitePatch, transaction: Transaction, _: Admin) -> SiteOut:
    return SiteOut(**await service.change_site(transaction, site_id, automatic_entry=body.automatic_entry))


@router.get("/gateways")
async def list_gateways(transaction: Transaction, _: Viewer) -> Page[GatewayOut]:
    return Page[GatewayOut].model_validate({"items": await service.gateways(transaction)})


@router.post("/gateways", status_code=201)
async def add_gateway(body: GatewayIn, transaction: Transaction, _: Operator) -> GatewayOut:
    return GatewayOut(**await service.add_gateway(transaction, body.id, body.site))


class ListedDevices(DeviceQuery):
    """A filter, and which page of what it finds."""

    sort: str = Field("id", description=f"One of {', '.join(SORTED_BY)}; - before it for descending.")
    cursor: str | None = None
    limit: int = Field(100, ge=1, le=MAX_PAGE)


@router.get("/devices")
async def list_devices(
    transaction: Transaction, _: Viewer, asked: Annotated[ListedDevices, Query()]
) -> Page[DeviceOut]:
    page = Asked(limit=asked.limit, cursor=asked.cursor)
    items, following = await search.devices(transaction, asked, asked.sort, page)
    return Page[DeviceOut].model_validate({"items": items, "next": following})


@router.post("/devices", status_code=201)
async def add_device(body: DeviceIn, response: Response, transaction: Transaction, _: Operator) -> DeviceOut:
    return _tagged(await service.add_device(transaction, body.model_dump(exclude_none=True)), response)


@router.get("/devices/{device_id}")
async def show_device(device_id: str, response: Response, transaction: Transaction, _: Viewer) -> DeviceShown:
    shown = _tagged(await service.device(transaction, device_id), response)
    return DeviceShown(**shown.model_dump(), state=await service.state(transaction, device_id))


@router.patch("/devices/{device_id}")
async def change_device(
    device_id: str,
    body: DevicePatch,
    response: Response,
    transaction: Transaction,
    _: Operator,
    if_match: IfMatch = None,
) -> DeviceOut:
    fields = body.model_dump(exclude_none=True)
    return _tagged(await service.change_device(transaction, device_id, fields, version_of(if_match)), response)


def _tagged(device: dict[str, Any], response: Response) -> DeviceOut:
    response.headers["ETag"] = f'"{device["version"]}"'
    return DeviceOut(**device)
