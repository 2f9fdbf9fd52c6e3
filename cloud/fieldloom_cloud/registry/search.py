"""Which devices: by any field, by tags, capabilities, groups and free text, each served by an index. (R1)"""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints
from sqlalchemy import ColumnElement, Select, and_, column, func, select, table
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud import pages
from fieldloom_cloud.database import is_sqlite
from fieldloom_cloud.errors import BadContent
from fieldloom_cloud.registry import service
from fieldloom_cloud.registry.models import INDEXED, Capability, Device, DeviceText, Group, Member, Tag
from fieldloom_cloud.strict import Instant

SORTED_BY = ("id", *INDEXED)
EQUAL = ("id", "site", "name", "type", "manufacturer", "model", "firmware", "board", "status")
MOMENTS = ("created", "updated")
GRAM = 3  # a shorter text has no trigram
FEW = 1000
MAX_MEMBERS = 500  # of a group that is meant at once: two seconds in which nobody else writes
TRIGRAMS = table("device_trigram", column("rowid"), column("text"))  # SQLite's; the migrations make it


def _tags(texts: list[str] | None) -> list[str] | None:
    for text in texts or ():
        key, colon, _ = text.partition(":")
        if not (key and colon):
            raise ValueError("must be KEY:VALUE")
    return texts


Text = Annotated[str, StringConstraints(max_length=200)]
Texts = Annotated[list[Text], Field(max_length=20)]


class Traits(BaseModel):
    """What devices must be like, all of it; what is left out takes any."""

    model_config = ConfigDict(extra="forbid")

    id: Text | None = None
    site: Text | None = None
    name: Text | None = None
    type: Text | None = None
    manufacturer: Text | None = None
    model: Text | None = None
    firmware: Text | None = None
    board: Text | None = None
    status: Text | None = None
    capability: Texts | None = Field(default=None, description="May be repeated: all of them.")
    tag: Annotated[list[Annotated[str, StringConstraints(max_length=265)]] | None, AfterValidator(_tags)] = Field(
        default=None, max_length=20, description="KEY:VALUE, may be repeated: all of them."
    )
    q: Text | None = Field(
        default=None, description="Free text: a part of id, name, type, manufacturer, model or a tag."
    )
    created_from: Instant | None = None
    created_to: Instant | None = Field(default=None, description="That moment is not in the range.")
    updated_from: Instant | None = None
    updated_to: Instant | None = Field(default=None, description="That moment is not in the range.")


class DeviceQuery(Traits):
    """What devices must be like, and of which group."""

    group: Text | None = None


async def devices(
    session: AsyncSession, wanted: DeviceQuery, sort: str, asked: pages.Asked
) -> tuple[list[dict[str, Any]], str | None]:
    """Return a page of devices, and the cursor of the next one. Raises BadContent."""
    name = sort.removeprefix("-")
    first = datetime if name in MOMENTS else str
    kinds = [first] if name == "id" else [first, str]
    found, following = await pages.read(session, await select_devices(session, wanted, sort), asked, kinds)
    tags = await service.tags_of(session, [device.id for device in found])
    return [service.shown(device, tags.get(device.id, {})) for device in found], following


async def select_devices(session: AsyncSession, wanted: DeviceQuery, sort: str) -> Select[Device]:
    """Return the query of a filter, in an order that ends in the id, as keyset pages need. Raises BadContent."""
    descending = sort.startswith("-")
    name = sort.removeprefix("-")
    if name not in SORTED_BY:
        reason = f"must be one of {', '.join(SORTED_BY)}, with a - before it for descending"
        raise BadContent("The order is not known.", [{"path": "sort", "reason": reason}])
    columns = [getattr(Device, each) for each in dict.fromkeys((name, "id"))]
    order = [column.desc() if descending else column for column in columns]
    found = await _conditions(session, wanted)
    if wanted.group is not None:
        found += await _in_group(session, wanted.group)
    return select(Device).where(*found).order_by(*order)


