"""Instances at gateways: begun from here, and followed by what gateways record. (W5, W7, W8)"""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.changes import Change, announce_all
from fieldloom_cloud.database import insert
from fieldloom_cloud.dispatch import service as dispatch
from fieldloom_cloud.errors import NotFound
from fieldloom_cloud.ingest import service as ingest
from fieldloom_cloud.outbox import service as outbox
from fieldloom_cloud.registry import service as registry
from fieldloom_cloud.workflows import requests
from fieldloom_cloud.workflows.models import HistoryRow, InstanceRow, WorkflowAtGateway
from fieldloom_engine.definitions import shown
from fieldloom_engine.workflows import (
    Answered,
    Failure,
    Record,
)
from fieldloom_engine.workflows.instance import FINAL, ROOT, Status
from fieldloom_engine.workflows.triggers import Start
from fieldloom_runtime import down
from fieldloom_runtime.records import Event

RECORDED, ANSWERED = "workflow.recorded", "workflow.answered"
NOT_STARTED, LOST = "not_started", "lost"
ANEW = "its gateway began anew, and may not have it any more"

Id = Annotated[str, Meta(min_length=1, max_length=32)]
Name = Annotated[str, Meta(min_length=1, max_length=64)]
StatePath = tuple[str | int, ...]


class NoGateway(Exception):  # noqa: N818 - it reads as what happened
    """There is no gateway that would begin an instance."""


class Recorded(Struct):
    """What a gateway tells of an instance: a record, and how the instance is since then. Times in Unix ms."""

    instance: Id
    workflow: Name
    version: Annotated[str, Meta(max_length=20)]
    status: Status
    record: Record
    created: Annotated[int, Meta(ge=0, lt=2**53)]
    states: list[StatePath] = []
    correlation: Annotated[str, Meta(max_length=256)] | None = None
    parent: Id | None = None


class Reply(Struct):
    """What a gateway tells of something that was asked of it; `request` of a start is the instance's id."""

    request: Id
    instance: Id
    refused: Annotated[str, Meta(max_length=4096)] | None = None


class Mirror(Struct, omit_defaults=True):
    """What is known of an instance at a gateway, by the newest of its records."""

    recorded: int = 0
    """That record's number."""
    active: list[StatePath] = []
    output: Any = None
    failure: Failure | None = None
    metadata: dict[str, Any] = {}


_encode = msgspec.json.Encoder().encode
_mirror = msgspec.json.Decoder(Mirror).decode
_record = msgspec.json.Decoder(Record).decode


def mirror(row: InstanceRow) -> Mirror:
    """Return what is known of an instance at a gateway."""
    return _mirror(row.checkpoint)


async def begin(session: AsyncSession, start: Start, parent: str | None, metadata: Mapping[str, Any], now: int) -> None:
    """Have an instance begun by the gateway of its device. Raises NoGateway."""
    device = start.variables.get("device_id", "")
    gateway = await _gateway_for(session, start.workflow.id, device)
    row = InstanceRow(id=start.id, workflow=start.workflow.id, version=start.workflow.version, gateway=gateway)
    row.status, row.correlation, row.device, row.parent = "created", start.correlation, device, parent
    row.created, row.revision, row.checkpoint = now, 0, _encode(Mirror(metadata=dict(metadata)))
    session.add(row)
    request = down.Start(start.id, start.workflow.id, start.variables)
    await dispatch.queue(session, gateway, down.START, down.encode(request))
    announce_all(session, (_change(row, now),))


async def among(session: AsyncSession, instances: list[str]) -> dict[str, str]:
    """Return the gateways of those of some instances that gateways carry out."""
    query = select(InstanceRow.id, InstanceRow.gateway).where(InstanceRow.id.in_(instances), InstanceRow.gateway != "")
    return {row.id: row.gateway for row in await session.execute(query)}


async def variables(session: AsyncSession, instance: str) -> dict[str, Any]:
    """Return the variables of an instance at a gateway, as its records tell them."""
    query = select(HistoryRow.record).where(HistoryRow.instance == instance).order_by(HistoryRow.number)
    found: dict[str, Any] = {}
    for told in await session.scalars(query):
        record = _record(told)
        if record.path == ROOT:
            found |= record.variables
    return found


async def hear(session: AsyncSession, gateway: str, words: Iterable[Event], now: int) -> list[Answered]:
    """Take what a gateway tells of instances, and return what it means for who waits for them.

    What can't be is kept with the dead letters.
    """
    told = [(word, read) for word in words if (read := _read(session, gateway, word)) is not None]
    names = {one.instance for _, one in told}
    rows = {row.id: row for row in await session.scalars(select(InstanceRow).where(InstanceRow.id.in_(names)))}
    answers: list[Answered] = []
    records: list[dict[str, Any]] = []
    moved: dict[str, InstanceRow] = {}
    for word, one in told:
        row = rows.get(one.instance)
        if row is not None and not await _may_tell(session, gateway, row):
            ingest.bury(session, gateway, word, f"{word.type}: {one.instance} is no instance of this gateway")
            continue
        if isinstance(one, Reply):
            if row is not None:
                await requests.answer(session, one.request, row.id, one.refused, now)
                answers += _replied(session, row, one, now)
                moved[row.id] = row
            continue
        if row is None:
            row = rows[one.instance] = _begun(gateway, word, one)
            session.add(row)
        moved[row.id] = row
        records.append({"instance": row.id, "number": one.record.number, "record": _encode(one.record)})
        answers += _followed(row, gateway, one)
    if records:
        await session.execute(insert(session, HistoryRow).on_conflict_do_nothing(), records)
    announce_all(session, [_change(row, now) for row in moved.values()])
    return answers


