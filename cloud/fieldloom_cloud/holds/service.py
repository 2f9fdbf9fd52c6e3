"""Who holds what: heard from gateways, which decide, and released by people, whose wish goes down to them. (E9)"""

import secrets
import time
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.database import from_ms, insert
from fieldloom_cloud.dispatch import service as dispatch
from fieldloom_cloud.holds.models import ActuatorRow
from fieldloom_cloud.registry import service as registry
from fieldloom_cloud.trail import service as trail
from fieldloom_engine.holds import Priority
from fieldloom_runtime.down import RELEASE, Release, encode
from fieldloom_runtime.records import Moment, Name, Result

TOLD = ("actuator.held", "actuator.lost", "actuator.released")


class _Hold(Struct):
    id: Name
    priority: Priority
    owner: str
    type: Name
    parameters: dict[str, Any]
    since: Moment
    reason: str = ""
    expires: Moment | None = None


class _Told(Struct):
    """What such an event tells of an actuator; one of a plain command that was refused tells no slots."""

    actuator: Name
    version: Moment = 0
    holds: Annotated[list[_Hold], Meta(max_length=16)] | None = None


async def told(session: AsyncSession, gateway: str, device: str, data: dict[str, Any]) -> str | None:
    """Take what a gateway tells of an actuator, unless something newer is known; return what is wrong with it."""
    try:
        word = msgspec.convert(data, _Told)
    except msgspec.ValidationError as error:
        return str(error)
    if word.holds is None or not await registry.is_known(session, device):
        return None
    row = {"version": word.version, "gateway": gateway, "holds": msgspec.to_builtins(word.holds)}
    insertion = insert(session, ActuatorRow).values(device=device, name=word.actuator, **row)
    newer = insertion.on_conflict_do_update(
        index_elements=[ActuatorRow.device, ActuatorRow.name],
        set_=row,
        where=insertion.excluded.version > ActuatorRow.version,
    )
    await session.execute(newer)
    return None


async def moved(session: AsyncSession, gateway: str, result: Result) -> None:
    """Take what a command has set an actuator to, unless a later one is known."""
    if result.moved is None or not await registry.is_known(session, result.device):
        return
    told = msgspec.to_builtins(result.moved)
    row = {
        "set_at": result.at,
        "set_by": {"id": result.id, "type": told["type"], "parameters": told["parameters"], **told["by"]},
    }
    begun = {"version": 0, "gateway": gateway, "holds": [], **row}
    insertion = insert(session, ActuatorRow).values(device=result.device, name=result.moved.actuator, **begun)
    later = insertion.on_conflict_do_update(
        index_elements=[ActuatorRow.device, ActuatorRow.name],
        set_=row,
        where=insertion.excluded.set_at >= ActuatorRow.set_at,
    )
    await session.execute(later)


async def of_device(session: AsyncSession, device: str) -> list[dict[str, Any]]:
    """Return who holds, who waits and who has set it last, by actuator. Raises NotFound."""
    await registry.device(session, device)
    now = time.time_ns() // 1_000_000
    query = select(ActuatorRow).where(ActuatorRow.device == device).order_by(ActuatorRow.name)
    found = []
    for row in await session.scalars(query):
        holds = [_shown(hold) for hold in row.holds if hold["expires"] is None or hold["expires"] > now]
        set_by = None if row.set_by is None else {**row.set_by, "at": from_ms(row.set_at)}
        if holds or set_by:
            told = {"actuator": row.name, "version": row.version, "gateway": row.gateway}
            found.append({**told, "holds": holds, "set_by": set_by})
    return found


async def release(session: AsyncSession, device: str, actuator: str, priority: Priority, by: str) -> None:
    """Have the gateways of a device's site release a slot. Raises NotFound."""
    site = (await registry.device(session, device))["site"]
    wish = encode(Release(device, actuator, secrets.token_hex(8), priority, by))
    for gateway in await registry.gateways_of(session, site):
        await dispatch.queue(session, gateway, RELEASE, wish)
    trail.note(session, "hold", actuator, {"priority": priority}, None, device)


def _shown(hold: dict[str, Any]) -> dict[str, Any]:
    expires = None if hold["expires"] is None else from_ms(hold["expires"])
    return {**hold, "since": from_ms(hold["since"]), "expires": expires}
