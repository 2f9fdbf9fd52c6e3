"""Many devices at once: a file in, with a report row by row, and a file out. (R5)"""

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud import pages
from fieldloom_cloud.database import Database
from fieldloom_cloud.errors import BadContent
from fieldloom_cloud.registry import rows, search
from fieldloom_cloud.registry import service as registry
from fieldloom_cloud.registry.models import Tag
from fieldloom_cloud.registry.rows import Row, Unreadable
from fieldloom_cloud.registry.schemas import DeviceIn
from fieldloom_cloud.registry.search import DeviceQuery
from fieldloom_cloud.trail import service as trail
from fieldloom_cloud.trail.origin import Origin

CREATED, UPDATED, UNCHANGED, REFUSED = "created", "updated", "unchanged", "refused"
AT_ONCE = 100  # rows in one transaction: nobody else may write meanwhile

PAGE = 500  # devices that one look takes out


class Outcome(NamedTuple):
    """What became of a row; `errors` by path, where it was refused."""

    row: int
    id: str | None
    outcome: str
    errors: list[dict[str, str]]


class _DryRun(Exception):  # noqa: N818 - it undoes what was only tried
    pass


async def take_in(database: Database, origin: Origin, read: AsyncIterator[Row], *, dry_run: bool) -> list[Outcome]:
    """Register or change a device a row, and tell of each what became of it; a row that is refused stops no other.

    What a file does not speak of stays. With `dry_run` nothing is changed. `origin` tells whose file it is.
    """
    outcomes: list[Outcome] = []
    waiting: list[Row] = []
    seen: dict[str, int] = {}
    try:
        async for row in read:
            waiting.append(row)
            if len(waiting) == AT_ONCE:
                outcomes += await _store(database, origin, waiting, seen, dry_run=dry_run)
                waiting = []
    except Unreadable as error:
        waiting.append(Row(error.number, {}, error))
    return outcomes + await _store(database, origin, waiting, seen, dry_run=dry_run)


async def _store(
    database: Database, origin: Origin, waiting: list[Row], seen: dict[str, int], *, dry_run: bool
) -> list[Outcome]:
    outcomes = []
    try:
        async with database.transaction() as session:
            trail.begin(session, origin)
            ids = [row.fields["id"] for row in waiting if isinstance(row.fields.get("id"), str)]
            known = await registry.known_of(session, ids)
            outcomes = [await _outcome(session, row, seen, known) for row in waiting]
            if dry_run:
                raise _DryRun
    except _DryRun:
        pass
    return outcomes


async def _outcome(session: AsyncSession, row: Row, seen: dict[str, int], known: dict[str, dict[str, Any]]) -> Outcome:
    told = row.fields.get("id")
    name = told if isinstance(told, str) else None
    if row.fault is not None:
        return Outcome(row.number, name, REFUSED, [{"path": row.fault.path, "reason": row.fault.reason}])
    if name is not None and seen.setdefault(name, row.number) != row.number:
        return Outcome(row.number, name, REFUSED, [{"path": "id", "reason": f"is in row {seen[name]} already"}])
    try:
        wanted = DeviceIn(**row.fields)
        return Outcome(row.number, name, await _take(session, wanted, known.get(wanted.id)), [])
    except ValidationError as error:
        faults = [{"path": ".".join(map(str, one["loc"])), "reason": one["msg"]} for one in error.errors()]
        return Outcome(row.number, name, REFUSED, faults)
    except BadContent as error:
        return Outcome(row.number, name, REFUSED, error.errors or [])


async def _take(session: AsyncSession, wanted: DeviceIn, had: dict[str, Any] | None) -> str:
    """Return what became of a device, which was like this before. Raises BadContent."""
    fields = wanted.model_dump(exclude_none=True)
    if had is None:
        await registry.add_device(session, fields)
        return CREATED
    changes = {name: value for name, value in fields.items() if value != had[name]}
    if "site" in changes:
        reason = f"is {had['site']}: a device stays at its site"
        raise BadContent("The site can't be changed.", [{"path": "site", "reason": reason}])
    if not changes:
        return UNCHANGED
    await registry.change_device(session, wanted.id, changes, None)
    return UPDATED


async def give_out(database: Database, wanted: DeviceQuery, *, as_csv: bool) -> AsyncIterator[str]:
    """Give the devices that a filter finds, by their ids, piece by piece. Raises BadContent, at the first piece."""
    async with database.transaction() as session:
        tags = list(await session.scalars(select(Tag.key).distinct().order_by(Tag.key))) if as_csv else []
        found, cursor = await _page(session, wanted, None)
    if as_csv:
        yield rows.header(tags)
    while True:
        yield rows.to_csv(found, tags) if as_csv else rows.to_ndjson(found)
        if cursor is None:
            return
        async with database.transaction() as session:
            found, cursor = await _page(session, wanted, cursor)


async def _page(
    session: AsyncSession, wanted: DeviceQuery, cursor: str | None
) -> tuple[list[dict[str, Any]], str | None]:
    return await search.devices(session, wanted, "id", pages.Asked(limit=PAGE, cursor=cursor))
