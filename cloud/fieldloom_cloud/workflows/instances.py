"""Instances as people see them and act on them. (W5, W7)"""

import hashlib
import json
import secrets
import time
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud import pages
from fieldloom_cloud.database import from_ms
from fieldloom_cloud.errors import BadContent, InUse, NotFound
from fieldloom_cloud.trail import service as trail
from fieldloom_cloud.workflows import checking, edge, happenings, requests, starts
from fieldloom_cloud.workflows.happenings import Told
from fieldloom_cloud.workflows.models import EffectRow, HistoryRow, InstanceRow, QueuedStart, WorkflowVersion
from fieldloom_cloud.workflows.starts import Wish
from fieldloom_engine.definitions import shown
from fieldloom_engine.rules import Event
from fieldloom_engine.rules.firing import identity
from fieldloom_engine.workflows import (
    Happening,
    Instance,
    InvalidStart,
    NotPossible,
    Program,
    Record,
    Replayed,
    Signalled,
    Terminated,
    UnreadableInstance,
    Workflow,
    awaits,
    decode,
    step,
)
from fieldloom_engine.workflows.instance import FINAL
from fieldloom_engine.workflows.triggers import NotStarted, by_request
from fieldloom_engine.workflows.upgrades import Break, breaks

MAX_HISTORY = 1000
MAX_CHECKED = 1000
"""Instances that one check looks at."""

_record = msgspec.json.Decoder(Record).decode


class Filter(NamedTuple):
    """Which instances; None takes any."""

    workflow: str | None = None
    status: str | None = None
    device: str | None = None


class Asked(NamedTuple):
    """Who asks for a start, with which variables; who asks again with the same key gets the same instance."""

    variables: dict[str, Any]
    token: str
    idempotency_key: str | None


async def start(session: AsyncSession, workflow: Workflow, asked: Asked) -> dict[str, Any]:
    """Start an instance, and return what became of it. Raises BadContent, and InUse when its key is taken."""
    key = secrets.token_hex(16) if asked.idempotency_key is None else asked.idempotency_key
    id_ = identity(workflow.id, "api", asked.token, key)
    now = _now()
    found = by_request(workflow, id_, asked.variables, now)
    if isinstance(found, NotStarted):
        raise BadContent("The workflow can't start.", [{"path": "variables", "reason": found.reason}])
    fingerprint = hashlib.sha256(json.dumps(asked.variables, sort_keys=True).encode()).hexdigest()
    begun = (await starts.begin(session, [Wish(found, metadata={"request": fingerprint})], now))[id_]
    if begun.outcome == "refused":
        raise BadContent("The workflow can't start.", [{"path": "variables", "reason": begun.reason or ""}])
    if begun.outcome == "skipped":
        raise InUse(f"{workflow.id} does not start: {begun.reason}")
    if begun.outcome == "known":
        if (await starts.metadata_of(session, id_)).get("request") != fingerprint:
            reason = "was used for another request: draw a new one for each"
            raise BadContent("The key stands for another start.", [{"path": "Idempotency-Key", "reason": reason}])
    else:
        told = {"workflow": workflow.id, "version": workflow.version, "variables": asked.variables}
        trail.note(session, "instance", id_, None, told)
    return {"id": id_, "workflow": workflow.id, "outcome": begun.outcome, "reason": begun.reason}


async def listed(session: AsyncSession, wanted: Filter, asked: pages.Asked) -> tuple[list[dict[str, Any]], str | None]:
    """Return a page of instances, the newest first, and the next page's cursor."""
    query = select(InstanceRow).order_by(InstanceRow.created.desc(), InstanceRow.id.desc())
    for name, value in wanted._asdict().items():
        if value is not None:
            query = query.where(getattr(InstanceRow, name) == value)
    rows, following = await pages.read(session, query, asked, [int, str])
    return [_shown(row) for row in rows], following


