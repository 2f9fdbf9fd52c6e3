"""Takes in what rules say of alarms, from gateways and from the cloud's own engine. (E7, E8)"""

import time
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct
from sqlalchemy import ColumnElement, select
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.alarms import mutes
from fieldloom_cloud.alarms.models import Alarm, AlarmChange, AlarmMark
from fieldloom_cloud.changes import announce
from fieldloom_cloud.database import from_ms
from fieldloom_contract.limits import MAX_NAME
from fieldloom_engine.alarms import Episode, Mark, episodes, graver
from fieldloom_runtime.records import Moment

RAISED, CLEARED, AMENDED = "alarm.raised", "alarm.cleared", "alarm.amended"
TOLD = (RAISED, CLEARED, AMENDED)
LATEST = 50
"""So many beginnings are looked at for one before a change; if none is, all that is known is worked out anew."""

Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
Text = Annotated[str, Meta(max_length=4096)]


class Word(Struct, kw_only=True):
    """What an event says: an alarm begins (`raised_at`), ends (`cleared_at`), or was never so (`withdrawn`).

    `effect` is the id of what says so, `withdrawn` the id of what is taken back. Times in Unix ms.
    """

    alarm: Name
    effect: Name
    severity: Literal["info", "warning", "minor", "major", "critical"] = "warning"
    message: Text = ""
    rule: Name | None = None
    raised_at: Moment | None = None
    cleared_at: Moment | None = None
    withdrawn: Name | None = None


async def told(session: AsyncSession, device: str, data: dict[str, Any]) -> str | None:
    """Take in an event of `TOLD`, once however often it comes, and return what is wrong with it, None if nothing."""
    try:
        word = msgspec.convert(data, Word)
    except msgspec.ValidationError as error:
        return str(error)
    given = [name for name in ("raised_at", "cleared_at", "withdrawn") if getattr(word, name) is not None]
    if len(given) != 1:
        return "must have one of raised_at, cleared_at and withdrawn"
    change = await _take_back(session, device, word) if word.withdrawn else await _mark(session, device, word)
    if change is not None:
        await settle(session, device, word.alarm, change)
    return None


async def _mark(session: AsyncSession, device: str, word: Word) -> tuple[int, str] | None:
    """Keep what begins or ends an alarm, and return from which (at, effect) on anything changes, None if nothing."""
    begins = word.raised_at is not None
    at = word.raised_at if word.raised_at is not None else word.cleared_at or 0
    known = await session.get(AlarmMark, (device, word.effect))
    if known is not None and known.at is not None:
        return None
    if known is None:
        known = AlarmMark(device=device, effect=word.effect, withdrawn=False)
        session.add(known)
    known.alarm, known.at, known.begins, known.rule = word.alarm, at, begins, word.rule
    known.severity, known.message = word.severity, word.message
    await session.flush()
    return None if known.withdrawn else (at, word.effect)


async def _take_back(session: AsyncSession, device: str, word: Word) -> tuple[int, str] | None:
    known = await session.get(AlarmMark, (device, word.withdrawn))
    if known is None:
        told = {"alarm": word.alarm, "severity": word.severity, "message": "", "withdrawn": True}
        session.add(AlarmMark(device=device, effect=word.withdrawn, **told))
        return None
    if known.withdrawn:
        return None
    known.withdrawn = True
    await session.flush()
    return None if known.at is None else (known.at, known.effect)


async def settle(session: AsyncSession, device: str, alarm: str, change: tuple[int, str]) -> None:
    """Work out anew when an alarm was active from a mark's (at, effect) on, and put its rows right."""
    mine = (Alarm.device == device, Alarm.name == alarm, Alarm.state != "withdrawn")
    begin = await _quiet_before(session, mine, change)
    marks = await session.scalars(
        select(AlarmMark).where(
            AlarmMark.device == device,
            AlarmMark.alarm == alarm,
            AlarmMark.at >= begin[0],
            AlarmMark.withdrawn.is_(False),
        )
    )
    kept = {mark.effect: mark for mark in marks if (mark.at, mark.effect) >= begin}
    rows = select(Alarm).where(*mine, Alarm.raised_at >= begin[0]).order_by(Alarm.id).with_for_update()
    known = {row.opened_by: row for row in await session.scalars(rows) if _key(row) >= begin}
    for episode in episodes(map(_shown_mark, kept.values())):
        row = next((known[effect] for effect in episode.effects if effect in known), None)
        if row is None:
            await _begin(session, device, alarm, episode)
        else:
            del known[row.opened_by]
            _put_right(session, row, episode)
    for row in known.values():
        row.state = "withdrawn"
        record(session, row, "withdrawn")


