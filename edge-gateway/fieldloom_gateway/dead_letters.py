"""The dead letters over the gateway's own HTTP interface: seen, replayed, dropped. (T1)"""

import base64
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Depends, FastAPI, Header, Query
from pydantic import AwareDatetime

from fieldloom_contract.limits import MAX_NAME
from fieldloom_gateway.ingest.burying import NotReplayed
from fieldloom_gateway.ingest.letters import Asked, Letter
from fieldloom_gateway.ingest.store import Store
from fieldloom_gateway.local import Refused, admit

log = structlog.get_logger()

MAX_PAGE = 500

InStore = Callable[..., Awaitable[Any]]
"""Calls something on the thread that has the disk."""


def add_dead_letters(app: FastAPI, token: str, store: Store, in_store: InStore, now: Callable[[], int]) -> None:
    """Add `/api/v1/dead-letters` to an interface; `now` gives Unix ms."""

    def let_in(authorization: Annotated[str, Header()] = "") -> None:
        admit(authorization, token)

    router = APIRouter(prefix="/api/v1/dead-letters", dependencies=[Depends(let_in)])

    @router.get("")
    async def list_letters(
        device: Annotated[str | None, Query(max_length=MAX_NAME)] = None,
        reason: Annotated[str | None, Query(max_length=256, description="A part of it.")] = None,
        since: AwareDatetime | None = None,
        cursor: Annotated[int | None, Query(ge=0, lt=2**63)] = None,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 100,
    ) -> dict[str, Any]:
        asked = Asked(device, reason, None if since is None else int(since.timestamp() * 1000))
        found: list[Letter] = await in_store(store.letters.page, asked, cursor, limit + 1)
        more = len(found) > limit
        page = found[:limit]
        return {"items": [_told(letter) for letter in page], "next": str(page[-1].number) if more else None}

    @router.get("/{number}")
    async def show_letter(number: int) -> dict[str, Any]:
        letter: Letter | None = await in_store(store.letters.one, number)
        if letter is None:
            raise _none(number)
        return _told(letter)

    @router.post("/{number}/replay")
    async def replay_letter(number: int) -> dict[str, Any]:
        try:
            await in_store(store.replay, number, now())
        except KeyError:
            raise _none(number) from None
        except NotReplayed as error:
            raise Refused(422, "Not taken", f"the dead letter {number} is not taken now either: {error}") from None
        log.info("dead_letter_replayed", number=number)
        return {"number": number, "outcome": "taken"}

    @router.delete("/{number}")
    async def drop_letter(number: int) -> dict[str, Any]:
        try:
            await in_store(store.drop_letter, number)
        except KeyError:
            raise _none(number) from None
        log.info("dead_letter_dropped", number=number)
        return {"number": number, "outcome": "dropped"}

    app.include_router(router)


def _none(number: int) -> Refused:
    return Refused(404, "Not found", f"there is no dead letter {number} here")


def _told(letter: Letter) -> dict[str, Any]:
    told = letter._asdict()
    told["at"] = datetime.fromtimestamp(letter.at / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    told["payload"] = base64.b64encode(letter.payload).decode()
    return told
