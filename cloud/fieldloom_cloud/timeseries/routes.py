"""Telemetry over HTTP. (S2)"""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from fieldloom_cloud.auth.dependencies import Viewer
from fieldloom_cloud.database import from_ms
from fieldloom_cloud.errors import BadContent
from fieldloom_cloud.strict import Instant, StrictRoute
from fieldloom_cloud.timeseries import store

router = APIRouter(prefix="/api/v1", tags=["telemetry"], route_class=StrictRoute)

UNITS_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
DAY_MS = UNITS_MS["d"]
MAX_WINDOWS = 100_000


class Series(BaseModel):
    device: str
    metric: str
    points: list[tuple[str, float]]


class Telemetry(BaseModel):
    series: list[Series]


@router.get("/telemetry")
async def query_telemetry(
    request: Request,
    _: Viewer,
    device: Annotated[list[str] | None, Query()] = None,
    metric: Annotated[list[str] | None, Query()] = None,
    start: Instant | None = None,
    end: Instant | None = None,
    aggregate: Annotated[str | None, Query(description="average, sum, min, max or count.")] = None,
    window: Annotated[str | None, Query(description="As 10s, 1m, 1h.")] = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> Telemetry:
    until = end or datetime.now(UTC) + timedelta(milliseconds=1)
    since = _ms(start) if start else _ms(until) - DAY_MS
    asked = store.Query(device or [], metric or [], since, _ms(until), aggregate, _window(window), limit)
    _check(asked)
    series = await asyncio.to_thread(request.app.state.series.query, asked)
    return Telemetry.model_validate({"series": [_shown(one) for one in series]})


def _shown(series: dict[str, Any]) -> dict[str, Any]:
    return {**series, "points": [(from_ms(ts), value) for ts, value in series["points"]]}


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _window(text: str | None) -> int | None:
    if text is None:
        return None
    found = re.fullmatch(r"([1-9][0-9]{0,8})(ms|s|m|h|d)", text)
    if found is None:
        raise _fault("window", "must be a number and one of ms, s, m, h, d, as 1m")
    return int(found[1]) * UNITS_MS[found[2]]


def _check(asked: store.Query) -> None:
    if asked.start >= asked.end:
        raise _fault("start", "must be before end")
    if asked.aggregate is not None and asked.aggregate not in store.AGGREGATES:
        raise _fault("aggregate", f"must be one of {', '.join(store.AGGREGATES)}")
    if asked.window is not None and asked.aggregate is None:
        raise _fault("aggregate", "a window needs one")
    if asked.window is not None and (asked.end - asked.start) / asked.window > MAX_WINDOWS:
        raise _fault("window", f"makes more than {MAX_WINDOWS} windows of this range")


def _fault(path: str, reason: str) -> BadContent:
    return BadContent("The query makes no sense.", [{"path": path, "reason": reason}])
