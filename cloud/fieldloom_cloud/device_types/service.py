"""Device types in SQL, versioned, and what of commands, twins and readings does not fit them. (R6)"""

import json
from typing import Any, NamedTuple

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud import pages
from fieldloom_cloud.database import from_ms, iso
from fieldloom_cloud.device_types.definition import Definition, parse
from fieldloom_cloud.device_types.models import DeviceType, Misfit
from fieldloom_cloud.errors import BadContent, InUse, NotFound, StaleVersion
from fieldloom_cloud.outbox import service as outbox
from fieldloom_cloud.registry import service as registry
from fieldloom_cloud.trail import service as trail
from fieldloom_runtime.records import Telemetry, Value

TELL_EVERY_MS = 3_600_000


class Unfit(NamedTuple):
    """An event to make of a reading that does not fit; `ts` in Unix ms."""

    device: str
    ts: int
    data: dict[str, Any]


async def types(session: AsyncSession, asked: pages.Asked) -> tuple[list[dict[str, Any]], str | None]:
    """Return a page of types in their newest versions, and the cursor of the next one."""
    query = select(DeviceType).where(DeviceType.version == _newest()).order_by(DeviceType.id)
    found, following = await pages.read(session, query, asked, [str])
    return [_shown(row) for row in found], following


async def type_of(session: AsyncSession, type_id: str, version: int | None = None) -> dict[str, Any]:
    """Return a version of a type, by default the newest. Raises NotFound."""
    wanted = _newest() if version is None else version
    found = await session.scalar(select(DeviceType).where(DeviceType.id == type_id, DeviceType.version == wanted))
    if found is None:
        raise NotFound(f"there is no type {type_id}" + ("" if version is None else f" of version {version}"))
    return _shown(found)


async def put(session: AsyncSession, type_id: str, definition: Definition, version: int | None) -> dict[str, Any]:
    """Make a definition the newest version of a type, unless it is already.

    With a version only if that is the newest one up to now. Raises StaleVersion.
    """
    text = json.dumps(definition.model_dump(mode="json", exclude_none=True), sort_keys=True, ensure_ascii=False)
    query = select(DeviceType).where(DeviceType.id == type_id, DeviceType.version == _newest())
    newest = await session.scalar(query)
    had = 0 if newest is None else newest.version
    if version is not None and version != had:
        raise StaleVersion(f"type {type_id} is at version {had}, not {version}")
    if newest is not None and newest.definition == text:
        return _shown(newest)
    row = DeviceType(id=type_id, version=had + 1, definition=text)
    session.add(row)
    try:
        await session.flush()
    except IntegrityError:
        raise StaleVersion(f"type {type_id} was changed meanwhile") from None
    outbox.leave(session, "type.published", {"id": type_id, "version": row.version})
    before = None if newest is None else _noted(newest)
    trail.note(session, "type", type_id, before, _noted(row))
    return _shown(row)


async def remove(session: AsyncSession, type_id: str) -> None:
    """Remove a type in all its versions. Raises NotFound, and InUse while a device has it."""
    shown = await type_of(session, type_id)
    if await registry.has_type(session, type_id):
        raise InUse(f"devices have type {type_id}")
    await session.execute(delete(DeviceType).where(DeviceType.id == type_id))
    outbox.leave(session, "type.removed", {"id": type_id, "version": shown["version"]})
    trail.note(session, "type", type_id, {name: shown[name] for name in ("version", "definition")}, None)


async def check_command(session: AsyncSession, type_id: str, kind: str, parameters: dict[str, Any]) -> None:
    """Refuse a command whose parameters do not fit a device's type. Raises BadContent with each fault."""
    definition = (await _definitions(session, {type_id})).get(type_id)
    faults = [] if definition is None else definition.faults_of_command(kind, parameters)
    if faults:
        raise BadContent(f"No device of type {type_id} would take this.", faults)


