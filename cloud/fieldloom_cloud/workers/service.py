"""The leases in SQL, where the database's clock decides who lives: PostgreSQL alone has more than one worker. (A7)

No statement here waits for another process: what somebody else has locked is left for the next turn.
"""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Integer, any_, cast, delete, func, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.database import from_ms
from fieldloom_cloud.workers import sharing
from fieldloom_cloud.workers.models import Slot, Worker

LEASE_MS = 8000
PAUSE_MS = 5000
"""How long a transaction under a lease may stand still: less than the lease, so a paused one holds up no successor."""
SHARING_LOCK = 0x466C536C  # any number, as long as all workers of a cloud take the same
_NOW = cast(func.extract("epoch", func.clock_timestamp()) * 1000, BigInteger)


class Candidate(NamedTuple):
    """A process that wants slots, as its row tells of it."""

    number: int
    cloud: str
    host: str
    api: str
    is_at_broker: bool


class Living(NamedTuple):
    """A worker whose lease holds."""

    id: str
    number: int
    cloud: str
    is_at_broker: bool
    watchers: int


class NotHeld(Exception):  # noqa: N818 - it reads as what is so
    """Another worker has a slot now, or nobody has: nothing may be stored for its gateways here."""

    def __init__(self, slots: Collection[int]) -> None:
        super().__init__(f"slots {sorted(slots)} are not ours")
        self.slots = frozenset(slots)


async def living(session: AsyncSession) -> list[Living]:
    """Return the workers that live, by their numbers."""
    rows = await session.scalars(select(Worker).where(Worker.expires > _NOW).order_by(Worker.number))
    return [Living(row.id, row.number, row.cloud, row.is_at_broker, row.watchers) for row in rows]


async def renew(session: AsyncSession, worker: str, watchers: int) -> bool:
    """Let a worker live on, and say whether it could: one whose lease has run out never comes back to it."""
    mine = update(Worker).where(Worker.id == worker, Worker.expires > _NOW)
    renewed = await session.execute(mine.values(expires=_NOW + LEASE_MS, watchers=watchers).returning(Worker.id))
    return renewed.first() is not None


async def join(session: AsyncSession, worker: str, me: Candidate) -> None:
    """Begin to live under an id; what had its number before is dead."""
    await session.execute(delete(Worker).where((Worker.number == me.number) | (Worker.expires <= _NOW)))
    times = {"started": await session.scalar(select(_NOW)), "expires": 0}
    session.add(Worker(id=worker, watchers=0, **me._asdict(), **times))
    await session.flush()
    await session.execute(update(Worker).where(Worker.id == worker).values(expires=_NOW + LEASE_MS))


async def leave(session: AsyncSession, worker: str) -> None:
    """Live no more: all slots of a worker are free."""
    await session.execute(delete(Worker).where(Worker.id == worker))


async def share_out(session: AsyncSession, worker: str) -> set[int]:
    """Give back what a worker has over its share and take what it lacks, unless another one is at it.

    Return what it has tried to give back.
    """
    await _never_stand_still(session)
    if not await session.scalar(select(func.pg_try_advisory_xact_lock(SHARING_LOCK))):
        return set()
    ids = {one.id for one in await living(session)}
    if worker not in ids:
        return set()
    owners = {row.number: row.owner for row in await session.execute(select(Slot.number, Slot.owner))}
    moved = sharing.move(owners, ids, worker)
    for slots, values in ((moved.give, {"owner": None}), (moved.take, {"owner": worker, "fence": Slot.fence + 1})):
        if slots:
            among = Slot.number == any_(cast(slots, ARRAY(Integer)))
            free = select(Slot.number).where(among).with_for_update(skip_locked=True)
            await session.execute(update(Slot).where(Slot.number.in_(free.scalar_subquery())).values(values))
    return set(moved.give)


async def owned(session: AsyncSession, worker: str) -> dict[int, int]:
    """Return the slots of a worker with their fencing numbers."""
    rows = await session.execute(select(Slot.number, Slot.fence).where(Slot.owner == worker))
    return {row.number: row.fence for row in rows}


async def hold(session: AsyncSession, worker: str, fences: Mapping[int, int]) -> None:
    """Keep some slots for a transaction, up to its end, by their fencing numbers. Raises NotHeld.

    Who takes a slot has to wait for that, or leaves it for later.
    """
    await _never_stand_still(session)
    query = select(Slot.number, Slot.fence).where(Slot.number.in_(fences), Slot.owner == worker)
    rows = await session.execute(query.order_by(Slot.number).with_for_update(read=True))
    found = {row.number: row.fence for row in rows}
    missing = {slot for slot, fence in fences.items() if found.get(slot) != fence}
    if missing:
        raise NotHeld(missing)


async def listed(session: AsyncSession) -> list[dict[str, Any]]:
    """Return the workers that live with the slots that they have, by their numbers."""
    slots: dict[str | None, list[int]] = {}
    for row in await session.execute(select(Slot.number, Slot.owner).order_by(Slot.number)):
        slots.setdefault(row.owner, []).append(row.number)
    rows = await session.scalars(select(Worker).where(Worker.expires > _NOW).order_by(Worker.number))
    return [
        {
            "number": row.number,
            "host": row.host,
            "api": row.api,
            "started": from_ms(row.started),
            "leads": 0 in slots.get(row.id, ()),
            "slots": slots.get(row.id, []),
        }
        for row in rows
    ]


async def _never_stand_still(session: AsyncSession) -> None:
    """Have PostgreSQL end a transaction whose process is paused: it would keep its locks for as long."""
    await session.execute(select(func.set_config("idle_in_transaction_session_timeout", str(PAUSE_MS), True)))
