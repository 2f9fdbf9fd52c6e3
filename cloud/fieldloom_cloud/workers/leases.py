"""Which slots this process has: all of them, or those that it leases while others live. (A7, decision 8, ADR 45)"""

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any, NoReturn, Protocol

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.database import Database
from fieldloom_cloud.workers import service
from fieldloom_cloud.workers.service import LEASE_MS, Candidate, Living, NotHeld
from fieldloom_contract.topics import SLOTS, slot
from fieldloom_runtime.errors import StartFailed

log = structlog.get_logger()

RENEW_EVERY_S = 1.5
LEADING = 0
"""Whose owner does what only one process may do."""

Work = Callable[[], Awaitable[Any]]


class Slots(Protocol):
    """Which gateways' records may be stored here."""

    counts: Counter[str]
    """Slots that were taken, given back to a fair share, and lost."""

    @property
    def held(self) -> frozenset[int]:
        """The slots that are ours now."""

    @property
    def is_valid(self) -> bool:
        """Whether anything can be ours: our lease has not run out."""

    async def moved(self, seen: frozenset[int]) -> frozenset[int]:
        """Wait until other slots are ours than were seen, and return them."""

    def holds(self, gateway: str) -> bool:
        """Whether a gateway's slot is ours now."""

    async def hold(self, session: AsyncSession, gateways: Iterable[str]) -> None:
        """Keep the slots of gateways for a transaction. Raises NotHeld."""

    async def lead(self, session: AsyncSession) -> int:
        """Keep the right to do what only one may for a transaction, and return its fencing number. Raises NotHeld."""

    async def while_leading(self, work: Work) -> None:
        """Do work whenever it is ours to do what only one process may."""

    async def while_at_broker(self, work: Work) -> None:
        """Do work whenever we are the one beside the broker."""


class AllSlots:
    """The slots of a process that is alone with its database."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.held = frozenset(range(SLOTS))
        self.is_valid = True

    async def moved(self, seen: frozenset[int]) -> frozenset[int]:  # noqa: ARG002 - all are ours
        """Wait for ever: nobody takes any."""
        never: asyncio.Future[frozenset[int]] = asyncio.get_running_loop().create_future()
        return await never

    def holds(self, gateway: str) -> bool:  # noqa: ARG002 - all are
        """Whether a gateway's slot is ours: it is."""
        return True

    async def hold(self, session: AsyncSession, gateways: Iterable[str]) -> None:
        """Keep the slots of gateways: nobody would take them."""

    async def lead(self, session: AsyncSession) -> int:  # noqa: ARG002 - nobody would take it
        """Return the fencing number of the one process."""
        return 0

    async def while_leading(self, work: Work) -> None:
        """Do work: there is nobody else."""
        await work()

    async def while_at_broker(self, work: Work) -> None:
        """Do work: there is nobody else."""
        await work()


