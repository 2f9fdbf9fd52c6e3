"""What SQL knows of time series: what waits for a server, rules of downsampling, retention. (S1, S3)"""

from collections.abc import Sequence

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.timeseries.models import SeriesPending

MOST_ROWS = 1000  # at once


async def leave(session: AsyncSession, lines: bytes, points: int) -> None:
    """Leave lines for a server."""
    session.add(SeriesPending(lines=lines, size=len(lines), points=points))


async def pending(session: AsyncSession, known: list[int], most_bytes: int) -> Sequence[SeriesPending]:
    """Return what was left and is not known, the oldest first: one at least, and no more than some bytes."""
    sizes = select(SeriesPending.id, SeriesPending.size).order_by(SeriesPending.id).limit(MOST_ROWS + len(known))
    wanted: list[int] = []
    total, sent = 0, set(known)
    for row, size in await session.execute(sizes):
        if row not in sent:
            total += size
            if wanted and total > most_bytes:
                break
            wanted.append(row)
    rows = select(SeriesPending).where(SeriesPending.id.in_(wanted)).order_by(SeriesPending.id)
    return (await session.scalars(rows)).all() if wanted else []


async def forget(session: AsyncSession, rows: list[int]) -> None:
    """Forget what a server has durably."""
    for at in range(0, len(rows), MOST_ROWS):
        await session.execute(delete(SeriesPending).where(SeriesPending.id.in_(rows[at : at + MOST_ROWS])))


async def waiting_bytes(session: AsyncSession) -> int:
    """Return how much waits for a server."""
    return await session.scalar(select(func.coalesce(func.sum(SeriesPending.size), 0))) or 0
