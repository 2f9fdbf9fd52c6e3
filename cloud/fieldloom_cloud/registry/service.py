"""The registry: sites, gateways and devices. Every call is part of the caller's transaction. (R1)"""

from typing import Any, NamedTuple, TypeVar, cast

from sqlalchemy import CursorResult, Select, delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.changes import announce
from fieldloom_cloud.database import from_ms, iso, now
from fieldloom_cloud.errors import BadContent, Duplicate, NotFound, StaleVersion
from fieldloom_cloud.outbox import service as outbox
from fieldloom_cloud.registry.models import (
    Capability,
    Device,
    DeviceState,
    DeviceText,
    Gateway,
    Group,
    Site,
    Tag,
    public,
)
from fieldloom_cloud.trail import service as trail

Versioned = TypeVar("Versioned", Device, Group)


async def add_site(session: AsyncSession, site_id: str, name: str) -> dict[str, Any]:
    """Add a site. Raises Duplicate."""
    site = Site(id=site_id, name=name or site_id)
    await _add(session, site, f"site {site_id} is there already")
    outbox.leave(session, "site.registered", {"id": site.id, "name": site.name})
    trail.note(session, "site", site.id, None, {"name": site.name})
    return _shown_site(site)


async def sites(session: AsyncSession) -> list[dict[str, Any]]:
    """Return all sites."""
    found = await session.scalars(select(Site).order_by(Site.id))
    return [_shown_site(site) for site in found]


async def change_site(session: AsyncSession, site_id: str, *, automatic_entry: bool) -> dict[str, Any]:
    """Say whether devices that are found at a site are registered at once. Raises NotFound."""
    site = await _known_site(session, site_id)
    if site.automatic_entry != automatic_entry:
        before, after = ({"automatic_entry": one} for one in (site.automatic_entry, automatic_entry))
        site.automatic_entry = automatic_entry
        trail.note(session, "site", site_id, before, after)
        outbox.leave(session, "site.updated", {"id": site_id, "changes": after})
    return _shown_site(site)


async def site(session: AsyncSession, site_id: str) -> dict[str, Any]:
    """Return a site. Raises NotFound."""
    return _shown_site(await _known_site(session, site_id))


async def _known_site(session: AsyncSession, site_id: str) -> Site:
    found = await session.get(Site, site_id)
    if found is None:
        raise NotFound(f"there is no site {site_id}")
    return found


async def site_of(session: AsyncSession, gateway_id: str) -> dict[str, Any] | None:
    """Return the site of a gateway, None for a gateway that is not known."""
    found = await session.scalar(select(Site).join(Gateway, Gateway.site == Site.id).where(Gateway.id == gateway_id))
    return None if found is None else _shown_site(found)


async def add_gateway(session: AsyncSession, gateway_id: str, site: str | None) -> dict[str, Any]:
    """Add a gateway to a site. Raises Duplicate and BadContent."""
    gateway = Gateway(id=gateway_id, site=await _site(session, site))
    await _add(session, gateway, f"gateway {gateway_id} is there already")
    outbox.leave(session, "gateway.registered", {"id": gateway.id, "site": gateway.site})
    trail.note(session, "gateway", gateway.id, None, {"site": gateway.site})
    return {"id": gateway.id, "site": gateway.site, "created": iso(gateway.created)}


async def gateways(session: AsyncSession) -> list[dict[str, Any]]:
    """Return all gateways."""
    found = await session.scalars(select(Gateway).order_by(Gateway.id))
    return [{"id": gateway.id, "site": gateway.site, "created": iso(gateway.created)} for gateway in found]


async def is_known(session: AsyncSession, identity: str) -> bool:
    """Whether a certificate's subject is a device or a gateway of ours. (P2)"""
    return bool(await session.get(Gateway, identity) or await session.get(Device, identity))


async def of_same_site(session: AsyncSession, gateway_id: str, devices: set[str]) -> set[str]:
    """Return which of some devices a gateway may speak for: those of its site."""
    site = select(Gateway.site).where(Gateway.id == gateway_id).scalar_subquery()
    query = select(Device.id).where(Device.site == site, Device.id.in_(devices))
    return set(await session.scalars(query))


async def registered(session: AsyncSession, devices: set[str]) -> set[str]:
    """Return which of some devices are there, at whatever site."""
    return set(await session.scalars(ids().where(Device.id.in_(devices))))


def ids() -> Select[tuple[str]]:
    """Return what selects the ids of all devices, for a query that leaves them out."""
    return select(Device.id)


async def types_of(session: AsyncSession, devices: set[str]) -> dict[str, str]:
    """Return the types of those of some devices that have one."""
    query = select(Device.id, Device.type).where(Device.id.in_(devices), Device.type != "")
    return {row.id: row.type for row in await session.execute(query)}


async def has_type(session: AsyncSession, kind: str) -> bool:
    """Whether any device is of a type."""
    return await session.scalar(select(Device.id).where(Device.type == kind).limit(1)) is not None


ONLINE, STALE = "online", "stale"


