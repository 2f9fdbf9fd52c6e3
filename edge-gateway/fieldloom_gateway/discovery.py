"""Asks the devices of a site who is there, over the gateway's own HTTP interface. (C8)"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import FastAPI, Header, Query

from fieldloom_gateway.local import admit
from fieldloom_runtime.records import Discovered

MAX_SECONDS = 300
ANSWER_S = 30  # boards answer within 3 s, and what is polled over a slow network later

Discover = Callable[[float], Awaitable[list[Discovered]]]


def add_discovery(app: FastAPI, token: str, discover: Discover) -> None:
    """Add `POST /api/v1/discovery` to an interface; it answers when the time for answers is over."""

    @app.post("/api/v1/discovery")
    async def ask(
        seconds: Annotated[int, Query(ge=1, le=MAX_SECONDS)] = ANSWER_S, authorization: Annotated[str, Header()] = ""
    ) -> dict[str, Any]:
        admit(authorization, token)
        return {"items": [_shown(found) for found in await discover(seconds)], "next": None}


def _shown(found: Discovered) -> dict[str, Any]:
    names = ("device", "adapter", "type", "board", "firmware", "capabilities")
    return {name: getattr(found, name) for name in names}
