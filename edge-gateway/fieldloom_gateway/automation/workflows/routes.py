"""Workflows and their instances over the gateway's own HTTP interface, with the cloud or without it. (W4, W5, W7)"""

import secrets
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, FastAPI, Header, Query
from pydantic import BaseModel, Field

from fieldloom_contract.errors import Rejected
from fieldloom_contract.limits import MAX_NAME
from fieldloom_engine.definitions import shown
from fieldloom_engine.rules import Event
from fieldloom_engine.rules.firing import identity
from fieldloom_engine.workflows import Instance
from fieldloom_gateway.automation import folder
from fieldloom_gateway.automation.deployed import told_faults
from fieldloom_gateway.automation.service import Automation
from fieldloom_gateway.automation.workflows.inbox import Again, Ends, Signals, Told
from fieldloom_gateway.automation.workflows.runtime import Runtime
from fieldloom_gateway.automation.workflows.service import Workflows
from fieldloom_gateway.local import Refused, admit

Status = Annotated[str | None, Query(pattern="^(running|waiting|succeeded|failed|terminated)$")]
Limit = Annotated[int, Query(ge=1, le=1000)]
BY_DEFAULT = 100

Commit = Callable[..., Awaitable[Any]]
"""Calls something in a transaction of its own, on the thread that has the disk."""


class Wanted(BaseModel, extra="forbid"):
    """A start of a workflow."""

    variables: dict[str, Any] = {}


class Ending(BaseModel, extra="forbid"):
    """Why an instance is terminated, and whether what it did is undone."""

    reason: str = Field(min_length=1, max_length=1000)
    undo: bool = True


class Signal(BaseModel, extra="forbid"):
    """An event for one instance."""

    type: str = Field(min_length=1, max_length=MAX_NAME)
    data: dict[str, Any] = {}


class Beginning(BaseModel, extra="forbid"):
    """At which state, and with which variables besides, an instance begins again."""

    state: str = Field(min_length=1)
    variables: dict[str, Any] = {}


class _Asking:
    """Has things happen to instances for who asks over HTTP, and waits until they have."""

    def __init__(self, service: Workflows, runtime: Runtime, commit: Commit) -> None:
        self._service = service
        self._runtime = runtime
        self._commit = commit

    async def done(self, call: Callable[..., int], *arguments: Any) -> None:
        """Put a happening into the inbox and wait until it was taken. Raises Refused."""
        try:
            reason = await self._runtime.taken(await self._commit(call, *arguments))
        except Rejected as error:
            raise Refused(422, "Bad content", str(error), [{"path": error.field, "reason": error.reason}]) from None
        except (TimeoutError, sqlite3.Error):
            raise Refused(503, "Not available", "the gateway's disk takes nothing at the moment: ask later") from None
        if reason is not None:
            raise Refused(409, "Conflict", reason)

    async def happen(self, name: str, told: Told) -> dict[str, Any]:
        """Let something happen to an instance, and return how it is then. Raises Refused."""
        self.found(name)
        await self.done(self._service.put, told)
        return await self.show(name)

    async def show(self, name: str) -> dict[str, Any]:
        """Return an instance with its history. Raises Refused."""
        found = self.found(name)
        history = await self._commit(self._service.history, name)
        return {**_summary(found), "variables": dict(found.variables), "output": found.output, "history": history}

    def found(self, name: str) -> Instance:
        """Return an instance. Raises Refused."""
        found = self._runtime.one(name)
        if found is None:
            raise Refused(404, "Not found", f"there is no instance {name} here")
        return found


def add_workflows(
    app: FastAPI,
    token: str,
    automation: Automation,
    runtime: Runtime,
    data: Path,
    commit: Commit,
    now: Callable[[], int],
) -> None:
    """Add `/api/v1/workflows` and `/api/v1/instances` to an interface; `now` gives Unix ms."""

    def let_in(authorization: Annotated[str, Header()] = "") -> None:
        admit(authorization, token)

    asking = _Asking(automation.workflows, runtime, commit)
    router = APIRouter(prefix="/api/v1", dependencies=[Depends(let_in)])
    _add_definitions(router, automation, data, commit)
    _add_start(router, automation.workflows, runtime, asking, now)
    _add_instances(router, runtime, asking, now)
    app.include_router(router)


def _add_definitions(router: APIRouter, automation: Automation, data: Path, commit: Commit) -> None:
    service = automation.workflows

    @router.get("/workflows")
    async def list_workflows() -> dict[str, Any]:
        return {"items": await commit(service.all), "next": None}

    @router.post("/workflows/reload")
    async def reload() -> dict[str, Any]:
        refused = await commit(automation.take_workflows, folder.workflows_of(data))
        if refused:
            faults = [
                {"path": f"{folder.WORKFLOWS}/{name}.yaml: {fault['path']}", "reason": fault["reason"]}
                for name, found in refused.items()
                for fault in told_faults(found)
            ]
            detail = "some workflows are not taken, what was at work of them stays; all others are taken"
            raise Refused(422, "Bad content", detail, faults)
        return await list_workflows()

    @router.get("/workflows/{workflow}")
    async def show_workflow(workflow: str) -> dict[str, Any]:
        found: dict[str, Any] | None = await commit(service.one, workflow)
        if found is None:
            raise Refused(404, "Not found", f"no workflow {workflow} is known here")
        return found


def _add_start(
    router: APIRouter, service: Workflows, runtime: Runtime, asking: _Asking, now: Callable[[], int]
) -> None:
    @router.post("/workflows/{workflow}/start", status_code=201)
    async def start(
        workflow: str, wanted: Wanted, idempotency_key: Annotated[str, Header(max_length=256)] = ""
    ) -> dict[str, Any]:
        name = identity(workflow, "asked", idempotency_key or secrets.token_hex(16))
        await asking.done(service.request, workflow, name, wanted.variables, now())
        return {"id": name, "workflow": workflow, "queued": runtime.is_queued(name)}


def _add_instances(router: APIRouter, runtime: Runtime, asking: _Asking, now: Callable[[], int]) -> None:
    @router.get("/instances")
    async def list_instances(
        workflow: str | None = None, status: Status = None, limit: Limit = BY_DEFAULT
    ) -> dict[str, Any]:
        found = [
            _summary(one)
            for one in reversed(runtime.all())
            if workflow in (None, one.workflow) and status in (None, one.status)
        ]
        return {"items": found[:limit], "next": None}

    @router.get("/instances/{instance}")
    async def show_instance(instance: str) -> dict[str, Any]:
        return await asking.show(instance)

    @router.post("/instances/{instance}/terminate")
    async def terminate(instance: str, ending: Ending) -> dict[str, Any]:
        return await asking.happen(instance, Ends(instance, ending.reason, ending.undo))

    @router.post("/instances/{instance}/signal")
    async def signal(instance: str, told: Signal) -> dict[str, Any]:
        event = Event(secrets.token_hex(16), told.type, "", now(), told.data)
        return await asking.happen(instance, Signals(instance, event))

    @router.post("/instances/{instance}/retry")
    async def retry(instance: str, beginning: Beginning) -> dict[str, Any]:
        return await asking.happen(instance, Again(instance, beginning.state, beginning.variables))


def _summary(instance: Instance) -> dict[str, Any]:
    return {
        "id": instance.id,
        "workflow": instance.workflow,
        "version": instance.version,
        "status": instance.status,
        "device": instance.variables.get("device_id"),
        "correlation": instance.correlation,
        "created": instance.created,
        "states": [shown(path) for path in instance.active],
        "failure": msgspec.to_builtins(instance.failure),
        "reason": instance.reason,
    }
