"""Events of changes made here: each change leaves one in its own transaction, until it is passed on. (R2)"""

import time
from typing import Any, NamedTuple

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud import changes
from fieldloom_cloud.outbox.models import Outgoing

AT_ONCE = 500


class Left(NamedTuple):
    """An event; `device` is empty where it is about none, `ts` is in Unix ms."""

    type: str
    device: str
    ts: int
    data: dict[str, Any]


def leave(session: AsyncSession, kind: str, data: dict[str, Any], device: str = "") -> None:
    """Leave an event to be told, if the transaction is committed."""
    session.add(Outgoing(type=kind, device=device, ts=time.time_ns() // 1_000_000, data=data))
    changes.leave_event(session)


async def take(session: AsyncSession) -> list[Left]:
    """Take the oldest events out; who takes them keeps them in the same transaction, so they are there once."""
    oldest = select(Outgoing.id).order_by(Outgoing.id).limit(AT_ONCE).with_for_update(skip_locked=True)
    taken = await session.execute(
        delete(Outgoing)
        .where(Outgoing.id.in_(oldest.scalar_subquery()))
        .returning(Outgoing.id, Outgoing.type, Outgoing.device, Outgoing.ts, Outgoing.data)
    )
    return [Left(*row[1:]) for row in sorted(taken, key=lambda row: row.id)]
