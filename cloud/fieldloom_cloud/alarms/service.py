"""Alarms as people see them: listed, acknowledged, cleared by hand; and what becomes of those that nobody sees. (E7)"""

import time
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud import pages
from fieldloom_cloud.alarms import hearing
from fieldloom_cloud.alarms.hearing import record, settle
from fieldloom_cloud.alarms.models import Alarm, AlarmChange, AlarmMark
from fieldloom_cloud.database import from_ms
from fieldloom_cloud.errors import InUse, NotFound
from fieldloom_cloud.registry import search
from fieldloom_cloud.registry.search import DeviceQuery
from fieldloom_cloud.trail import service as trail
from fieldloom_engine.alarms import SEVERITIES

TOLD = hearing.TOLD
told = hearing.told
OPEN = ("active", "acknowledged")


class Wanted(NamedTuple):
    """Which alarms: of a device, a site, a group, by name, state, severity, and when they were raised."""

    device: str | None = None
    site: str | None = None
    group: str | None = None
    name: str | None = None
    states: Sequence[str] = ()
    severities: Sequence[str] = ()
    since: datetime | None = None
    until: datetime | None = None


async def alarms(session: AsyncSession, wanted: Wanted, asked: pages.Asked) -> tuple[list[dict[str, Any]], str | None]:
    """Return a page of alarms, the newest first, and the cursor of the next one. Raises BadContent."""
    query = select(Alarm).order_by(Alarm.id.desc())
    if wanted.device is not None:
        query = query.where(Alarm.device == wanted.device)
    if wanted.site is not None or wanted.group is not None:
        covered = await search.ids_of(session, DeviceQuery(site=wanted.site, group=wanted.group))
        query = query.where(Alarm.device.in_(covered))
    if wanted.name is not None:
        query = query.where(Alarm.name == wanted.name)
    if wanted.states:
        query = query.where(Alarm.state.in_(wanted.states))
    if wanted.severities:
        query = query.where(Alarm.severity.in_(wanted.severities))
    if wanted.since is not None:
        query = query.where(Alarm.raised_at >= wanted.since.timestamp() * 1000)
    if wanted.until is not None:
        query = query.where(Alarm.raised_at < wanted.until.timestamp() * 1000)
    found, following = await pages.read(session, query, asked, [int])
    return [shown(row) for row in found], following


async def counted(session: AsyncSession) -> dict[str, int]:
    """Return how many alarms are active and not acknowledged, by severity."""
    query = select(Alarm.severity, func.count()).where(Alarm.state == "active").group_by(Alarm.severity)
    found = {row[0]: row[1] for row in await session.execute(query)}
    return {severity: found.get(severity, 0) for severity in SEVERITIES}


async def alarm(session: AsyncSession, alarm_id: int) -> dict[str, Any]:
    """Return an alarm with its history, the oldest change first. Raises NotFound."""
    row = await _row(session, alarm_id)
    query = select(AlarmChange).where(AlarmChange.alarm == alarm_id).order_by(AlarmChange.id)
    changes = [
        {"at": from_ms(one.at), "what": one.what, "by": one.by, "note": one.note, "data": one.data}
        for one in await session.scalars(query)
    ]
    return {**shown(row), "history": changes}


async def acknowledge(session: AsyncSession, alarm_id: int, by: str, note: str) -> dict[str, Any]:
    """Say that somebody has seen an alarm and cares: it escalates no more. Raises NotFound and InUse."""
    row = await _row(session, alarm_id)
    if row.state == "withdrawn":
        raise InUse(f"alarm {alarm_id} was withdrawn: it should never have been")
    if row.acknowledged_by is None:
        before, after = {"acknowledged_by": None}, {"acknowledged_by": by, "note": note}
        trail.note(session, "alarm", str(alarm_id), before, after, row.device)
        row.acknowledged_by = by
        row.state = "acknowledged" if row.state == "active" else row.state
        record(session, row, "acknowledged", by, note)
    return await alarm(session, alarm_id)


async def clear(session: AsyncSession, alarm_id: int, by: str, note: str) -> dict[str, Any]:
    """End an alarm by hand; its rule may raise it again. Raises NotFound and InUse."""
    row = await _row(session, alarm_id)
    if row.state not in OPEN:
        raise InUse(f"alarm {alarm_id} is {row.state} already")
    before, after = {"state": row.state}, {"state": "cleared", "note": note}
    trail.note(session, "alarm", str(alarm_id), before, after, row.device)
    at = max(time.time_ns() // 1_000_000, row.last)
    effect = f"hand-{uuid.uuid4().hex}"
    kept = {"device": row.device, "alarm": row.name, "severity": row.severity, "message": note}
    session.add(AlarmMark(**kept, effect=effect, at=at, begins=False, withdrawn=False))
    session.add(AlarmChange(alarm=row.id, at=at, what="by hand", by=by, note=note, data={}))
    await session.flush()
    await settle(session, row.device, row.name, (at, effect))
    return await alarm(session, alarm_id)


async def _row(session: AsyncSession, alarm_id: int) -> Alarm:
    row = await session.get(Alarm, alarm_id, with_for_update=True)
    if row is None:
        raise NotFound(f"there is no alarm {alarm_id}")
    return row


def shown(row: Alarm) -> dict[str, Any]:
    """Return an alarm as the API tells it."""
    names = ("id", "device", "name", "rule", "state", "severity", "message", "count", "acknowledged_by", "muted")
    cleared = None if row.cleared_at is None else from_ms(row.cleared_at)
    times = {"raised_at": from_ms(row.raised_at), "cleared_at": cleared, "last": from_ms(row.last)}
    return {**{name: getattr(row, name) for name in names}, **times}
