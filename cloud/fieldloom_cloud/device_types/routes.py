"""Device types over HTTP. (R6)"""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel

from fieldloom_cloud.auth.dependencies import Operator, Transaction, Viewer
from fieldloom_cloud.device_types import service
from fieldloom_cloud.device_types.definition import Definition
from fieldloom_cloud.errors import described
from fieldloom_cloud.etags import IfMatch, version_of
from fieldloom_cloud.pages import MAX_PAGE, Asked, Page
from fieldloom_cloud.strict import StrictRoute

router = APIRouter(prefix="/api/v1", tags=["types"], route_class=StrictRoute)

TypeName = Annotated[str, Path(min_length=1, max_length=64)]


class TypeOut(BaseModel):
    id: str
    version: int
    created: str
    definition: Definition


class MisfitOut(BaseModel):
    metric: str
    count: int
    reason: str
    first: str
    last: str


@router.get("/types")
async def list_types(
    transaction: Transaction,
    _: Viewer,
    cursor: str | None = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
) -> Page[TypeOut]:
    """Return all types, each in its newest version."""
    found, following = await service.types(transaction, Asked(limit=limit, cursor=cursor))
    return Page[TypeOut].model_validate({"items": found, "next": following})


@router.get("/types/{type_id}")
async def show_type(
    type_id: TypeName,
    response: Response,
    transaction: Transaction,
    _: Viewer,
    version: Annotated[int | None, Query(ge=1, le=2**31 - 1, description="By default the newest.")] = None,
) -> TypeOut:
    shown = await service.type_of(transaction, type_id, version)
    response.headers["ETag"] = f'"{shown["version"]}"'
    return TypeOut(**shown)


@router.put("/types/{type_id}", responses={412: described(412)})
async def put_type(
    type_id: TypeName,
    body: Definition,
    response: Response,
    transaction: Transaction,
    _: Operator,
    if_match: IfMatch = None,
) -> TypeOut:
    """Make this the newest version of a type; what is the newest already stays as it is."""
    shown = await service.put(transaction, type_id, body, version_of(if_match))
    response.headers["ETag"] = f'"{shown["version"]}"'
    return TypeOut(**shown)


@router.delete("/types/{type_id}", status_code=204, responses={409: described(409)})
async def remove_type(type_id: TypeName, transaction: Transaction, _: Operator) -> None:
    """Remove a type with all its versions, if no device has it."""
    await service.remove(transaction, type_id)


@router.get("/devices/{device_id}/misfits")
async def list_misfits(device_id: str, transaction: Transaction, _: Viewer) -> Page[MisfitOut]:
    """Return how many readings of each metric did not fit the device's type; they are stored none the less."""
    return Page[MisfitOut].model_validate({"items": await service.misfits(transaction, device_id)})
