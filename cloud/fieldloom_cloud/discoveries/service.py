"""Devices that gateways have found and that the registry does not know: listed, approved, dismissed. (C8)"""

import time
from typing import Any

import structlog
from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud import pages
from fieldloom_cloud.database import from_ms, iso, now
from fieldloom_cloud.discoveries.models import Discovery
from fieldloom_cloud.errors import NotFound
from fieldloom_cloud.outbox import service as outbox
from fieldloom_cloud.registry import service as registry
from fieldloom_cloud.trail import service as trail
from fieldloom_cloud.trail.origin import GATEWAY, Origin
from fieldloom_runtime.records import Discovered

log = structlog.get_logger()

MAX_OF_A_SITE = 10_000
"""A gateway may tell any name, so it can't fill the table; who comes later is said in the log."""
SAID = ("type", "board", "firmware", "capabilities")


async def meet(session: AsyncSession, gateway: str, found: list[Discovered]) -> None:
    """Take note of devices that a gateway has found, and register them at once where its site wants that.

    What the registry knows is ignored, at whatever site it is. Of a dismissed device only the word is kept.
    """
    site = await registry.site_of(session, gateway) if found else None
    if site is None:
        return
    registered = await registry.registered(session, {one.device for one in found})
    await session.execute(delete(Discovery).where(Discovery.device.in_(registered)))
    for one in found:
        known = None if one.device in registered else await _meet(session, site["id"], gateway, one)
        if known is not None and site["automatic_entry"] and known.dismissed is None:
            trail.begin(session, Origin(GATEWAY, gateway, action="automatic_entry"))
            await _register(session, known, {})
            registered.add(one.device)


async def _meet(session: AsyncSession, site: str, gateway: str, found: Discovered) -> Discovery | None:
    """Return the row of a found device, None where its site has no room for one."""
    known = await session.get(Discovery, found.device)
    if known is None:
        if await _count(session, site) >= MAX_OF_A_SITE:
            log.warning("too_many_discoveries", site=site, device=found.device, limit=MAX_OF_A_SITE)
            return None
        known = Discovery(device=found.device, site=site, gateway=gateway, first=found.at, **_said(found))
        known.last, known.adapter = found.at, found.adapter
        session.add(known)
        told = {"site": site, "gateway": gateway, "adapter": found.adapter, **_said(found)}
        outbox.leave(session, "device.discovered", told, found.device)
    elif found.at >= known.last:
        known.site, known.gateway, known.last, known.adapter = site, gateway, found.at, found.adapter
        for name, told in _said(found).items():
            setattr(known, name, told or getattr(known, name))  # a device that was only heard says nothing new
    return known


async def discoveries(
    session: AsyncSession, site: str | None, asked: pages.Asked, *, dismissed: bool = False
) -> tuple[list[dict[str, Any]], str | None]:
    """Return a page of devices that wait for approval, or of dismissed ones, by id, and the next page's cursor."""
    query = select(Discovery).where(Discovery.device.not_in(registry.ids())).order_by(Discovery.device)
    query = query.where(Discovery.dismissed.is_not(None) if dismissed else Discovery.dismissed.is_(None))
    if site is not None:
        query = query.where(Discovery.site == site)
    found, following = await pages.read(session, query, asked, [str])
    return [_shown(row) for row in found], following


async def approve(session: AsyncSession, device: str, told: dict[str, str]) -> dict[str, Any]:
    """Register a found device with what it said and what is told of it, and return it.

    It gets the name and site of `told`; left out, none and the site where it was heard.
    Raises NotFound, BadContent, and Duplicate for one that was registered meanwhile.
    """
    return await _register(session, await _discovery(session, device), told)


async def dismiss(session: AsyncSession, device: str) -> dict[str, Any]:
    """Take a found device off the list; it stays off when it is heard again. Raises NotFound."""
    found = await _discovery(session, device)
    if found.dismissed is None:
        found.dismissed = now()
        trail.note(session, "discovery", device, {"dismissed": None}, {"dismissed": iso(found.dismissed)}, device)
    return _shown(found)


async def keep_off(session: AsyncSession, device: dict[str, Any]) -> None:
    """Keep a device that is being removed off the list, as if it was found and dismissed."""
    at = time.time_ns() // 1_000_000
    said = {name: device[name] for name in SAID}
    row = Discovery(device=device["id"], site=device["site"], gateway="", adapter="", first=at, last=at, **said)
    row.dismissed = now()
    await session.merge(row)


async def _register(session: AsyncSession, found: Discovery, told: dict[str, str]) -> dict[str, Any]:
    registered = await registry.add_device(session, {"id": found.device, "site": found.site, **_said(found), **told})
    await session.delete(found)
    return registered


async def _discovery(session: AsyncSession, device: str) -> Discovery:
    found = await session.get(Discovery, device)
    if found is None:
        raise NotFound(f"no device {device} was found")
    return found


async def _count(session: AsyncSession, site: str) -> int:
    waiting = (Discovery.site == site, Discovery.dismissed.is_(None))  # the others are a person's doing
    return await session.scalar(select(func.count()).select_from(Discovery).where(*waiting)) or 0


def _said(found: Discovery | Discovered) -> dict[str, Any]:
    return {name: getattr(found, name) for name in SAID}


def _shown(found: Discovery) -> dict[str, Any]:
    named = {name: getattr(found, name) for name in ("device", "site", "gateway", "adapter", *SAID)}
    times = {"first_seen": from_ms(found.first), "last_seen": from_ms(found.last)}
    return {**named, **times, "dismissed": None if found.dismissed is None else iso(found.dismissed)}