async def show(session: AsyncSession, id_: str, after: int = 0) -> dict[str, Any]:
    """Return an instance with its history behind a record's number. Raises NotFound."""
    row = await _row(session, id_)
    known = _known(row)
    of_it = (HistoryRow.instance == id_, HistoryRow.number > after)
    records = await session.scalars(select(HistoryRow).where(*of_it).order_by(HistoryRow.number).limit(MAX_HISTORY))
    history = [_told(_record(one.record)) for one in records]
    more = bool(history) and history[-1]["number"] < known.recorded
    query = select(EffectRow).where(EffectRow.instance == id_, EffectRow.status.in_(("waiting", "sent")))
    effects = [
        {name: getattr(one, name) for name in ("id", "kind", "status", "attempts", "error")}
        for one in await session.scalars(query.order_by(EffectRow.created, EffectRow.id))
    ]
    waits = await _awaited(session, known) if isinstance(known, Instance) else []
    return {
        **_shown(row),
        "variables": await _variables(session, row),
        "output": known.output,
        "failure": msgspec.to_builtins(known.failure),
        "effects": effects,
        "awaits": waits,
        "requests": await requests.of_instance(session, id_) if row.gateway else [],
        "history": history,
        "next": history[-1]["number"] if more else None,
    }


async def terminate(session: AsyncSession, id_: str, reason: str, *, undo: bool) -> dict[str, Any]:
    """End an instance; one that waits for its turn does not begin. Raises NotFound, and InUse when it is over."""
    queued = await session.scalar(select(QueuedStart).where(QueuedStart.id == id_))
    if queued is not None:
        await session.delete(queued)
        trail.note(session, "instance", id_, {"status": "queued"}, {"status": "terminated", "reason": reason})
        return {"id": id_, "workflow": queued.workflow, "status": "terminated", "request": None}
    row = await _row(session, id_)
    if row.status in FINAL:
        raise InUse(f"instance {id_} has {row.status} already")
    return await _tell(session, row, Terminated(reason, undo), {"terminated": reason, "undo": undo})


async def signal(session: AsyncSession, id_: str, type_: str, data: dict[str, Any], token: str) -> dict[str, Any]:
    """End a wait of an instance by an event that is for it alone. Raises NotFound, and InUse when none fits."""
    row = await _row(session, id_)
    event = Event(secrets.token_hex(16), type_, f"token/{token}", _now(), data)
    happening = Signalled(event)
    if not row.gateway and not await _does_something(session, row, happening):
        waits = ", ".join(sorted({one["type"] for one in await _awaited(session, _decoded(row))})) or "no event"
        raise InUse(f"instance {id_} waits for {waits}, and not for such a {type_}")
    return await _tell(session, row, happening, {"signal": type_})


async def retry(session: AsyncSession, id_: str, state: str | None, variables: dict[str, Any]) -> dict[str, Any]:
    """Begin again at a state, by default the one in which it failed. Raises NotFound, InUse and BadContent."""
    row = await _row(session, id_)
    if row.status not in FINAL:
        raise InUse(f"instance {id_} is {row.status}: terminate it first")
    failure = _known(row).failure
    at = state or (failure.state if failure else None)
    if not at:
        reason = f"must tell where it begins again: it has {row.status}"
        raise BadContent("The instance can't begin again.", [{"path": "state", "reason": reason}])
    happening = Replayed(at, variables)
    if row.gateway:
        return await _tell(session, row, happening, {"retried": at, "variables": variables})
    try:
        await _does_something(session, row, happening)
    except NotPossible as error:
        raise BadContent("The instance can't begin again.", [{"path": "state", "reason": str(error)}]) from None
    except InvalidStart as error:
        faults = [{"path": f"variables.{name}", "reason": reason} for name, reason in error.faults.items()]
        raise BadContent("The instance can't begin again.", faults) from None
    return await _tell(session, row, happening, {"retried": at, "variables": variables})


async def check(session: AsyncSession, new: Workflow) -> dict[str, Any]:
    """Return which running instances could not go on under a version, and where. They do go on under their own. (W7)"""
    running = (InstanceRow.workflow == new.id, InstanceRow.status.not_in(FINAL))
    query = select(InstanceRow).where(*running).order_by(InstanceRow.created).limit(MAX_CHECKED + 1)
    rows = list(await session.scalars(query))
    found = []
    for row in rows[:MAX_CHECKED]:
        broken = await _breaks(session, row, new)
        if broken:
            told = [{"state": shown(one.state), "reason": one.reason} for one in broken]
            found.append({"instance": row.id, "version": row.version, "breaks": told})
    return {"checked": len(rows[:MAX_CHECKED]), "complete": len(rows) <= MAX_CHECKED, "items": found}


