"""Alarms that nobody has acknowledged in time become graver, and somebody else is told. (E7)"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple, NoReturn

import structlog
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud import pages
from fieldloom_cloud.alarms import mutes
from fieldloom_cloud.alarms.hearing import record
from fieldloom_cloud.alarms.models import Alarm, Escalated, Escalation
from fieldloom_cloud.database import Database, from_ms
from fieldloom_cloud.errors import BadContent, NotFound
from fieldloom_cloud.outbox import service as outbox
from fieldloom_cloud.registry import groups, search
from fieldloom_cloud.registry import service as registry
from fieldloom_cloud.registry.search import DeviceQuery
from fieldloom_cloud.trail import service as trail
from fieldloom_engine.alarms import SEVERITIES, graver

log = structlog.get_logger()

LOOK_EVERY_S = 2.0
AT_ONCE = 500
ESCALATED = "alarm.escalated"


class Notice(NamedTuple):
    """What somebody is told of an alarm that has escalated; `id` is the same for the same alarm and escalation."""

    id: str
    device: str
    escalation: str
    recipient: str
    subject: str
    message: str


Notify = Callable[[AsyncSession, Notice], Awaitable[None]]
"""Has somebody told, if the transaction is committed."""


async def keep_escalating(database: Database, notify: Notify) -> NoReturn:
    """Escalate what is due, until cancelled. What is due is in SQL: a restart forgets nothing and repeats nothing."""
    while True:
        try:
            async with database.transaction() as session:
                await escalate(session, time.time_ns() // 1_000_000, notify)
        except SQLAlchemyError:
            log.exception("disk_refused")
        await asyncio.sleep(LOOK_EVERY_S)


async def escalate(session: AsyncSession, now: int, notify: Notify) -> None:
    """Escalate the alarms that have waited for somebody too long at a time, Unix ms; muted ones wait on."""
    for rule in await session.scalars(select(Escalation).order_by(Escalation.after, Escalation.id)):
        for row in await _due(session, rule, now):
            if not await mutes.covers(session, row.device):
                _escalate(session, row, rule)
                if rule.recipient is not None:
                    await notify(session, _notice(row, rule, rule.recipient))


async def _due(session: AsyncSession, rule: Escalation, now: int) -> list[Alarm]:
    grave = SEVERITIES[SEVERITIES.index(rule.severity) :]
    query = select(Alarm).where(Alarm.state == "active", Alarm.severity.in_(grave), Alarm.known_at <= now - rule.after)
    through = select(Escalated.alarm).where(Escalated.alarm == Alarm.id, Escalated.escalation == rule.id)
    query = query.where(~through.exists())
    if rule.site is not None or rule.group is not None:
        covered = await search.ids_of(session, DeviceQuery(site=rule.site, group=rule.group))
        query = query.where(Alarm.device.in_(covered))
    return list(await session.scalars(query.order_by(Alarm.id).limit(AT_ONCE).with_for_update(skip_locked=True)))


def _escalate(session: AsyncSession, row: Alarm, rule: Escalation) -> None:
    session.add(Escalated(alarm=row.id, escalation=rule.id))
    if rule.raise_to is not None:
        row.raised_to = graver(row.severity, rule.raise_to)
        row.severity = row.raised_to
    told = {"escalation": rule.id, "severity": row.severity, "recipient": rule.recipient}
    record(session, row, "escalated", data=told)
    outbox.leave(session, ESCALATED, {"id": row.id, "alarm": row.name, "message": row.message, **told}, row.device)


def _notice(row: Alarm, rule: Escalation, recipient: str) -> Notice:
    subject = f"{row.severity}: {row.name} of {row.device}"
    since = f"raised at {from_ms(row.raised_at)}, and nobody has acknowledged it"
    identifier = hashlib.blake2b(f"{row.id}\0{rule.id}".encode(), digest_size=16).hexdigest()
    return Notice(identifier, row.device, rule.id, recipient, subject, f"{row.message or row.name}: {since}")


async def escalations(session: AsyncSession, asked: pages.Asked) -> tuple[list[dict[str, Any]], str | None]:
    """Return a page of escalations by their ids, and the cursor of the next one."""
    found, following = await pages.read(session, select(Escalation).order_by(Escalation.id), asked, [str])
    return [_shown(row) for row in found], following


async def put(session: AsyncSession, escalation_id: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Add an escalation, or put another in its place. Raises NotFound for a site or group that is not there."""
    if fields["raise_to"] is None and fields["recipient"] is None:
        reason = "or recipient must be there: an escalation makes an alarm graver or tells somebody"
        raise BadContent("The escalation would do nothing.", [{"path": "raise_to", "reason": reason}])
    if fields["site"] is not None:
        await registry.site(session, fields["site"])
    if fields["group"] is not None:
        await groups.group(session, fields["group"])
    had = await session.get(Escalation, escalation_id)
    before = None if had is None else _shown(had)
    row = await session.merge(Escalation(id=escalation_id, **fields))
    trail.note(session, "escalation", escalation_id, before, _shown(row))
    outbox.leave(session, "escalation.changed", _shown(row))
    return _shown(row)


async def remove(session: AsyncSession, escalation_id: str) -> None:
    """Remove an escalation. Raises NotFound."""
    row = await session.get(Escalation, escalation_id)
    if row is None:
        raise NotFound(f"there is no escalation {escalation_id}")
    trail.note(session, "escalation", escalation_id, _shown(row), None)
    await session.delete(row)
    outbox.leave(session, "escalation.removed", {"id": escalation_id})


def _shown(row: Escalation) -> dict[str, Any]:
    named = ("id", "severity", "site", "group", "raise_to", "recipient")
    return {**{name: getattr(row, name) for name in named}, "after_s": row.after / 1000}