async def doubt(session: AsyncSession, gateway: str) -> None:
    """Take note that a gateway has another disk: what ran there is lost, unless it or another one tells of it again."""
    of_it = (InstanceRow.gateway == gateway, InstanceRow.status.not_in((*FINAL, "created")))
    await session.execute(update(InstanceRow).where(*of_it).values(fault=ANEW))


def _followed(row: InstanceRow, gateway: str, told: Recorded) -> list[Answered]:
    """Take how an instance is after a record, unless a newer one has told, and return its end if it has one."""
    record, known = told.record, mirror(row)
    has_ended = record.kind == "ended"
    if record.number > known.recorded:
        row.gateway, row.status, row.version, row.correlation = gateway, told.status, told.version, told.correlation
        row.ended, row.fault = record.at if has_ended else None, None
        known.recorded, known.active = record.number, told.states
        known.output, known.failure = (record.output, record.failure) if has_ended else (None, None)
        row.checkpoint = _encode(known)
    if not has_ended:
        return []
    succeeded = record.outcome == "succeeded"
    error = None if succeeded else f"{row.workflow} has {record.outcome}: {record.reason or record.failure}"
    return [Answered(row.id, succeeded, record.output, error)]


def _replied(session: AsyncSession, row: InstanceRow, reply: Reply, now: int) -> list[Answered]:
    """Take what came of a request: what is refused of a start, or of an instance that may be lost, is its end."""
    known = mirror(row)
    is_start = reply.request == row.id and not known.recorded
    if reply.refused is None or row.status in FINAL or not (is_start or row.fault):
        return []
    known.active, known.failure = [], Failure(NOT_STARTED if is_start else LOST, reply.refused, "")
    row.status, row.ended, row.fault, row.checkpoint = "failed", now, None, _encode(known)
    if not is_start:
        return [Answered(row.id, False, None, f"{row.workflow} is lost: {reply.refused}")]
    data = {"id": row.workflow, "instance": row.id, "reason": reply.refused}
    outbox.leave(session, "workflow.not_started", data, row.device)
    return [Answered(row.id, False, None, f"{row.workflow} does not start: {reply.refused}")]


async def _gateway_for(session: AsyncSession, workflow: str, device: str) -> str:
    """Return the gateway that is to begin a workflow: its device's, else the only one that has it. Raises NoGateway."""
    query = select(WorkflowAtGateway).where(WorkflowAtGateway.workflow == workflow)
    having = {row.gateway: row for row in await session.scalars(query)}
    if device:
        having = {name: having[name] for name in await _around(session, device) if name in having}
    last = await registry.gateway_of(session, device) if device else None
    name = last if last in having else next(iter(having)) if len(having) == 1 else None
    if not having:
        raise NoGateway(f"no gateway of its site was told of {workflow} yet")
    if name is None:
        several = f"{len(having)} gateways have {workflow}"
        raise NoGateway(f"{several}: tell device_id" if not device else f"{several}, and {device} is at none of them")
    row = having[name]
    if row.status == "refused" and row.applied is None:
        faults = "; ".join(f"{one['path']}: {one['reason']}" for one in row.faults)
        raise NoGateway(f"{name} has refused {workflow}: {faults}")
    return name


async def _around(session: AsyncSession, device: str) -> list[str]:
    """Return the gateways of a device's site. Raises NoGateway."""
    try:
        return await registry.gateways_of(session, (await registry.device(session, device))["site"])
    except NotFound as error:
        raise NoGateway(error.detail) from None


async def _may_tell(session: AsyncSession, gateway: str, row: InstanceRow) -> bool:
    """Whether an instance may be this gateway's: it is, or it may have come from another one of the site."""
    if row.gateway in ("", gateway):
        return row.gateway == gateway
    return await registry.site_of(session, gateway) == await registry.site_of(session, row.gateway)


def _begun(gateway: str, word: Event, told: Recorded) -> InstanceRow:
    device = "" if word.device == gateway else word.device
    row = InstanceRow(id=told.instance, workflow=told.workflow, version=told.version, gateway=gateway, device=device)
    row.status, row.parent, row.created, row.revision = told.status, told.parent, told.created, 0
    row.checkpoint = _encode(Mirror())
    return row


def _read(session: AsyncSession, gateway: str, word: Event) -> Recorded | Reply | None:
    kind: type[Recorded | Reply] = Recorded if word.type == RECORDED else Reply
    try:
        read: Recorded | Reply = msgspec.convert(word.data, kind)
    except msgspec.ValidationError as error:
        ingest.bury(session, gateway, word, f"{word.type}: {error}")
        return None
    if isinstance(read, Recorded) and not 1 <= read.record.number < 2**31:
        ingest.bury(session, gateway, word, f"{word.type}: record.number must be from 1 to 2147483647")
        return None
    return read


def _change(row: InstanceRow, now: int) -> Change:
    told = {"id": row.id, "workflow": row.workflow, "version": row.version, "status": row.status}
    return Change("instance", row.device, {**told, "states": [shown(path) for path in mirror(row).active], "ts": now})
