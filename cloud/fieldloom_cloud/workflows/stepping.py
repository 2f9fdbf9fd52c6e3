"""Steps of instances in SQL: what each goes on to, what it asks for and its history, in one transaction. (W6, W8)

A transaction takes several instances together, so a commit is shared. It holds their rows: on PostgreSQL others pass
over them, and a process that is killed leaves them with its connection. One that stands still for HOLD_MS is cut off by
the server, so that others go on, and what it would have written is refused. SQLite has one process, and one writer.
"""

from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, cast

import structlog
from sqlalchemy import CursorResult, bindparam, delete, func, insert, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.changes import Change, announce_all
from fieldloom_cloud.database import is_sqlite, table_of
from fieldloom_cloud.outbox import service as outbox
from fieldloom_cloud.workflows import happenings, performing, starts
from fieldloom_cloud.workflows.definitions import Definitions
from fieldloom_cloud.workflows.happenings import Told
from fieldloom_cloud.workflows.models import AwaitedRow, HappeningRow, HistoryRow, InstanceRow
from fieldloom_cloud.workflows.performing import Outcome, Waits, Wanted
from fieldloom_engine.definitions import shown
from fieldloom_engine.rules import Effect
from fieldloom_engine.workflows import (
    Answered,
    Happening,
    Instance,
    InvalidStart,
    NotPossible,
    Program,
    Record,
    Started,
    TimePassed,
    UnreadableInstance,
    Waiting,
    awaits,
    decode,
    encode,
    next_deadline,
    step,
)

log = structlog.get_logger()

AT_ONCE = 200
"""Instances that one transaction takes."""
MAX_STEPS = 100
"""Steps of one instance in a transaction."""
HOLD_MS = 10_000

Perform = Callable[[AsyncSession, Wanted, int], Awaitable[Outcome]]

_table = table_of(InstanceRow)
_columns = [_table.c[name] for name in ("id", "device", "parent", "revision", "checkpoint")]
_write = (
    update(_table)
    .where(_table.c.id == bindparam("of"), _table.c.revision == bindparam("before"))
    .values({name: bindparam(name) for name in ("status", "ended", "deadline", "revision", "checkpoint")})
)


class Interfered(Exception):  # noqa: N818 - it reads as what happened
    """Another process has gone on with an instance that this one held."""


class Progress:
    """An instance in a transaction: how it was, and how it goes on."""

    def __init__(self, row: Any, instance: Instance, program: Program) -> None:
        self.id, self.device, self.parent, self.revision = row.id, row.device, row.parent, row.revision
        self.program = program
        self.before = self.instance = instance
        self.history: list[Record] = []
        self.asked: list[tuple[Wanted, Waits]] = []
        self.abandoned: list[str] = []
        self.answers: deque[Happening] = deque()
        """Outcomes that were known at once."""
        self.taken: list[int] = []
        """Numbers of happenings."""
        self.refused = 0
        """Happenings that could not be."""

    @property
    def has_ended(self) -> bool:
        """Whether it is over, and was not before."""
        return self.instance.is_over and not self.before.is_over

    def happen(self, happening: Happening, now: int) -> list[Effect]:
        """Let something happen, and return what it asks for. Raises NotPossible."""
        done = step(self.program, self.instance, happening, now)
        self.instance = done.instance
        self.history += done.history
        self.abandoned += done.abandoned
        return done.effects


async def advance(session: AsyncSession, definitions: Definitions, perform: Perform, now: int) -> Counter[str]:
    """Go on with instances to which something has happened or whose time has come; count what was done.

    `now` in Unix ms. Raises Interfered.
    """
    counts: Counter[str] = Counter()
    rows = await _taken(session, now)
    if not rows:
        return counts
    await definitions.refresh(session)
    told = await happenings.of_instances(session, [row.id for row in rows])
    moved = []
    for row in rows:
        progress = await _read(session, definitions, row)
        if progress is not None and await _go_on(session, perform, progress, deque(told.get(row.id, ())), now):
            moved.append(progress)
    await _store(session, moved, now)
    counts["steps"] = len(moved)
    counts["stopped"] = len(rows) - len(moved)
    counts["instances"] = len(rows)
    counts["transitions"] = sum(record.kind == "state" for one in moved for record in one.history)
    counts["started"] = sum(one.before.status == "created" for one in moved)
    counts["refused"] = sum(one.refused for one in moved)
    counts["ended"] = sum(one.has_ended for one in moved)
    counts.update(one.instance.status for one in moved if one.has_ended)
    return counts