class Told(NamedTuple):
    """A device's word on its presence and of itself; `at`, in Unix ms, is when its gateway heard it."""

    session: str
    at: int
    status: str
    facts: dict[str, Any]
    began: int | None = None
    """When its gateway heard of the session first, in Unix ms."""
    gateway: str = ""
    """Which heard it."""


async def set_presence(session: AsyncSession, device_id: str, told: Told) -> bool:
    """Take over what a device says of itself, and say whether it has come or gone by that.

    It is no change of its owner's, so the version stays. Who is stale stays so in a session until it reads.

    That it is gone counts for its newest session alone: a gateway that it has left for another one says so late. An
    unknown session is the newest if it began after all that was told: its beginning comes in an older lane (ADR 32).
    """
    # Locked, since words on one device may come over two gateways to two processes.
    found = await session.get(Device, device_id, with_for_update=True)
    if found is None:
        return False
    state = await session.get(DeviceState, device_id)
    if state is not None and (told.at < state.at or _is_of_older_session(told, state)):
        return False
    is_new_session = state is None or state.session != told.session
    if state is None:
        state = DeviceState(device=device_id, session=told.session, at=told.at, facts={})
        session.add(state)
    state.session, state.at, state.gateway = told.session, told.at, told.gateway
    if told.status == ONLINE and told.facts.get("waiting") == 0:
        state.quiet_at = told.at
    state.facts = told.facts if told.status == ONLINE else {**state.facts, **told.facts}  # a last will tells little
    before = found.status
    if before != STALE or told.status != ONLINE or is_new_session:
        found.status = told.status
    news = {name: str(told.facts[name])[:64] for name in ("firmware", "board") if told.facts.get(name)}
    changes = {name: value for name, value in news.items() if value != getattr(found, name)}
    for name, value in changes.items():
        setattr(found, name, value)
    if changes:
        outbox.leave(session, "device.updated", {"version": found.version, "changes": changes}, device_id)
    _announce(session, found)
    return found.status != before or is_new_session


async def gateway_of(session: AsyncSession, device_id: str) -> str | None:
    """Return the gateway over which a device has said last that it is there, or has gone; None where none is known."""
    return await session.scalar(select(DeviceState.gateway).where(DeviceState.device == device_id)) or None


async def set_stale(session: AsyncSession, device_id: str, *, is_stale: bool, last: int) -> bool:
    """Make an online device stale, or the other way, and say whether it was so; `last` is its last reading, Unix ms."""
    found = await session.get(Device, device_id)
    if found is None or found.status != (ONLINE if is_stale else STALE):
        return False
    found.status = STALE if is_stale else ONLINE
    kind = "device.stale" if is_stale else "device.reads_again"
    outbox.leave(session, kind, {"last_reading": from_ms(last)}, device_id)
    _announce(session, found)
    return True


def _is_of_older_session(told: Told, state: DeviceState) -> bool:
    if told.status == ONLINE or told.session == state.session:
        return False
    return told.began is None or told.began <= state.at


async def state(session: AsyncSession, device_id: str) -> dict[str, Any] | None:
    """Return what a device told last of itself and when, None if it never did."""
    found = await session.get(DeviceState, device_id)
    return None if found is None else {**found.facts, "at": from_ms(found.at)}


class Held(NamedTuple):
    """What a device has told of the records that wait with it; times in Unix ms."""

    at: int
    waiting: int
    quiet_at: int | None
    """When none waited."""


async def held(session: AsyncSession, device_id: str) -> Held | None:
    """Return what a device told last of its buffer, None if it never did."""
    found = await session.get(DeviceState, device_id)
    return None if found is None else Held(found.at, found.facts.get("waiting") or 0, found.quiet_at)


async def gateways_of(session: AsyncSession, site: str) -> list[str]:
    """Return the names of a site's gateways."""
    return list(await session.scalars(select(Gateway.id).where(Gateway.site == site).order_by(Gateway.id)))


async def add_device(session: AsyncSession, fields: dict[str, Any]) -> dict[str, Any]:
    """Register a device. Raises Duplicate and BadContent."""
    tags = fields.pop("tags", None) or {}
    device = Device(**{**fields, "site": await _site(session, fields.get("site"))})
    await _add(session, device, f"device {device.id} is there already")
    session.add_all([*_tags(device.id, tags), *_capabilities(device.id, device.capabilities)])
    session.add(DeviceText(device=device.id, text=_text(device, tags)))
    outbox.leave(session, "device.registered", public(device, tags), device.id)
    trail.note(session, "device", device.id, None, public(device, tags))
    _announce(session, device)
    return shown(device, tags)


async def device(session: AsyncSession, device_id: str) -> dict[str, Any]:
    """Return a device. Raises NotFound."""
    found = await of_version(session, Device, device_id)
    return shown(found, (await tags_of(session, [device_id])).get(device_id, {}))


async def known_of(session: AsyncSession, devices: list[str]) -> dict[str, dict[str, Any]]:
    """Return those of some devices that are there, by their ids."""
    tags = await tags_of(session, devices)
    found = await session.scalars(select(Device).where(Device.id.in_(devices)))
    return {device.id: shown(device, tags.get(device.id, {})) for device in found}


