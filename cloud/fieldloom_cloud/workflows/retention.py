"""What is over and old is forgotten: instances, with their history and what they had asked for. (W5)"""

from sqlalchemy import delete, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from fieldloom_cloud.workflows import starts
from fieldloom_cloud.workflows.models import (
    CommandOfEffect,
    EffectRow,
    HappeningRow,
    HistoryRow,
    InstanceRow,
    RequestRow,
)
from fieldloom_engine.workflows.instance import FINAL


async def forget(session: AsyncSession, before: int, limit: int) -> int:
    """Forget instances that ended before a time, Unix ms, those that ended first; return how many, `limit` at most.

    What is about to begin again stays, and so does whom an instance has started that is not over itself.
    """
    await starts.hold_writers(session)
    parent = aliased(InstanceRow)
    begins_again = InstanceRow.id.in_(select(HappeningRow.instance))
    query = (
        select(InstanceRow.id)
        .outerjoin(parent, parent.id == InstanceRow.parent)
        .where(InstanceRow.ended < before, ~begins_again, or_(parent.id.is_(None), parent.status.in_(FINAL)))
        .order_by(InstanceRow.ended)
        .limit(limit)
        .with_for_update(of=InstanceRow, skip_locked=True)
    )
    ids = list(await session.scalars(query))
    if not ids:
        return 0
    effects = select(EffectRow.id).where(EffectRow.instance.in_(ids))
    await session.execute(delete(CommandOfEffect).where(CommandOfEffect.effect.in_(effects)))
    for of in (EffectRow.instance, HistoryRow.instance, RequestRow.instance, InstanceRow.id):
        await session.execute(delete(of.class_).where(of.in_(ids)))
    return len(ids)
