"""Asks a store of time series off the loop, and says as the API does what goes wrong."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from fieldloom_cloud.errors import BadContent, Unavailable
from fieldloom_cloud.timeseries.aggregates import AggregateFailed
from fieldloom_cloud.timeseries.ports import SeriesError

Answer = TypeVar("Answer")


async def answered(question: Callable[..., Answer], *arguments: Any) -> Answer:
    """Return a store's answer. Raises Unavailable, and BadContent for an aggregate that fails on what was found."""
    try:
        return await asyncio.to_thread(question, *arguments)
    except SeriesError as error:
        raise Unavailable(f"the store of time series can't answer: {error}") from error
    except AggregateFailed as error:
        raise BadContent("The aggregate fails.", [{"path": "aggregate", "reason": str(error)}]) from error