async def next_time(session: AsyncSession) -> int | None:
    """Return when time goes on with an instance next, Unix ms."""
    query = select(func.min(InstanceRow.deadline)).where(InstanceRow.fault.is_(None))
    found: int | None = await session.scalar(query)
    return found


async def active(session: AsyncSession) -> Counter[str]:
    """Return how many instances of the cloud's own are not over, by status."""
    own = (InstanceRow.ended.is_(None), InstanceRow.gateway == "")
    query = select(InstanceRow.status, func.count()).where(*own).group_by(InstanceRow.status)
    return Counter({row[0]: row[1] for row in await session.execute(query)})


async def try_again(session: AsyncSession) -> None:
    """Let instances go on with which another version of the cloud could not."""
    here = (InstanceRow.fault.is_not(None), InstanceRow.gateway == "")
    await session.execute(update(InstanceRow).where(*here).values(fault=None))


async def _taken(session: AsyncSession, now: int) -> list[Any]:
    """Return instances that can go on, and hold them until the commit."""
    if is_sqlite(session):
        await starts.hold_writers(session)
    else:
        await session.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = {HOLD_MS}"))
    happened = InstanceRow.id.in_(select(HappeningRow.instance))
    able = InstanceRow.fault.is_(None)
    query = select(*_columns).where(able, happened).limit(AT_ONCE).with_for_update(skip_locked=True)
    rows = list(await session.execute(query))
    if len(rows) < AT_ONCE:
        known = [row.id for row in rows]
        due = select(*_columns).where(able, InstanceRow.deadline <= now, InstanceRow.id.not_in(known))
        due = due.order_by(InstanceRow.deadline).limit(AT_ONCE - len(rows)).with_for_update(skip_locked=True)
        rows += await session.execute(due)
    return rows


async def _read(session: AsyncSession, definitions: Definitions, row: Any) -> Progress | None:
    """Return an instance to go on with; why that can't be is written down."""
    try:
        instance = decode(row.checkpoint)
    except UnreadableInstance as error:
        await _stop(session, row.id, str(error))
        return None
    program = definitions.program(instance.workflow, instance.version)
    if program is None:
        await _stop(session, row.id, f"this cloud does not take {instance.workflow} {instance.version} any more")
        return None
    return Progress(row, instance, program)


async def _stop(session: AsyncSession, id_: str, reason: str) -> None:
    log.error("instance_stands_still", instance=id_, reason=reason, way_out="update the cloud, or terminate it")
    await session.execute(update(InstanceRow).where(InstanceRow.id == id_).values(fault=reason[:4096]))


async def _go_on(
    session: AsyncSession, perform: Perform, one: Progress, told: deque[tuple[int, Happening]], now: int
) -> bool:
    """Let happen to an instance what has, and say whether it can be stored; what nobody foresaw stops it alone."""
    try:
        for _ in range(MAX_STEPS):
            happening = _next(one, told, now)
            if happening is None:
                break
            await _happen(session, perform, one, happening, now)
    except (NotPossible, InvalidStart) as error:
        log.warning("happening_not_taken", instance=one.id, reason=str(error))
        one.refused += 1
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        log.exception("instance_not_steppable", instance=one.id)
        await _stop(session, one.id, f"{type(error).__name__}: {error}")
        return False
    return True


def _next(one: Progress, told: deque[tuple[int, Happening]], now: int) -> Happening | None:
    """Return what happens next: first what is known already, then time, then what was told."""
    if one.instance.status == "created":
        return Started()
    if one.answers:
        return one.answers.popleft()
    deadline = next_deadline(one.instance)
    if deadline is not None and deadline <= now:
        return TimePassed()
    if told:
        number, happening = told.popleft()
        one.taken.append(number)
        return happening
    return None