async def _breaks(session: AsyncSession, row: InstanceRow, new: Workflow) -> list[Break]:
    try:
        old = await _workflow(session, row.workflow, row.version)
    except InUse as error:  # of a gateway's folder, or of another version of the cloud
        return [Break((), error.detail)]
    return breaks(old, new, _known(row).active, await _variables(session, row))


async def _does_something(session: AsyncSession, row: InstanceRow, happening: Happening) -> bool:
    """Whether anything follows from a happening as the instance is now. Raises NotPossible and InvalidStart."""
    instance = _decoded(row)
    program = Program(await _workflow(session, row.workflow, row.version))
    return bool(step(program, instance, happening, _now()).history)


async def _tell(session: AsyncSession, row: InstanceRow, happening: Happening, noted: dict[str, Any]) -> dict[str, Any]:
    request = None
    if row.gateway:
        request = await requests.ask(session, row.gateway, row.id, happening, _now())
    else:
        await happenings.tell(session, [Told(row.id, happening)])
    trail.note(session, "instance", row.id, {"status": row.status}, noted, row.device)
    return {"id": row.id, "workflow": row.workflow, "status": row.status, "request": request}


async def _row(session: AsyncSession, id_: str) -> InstanceRow:
    row = await session.get(InstanceRow, id_)
    if row is None:
        raise NotFound(f"there is no instance {id_}")
    return row


async def _workflow(session: AsyncSession, id_: str, version: str) -> Workflow:
    row = await session.get(WorkflowVersion, (id_, version))
    workflow = None if row is None else checking.parsed(row.document)
    if workflow is None:
        raise InUse(f"this cloud has no {id_} {version} that it takes")
    return workflow


async def _awaited(session: AsyncSession, instance: Instance) -> list[dict[str, Any]]:
    if instance.is_over or instance.status == "created":
        return []
    program = Program(await _workflow(session, instance.workflow, instance.version))
    found = (one._asdict() for one in awaits(program, instance))
    return sorted(found, key=lambda one: (one["type"], str(one["key"])))


def _known(row: InstanceRow) -> Instance | edge.Mirror:
    """Return how an instance is, as far as the cloud knows it."""
    return edge.mirror(row) if row.gateway else _decoded(row)


async def _variables(session: AsyncSession, row: InstanceRow) -> dict[str, Any]:
    return await edge.variables(session, row.id) if row.gateway else dict(_decoded(row).variables)


def _decoded(row: InstanceRow) -> Instance:
    try:
        return decode(row.checkpoint)
    except UnreadableInstance as error:
        raise InUse(f"instance {row.id} {error}") from None


def _shown(row: InstanceRow) -> dict[str, Any]:
    names = ("id", "workflow", "version", "status", "correlation", "parent", "fault")
    moments = {"created": from_ms(row.created), "ended": None if row.ended is None else from_ms(row.ended)}
    states = [shown(path) for path in _known(row).active]
    deadline = None if row.deadline is None else from_ms(row.deadline)
    told = {name: getattr(row, name) for name in names}
    told |= {"device": row.device or None, "gateway": row.gateway or None}
    return {**told, **moments, "deadline": deadline, "states": states}


def _told(record: Record) -> dict[str, Any]:
    """Return a record of history as the interface tells it."""
    place = record.place
    entered = None if record.entered is None else from_ms(record.entered)
    told = {name: getattr(record, name) for name in ("number", "kind", "attempt", "outcome", "next", "variables")}
    told |= {"reason": record.reason, "output": record.output, "failure": msgspec.to_builtins(record.failure)}
    actions = [
        {"id": one.id, "kind": one.kind, "succeeded": one.succeeded, "result": one.result, "error": one.error}
        for one in record.actions
    ]
    again = None if record.again_at is None else from_ms(record.again_at)
    took = None if record.entered is None else record.at - record.entered
    moments = {"at": from_ms(record.at), "entered": entered, "took_ms": took, "again_at": again}
    return {**told, "state": None if place is None else shown(place), **moments, "actions": actions}


def _now() -> int:
    return time.time_ns() // 1_000_000
