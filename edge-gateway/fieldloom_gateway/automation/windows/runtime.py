"""Owns windows: loads partitions, has judged what is handed over for them, keeps checkpoints. (D4, E8, W8, ADR 66)"""

import asyncio
import sqlite3
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import msgspec
import structlog

from fieldloom_contract.errors import Rejected
from fieldloom_engine.rules import UnreadableRecord
from fieldloom_gateway.automation.windows.checkpoints import Checkpoints, batches
from fieldloom_gateway.automation.windows.homes import Change, Homes
from fieldloom_gateway.automation.windows.parcel import Lot, Parcel, Receipt
from fieldloom_gateway.automation.windows.rows import is_full
from fieldloom_gateway.cluster.consensus.port import NoLeader, Unknown
from fieldloom_gateway.cluster.partitions.residence import LoadFailed
from fieldloom_gateway.cluster.state.errors import StateError

log = structlog.get_logger()

LOOK_EVERY_S = 1.0
SETTLE_S = 2.0
"""Nothing elapses before receivers had the time to hand over what they keep: after a partition was loaded, by a
take-over or since a transaction was rolled back, after this gateway has begun to act for it, as with its lease, and
after a parcel behind which there may be more."""
BYTES = 256 * 1024
"""Of checkpoints at a look, packed: each goes to the log of all members, and wears their disks."""
PAUSE_S = 0.2


class Ports(NamedTuple):
    """What the rest of a gateway does for it."""

    in_store: Callable[..., Awaitable[Any]]
    """Calls something on the thread that has the gateway's database."""
    judge: Callable[[str, Sequence[Lot]], Awaitable[list[int | None]]]
    """Judges lots of a stream in a transaction; returns up to which number, of each. Raises sqlite3.Error."""
    elapse: Callable[[Sequence[int]], Awaitable[None]]
    """Does what the time leads to in partitions, in a transaction. Raises sqlite3.Error."""
    did: Callable[[int, float], None]
    """Counts what was done for a partition. (ADR 71)"""
    now: Callable[[], int]
    """Unix ms."""
    steady: Callable[[], float]
    """Seconds of a clock that nobody sets."""


class Runtime:
    """A tenant of this gateway's partitions. `acts` says whether it acts for one at this moment."""

    def __init__(self, homes: Homes, checkpoints: Checkpoints, acts: Callable[[int], bool], ports: Ports) -> None:
        self._homes = homes
        self._checkpoints = checkpoints
        self._acts = acts
        self._ports = ports
        self._versions: dict[int, int] = {}
        """Under which version each partition was loaded."""
        self._gone: set[int] = set()
        self._acted: set[int] = set()
        """The partitions for which this gateway has acted without a break since a look."""
        self._settled_at = 0.0
        self._judging = asyncio.Lock()
        self._keeping = asyncio.Lock()

    async def load(self, partition: int, version: int) -> None:
        """Go on with a partition as its checkpoints have it. Raises LoadFailed."""
        self._gone.discard(partition)
        await self._read(partition)
        self._versions[partition] = version

    async def drain(self, partition: int, version: int) -> None:
        """Wait for what is being judged, and write a last checkpoint: nothing new comes."""
        async with self._judging:
            pass
        async with self._keeping:
            while changes := await self._ports.in_store(self._homes.changes, [partition], BYTES):
                for batch in batches(changes):
                    if not await self._keep(batch, {partition: version}):
                        await asyncio.sleep(PAUSE_S)

    def unload(self, partition: int) -> None:
        """Go on with nothing of a partition any more."""
        self._versions.pop(partition, None)
        self._gone.add(partition)

    async def run(self) -> None:
        """Let time pass and keep checkpoints, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self.elapse()
            except sqlite3.Error as error:
                log.error("disk_refused_windows", error=str(error))  # noqa: TRY400
            await self.keep()

    async def hear(self, parcel: Parcel) -> Receipt:
        """Judge what is handed over for partitions for which this gateway acts, and return its receipt.

        Raises sqlite3.Error: then nothing of it was judged.
        """
        async with self._judging:
            await self._move()
            active = set(self._active())
            self._acted &= active  # what is refused here is still to be told, should the lease come back before a look
            lots = [lot for lot in parcel.lots if lot.partition in active]
            judged = await self._ports.judge(parcel.stream, lots) if lots else []
            if is_full(parcel.lots):
                self._settle()
        through = dict(zip((lot.partition for lot in lots), judged, strict=True))
        for lot in lots:
            self._ports.did(lot.partition, sum(row.number <= (through[lot.partition] or 0) for row in lot.rows))
        return Receipt([through.get(lot.partition) for lot in parcel.lots])

    async def elapse(self) -> None:
        """Do what the time leads to. Raises sqlite3.Error."""
        async with self._judging:
            await self._move()
            active = self._active()
            if not self._acted.issuperset(active):
                self._settle()
            self._acted = {*active}
            is_settled = self._ports.steady() >= self._settled_at
            if is_settled and await self._ports.in_store(self._homes.is_due, active, self._ports.now()):
                await self._ports.elapse(active)

    async def keep(self) -> None:
        """Write checkpoints of what has changed, the oldest first, as much as goes into the map at once."""
        async with self._keeping:
            versions = {partition: self._versions[partition] for partition in self._active()}
            for batch in batches(await self._ports.in_store(self._homes.changes, versions, BYTES)):
                await self._keep(batch, versions)

    def _active(self) -> list[int]:
        return [partition for partition in self._versions if self._acts(partition)]

    async def _move(self) -> None:
        """Let partitions go that are another's now, and load anew what the disk has refused."""
        gone, self._gone = self._gone, set()
        if gone:
            await self._ports.in_store(self._homes.unload, gone)
        if self._homes.lost:
            for partition in await self._ports.in_store(self._homes.lost.intersection, [*self._versions]):
                with suppress(LoadFailed):  # it is tried again by the next one
                    await self._read(partition)

    async def _read(self, partition: int) -> None:
        try:
            await self._ports.in_store(self._homes.load, partition, self._checkpoints.read(partition))
        except (msgspec.MsgspecError, zlib.error, UnreadableRecord) as error:
            raise LoadFailed(f"a checkpoint of windows can't be read ({error})") from error
        self._settle()

    def _settle(self) -> None:
        self._settled_at = self._ports.steady() + SETTLE_S

    async def _keep(self, changes: Sequence[Change], versions: Mapping[int, int]) -> bool:
        """Write checkpoints, each by itself where the map refuses them; return whether they need no other try."""
        try:
            await self._checkpoints.write(changes, versions)
        except Rejected as error:
            if len(changes) > 1:
                return all([await self._keep([one], versions) for one in changes])
            self._homes.refused += 1
            log.error("checkpoint_refused", source=changes[0].source, reason=str(error))  # noqa: TRY400
        except (NoLeader, Unknown, StateError) as error:
            log.warning("checkpoints_not_written", sources=len(changes), reason=str(error))
            await self._ports.in_store(self._homes.put_back, changes)
            return False
        return True
