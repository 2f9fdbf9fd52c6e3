"""Who holds a device's actuators, over the gateway's own HTTP interface, with the cloud or without it. (E9)"""

import secrets
import sqlite3
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, FastAPI, Header
from pydantic import AwareDatetime, BaseModel, Field

from fieldloom_contract import topics
from fieldloom_contract.errors import Rejected
from fieldloom_contract.limits import MAX_NAME
from fieldloom_engine.holds import MAX_REASON, WRITE, Priority, Source, Wanted
from fieldloom_engine.rules.actions import COMMAND_EXPIRES_MS
from fieldloom_gateway.automation.holds.runtime import Runtime
from fieldloom_gateway.automation.holds.service import Holds
from fieldloom_gateway.cluster.consensus.port import NoLeader, Unknown
from fieldloom_gateway.cluster.state.errors import StateError
from fieldloom_gateway.ingest.down import command_of
from fieldloom_gateway.ingest.judge import Order
from fieldloom_gateway.local import Refused, admit
from fieldloom_runtime.down import Release

HERE = "at the gateway"
"""The owner that stands for who has the token of the gateway's folder."""

Commit = Callable[..., Awaitable[Any]]
"""Calls something in a transaction of its own, on the thread that has the disk."""


class HoldIn(BaseModel, extra="forbid"):
    """The command that is to hold what it moves."""

    type: str = Field(WRITE, min_length=1, max_length=MAX_NAME)
    parameters: dict[str, Any] = {}
    priority: Literal["safety", "person"] = "person"
    reason: str = Field("", max_length=MAX_REASON)
    expires: AwareDatetime | None = None


def add_holds(
    app: FastAPI, token: str, service: Holds, runtime: Runtime, commit: Commit, now: Callable[[], int]
) -> None:
    """Add `GET` and `POST /api/v1/devices/{id}/holds` and `DELETE .../holds/{actuator}` to an interface."""
    router = APIRouter(prefix="/api/v1/devices/{device_id}/holds")

    def shown(device: str) -> dict[str, Any]:
        items = service.of_device(device, now())
        for hold in (hold for one in items for hold in one["holds"]):
            hold |= {name: _iso(hold[name]) for name in ("since", "expires")}
        return {"items": items, "next": None}

    async def done(call: Callable[..., Any], *arguments: Any) -> Any:
        """Ask for something, and see it done as far as it can be now. Raises Refused."""
        try:
            answer = await commit(call, *arguments)
            await runtime.turn()
        except (NoLeader, Unknown, StateError, sqlite3.Error) as error:
            raise Refused(503, "Not available", f"it is not done yet: {error}") from None
        return answer

    @router.get("")
    async def show_holds(device_id: str, authorization: Annotated[str, Header()] = "") -> dict[str, Any]:
        admit(authorization, token)
        return shown(_device(device_id))

    @router.post("", status_code=202)
    async def hold(device_id: str, body: HoldIn, authorization: Annotated[str, Header()] = "") -> dict[str, Any]:
        admit(authorization, token)
        order = _order(_device(device_id), body, now())
        verdict = await done(service.admit, order, now())
        if verdict.refused is not None:
            raise Refused(422, "Bad content", verdict.refused)
        return {"id": order.id, **shown(device_id)}

    @router.delete("/{actuator}", status_code=202)
    async def release(
        device_id: str, actuator: str, priority: Priority = "person", authorization: Annotated[str, Header()] = ""
    ) -> dict[str, Any]:
        admit(authorization, token)
        request = Release(_device(device_id), actuator, secrets.token_hex(8), priority, HERE)
        await done(service.free, request)
        return shown(device_id)

    app.include_router(router)


def _device(name: str) -> str:
    try:
        return topics.device_id(name)
    except Rejected as error:
        raise Refused(404, "Not found", str(error)) from None


def _order(device: str, body: HoldIn, now: int) -> Order:
    expires = None if body.expires is None else round(body.expires.timestamp() * 1000)
    source, wanted = Source(body.priority, HERE), Wanted(body.reason, expires)
    order = Order(secrets.token_hex(8), device, body.type, body.parameters, now + COMMAND_EXPIRES_MS, source, wanted)
    try:
        command_of(order)
    except Rejected as error:
        faults = [{"path": error.field, "reason": error.reason}]
        raise Refused(422, "Bad content", "no device would take this", faults) from None
    return order


def _iso(moment: int | None) -> str | None:
    if moment is None:
        return None
    told = datetime.fromtimestamp(moment / 1000, UTC).isoformat(timespec="milliseconds")
    return told.replace("+00:00", "Z")
