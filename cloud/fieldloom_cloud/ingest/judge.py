"""Who judges what comes in, in the transaction that stores it: rules are above the ingest, which knows only this."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from typing import NamedTuple, Protocol

from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_runtime.records import AnyRecord


class Came(NamedTuple):
    """What is new of a gateway's batch."""

    gateway: str
    records: list[AnyRecord]
    complete: Mapping[str, int]
    """By device the time, in Unix ms, up to which none of its records of that boot is missing. (E8)"""


class Judge(Protocol):
    """Judges records, one transaction at a time."""

    def turn(self) -> AbstractAsyncContextManager[None]:
        """Hold for a transaction, its commit too; an exception within undoes what memory has taken."""

    async def judge(self, session: AsyncSession, came: Came) -> None:
        """Judge records, and write what follows with them."""

    async def restore(self, session: AsyncSession, gateway: str) -> None:
        """Send a gateway whose stream is new all that it may have lost; called before what it says is judged."""
