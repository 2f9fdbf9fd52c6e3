"""Devices that are online and have stopped reading: they are stale until they read again. (R6, ADR 23)

How often a device reads, its type says by the periods of its metrics, and itself by the interval in its reported twin.
The time is that of its gateway: what lies in a gateway that is cut off is not missed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.ingest import gateways
from fieldloom_cloud.ingest.models import ReadingDue
from fieldloom_cloud.registry import service as registry
from fieldloom_runtime.records import Reported, Telemetry

PERIODS = 3
LEAST_MS = 60_000
NOTED_PARTS = 6
"""A reading is noted if this part of the patience is over since the last one that was: few rows change that way."""


class Staleness:
    """Takes note of readings, and judges. `_noted` says until when a device's readings need no note, Unix ms."""

    def __init__(self) -> None:
        self._noted: dict[str, int] = {}

    async def read(
        self, session: AsyncSession, gateway: str, telemetry: Sequence[Telemetry], periods: Mapping[str, int]
    ) -> None:
        """Take note of readings; `periods` are those of the devices' types, ms."""
        newest: dict[str, int] = {}
        for record in telemetry:
            newest[record.device] = max(newest.get(record.device, 0), record.at)
        fresh = {device: at for device, at in newest.items() if at >= self._noted.get(device, 0)}
        if not fresh:
            return
        rows = {row.device: row for row in await session.scalars(_rows(list(fresh)))}
        for device, at in fresh.items():
            row = rows.get(device)
            patience = _patience(periods.get(device), row.interval if row else None)
            self._noted[device] = at + (patience or LEAST_MS) // NOTED_PARTS
            if row is not None:
                await _note(session, row, gateway, at, patience)
            elif patience is not None:
                session.add(ReadingDue(device=device, gateway=gateway, last=at, due=_due(at, patience)))

    async def come(self, session: AsyncSession, gateway: str, device: str, at: int, period: int | None) -> None:
        """Begin to wait for the readings of a device that has come online."""
        self._noted.pop(device, None)
        row = await session.get(ReadingDue, device)
        patience = _patience(period, row.interval if row else None)
        if row is not None:
            row.gateway, row.last, row.stale_at = gateway, at, None
            row.due = None if patience is None else _due(at, patience)
        elif patience is not None:
            session.add(ReadingDue(device=device, gateway=gateway, last=at, due=_due(at, patience)))

    async def go(self, session: AsyncSession, device: str) -> None:
        """Wait no more for the readings of a device that has gone."""
        row = await session.get(ReadingDue, device)
        if row is not None:
            row.due = row.stale_at = None

    async def tell(self, session: AsyncSession, gateway: str, record: Reported, reported: Mapping[str, Any]) -> None:
        """Take note of what a device's twin says of how often it reads; `record` brought the newest of it."""
        self._noted.pop(record.device, None)
        interval = promise(reported)
        row = await session.get(ReadingDue, record.device)
        if row is None and interval is None:
            return
        if row is None:
            row = ReadingDue(device=record.device, gateway=gateway, last=record.at)
            session.add(row)
        row.interval = interval
        if interval == 0:
            await _relieve(session, row)
        elif interval is not None and row.due is None:
            row.gateway, row.last, row.due = gateway, record.at, _due(record.at, _least(interval))

    async def judge(self, session: AsyncSession, now: int) -> int:
        """Make stale whose readings are overdue at their gateways; return how many those were. `now` is Unix ms."""
        judged = 0
        for gateway, settled in (await gateways.settled(session, now)).items():
            overdue = select(ReadingDue).where(
                ReadingDue.gateway == gateway, ReadingDue.due < settled, ReadingDue.stale_at.is_(None)
            )
            for row in (await session.scalars(overdue)).all():
                self._noted.pop(row.device, None)
                row.stale_at = settled
                if await registry.set_stale(session, row.device, is_stale=True, last=row.last):
                    judged += 1
                else:
                    row.due = row.stale_at = None
        return judged


def promise(reported: Mapping[str, Any]) -> int | None:
    """Return how often a device says that it reads, ms: 0 while it is paused, None where it promises nothing.

    With report on change it is what the rules have as a sign of life.
    """
    interval = reported.get("interval")
    if not isinstance(interval, int) or isinstance(interval, bool) or interval < 0:
        return None
    rules = reported.get("report")
    if not interval or not isinstance(rules, dict) or not rules:
        return interval
    signs = [rule["max"] for rule in rules.values() if isinstance(rule, dict) and isinstance(rule.get("max"), int)]
    return max(interval, *signs) if len(signs) == len(rules) else None


def _patience(period: int | None, interval: int | None) -> int | None:
    """Return how long a device may be silent, ms; None: for ever."""
    if interval == 0 or (period is None and interval is None):
        return None
    return _least(max(period or 0, interval or 0))


def _least(interval: int) -> int:
    return max(PERIODS * interval, LEAST_MS)


def _due(at: int, patience: int) -> int:
    return at + patience + patience // NOTED_PARTS


async def _note(session: AsyncSession, row: ReadingDue, gateway: str, at: int, patience: int | None) -> None:
    if at < row.last:
        return  # out of an older lane
    row.last, row.gateway = at, gateway
    if patience is None:
        await _relieve(session, row)
        return
    row.due = _due(at, patience)
    if row.stale_at is not None and row.due > row.stale_at:
        await _freshen(session, row)


async def _relieve(session: AsyncSession, row: ReadingDue) -> None:
    """Wait no more for a device that promises nothing now."""
    row.due = None
    if row.stale_at is not None:
        await _freshen(session, row)


async def _freshen(session: AsyncSession, row: ReadingDue) -> None:
    row.stale_at = None
    await registry.set_stale(session, row.device, is_stale=False, last=row.last)


def _rows(devices: list[str]) -> Any:
    return select(ReadingDue).where(ReadingDue.device.in_(devices))
