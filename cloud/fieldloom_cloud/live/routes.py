"""The fleet as it changes, by server-sent events. (A1)"""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.sse import EventSourceResponse

from fieldloom_cloud.auth import service as auth
from fieldloom_cloud.auth.dependencies import Viewer
from fieldloom_cloud.changes import Change
from fieldloom_cloud.database import from_ms
from fieldloom_cloud.live.hub import Watcher
from fieldloom_cloud.live.schemas import StreamEvent

router = APIRouter(prefix="/api/v1", tags=["live"])

LOOK_EVERY_S = 5.0


@router.get("/stream", response_class=EventSourceResponse)
async def stream(
    request: Request,
    caller: Viewer,
    device: Annotated[str | None, Query(description="By default all.")] = None,
    every_alarm: Annotated[bool, Query(description="The alarms of all devices, whichever device is told of.")] = False,
) -> AsyncIterator[StreamEvent]:
    """Tell what has been stored, from now on, beginning with `ready`.

    There is no resuming: a client that comes back reads the lists again, whatever `Last-Event-ID` it sends. A stream
    ends when its caller is logged out or its token revoked, and with the cloud.
    """
    with request.app.state.hub.watch(device, every_alarm=every_alarm) as watcher:
        yield StreamEvent.model_validate({"kind": "ready"})
        async for change in _changes(request, caller, watcher):
            yield StreamEvent.model_validate(_shown(change))


async def _changes(request: Request, caller: auth.Caller, watcher: Watcher) -> AsyncIterator[Change]:
    """Give changes for as long as the caller may see them, which is looked at every now and then."""
    loop = asyncio.get_running_loop()
    while True:
        async with request.app.state.database.transaction() as session:
            if not await auth.is_still_good(session, caller):
                return
        look_at = loop.time() + LOOK_EVERY_S
        while loop.time() < look_at:
            try:
                async with asyncio.timeout_at(look_at):
                    change = await watcher.get()
            except TimeoutError:
                break
            if change is None:
                return
            yield change


def _shown(change: Change) -> dict[str, Any]:
    shown = {**change.told, "kind": change.kind, "device": change.device}
    return {**shown, "ts": from_ms(shown["ts"])} if "ts" in shown else shown
