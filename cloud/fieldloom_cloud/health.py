"""Whether this cloud is alive, able, and what it counts. (O2)"""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    return {"status": "alive"}


@router.get("/readyz", responses={503: {"description": "It can't do its work, and says why."}})
async def readyz(request: Request, response: Response) -> dict[str, Any]:
    state = request.app.state
    reason = None if state.worker.is_connected else "the broker of this cloud can't be reached"
    relay = state.worker.relay
    if relay is not None and relay.trouble is not None:
        reason = f"points wait for the store of time series: {relay.trouble}"
    if not state.slots.is_valid:
        reason = "this process's lease has run out, and it is beginning another one"
    try:
        async with state.database.transaction() as session:
            await session.execute(text("SELECT 1"))
    except SQLAlchemyError as error:
        reason = f"the database can't be used ({error})"
    response.status_code = 200 if reason is None else 503
    return {"ready": reason is None, "reason": reason}


@router.get("/metrics", response_class=PlainTextResponse)
async def metrics(request: Request) -> Response:
    return Response(generate_latest(request.app.state.figures), media_type=CONTENT_TYPE_LATEST)
