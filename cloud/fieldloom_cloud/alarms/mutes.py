"""Times in which alarms wake nobody: a maintenance window of a device, a group or a site. (E7)"""

from datetime import datetime
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud import pages
from fieldloom_cloud.alarms.models import Mute
from fieldloom_cloud.database import iso, now
from fieldloom_cloud.errors import BadContent, NotFound
from fieldloom_cloud.outbox import service as outbox
from fieldloom_cloud.registry import groups, search
from fieldloom_cloud.registry import service as registry
from fieldloom_cloud.trail import service as trail

KINDS = ("device", "group", "site")


async def mute(
    session: AsyncSession, targets: dict[str, str], starts: datetime, ends: datetime, reason: str, by: str
) -> dict[str, Any]:
    """Mute the one target, by its kind, for a time. Raises BadContent, and NotFound for one that is not there."""
    if len(targets) != 1:
        told = "of device, group and site exactly one must be there"
        raise BadContent("It is not clear what to mute.", [{"path": "device", "reason": told}])
    if ends <= max(starts, now()):
        raise BadContent("The mute would never hold.", [{"path": "ends", "reason": "must be after starts and now"}])
    ((kind, target),) = targets.items()
    look_up = {"device": registry.device, "group": groups.group, "site": registry.site}[kind]
    await look_up(session, target)
    row = Mute(kind=kind, target=target, starts=starts, ends=ends, reason=reason, by=by)
    session.add(row)
    await session.flush()
    device = target if kind == "device" else ""
    outbox.leave(session, "mute.created", _shown(row), device)
    trail.note(session, "mute", str(row.id), None, _shown(row), device)
    return _shown(row)


async def mutes(
    session: AsyncSession, asked: pages.Asked, *, over: bool = False
) -> tuple[list[dict[str, Any]], str | None]:
    """Return a page of those that hold or will, or of those that are over, and the cursor of the next one."""
    query = select(Mute).where(Mute.ends <= now() if over else Mute.ends > now()).order_by(Mute.id)
    found, following = await pages.read(session, query, asked, [int])
    return [_shown(row) for row in found], following


async def unmute(session: AsyncSession, mute_id: int) -> None:
    """End a mute, or take one back that has not begun. Raises NotFound."""
    row = await session.get(Mute, mute_id)
    if row is None or _aware(row.ends) <= now():
        raise NotFound(f"there is no mute {mute_id} that holds or will")
    before, device = _shown(row), row.target if row.kind == "device" else ""
    row.ends = now()
    outbox.leave(session, "mute.ended", _shown(row), device)
    trail.note(session, "mute", str(mute_id), before, _shown(row), device)


async def covers(session: AsyncSession, device: str) -> bool:
    """Whether a device is muted now, by itself, its site or one of its groups."""
    moment = now()
    holding = select(Mute).where(Mute.starts <= moment, Mute.ends > moment)
    rows = list(await session.scalars(holding.where(or_(Mute.kind != "device", Mute.target == device))))
    if not rows:
        return False
    site = (await registry.known_of(session, [device])).get(device, {}).get("site")
    if any((row.kind, row.target) in (("device", device), ("site", site)) for row in rows):
        return True
    for row in rows:
        if row.kind == "group" and await search.is_member(session, row.target, device):
            return True
    return False


def _aware(moment: datetime) -> datetime:
    return moment.replace(tzinfo=now().tzinfo)


def _shown(row: Mute) -> dict[str, Any]:
    named = {"id": row.id, row.kind: row.target, "reason": row.reason, "by": row.by}
    return {**named, "starts": iso(row.starts), "ends": iso(row.ends)}
