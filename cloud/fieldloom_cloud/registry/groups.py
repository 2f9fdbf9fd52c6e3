"""Groups of devices: static ones list their members, dynamic ones have a query. (R3)"""

from typing import Any, cast

from sqlalchemy import CursorResult, delete, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud import pages
from fieldloom_cloud.database import iso, now
from fieldloom_cloud.errors import BadContent, Duplicate, NotFound, StaleVersion
from fieldloom_cloud.outbox import service as outbox
from fieldloom_cloud.registry import service as registry
from fieldloom_cloud.registry.models import Group, Member
from fieldloom_cloud.trail import service as trail


async def groups(session: AsyncSession, asked: pages.Asked) -> tuple[list[dict[str, Any]], str | None]:
    """Return a page of groups by their ids, and the cursor of the next one."""
    found, following = await pages.read(session, select(Group).order_by(Group.id), asked, [str])
    return [_shown(group) for group in found], following


async def add_group(session: AsyncSession, fields: dict[str, Any]) -> dict[str, Any]:
    """Add a group, static if it has no query. Raises Duplicate."""
    group = Group(**{"query": None, **fields, "name": fields.get("name") or fields["id"]})
    session.add(group)
    try:
        await session.flush()
    except IntegrityError:
        raise Duplicate(f"group {group.id} is there already") from None
    outbox.leave(session, "group.created", {"id": group.id, "name": group.name, "query": group.query})
    trail.note(session, "group", group.id, None, {"name": group.name, "query": group.query})
    return _shown(group)


async def group(session: AsyncSession, group_id: str) -> dict[str, Any]:
    """Return a group. Raises NotFound."""
    return _shown(await registry.of_version(session, Group, group_id))


async def change_group(
    session: AsyncSession, group_id: str, fields: dict[str, Any], version: int | None
) -> dict[str, Any]:
    """Change name or query; with a version only if it is the present one.

    Raises NotFound, StaleVersion, and BadContent for a query where members are listed.
    """
    found = await registry.of_version(session, Group, group_id, version)
    if "query" in fields and found.query is None:
        raise _fault("query", f"group {group_id} lists its members")
    before = {name: getattr(found, name) for name in fields}
    await _count_version(session, group_id, version, fields)
    await session.refresh(found)
    trail.note(session, "group", group_id, before, fields)
    outbox.leave(session, "group.updated", {"id": group_id, "version": found.version, "changes": fields})
    return _shown(found)


async def remove_group(session: AsyncSession, group_id: str, version: int | None) -> None:
    """Remove a group; its devices stay. Raises NotFound and StaleVersion."""
    found = await registry.of_version(session, Group, group_id, version)
    outbox.leave(session, "group.removed", {"id": group_id, "version": found.version})
    trail.note(session, "group", group_id, {"name": found.name, "query": found.query}, None)
    await session.delete(found)


async def add_member(session: AsyncSession, group_id: str, device_id: str) -> None:
    """List a device in a static group, once however often it is asked. Raises NotFound and BadContent."""
    await _listing(session, group_id)
    await registry.device(session, device_id)
    if await session.get(Member, (group_id, device_id)) is None:
        session.add(Member(group=group_id, device=device_id))
        await _tell_members(session, group_id, {"added": device_id})
        trail.note(session, "member", group_id, None, {"device": device_id}, device_id)


async def remove_member(session: AsyncSession, group_id: str, device_id: str) -> None:
    """List a device no more. Raises NotFound, also for one that is not listed, and BadContent."""
    await _listing(session, group_id)
    gone = await session.execute(delete(Member).where(Member.group == group_id, Member.device == device_id))
    if not cast("CursorResult[Any]", gone).rowcount:
        raise NotFound(f"device {device_id} is not in group {group_id}")
    await _tell_members(session, group_id, {"removed": device_id})
    trail.note(session, "member", group_id, {"device": device_id}, None, device_id)


async def _tell_members(session: AsyncSession, group_id: str, changes: dict[str, Any]) -> None:
    await _count_version(session, group_id, None, {})
    found = await session.get_one(Group, group_id, populate_existing=True)
    outbox.leave(session, "group.updated", {"id": group_id, "version": found.version, "changes": changes})


async def _count_version(session: AsyncSession, group_id: str, version: int | None, fields: dict[str, Any]) -> None:
    # Compared by the database, in the change itself: two callers with one version must not both win.
    change = update(Group).where(Group.id == group_id)
    if version is not None:
        change = change.where(Group.version == version)
    done = await session.execute(change.values(**fields, version=Group.version + 1, updated=now()))
    if not cast("CursorResult[Any]", done).rowcount:
        raise StaleVersion(f"group {group_id} was changed meanwhile")


async def _listing(session: AsyncSession, group_id: str) -> None:
    found = await registry.of_version(session, Group, group_id)
    if found.query is not None:
        raise _fault("group_id", f"group {group_id} has the members that its query finds")


def _fault(path: str, reason: str) -> BadContent:
    return BadContent("The group is of the other kind.", [{"path": path, "reason": reason}])


def _shown(group: Group) -> dict[str, Any]:
    named = {name: getattr(group, name) for name in ("id", "name", "query", "version")}
    return {**named, "created": iso(group.created), "updated": iso(group.updated)}