async def check_desired(session: AsyncSession, type_id: str, desired: dict[str, Any]) -> None:
    """Refuse what a device's type lets nobody want of it. Raises BadContent with each fault."""
    definition = (await _definitions(session, {type_id})).get(type_id)
    faults = [] if definition is None else definition.faults_of_desired(desired)
    if faults:
        raise BadContent(f"No device of type {type_id} would take this.", faults)


class Typed(NamedTuple):
    """A device's type, in its newest version."""

    type_id: str
    definition: Definition


async def typed(session: AsyncSession, devices: set[str]) -> dict[str, Typed]:
    """Return the types of those of some devices that have one which is defined."""
    if not devices or await session.scalar(select(DeviceType.id).limit(1)) is None:
        return {}
    types_of = await registry.types_of(session, devices)
    definitions = await _definitions(session, set(types_of.values()))
    return {device: Typed(one, definitions[one]) for device, one in types_of.items() if one in definitions}


async def flag(session: AsyncSession, telemetry: list[Telemetry], types_of: dict[str, Typed]) -> list[Unfit]:
    """Count the readings that do not fit the types of their devices, which are stored none the less.

    Return the events to make of them: at most one an hour, device and metric.
    """
    events = []
    for record in telemetry:
        type_id, definition = types_of.get(record.device, ("", None))
        for metric, value, reason in _misfits_of(record, definition):
            if await _count(session, record, metric, reason):
                data = {"metric": metric, "value": value, "reason": reason, "type": type_id}
                events.append(Unfit(record.device, record.ts, data))
    return events


def _misfits_of(record: Telemetry, definition: Definition | None) -> list[tuple[str, Value, str]]:
    """Return (metric, value, reason) of what does not fit."""
    if definition is None:
        return []
    reasons = ((metric, value, definition.misfit(metric, value)) for metric, value in record.values.items())
    return [(metric, value, reason) for metric, value, reason in reasons if reason is not None]


async def misfits(session: AsyncSession, device: str) -> list[dict[str, Any]]:
    """Return what of a device's readings did not fit its type, by metric. Raises NotFound."""
    await registry.device(session, device)
    found = await session.scalars(select(Misfit).where(Misfit.device == device).order_by(Misfit.metric))
    names = ("metric", "count", "reason")
    return [
        {**{name: getattr(row, name) for name in names}, "first": from_ms(row.first), "last": from_ms(row.last)}
        for row in found
    ]


async def _count(session: AsyncSession, record: Telemetry, metric: str, reason: str) -> bool:
    """Count one reading, and say whether an event is due."""
    row = await session.get(Misfit, (record.device, metric))
    if row is None:
        first = {"count": 0, "first": record.ts, "last": record.ts, "told": 0}
        row = Misfit(device=record.device, metric=metric, reason=reason, **first)
        session.add(row)
    row.count, row.first = row.count + 1, min(row.first, record.ts)
    if record.ts >= row.last:
        row.last, row.reason = record.ts, reason
    if record.at - row.told < TELL_EVERY_MS:
        return False
    row.told = record.at
    return True


async def _definitions(session: AsyncSession, type_ids: set[str]) -> dict[str, Definition]:
    query = select(DeviceType).where(DeviceType.id.in_(type_ids), DeviceType.version == _newest())
    return {row.id: parse(row.definition) for row in await session.scalars(query)}


def _noted(row: DeviceType) -> dict[str, Any]:
    return {"version": row.version, "definition": json.loads(row.definition)}


def _newest() -> Any:
    """Return the number of the newest version of the type in the query around it."""
    other = DeviceType.__table__.alias()
    return select(func.max(other.c.version)).where(other.c.id == DeviceType.id).correlate(DeviceType).scalar_subquery()


def _shown(row: DeviceType) -> dict[str, Any]:
    return {"id": row.id, "version": row.version, "created": iso(row.created), "definition": json.loads(row.definition)}
