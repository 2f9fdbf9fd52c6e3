"""What rules of the cloud ask for: written with the firing, performed behind its commit, each id once. (E3, E8)"""

import time
from collections.abc import Collection, Iterator
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.alarms.escalation import Notice
from fieldloom_cloud.automation.models import RuleEffect
from fieldloom_cloud.automation.performing import NotPerformed
from fieldloom_cloud.database import insert
from fieldloom_cloud.dispatch import service as dispatch
from fieldloom_cloud.ingest import service as ingest
from fieldloom_contract.errors import Rejected
from fieldloom_contract.plain import plain
from fieldloom_engine import commands
from fieldloom_engine.rules import Effect, Firing
from fieldloom_engine.rules.definition import MAX_DEPTH
from fieldloom_runtime.records import Event

NOTIFICATION = "notification"
COMMAND = "command"
WAITING, SENT, DONE, FAILED, WITHHELD = "waiting", "sent", "done", "failed", "withheld"
"""Waiting is to be done, or tried again; sent waits for its device's answer; withheld is not to be done."""
OVER = (DONE, FAILED, WITHHELD)
ON_THE_WAY_MS = 30_000
"""How long after its expiry a command's answer is waited for: what the way up takes."""
MAX_ATTEMPTS = 10
FIRST_WAIT_MS, LONGEST_WAIT_MS = 1000, 300_000


async def keep(
    session: AsyncSession, firings: list[Firing], modes: dict[str, str], numbers: Iterator[int], now: int
) -> bool:
    """Write firings as events and their effects to be performed, in the order of `numbers`; say whether any waits.

    An effect that is there already, since another evaluation has asked for it, is not asked for again.
    """
    rows = []
    for firing in firings:
        await ingest.store_event(session, "", _told(firing, modes[firing.rule], now))
        for effect in firing.effects:
            parameters, withheld = _storable(effect)
            rows.append(
                {
                    "id": effect.id,
                    "rule": firing.rule,
                    "version": firing.version,
                    "device": firing.event.source,
                    "kind": effect.kind,
                    "parameters": parameters,
                    "fired_at": firing.at,
                    "is_amendment": firing.late or firing.amends is not None,
                    "status": WAITING if withheld is None else WITHHELD,
                    "number": next(numbers),
                    "attempts": 0,
                    "due": now,
                    "created": now,
                    "error": withheld,
                }
            )
    if rows:
        await session.execute(insert(session, RuleEffect).on_conflict_do_nothing(), rows)
    return any(row["status"] == WAITING for row in rows)


async def notify(session: AsyncSession, notice: Notice) -> None:
    """Have somebody told of an alarm that has escalated, in the way of rules' notifications. (E7)"""
    now = time.time_ns() // 1_000_000
    told = {"recipient": notice.recipient, "subject": notice.subject, "message": notice.message, "importance": "high"}
    row: dict[str, Any] = {"id": notice.id, "rule": notice.escalation, "version": "", "device": notice.device}
    row |= {"kind": NOTIFICATION, "parameters": told, "fired_at": now, "is_amendment": False, "status": WAITING}
    row |= {"number": 0, "attempts": 0, "due": now, "created": now}
    await session.execute(insert(session, RuleEffect).on_conflict_do_nothing(), [row])


async def due(session: AsyncSession, now: int, limit: int, kinds: Collection[str], *, others: bool) -> list[RuleEffect]:
    """Return the effects of some kinds, or of all others, that wait and are due, in the order they were asked for."""
    of_kinds = RuleEffect.kind.not_in(kinds) if others else RuleEffect.kind.in_(kinds)
    query = select(RuleEffect).where(RuleEffect.status == WAITING, RuleEffect.due <= now, of_kinds)
    return list(await session.scalars(query.order_by(RuleEffect.number).limit(limit)))


async def next_due(session: AsyncSession, kinds: Collection[str]) -> int | None:
    """Return when the next effect of some kinds is due, or an answer, Unix ms; None when none waits."""
    query = select(func.min(RuleEffect.due)).where(RuleEffect.status.in_((WAITING, SENT)), RuleEffect.kind.in_(kinds))
    found: int | None = await session.scalar(query)
    return found


async def waiting(session: AsyncSession, effect: str) -> RuleEffect | None:
    """Return an effect if it still waits."""
    row = await session.get(RuleEffect, effect, with_for_update=True)
    return row if row is not None and row.status == WAITING else None


