"""What gateways tell of themselves: how far each is stored, what it still holds, and its cluster. (T8, D3, ADR 31)"""

from typing import NamedTuple

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.changes import announce
from fieldloom_cloud.ingest.models import GatewayState as Row
from fieldloom_cloud.ingest.models import IngestStream
from fieldloom_cloud.ingest.standing import Standing
from fieldloom_contract.batch import DISK_BYTES
from fieldloom_contract.errors import Rejected
from fieldloom_runtime import gateway_state
from fieldloom_runtime.gateway_state import TELL_EVERY_S, Cluster, GatewayState

SILENT_MS = int(3 * TELL_EVERY_S * 1000)


class Told(NamedTuple):
    """What a gateway has told last of itself."""

    is_online: bool
    heard: int
    """When, Unix ms by the cloud's clock."""
    waiting: int
    """Records that were not stored yet."""
    release: str
    cluster: Cluster | None


def parse(payload: bytes) -> GatewayState:
    """Return a gateway's word on itself. Raises Rejected."""
    try:
        return gateway_state.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Rejected("state", str(error)) from None


async def hear(session: AsyncSession, gateway: str, told: GatewayState, now: int) -> None:
    """Take a gateway's word; a last will changes nothing but its presence."""
    row = await session.get(Row, gateway)
    if row is None:
        row = Row(gateway=gateway, online=False, at=0, stream=b"", numbered=0, holds=[])
        session.add(row)
    before = (row.online, row.cluster)
    row.online, row.heard = told.online, now
    if told.online and told.stream:
        await _take(session, row, told)
    if (row.online, row.cluster) != before:
        announce(session, "gateway", "", {"id": gateway, "online": told.online, "ts": now})


async def _take(session: AsyncSession, row: Row, told: GatewayState) -> None:
    if row.stream and row.stream[:DISK_BYTES] != told.stream[:DISK_BYTES]:
        row.settled, row.since = None, told.at
    elif await _is_reached(session, row):
        row.settled = row.at
    row.at, row.stream, row.numbered = told.at, told.stream, told.numbered
    row.holds = [list(one) for one in told.holds]
    row.waiting, row.release = told.waiting, told.release
    row.cluster = None if told.cluster is None else msgspec.to_builtins(told.cluster)


async def standing(session: AsyncSession, gateways: list[str], device: str, now: int) -> list[Standing]:
    """Return how gateways stand, and what they hold of a device; of one that never told, nothing is known."""
    rows = {row.gateway: row for row in await session.scalars(select(Row).where(Row.gateway.in_(gateways)))}
    return [
        await _standing(session, rows[one], device, now) if one in rows else Standing(one, False, None, None, False, [])
        for one in gateways
    ]


async def told(session: AsyncSession, gateways: list[str], now: int) -> dict[str, Told]:
    """Return by name what gateways have told last of themselves; one that never told has no entry."""
    rows = await session.scalars(select(Row).where(Row.gateway.in_(gateways)))
    return {row.gateway: _told(row, now) for row in rows}


async def settled(session: AsyncSession, now: int) -> dict[str, int]:
    """Return, of each gateway that is online, up to when all that it took is stored; Unix ms by its own clock."""
    rows = await session.scalars(select(Row).where(Row.online, Row.heard > now - SILENT_MS))
    reached = {row.gateway: row.at if await _is_reached(session, row) else row.settled for row in rows.all()}
    return {gateway: at for gateway, at in reached.items() if at is not None}


def _told(row: Row, now: int) -> Told:
    cluster = None if row.cluster is None else msgspec.convert(row.cluster, Cluster)
    return Told(_is_online(row, now), row.heard, row.waiting, row.release, cluster)


def _is_online(row: Row, now: int) -> bool:
    return row.online and now - row.heard < SILENT_MS


async def _standing(session: AsyncSession, row: Row, device: str, now: int) -> Standing:
    is_online = _is_online(row, now)
    if await _is_reached(session, row):
        return Standing(row.gateway, is_online, row.at, row.since, is_behind=False, holds=[])
    holds = [(boot, first, last) for held, boot, first, last in row.holds if held == device]
    return Standing(row.gateway, is_online, row.settled, row.since, is_behind=bool(row.stream), holds=holds)


async def _is_reached(session: AsyncSession, row: Row) -> bool:
    """Whether all that a gateway had numbered when it told is stored."""
    if not row.stream or row.numbered is None:
        return False
    stored = await session.get(IngestStream, row.stream)
    return row.numbered <= (stored.number if stored else 0)