async def _happen(session: AsyncSession, perform: Perform, one: Progress, happening: Happening, now: int) -> None:
    depth = one.instance.metadata.get("depth", 0)
    for effect in one.happen(happening, now):
        told = (effect.id, effect.kind, effect.parameters, one.id, one.instance.workflow, depth, now)
        wanted = Wanted(*told)
        outcome = await perform(session, wanted, now)
        if isinstance(outcome, Answered):
            one.answers.append(outcome)
        else:
            one.asked.append((wanted, outcome))


async def _store(session: AsyncSession, moved: list[Progress], now: int) -> None:
    """Write what has become of instances. Raises Interfered."""
    await happenings.forget(session, [number for one in moved for number in one.taken])
    changed = [one for one in moved if one.instance is not one.before]
    if not changed:
        return
    written = cast("CursorResult[Any]", await session.execute(_write, [_row(one, now) for one in changed]))
    if written.rowcount not in (len(changed), -1):
        raise Interfered
    records = [
        {"instance": one.id, "number": record.number, "record": encode(record)}
        for one in changed
        for record in one.history
    ]
    if records:
        await session.execute(insert(table_of(HistoryRow)), records)
    await _store_awaited(session, changed)
    await performing.keep(session, [asked for one in changed for asked in one.asked])
    if abandoned := [effect for one in changed for effect in one.abandoned]:
        await performing.withdraw(session, abandoned, now)
    told = [Told(one.id, answer) for one in changed for answer in one.answers]
    await _end(session, [one for one in changed if one.has_ended], told, now)
    await happenings.tell(session, told)
    announce_all(session, (_change(one, now) for one in changed))


def _row(one: Progress, now: int) -> dict[str, Any]:
    instance = one.instance
    row = {"of": one.id, "before": one.revision, "revision": one.revision + 1, "status": instance.status}
    row |= {"ended": now if instance.is_over else None, "deadline": next_deadline(instance)}
    return row | {"checkpoint": encode(instance)}


async def _store_awaited(session: AsyncSession, changed: Iterable[Progress]) -> None:
    """Write for which events instances wait, of those that wait for others than before."""
    known: list[str] = []
    rows = []
    for one in changed:
        before = awaits(one.program, one.before)
        after = awaits(one.program, one.instance)
        if before == after:
            continue
        known += [one.id] if before else []
        rows += [_awaited(one.id, waiting) for waiting in after]
    if known:
        await session.execute(delete(AwaitedRow).where(AwaitedRow.instance.in_(known)))
    if rows:
        await session.execute(insert(table_of(AwaitedRow)), rows)


def _awaited(instance: str, waiting: Waiting) -> dict[str, Any]:
    return {"instance": instance, "type": waiting.type, "property": waiting.property, "key": waiting.key}


async def _end(session: AsyncSession, ended: list[Progress], told: list[Told], now: int) -> None:
    """Tell of instances that are over whoever waits for it."""
    for one in ended:
        instance = one.instance
        reason = instance.reason or (str(instance.failure) if instance.failure else None)
        if one.parent is not None:
            succeeded = instance.status == "succeeded"
            error = None if succeeded else f"{instance.workflow} has {instance.status}: {reason}"
            answer = await performing.hear_end(session, one.id, Answered(one.id, succeeded, instance.output, error))
            told += [] if answer is None else [answer]
        if instance.status == "failed":
            data = {"id": instance.workflow, "version": instance.version, "instance": one.id, "reason": reason}
            outbox.leave(session, "workflow.failed", data, one.device)
    await starts.release(session, [(one.instance.workflow, one.instance.correlation) for one in ended], now)


def _change(one: Progress, now: int) -> Change:
    instance = one.instance
    told = {"id": one.id, "workflow": instance.workflow, "version": instance.version, "status": instance.status}
    return Change("instance", one.device, {**told, "states": [shown(path) for path in instance.active], "ts": now})
