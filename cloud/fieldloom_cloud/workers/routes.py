"""The processes of a cloud over HTTP. (A7)"""

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from fieldloom_cloud.auth.dependencies import Transaction, Viewer
from fieldloom_cloud.database import is_sqlite
from fieldloom_cloud.strict import StrictRoute
from fieldloom_cloud.workers import service

router = APIRouter(prefix="/api/v1/workers", tags=["workers"], route_class=StrictRoute)


class WorkerOut(BaseModel):
    number: int
    host: str
    api: str = Field(description="Where its API listens on its host.")
    started: str
    leads: bool = Field(description="Whether it does what only one process may: it has slot 0.")
    slots: list[int] = Field(description="The slots of gateways, 0 to 255, whose records it stores.")


class WorkersOut(BaseModel):
    items: list[WorkerOut]
    here: list[int] = Field(description="The slots of the process that answers.")


@router.get("")
async def list_workers(request: Request, transaction: Transaction, _: Viewer) -> WorkersOut:
    """Return the processes that share this cloud's ingest, none where one alone has it by its settings."""
    found = [] if is_sqlite(transaction) else await service.listed(transaction)
    return WorkersOut.model_validate({"items": found, "here": sorted(request.app.state.slots.held)})
