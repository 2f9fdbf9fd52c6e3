"""What starts by the clock: each schedule's times once, over restarts and in any number of processes. (W4)"""

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.database import insert
from fieldloom_cloud.workflows import starts
from fieldloom_cloud.workflows.definitions import Definitions
from fieldloom_cloud.workflows.models import ScheduleRow
from fieldloom_engine.workflows.schedules import due, following
from fieldloom_engine.workflows.triggers import Scheduled, by_schedule


async def run(session: AsyncSession, definitions: Definitions, now: int) -> int | None:
    """Start what is due, and return when the next one will be. Unix ms.

    The server's clock is taken as right: whoever runs a server keeps it so.
    """
    await definitions.refresh(session)
    times = []
    if definitions.triggers.schedules:
        await starts.hold_writers(session)
    for one in definitions.triggers.schedules:
        times.append(following(one.schedule, now))
        row = await _row(session, one, now)
        if row is None:
            continue
        found = due(one.schedule, row.after, now, clock_is_trusted=True)
        if found is None or not (found.starts or found.missed):
            continue
        row.after = now
        await starts.by_triggers(session, [by_schedule(one, at) for at in found.starts], now)
    return min((time for time in times if time is not None), default=None)


async def forget(session: AsyncSession, workflow: str) -> None:
    """Forget the schedules of a workflow: when it is deployed again nothing was missed."""
    await session.execute(delete(ScheduleRow).where(ScheduleRow.workflow == workflow))


async def _row(session: AsyncSession, one: Scheduled, now: int) -> ScheduleRow | None:
    """Return up to when a schedule was looked at, None while another process looks at it."""
    key = {"workflow": one.workflow.id, "number": one.number}
    told = f"{one.schedule.cron} {one.schedule.timezone}"
    begun = insert(session, ScheduleRow).values(**key, told=told, after=now)
    await session.execute(begun.on_conflict_do_nothing())
    query = select(ScheduleRow).filter_by(**key).with_for_update(skip_locked=True)
    row = await session.scalar(query)
    if row is not None and row.told != told:
        row.told, row.after = told, now
    return row
