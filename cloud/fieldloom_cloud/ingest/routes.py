"""Events, latest values and dead letters over HTTP."""

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from fieldloom_cloud.auth.dependencies import Transaction, Viewer
from fieldloom_cloud.database import from_ms
from fieldloom_cloud.ingest import service
from fieldloom_cloud.registry import service as registry

router = APIRouter(prefix="/api/v1")


class Value(BaseModel):
    ts: str
    value: Any


class LatestValues(BaseModel):
    metrics: dict[str, Value]


@router.get("/devices/{device_id}/latest")
async def latest(device_id: str, transaction: Transaction, _: Viewer) -> LatestValues:
    await registry.device(transaction, device_id)
    found = await service.latest(transaction, device_id)
    return LatestValues(metrics={name: Value(ts=from_ms(one["ts"]), value=one["value"]) for name, one in found.items()})


@router.get("/events")
async def list_events(transaction: Transaction, _: Viewer, device: str | None = None) -> dict[str, Any]:
    found = await service.events(transaction, device)
    return {"items": [{**one, "ts": from_ms(one["ts"])} for one in found], "next": None}


@router.get("/dead-letters")
async def list_dead_letters(transaction: Transaction, _: Viewer) -> dict[str, Any]:
    found = await service.dead_letters(transaction)
    return {"items": [{**one, "ts": from_ms(one["ts"])} for one in found], "next": None}
