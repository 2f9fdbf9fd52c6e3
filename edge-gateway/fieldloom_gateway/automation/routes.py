"""Rules and active alarms over the gateway's own HTTP interface, with the cloud or without it. (E7, E10)"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header
from pydantic import BaseModel, Field

from fieldloom_contract.limits import MAX_NAME
from fieldloom_engine.rules import TELEMETRY, Event
from fieldloom_gateway.automation import folder
from fieldloom_gateway.automation.deployed import told_faults
from fieldloom_gateway.automation.service import Automation
from fieldloom_gateway.local import Refused, admit

InStore = Callable[..., Awaitable[Any]]
"""Calls something on the thread that has the disk."""


class Happened(BaseModel, extra="forbid"):
    """An event that a rule is asked about."""

    device: str = Field(min_length=1, max_length=MAX_NAME)
    type: str = Field(default=TELEMETRY, min_length=1, max_length=MAX_NAME)
    ts: int | None = Field(default=None, ge=0, description="Unix ms; by default now.")
    data: dict[str, Any] = {}


def add_rules(
    app: FastAPI, token: str, automation: Automation, data: Path, in_store: InStore, now: Callable[[], int]
) -> None:
    """Add `/api/v1/rules` and `/api/v1/alarms` to an interface; `now` gives Unix ms."""

    def let_in(authorization: Annotated[str, Header()] = "") -> None:
        admit(authorization, token)

    router = APIRouter(prefix="/api/v1", dependencies=[Depends(let_in)])

    @router.get("/rules")
    async def list_rules() -> dict[str, Any]:
        return {"items": await in_store(automation.rules), "next": None}

    @router.post("/rules/reload")
    async def reload() -> dict[str, Any]:
        told = await asyncio.to_thread(folder.rules_of, data)
        refused = await in_store(automation.use_folder, told)
        if refused:
            faults = [
                {"path": f"{folder.RULES}/{rule}.yaml: {fault['path']}", "reason": fault["reason"]}
                for rule, found in refused.items()
                for fault in told_faults(found)
            ]
            detail = "some rules are not taken, what was at work of them stays; all others are taken"
            raise Refused(422, "Bad content", detail, faults)
        return {"items": await in_store(automation.rules), "next": None}

    @router.get("/rules/{rule}")
    async def show_rule(rule: str) -> dict[str, Any]:
        found: dict[str, Any] | None = await in_store(automation.rule, rule)
        if found is None:
            raise _none(rule)
        return found

    @router.post("/rules/{rule}/explain")
    async def explain(rule: str, happened: Happened) -> dict[str, Any]:
        ts = now() if happened.ts is None else happened.ts
        event = Event("asked", happened.type, happened.device, ts, happened.data)
        try:
            told: dict[str, Any] = await in_store(automation.explain, rule, event)
        except KeyError:
            raise _none(rule) from None
        return told

    @router.get("/alarms")
    async def list_alarms() -> dict[str, Any]:
        return {"items": await in_store(automation.alarms.all), "next": None}

    app.include_router(router)


def _none(rule: str) -> Refused:
    return Refused(404, "Not found", f"no rule {rule} is at work here")