async def _quiet_before(
    session: AsyncSession, mine: tuple[ColumnElement[bool], ...], change: tuple[int, str]
) -> tuple[int, str]:
    """Return the latest beginning up to a change: just before it the alarm was not active, whatever changes.

    Effects of one time are in the order of their ids, which Python compares: a database's order is its own.
    """
    query = select(Alarm).where(*mine, Alarm.raised_at <= change[0]).order_by(Alarm.raised_at.desc()).limit(LATEST)
    return max((key for row in await session.scalars(query) if (key := _key(row)) <= change), default=(0, ""))


def _key(row: Alarm) -> tuple[int, str]:
    return row.raised_at, row.opened_by


def _shown_mark(mark: AlarmMark) -> Mark:
    return Mark(mark.at or 0, mark.effect, bool(mark.begins), mark.rule, mark.severity, mark.message)


async def _begin(session: AsyncSession, device: str, alarm: str, episode: Episode) -> None:
    named = {"device": device, "name": alarm, "opened_by": episode.opened_by, "rule": episode.rule}
    row = Alarm(**named, state="active", known_at=_now(), severity=episode.severity)
    row.message, row.raised_at, row.last = episode.message, episode.raised_at, episode.last
    row.count, row.cleared_at = len(episode.effects), episode.cleared_at
    row.muted = await mutes.covers(session, device)
    session.add(row)
    await session.flush()
    record(session, row, "raised", data={"raised_at": from_ms(row.raised_at)})
    if episode.cleared_at is not None:
        _clear(session, row, episode.cleared_at)


def _put_right(session: AsyncSession, row: Alarm, episode: Episode) -> None:
    """Make a row what its episode has become."""
    amended: dict[str, Any] = {}
    if row.raised_at != episode.raised_at:
        amended["raised_at"] = from_ms(episode.raised_at)
    row.opened_by, row.raised_at, row.message = episode.opened_by, episode.raised_at, episode.message
    row.last, row.count = episode.last, len(episode.effects)
    row.severity = graver(episode.severity, row.raised_to or episode.severity)
    if row.cleared_at is None and episode.cleared_at is not None:
        _clear(session, row, episode.cleared_at)
    elif row.cleared_at != episode.cleared_at:
        amended["cleared_at"] = None if episode.cleared_at is None else from_ms(episode.cleared_at)
        row.cleared_at = episode.cleared_at
        row.state = "cleared" if episode.cleared_at is not None else "acknowledged" if row.acknowledged_by else "active"
    if amended:
        record(session, row, "amended", data=amended)
    else:
        tell(session, row)


def _clear(session: AsyncSession, row: Alarm, at: int) -> None:
    row.state, row.cleared_at = "cleared", at
    record(session, row, "cleared", data={"cleared_at": from_ms(at)})


def record(
    session: AsyncSession, row: Alarm, what: str, by: str = "", note: str = "", data: dict[str, Any] | None = None
) -> None:
    """Write into an alarm's history what has become of it, and tell those who watch."""
    session.add(AlarmChange(alarm=row.id, at=_now(), what=what, by=by, note=note, data=data or {}))
    tell(session, row)


def tell(session: AsyncSession, row: Alarm) -> None:
    """Tell those who watch how an alarm is now."""
    named = {"id": row.id, "alarm": row.name, "state": row.state, "severity": row.severity, "message": row.message}
    announce(session, "alarm", row.device, {**named, "ts": row.raised_at, "muted": row.muted})


def _now() -> int:
    return time.time_ns() // 1_000_000