async def performed(session: AsyncSession, row: RuleEffect, result: Any, now: int) -> None:
    """Take note that an effect is performed; a command is on its way then, and what it comes to is heard later."""
    row.status, row.result, row.error = DONE, result, None
    row.attempts += 1
    if row.kind == COMMAND:
        row.status, row.due = SENT, row.created + row.parameters["expires"] + ON_THE_WAY_MS
        return
    await _tell(session, row, now)


async def hear(session: AsyncSession, command: str, now: int) -> str | None:
    """Take what a command has come to, if a rule has asked for it; return what became of the effect, if that is new."""
    row = await session.get(RuleEffect, command, with_for_update=True)
    ended = None if row is None or row.status == WAITING else await dispatch.ended(session, command)
    if row is None or ended is None or (row.status != SENT and row.result == ended.result):
        return None
    await _end(session, row, ended, now)
    return row.status


async def unanswered(session: AsyncSession, now: int, limit: int) -> list[RuleEffect]:
    """Return commands of which the answer has been waited for long enough."""
    query = select(RuleEffect).where(RuleEffect.status == SENT, RuleEffect.due <= now)
    return list(await session.scalars(query.order_by(RuleEffect.due).limit(limit).with_for_update()))


async def expire(session: AsyncSession, row: RuleEffect, now: int) -> None:
    """Take note that a command was not answered, unless somebody has ended it otherwise."""
    never = commands.ended(commands.EXPIRED, None, commands.NO_ANSWER)
    await _end(session, row, await dispatch.ended(session, row.id) or never, now)


async def withheld(session: AsyncSession, row: RuleEffect, reason: str, now: int) -> None:
    """Take note that an effect is not to be performed after all."""
    row.status, row.error = WITHHELD, reason
    await _tell(session, row, now)


async def failed(session: AsyncSession, row: RuleEffect, error: NotPerformed, now: int) -> None:
    """Take note that an effect could not be performed; unless that is final it is tried again, later each time."""
    row.attempts += 1
    row.error = error.reason[:4096]
    if not error.is_final and row.attempts < MAX_ATTEMPTS:
        wait = min(FIRST_WAIT_MS * 2 ** (row.attempts - 1), LONGEST_WAIT_MS)
        row.due = now + max(wait, error.after_ms)
        return
    row.status = FAILED
    await _tell(session, row, now)


async def counts(session: AsyncSession, rule: str) -> dict[str, int]:
    """Return how many effects a rule of the cloud has asked for, by what became of them."""
    query = select(RuleEffect.status, func.count()).where(RuleEffect.rule == rule).group_by(RuleEffect.status)
    return {row[0]: row[1] for row in await session.execute(query)}


async def forget(session: AsyncSession, before: int, limit: int) -> int:
    """Forget effects that were over before a time, Unix ms; return how many, of those that go at once."""
    old = select(RuleEffect.id).where(RuleEffect.status.in_(OVER), RuleEffect.due < before).limit(limit)
    rows = list(await session.scalars(old))
    await session.execute(delete(RuleEffect).where(RuleEffect.id.in_(rows)))
    return len(rows)


async def _end(session: AsyncSession, row: RuleEffect, ended: commands.Ended, now: int) -> None:
    row.status = DONE if ended.succeeded else FAILED
    row.result, row.error = ended.result, ended.error
    await _tell(session, row, now)


async def _tell(session: AsyncSession, row: RuleEffect, now: int) -> None:
    data: dict[str, Any] = {"rule": row.rule, "effect": row.id, "kind": row.kind, "status": row.status}
    data |= {"result": row.result, "error": row.error}
    record = Event(device=row.device, ts=now, at=now, type="rule.action", data=data)
    await ingest.store_event(session, "", record)


def _storable(effect: Effect) -> tuple[dict[str, Any], str | None]:
    """Return an effect's parameters and why it is withheld; what no store can keep is not to be done."""
    if _is_storable(effect.parameters):
        return effect.parameters, effect.withheld
    return {}, "what the templates gave holds what no store can keep"


def _is_storable(value: Any) -> bool:
    try:
        plain(value, "value", MAX_DEPTH)
    except Rejected:
        return False
    return True


def _told(firing: Firing, mode: str, now: int) -> Event:
    event = firing.event
    data = {
        "rule": firing.rule,
        "version": firing.version,
        "mode": mode,
        "event": {"id": event.id, "type": event.type, "ts": event.ts},
        "values": {name: value for name, value in firing.cause.items() if _is_storable(value)},
        "holds": firing.holds,
        "late": firing.late,
        "amends": firing.amends,
        "effects": [{"id": one.id, "kind": one.kind, "withheld": one.withheld} for one in firing.effects],
    }
    return Event(device=event.source, ts=firing.at, at=now, type="rule.fired", data=data)
