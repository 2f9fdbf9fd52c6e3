"""Events, latest values and dead letters over HTTP."""

from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from fieldloom_cloud.auth.dependencies import Transaction, Viewer
from fieldloom_cloud.database import from_ms
from fieldloom_cloud.ingest import service
from fieldloom_cloud.pages import MAX_PAGE, Asked, Page
from fieldloom_cloud.registry import service as registry
from fieldloom_cloud.strict import StrictRoute

router = APIRouter(prefix="/api/v1", tags=["telemetry"], route_class=StrictRoute)

Limit = Annotated[int, Query(ge=1, le=MAX_PAGE)]


class Value(BaseModel):
    ts: str
    value: Any


class LatestValues(BaseModel):
    metrics: dict[str, Value]


class LatestOfDevice(LatestValues):
    device: str


class EventOut(BaseModel):
    id: int
    device: str
    boot: int | None
    seq: int | None
    type: str
    ts: str
    gateway: str
    data: dict[str, Any]


class DeadLetterOut(BaseModel):
    id: int
    device: str
    gateway: str
    ts: str
    reason: str
    record: dict[str, Any] = Field(description="What is left of it: `payload` is base64, at most 4 KiB of `length`.")


@router.get("/devices/{device_id}/latest")
async def show_latest(device_id: str, transaction: Transaction, _: Viewer) -> LatestValues:
    await registry.device(transaction, device_id)
    found = await service.latest_of(transaction, [device_id])
    return LatestValues(metrics=_values(found.get(device_id, {})))


@router.get("/latest")
async def list_latest(
    transaction: Transaction,
    _: Viewer,
    device: Annotated[list[str], Query(min_length=1, max_length=MAX_PAGE, description="May be repeated.")],
) -> Page[LatestOfDevice]:
    """Return the latest values of several devices at once; one that has none, or is not known, has no item."""
    found = await service.latest_of(transaction, device)
    items = [LatestOfDevice(device=name, metrics=_values(metrics)) for name, metrics in found.items()]
    return Page[LatestOfDevice](items=items)


@router.get("/events")
async def list_events(
    transaction: Transaction,
    _: Viewer,
    device: str | None = None,
    type: str | None = None,  # noqa: A002 - the name in the API
    cursor: str | None = None,
    limit: Limit = 100,
) -> Page[EventOut]:
    found, following = await service.events(transaction, device, type, Asked(limit=limit, cursor=cursor))
    return Page[EventOut].model_validate({"items": [_dated(one) for one in found], "next": following})


@router.get("/dead-letters")
async def list_dead_letters(
    transaction: Transaction, _: Viewer, device: str | None = None, cursor: str | None = None, limit: Limit = 100
) -> Page[DeadLetterOut]:
    found, following = await service.dead_letters(transaction, device, Asked(limit=limit, cursor=cursor))
    return Page[DeadLetterOut].model_validate({"items": [_dated(one) for one in found], "next": following})


def _values(metrics: dict[str, Any]) -> dict[str, Value]:
    return {name: Value(ts=from_ms(one["ts"]), value=one["value"]) for name, one in metrics.items()}


def _dated(one: dict[str, Any]) -> dict[str, Any]:
    return {**one, "ts": from_ms(one["ts"])}
