"""Telemetry over HTTP. (S2)"""

import time
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from fieldloom_cloud.auth.dependencies import Viewer
from fieldloom_cloud.database import from_ms
from fieldloom_cloud.errors import BadContent, described
from fieldloom_cloud.strict import Instant, StrictRoute
from fieldloom_cloud.timeseries import aggregates, ports
from fieldloom_cloud.timeseries.asking import answered
from fieldloom_cloud.timeseries.lengths import UNITS_MS, duration_ms

router = APIRouter(prefix="/api/v1", tags=["telemetry"], route_class=StrictRoute)

DAY_MS = UNITS_MS["d"]
MAX_WINDOWS = 100_000
MAX_TAGS = 16


class Series(BaseModel):
    device: str
    metric: str
    tags: dict[str, str]
    points: list[tuple[str, float]]


class Telemetry(BaseModel):
    series: list[Series]


@router.get("/telemetry", responses={503: described(503)})
async def query_telemetry(
    request: Request,
    _: Viewer,
    device: Annotated[list[str] | None, Query()] = None,
    metric: Annotated[list[str] | None, Query()] = None,
    tag: Annotated[
        list[str] | None, Query(max_length=MAX_TAGS, description="What a series has to carry, as area:north.")
    ] = None,
    start: Annotated[Instant | None, Query(description="By default a day before the end.")] = None,
    end: Annotated[Instant | None, Query(description="By default now.")] = None,
    aggregate: Annotated[
        str | None,
        Query(description=f"{', '.join(aggregates.BUILT_IN)}, or the name of one that is registered."),
    ] = None,
    percentile: Annotated[float | None, Query(ge=0, le=1, description="As 0.95, with `aggregate=percentile`.")] = None,
    window: Annotated[str | None, Query(description="As 10s, 1m, 1h; aligned to the epoch.")] = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
) -> Telemetry:
    """Return the newest raw points of each series, or what an aggregate makes of each window or of the whole range."""
    until = _ms(end) if end else time.time_ns() // 1_000_000 + 1
    since = _ms(start) if start else until - DAY_MS
    tags = tuple(sorted(_tag(text) for text in tag or ()))
    share = 0.5 if percentile is None else percentile
    asked = ports.Query(
        device or [], metric or [], max(0, since), until, aggregate, _window(window), limit, tags, share
    )
    _check(asked, is_share_told=percentile is not None)
    series = await answered(request.app.state.series.query, asked)
    return Telemetry(series=[_shown(one) for one in series])


def _shown(series: ports.Series) -> Series:
    points = [(from_ms(ts), value) for ts, value in series.points]
    return Series(device=series.device, metric=series.metric, tags=dict(series.tags), points=points)


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _window(text: str | None) -> int | None:
    try:
        return None if text is None else duration_ms(text)
    except ValueError as error:
        raise _fault("window", str(error)) from None


def _tag(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not (name and colon and value):
        raise _fault("tag", "must be a name and a value, as area:north")
    return name, value


def _check(asked: ports.Query, *, is_share_told: bool) -> None:
    if asked.start >= asked.end:
        raise _fault("start", "must be before end")
    if asked.aggregate is not None and asked.aggregate not in aggregates.names():
        raise _fault("aggregate", f"must be one of {', '.join(aggregates.names())}")
    if is_share_told is not (asked.aggregate == aggregates.PERCENTILE):
        raise _fault("percentile", "belongs to aggregate=percentile, which needs it, as 0.95")
    if asked.window is not None and asked.aggregate is None:
        raise _fault("aggregate", "a window needs one")
    if asked.window is not None and (asked.end - asked.start) / asked.window > MAX_WINDOWS:
        raise _fault("window", f"makes more than {MAX_WINDOWS} windows of this range")


def _fault(path: str, reason: str) -> BadContent:
    return BadContent("The query makes no sense.", [{"path": path, "reason": reason}])