async def members(session: AsyncSession, group: str) -> list[str]:
    """Return the ids of a group's devices, in order. Raises BadContent for one that is not known or too large."""
    query = select(Device.id).where(*await _in_group(session, group)).order_by(Device.id).limit(MAX_MEMBERS + 1)
    found = list(await session.scalars(query))
    if len(found) > MAX_MEMBERS:
        reason = f"has more than {MAX_MEMBERS} devices: send to smaller ones"
        raise BadContent("The group is too large.", [{"path": "group_id", "reason": reason}])
    return found


async def ids_of(session: AsyncSession, wanted: DeviceQuery) -> Select[tuple[str]]:
    """Return what selects the ids of devices, for another query. Raises BadContent."""
    return (await select_devices(session, wanted, "id")).order_by(None).with_only_columns(Device.id)


async def is_member(session: AsyncSession, group: str, device: str) -> bool:
    """Whether a device is in a group; in none that is not there."""
    return device in await those(session, DeviceQuery(group=group), {device})


async def is_group(session: AsyncSession, group: str) -> bool:
    """Whether there is such a group."""
    return await session.get(Group, group) is not None


async def those(session: AsyncSession, wanted: DeviceQuery, devices: set[str] | None = None) -> set[str]:
    """Return which of some devices, or of all, are like this; of a group that is not known there are none."""
    if wanted.group is not None and not await is_group(session, wanted.group):
        return set()
    found = await _conditions(session, wanted)
    if wanted.group is not None:
        found += await _in_group(session, wanted.group)
    if devices is not None:
        found.append(Device.id.in_(devices))
    return set(await session.scalars(select(Device.id).where(*found)))


async def _in_group(session: AsyncSession, group: str) -> list[ColumnElement[bool]]:
    found = await session.get(Group, group)
    if found is None:
        raise BadContent("The group is not known.", [{"path": "group", "reason": f"there is no group {group}"}])
    if found.query is None:
        return [Device.id.in_(select(Member.device).where(Member.group == group))]
    return await _conditions(session, Traits(**found.query))


async def _conditions(session: AsyncSession, wanted: Traits) -> list[ColumnElement[bool]]:
    """Return what a filter asks of the table of devices."""
    found = [getattr(Device, name) == value for name in EQUAL if (value := getattr(wanted, name)) is not None]
    for text in wanted.tag or ():
        key, _, value = text.partition(":")
        found.append(Device.id.in_(select(Tag.device).where(Tag.key == key, Tag.value == value)))
    capabilities = [select(Capability.device).where(Capability.name == name) for name in wanted.capability or ()]
    found += [Device.id.in_(having) for having in capabilities]
    for name in MOMENTS:
        within = _within(getattr(Device, name), getattr(wanted, f"{name}_from"), getattr(wanted, f"{name}_to"))
        if within:
            found.append(await _few_first(session, select(Device.id).where(*within), and_(*within)))
    if wanted.q:
        text = wanted.q.casefold()
        holds = DeviceText.text.contains(text, autoescape=True)
        own = select(DeviceText.number).where(DeviceText.device == Device.id, holds).exists()
        is_indexed = is_sqlite(session) and len(text) >= GRAM  # PostgreSQL's index serves LIKE itself
        matching = DeviceText.number.in_(_matching(text)) if is_indexed else holds
        found.append(await _few_first(session, select(DeviceText.device).where(matching), own))
    return found


def _within(field: Any, since: datetime | None, until: datetime | None) -> list[ColumnElement[bool]]:
    return [*([] if since is None else [field >= since]), *([] if until is None else [field < until])]


def _matching(text: str) -> Select[Any]:
    """Return the numbers of the texts that hold another one, by SQLite's index."""
    quoted = '"' + text.replace('"', '""') + '"'
    return select(TRIGRAMS.c.rowid).where(TRIGRAMS.c.text.op("MATCH")(quoted))


async def _few_first(session: AsyncSession, ids: Select[Any], otherwise: ColumnElement[bool]) -> ColumnElement[bool]:
    """Return a condition that begins with the devices which meet it, if they are few; else each is asked in its order.

    PostgreSQL can tell the one from the other. SQLite can't for ranges and texts, where the wrong way takes ten times
    as long.
    """
    if not is_sqlite(session):
        return otherwise
    counted = await session.execute(select(func.count()).select_from(ids.limit(FEW + 1).subquery()))
    if counted.scalar_one() > FEW:
        return otherwise
    return Device.id.in_(ids.limit(FEW))
