"""Hands to the owners of partitions what their rules are to hear, until checkpoints cover it. (D4, D7, ADR 66)

An owner that dies takes nothing along: who owns the partition next says from where on it has to hear again.
"""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import msgspec
import structlog

from fieldloom_gateway.automation.carrying import Carrier
from fieldloom_gateway.automation.windows.checkpoints import Checkpoints
from fieldloom_gateway.automation.windows.parcel import Lot, Parcel, Receipt, decode_parcel, decode_receipt, encode
from fieldloom_gateway.automation.windows.service import Windows
from fieldloom_gateway.cluster.calling import NotLetIn, OutOfReach

log = structlog.get_logger()

PATH = "/cluster/windows"
COVER_EVERY_S = 1.0
ASK_EVERY_S = 0.5
PAUSE_S = 0.25


class Ports(NamedTuple):
    """What the rest of a gateway does for it."""

    members: Callable[[], Iterable[str]]
    """The other gateways, by name, that can be asked."""
    ask: Callable[[str, str, bytes], Awaitable[bytes]]
    """Asks a member, by name, at a path of its door. Raises OutOfReach, NotLetIn."""
    in_store: Callable[..., Awaitable[Any]]
    """Calls something on the thread that has the gateway's database."""
    commit: Callable[..., Awaitable[Any]]
    """Calls something in a transaction of its own."""
    steady: Callable[[], float]
    """Seconds of a clock that nobody sets."""


class Handing:
    """One gateway's part, both ways; it hands over to itself too. `owner` says whose a partition is."""

    def __init__(
        self,
        name: str,
        owner: Callable[[int], str | None],
        windows: Windows,
        checkpoints: Checkpoints,
        hear: Callable[[Parcel], Awaitable[Receipt]],
        ports: Ports,
    ) -> None:
        """`name` is this gateway's, and `hear` judges what is handed over to it. Raises sqlite3.Error."""
        self._name = name
        self._owner = owner
        self._windows = windows
        self._checkpoints = checkpoints
        self._hear = hear
        self._ports = ports
        self._stream = windows.rows.stream
        self._carrier = Carrier("windows", lambda: {name, *ports.members()}, self.hand_over)
        self._asked_at: dict[str, float] = {}
        self._out_of_reach: set[str] = set()
        """Members of which it was told that they take nothing."""
        self._covered: dict[str, int] = {}
        """By source the last row that checkpoints cover; of what the disk has not forgotten yet."""

    def wake(self) -> None:
        """Look at once at what is to be handed over."""
        self._carrier.wake()

    async def run(self) -> None:
        """Hand over, and forget what checkpoints cover, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._carrier.run(), name="windows-carrier")
            while True:
                await asyncio.sleep(COVER_EVERY_S)
                await self.forget()

    async def take(self, _member: str, body: bytes) -> bytes:
        """Take what a member hands over, and return its receipt. Raises MsgspecError, sqlite3.Error."""
        return encode(await self._hear(decode_parcel(body)))

    async def hand_over(self, member: str) -> bool:
        """Hand a member what is for it; return whether there may be more."""
        try:
            lots = await self._lots(member)
            if not lots:
                return False
            receipt = await self._give(member, Parcel(self._stream, lots))
        except (OutOfReach, NotLetIn, msgspec.MsgspecError, sqlite3.Error) as error:
            if member not in self._out_of_reach:
                self._out_of_reach.add(member)
                log.warning("windows_not_handed_over", member=member, reason=str(error))
            await asyncio.sleep(PAUSE_S)
            return False
        self._out_of_reach.discard(member)
        if self._go_on(lots, receipt):
            return True
        if any(lot.rows for lot in lots):
            await asyncio.sleep(PAUSE_S)  # it does not act for them yet, or any more
        return False

    async def forget(self) -> None:
        """Forget what checkpoints cover, as soon as the disk takes it."""
        self._covered.update(self._checkpoints.covered(self._stream))
        if not self._covered or not self._windows.rows.standing:
            self._covered.clear()
            return
        try:
            await self._ports.commit(self._windows.rows.cover, self._covered.items())
        except sqlite3.Error as error:
            log.error("disk_refused_windows", error=str(error))  # noqa: TRY400
        else:
            self._covered.clear()

    async def _lots(self, member: str) -> list[Lot]:
        rows, cursors, now = self._windows.rows, self._windows.cursors, self._ports.steady()
        owned = [partition for partition in [*rows.standing] if self._owner(partition) == member]
        if not owned:
            return []
        owned.sort(key=lambda partition: cursors.get(partition, 0))  # those first that are furthest behind
        asks = now - self._asked_at.get(member, -ASK_EVERY_S) >= ASK_EVERY_S
        if asks:
            self._asked_at[member] = now
        lots: list[Lot] = await self._ports.in_store(partial(rows.lots, owned, cursors, asks=asks))
        return lots

    async def _give(self, member: str, parcel: Parcel) -> Receipt:
        if member == self._name:
            return await self._hear(parcel)
        return decode_receipt(await self._ports.ask(member, PATH, encode(parcel)))

    def _go_on(self, lots: list[Lot], receipt: Receipt) -> bool:
        """Take what an owner says for where to go on from; return whether that is elsewhere than before."""
        has_moved = False
        for lot, through in zip(lots, receipt.through, strict=False):
            if through is not None and through != lot.after:
                self._windows.cursors[lot.partition] = through
                has_moved = True
        return has_moved