async def change_device(
    session: AsyncSession, device_id: str, fields: dict[str, Any], version: int | None
) -> dict[str, Any]:
    """Change the given fields; with a version only if it is the present one. Raises NotFound and StaleVersion."""
    found = await of_version(session, Device, device_id, version)
    before = public(found, (await tags_of(session, [device_id])).get(device_id, {}))
    changes = dict(fields)
    tags = fields.pop("tags", None)
    # Compared by the database, in the change itself: two callers with one version must not both win.
    change = update(Device).where(Device.id == device_id)
    if version is not None:
        change = change.where(Device.version == version)
    done = await session.execute(change.values(**fields, version=Device.version + 1, updated=now()))
    if not cast("CursorResult[Any]", done).rowcount:
        raise StaleVersion(f"device {device_id} was changed meanwhile")
    if tags is not None:
        await _set_tags(session, device_id, tags)
    if "capabilities" in fields:
        await _set_capabilities(session, device_id, fields["capabilities"])
    await session.refresh(found)
    outbox.leave(session, "device.updated", {"version": found.version, "changes": changes}, device_id)
    trail.note(session, "device", device_id, {name: before[name] for name in changes}, changes)
    changed = await device(session, device_id)
    text = update(DeviceText).where(DeviceText.device == device_id)
    await session.execute(text.values(text=_text(found, changed["tags"])))
    return changed


async def remove_device(session: AsyncSession, device_id: str, version: int | None) -> None:
    """Remove a device with its twin; its telemetry stays. Raises NotFound and StaleVersion."""
    found = await of_version(session, Device, device_id, version)
    outbox.leave(session, "device.removed", {"version": found.version, "site": found.site}, device_id)
    tags = (await tags_of(session, [device_id])).get(device_id, {})
    trail.note(session, "device", device_id, public(found, tags), None)
    await session.delete(found)


def shown(device: Device, tags: dict[str, str]) -> dict[str, Any]:
    """Return a device as the API shows it."""
    return {**public(device, tags), "created": iso(device.created), "updated": iso(device.updated)}


async def tags_of(session: AsyncSession, devices: list[str]) -> dict[str, dict[str, str]]:
    """Return the tags of those devices that have any."""
    tags: dict[str, dict[str, str]] = {}
    for tag in await session.scalars(select(Tag).where(Tag.device.in_(devices)).order_by(Tag.device, Tag.key)):
        tags.setdefault(tag.device, {})[tag.key] = tag.value
    return tags


def _shown_site(site: Site) -> dict[str, Any]:
    told = {name: getattr(site, name) for name in ("id", "name", "automatic_entry")}
    return {**told, "created": iso(site.created)}


def _announce(session: AsyncSession, device: Device) -> None:
    announce(session, "presence", device.id, {"status": device.status, "firmware": device.firmware})


async def _add(session: AsyncSession, row: Site | Gateway | Device, otherwise: str) -> None:
    session.add(row)
    try:
        await session.flush()
    except IntegrityError:
        raise Duplicate(otherwise) from None


async def of_version(
    session: AsyncSession, table: type[Versioned], row_id: str, version: int | None = None
) -> Versioned:
    """Return a device or group, with a version only if that is the present one. Raises NotFound and StaleVersion."""
    found, named = await session.get(table, row_id), f"{table.__name__.lower()} {row_id}"
    if found is None:
        raise NotFound(f"there is no {named}")
    if version is not None and found.version != version:
        raise StaleVersion(f"{named} is at version {found.version}, not {version}")
    return found


async def _site(session: AsyncSession, site: str | None) -> str:
    known = list(
        await session.scalars(select(Site.id).limit(2) if site is None else select(Site.id).filter_by(id=site))
    )
    if len(known) == 1:
        return known[0]
    reason = "must be named, since there is not just one" if site is None else "is not known"
    raise BadContent("The site can't be told.", [{"path": "site", "reason": reason}])


async def _set_tags(session: AsyncSession, device_id: str, tags: dict[str, str]) -> None:
    await session.execute(delete(Tag).where(Tag.device == device_id))
    session.add_all(_tags(device_id, tags))
    await session.flush()


async def _set_capabilities(session: AsyncSession, device_id: str, names: list[str]) -> None:
    await session.execute(delete(Capability).where(Capability.device == device_id))
    session.add_all(_capabilities(device_id, names))
    await session.flush()


def _tags(device_id: str, tags: dict[str, str]) -> list[Tag]:
    return [Tag(device=device_id, key=key, value=value) for key, value in tags.items()]


def _capabilities(device_id: str, names: list[str]) -> list[Capability]:
    return [Capability(device=device_id, name=name) for name in dict.fromkeys(names)]


def _text(device: Device, tags: dict[str, str]) -> str:
    told = (device.id, device.name, device.type, device.manufacturer, device.model)
    return "\n".join([*told, *(f"{key}:{value}" for key, value in tags.items())]).casefold()
