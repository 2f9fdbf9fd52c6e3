"""Asks the store of time series for a workflow. (S2)"""

from collections.abc import Awaitable, Callable
from typing import Any

from fieldloom_cloud.automation.performing import Asked, NotPerformed
from fieldloom_cloud.errors import BadContent, Unavailable
from fieldloom_cloud.timeseries import ports
from fieldloom_cloud.timeseries.asking import answered


def telemetry(store: ports.Reader) -> Callable[[Asked], Awaitable[dict[str, Any]]]:
    """Return what performs `telemetry` over a store."""

    async def ask(effect: Asked) -> dict[str, Any]:
        told = effect.parameters
        end = effect.created + 1
        start = max(0, end - told["since"])
        wanted = ports.Query(
            [told["device_id"]], [told["metric"]], start, end, told.get("aggregate"), limit=told.get("limit", 1)
        )
        try:
            series = await answered(store.query, wanted)
        except Unavailable as error:
            raise NotPerformed(error.detail, is_final=False) from None
        except BadContent as error:
            raise NotPerformed(error.detail, is_final=True) from None
        points = sorted((point for one in series for point in one.points), key=lambda point: point[0])
        return {"value": points[-1][1] if points else None, "points": [list(point) for point in points]}

    return ask
