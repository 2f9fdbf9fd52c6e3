"""Proof of completeness over HTTP. (T8)"""

import time
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from fieldloom_cloud.auth.dependencies import Transaction, Viewer
from fieldloom_cloud.completeness import service
from fieldloom_cloud.completeness.verdict import Status, Where
from fieldloom_cloud.database import from_ms
from fieldloom_cloud.errors import BadContent, described
from fieldloom_cloud.strict import Instant, StrictRoute

router = APIRouter(prefix="/api/v1", tags=["telemetry"], route_class=StrictRoute)

DAY_MS = 86_400_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class MissingOut(BaseModel):
    boot: int
    first: int = Field(description="A seq of that boot.")
    last: int | None = Field(description="null where nobody knows how many there are.")
    records: int | None
    where: Where
    reason: str
    gateway: str | None


class Completeness(BaseModel):
    device: str
    start: str
    end: str
    status: Status = Field(
        description="`incomplete`: what is missing will not come. `open`: something may still come, or is not proven."
    )
    settled: str | None = Field(description="Up to when the answer is final; null if it is nowhere.")
    reasons: list[str] = Field(description="Why it is open.")
    missing: list[MissingOut]
    unnumbered: int = Field(description="Records without a number that a gateway told in the window to have dropped.")


@router.get("/completeness", responses={404: described(404), 503: described(503)})
async def show_completeness(
    request: Request,
    transaction: Transaction,
    _: Viewer,
    device: str,
    start: Annotated[Instant | None, Query(description="By default a day before the end.")] = None,
    end: Annotated[Instant | None, Query(description="By default now.")] = None,
) -> Completeness:
    """Return whether all records of a device in a window are stored, or which are missing and where they are."""
    now = time.time_ns() // 1_000_000
    until = _ms(end) if end else now
    since = _ms(start) if start else max(0, until - DAY_MS)
    if since >= until:
        raise BadContent("The query makes no sense.", [{"path": "start", "reason": "must be before end"}])
    state = request.app.state
    asked = service.Asked(device, since, until, now, state.worker.is_connected)
    verdict, unnumbered = await service.prove(transaction, state.series, asked)
    missing = [
        MissingOut(**one._asdict(), records=None if one.last is None else one.last - one.first + 1)
        for one in verdict.missing
    ]
    return Completeness(
        device=device,
        start=from_ms(asked.start),
        end=from_ms(asked.end),
        status=verdict.status,
        settled=None if verdict.settled is None else from_ms(verdict.settled),
        reasons=verdict.reasons,
        missing=missing,
        unnumbered=unnumbered,
    )


def _ms(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(milliseconds=1)