class Leases:
    """The slots of one process of several, renewed in one row and shared out with those that live.

    What another process has taken can't be stored for: each transaction asks the database. Beyond that, nothing is
    ours from the moment that the lease runs out by our own clock, which a pause does not stop.
    """

    def __init__(self, database: Database, me: Candidate, watchers: Callable[[], int]) -> None:
        """Wait to be `running`; `watchers()` is how many live streams this process serves."""
        self._database = database
        self._me = me
        self._watchers = watchers
        self._id = ""
        self._fences: dict[int, int] = {}
        self._valid_until = 0.0
        self._others: list[Living] = []
        self._moved = asyncio.Condition()
        self._due = asyncio.Event()
        self.counts: Counter[str] = Counter()

    @property
    def held(self) -> frozenset[int]:
        """The slots that are ours now."""
        return frozenset(self._fences) if self.is_valid else frozenset()

    @property
    def is_valid(self) -> bool:
        """Whether our lease has not run out."""
        return time.monotonic() < self._valid_until

    @property
    def leads(self) -> bool:
        """Whether it is ours to do what only one process may."""
        return LEADING in self.held

    @property
    def keeps_broker(self) -> bool:
        """Whether we have the lowest number of those beside the broker: one alone shows gateways out there."""
        at_broker = [one.number for one in self._others if one.is_at_broker]
        return self.is_valid and self._me.is_at_broker and self._me.number < min(at_broker, default=SLOTS)

    @property
    def others_watch(self) -> bool:
        """Whether another process serves live streams."""
        return any(one.watchers for one in self._others)

    def holds(self, gateway: str) -> bool:
        """Whether a gateway's slot is ours now."""
        return self.is_valid and slot(gateway) in self._fences

    async def hold(self, session: AsyncSession, gateways: Iterable[str]) -> None:
        """Keep the slots of gateways for a transaction. Raises NotHeld."""
        await self._hold(session, {slot(gateway) for gateway in gateways})

    async def lead(self, session: AsyncSession) -> int:
        """Keep the right to do what only one may for a transaction, and return its fencing number. Raises NotHeld."""
        await self._hold(session, {LEADING})
        return self._fences[LEADING]

    async def while_leading(self, work: Work) -> None:
        """Do work whenever it is ours to do what only one process may."""
        await self._while(lambda: self.leads, work)

    async def while_at_broker(self, work: Work) -> None:
        """Do work whenever we are the one beside the broker."""
        await self._while(lambda: self.keeps_broker, work)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Come to have slots, and give all of them back at the end. Raises StartFailed beside another cloud."""
        await self._refuse_others()
        keeping = asyncio.create_task(self._keep(), name="slots")
        try:
            yield
        finally:
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping
            self._valid_until = 0.0
            await self._tell()
            with suppress(SQLAlchemyError):  # then the lease runs out
                async with self._database.transaction() as session:
                    await service.leave(session, self._id)

    async def moved(self, seen: frozenset[int]) -> frozenset[int]:
        """Wait until other slots are ours than were seen, and return them."""
        async with self._moved:
            await self._moved.wait_for(lambda: self.held != seen)
            return self.held

    async def _hold(self, session: AsyncSession, slots: set[int]) -> None:
        fences = {slot: self._fences[slot] for slot in slots & self.held}
        try:
            if len(fences) < len(slots):
                raise NotHeld(slots - fences.keys())
            await service.hold(session, self._id, fences)
        except NotHeld:
            self._due.set()
            raise

    async def _refuse_others(self) -> None:
        async with self._database.transaction() as session:
            for other in await service.living(session):
                if other.cloud != self._me.cloud:
                    reason = f"another cloud runs on this database, with worker {other.number}"
                    raise StartFailed(reason, "give both the same CA and the same series in cloud.json, or stop it")

    async def _keep(self) -> NoReturn:
        while True:
            self._due.clear()
            try:
                await self._turn()
            except SQLAlchemyError as error:
                log.error("slots_not_renewed", error=str(error))  # noqa: TRY400 - the lease runs out by itself
                await self._tell()
                await asyncio.sleep(RENEW_EVERY_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(RENEW_EVERY_S):
                    await self._due.wait()

    async def _turn(self) -> None:
        """Renew the lease, begin another one if it has run out, and come to a fair share."""
        begun = time.monotonic()
        async with self._database.transaction() as session:
            if not await service.renew(session, self._id, self._watchers()):
                self._id = secrets.token_hex(16)
                await service.join(session, self._id, self._me)
        async with self._database.transaction() as session:
            given = await service.share_out(session, self._id)
        async with self._database.transaction() as session:
            fences = await service.owned(session, self._id)
            self._others = [one for one in await service.living(session) if one.id != self._id]
        self._valid_until = begun + LEASE_MS / 1000
        self._count(self._fences, fences, given)
        self._fences = fences
        await self._tell()

    def _count(self, before: dict[int, int], after: dict[int, int], given: set[int]) -> None:
        taken = after.items() - before.items()
        gone = {slot for slot, _ in before.items() - after.items()}
        counted = {"taken": len(taken), "given": len(gone & given), "lost": len(gone - given)}
        self.counts.update(counted)
        if taken or gone:
            log.info("slots_moved", **counted, held=len(after))

    async def _tell(self) -> None:
        """Have those look who wait for slots to move, or for the lease to run out."""
        async with self._moved:
            self._moved.notify_all()

    async def _while(self, condition: Callable[[], bool], work: Work) -> None:
        while True:
            await self._until(condition)
            working = asyncio.ensure_future(work())
            leaving = asyncio.ensure_future(self._until(lambda: not condition()))
            try:
                await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
            finally:
                ended = working.done()
                for task in (working, leaving):
                    task.cancel()
                await asyncio.gather(leaving, return_exceptions=True)
                with suppress(asyncio.CancelledError):
                    await working
            if ended:
                return

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with self._moved:
            await self._moved.wait_for(condition)
