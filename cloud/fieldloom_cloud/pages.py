"""Lists over HTTP: a page of items, and a cursor that leads to the next one."""

import csv
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from pydantic import BaseModel
from sqlakeyset import BadBookmark, unserialize_bookmark
from sqlakeyset.asyncio import select_page
from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.errors import BadContent
from fieldloom_contract.limits import MAX_WHOLE

MAX_PAGE = 500

Item = TypeVar("Item")


class Page(BaseModel, Generic[Item]):
    """One page; `next` is null at the end."""

    items: list[Item]
    next: str | None = None


class Asked(BaseModel):
    """Which page a caller asks for."""

    limit: int
    cursor: str | None = None


async def read(
    session: AsyncSession, query: Select[Any], asked: Asked, kinds: Sequence[type]
) -> tuple[list[Any], str | None]:
    """Return the rows of a page and the cursor of the next one. Raises BadContent for a cursor of another list.

    `kinds` are the types of the columns by which the query is ordered: SQLite would compare a number with a text.
    """
    if asked.cursor is not None:
        _check(asked.cursor, kinds)
    page: Any = await select_page(session, query, per_page=asked.limit, page=asked.cursor)
    return [row[0] for row in page], page.paging.bookmark_next if page.paging.has_next else None


def _check(cursor: str, kinds: Sequence[type]) -> None:
    try:
        place = unserialize_bookmark(cursor).place or ()
    except (BadBookmark, ValueError, TypeError, csv.Error, StopIteration):
        place = ()
    too_large = any(isinstance(value, int) and abs(value) > MAX_WHOLE for value in place)
    if [type(value) for value in place] != list(kinds) or too_large:
        reason = "is not one that this list gave in this order"
        raise BadContent("The cursor can't be used.", [{"path": "cursor", "reason": reason}])
