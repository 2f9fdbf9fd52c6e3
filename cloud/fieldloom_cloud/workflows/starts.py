"""How instances begin: each id once, and by the overlap policy of their keys. (W4)"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from sqlalchemy import false, func, insert, select, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.changes import Change, announce_all
from fieldloom_cloud.database import is_sqlite, table_of
from fieldloom_cloud.outbox import service as outbox
from fieldloom_cloud.workflows import edge, happenings
from fieldloom_cloud.workflows.happenings import Told
from fieldloom_cloud.workflows.kinds import EDGE
from fieldloom_cloud.workflows.models import InstanceRow, QueuedStart, WorkflowRow
from fieldloom_contract.limits import MAX_NAME
from fieldloom_engine.workflows import Instance, InvalidStart, Terminated, create, decode, encode
from fieldloom_engine.workflows.instance import FINAL
from fieldloom_engine.workflows.model import Overlap
from fieldloom_engine.workflows.overlap import decide
from fieldloom_engine.workflows.triggers import NotStarted, Start

Outcome = Literal["created", "sent", "queued", "skipped", "refused", "known"]
"""Sent is what a gateway is to begin."""


class Wish(NamedTuple):
    """An instance that shall begin."""

    start: Start
    parent: str | None = None
    """The instance that waits for its end; the effect is the start's id."""
    metadata: Mapping[str, Any] = {}
    """What is kept with it."""


class Begun(NamedTuple):
    """What became of a start."""

    outcome: Outcome
    reason: str | None = None


async def hold_writers(session: AsyncSession) -> None:
    """Begin to write: in SQLite nobody else does until the commit, and what is read from here on stays so."""
    if is_sqlite(session):
        await session.execute(update(WorkflowRow).where(false()).values(revision=0))


async def begin(session: AsyncSession, wishes: Sequence[Wish], now: int) -> dict[str, Begun]:
    """Begin with instances, and return by id what became of each. `now` in Unix ms."""
    if not wishes:
        return {}
    await _hold_keys(session, ((one.start.workflow.id, one.start.correlation) for one in wishes))
    ids = [one.start.id for one in wishes]
    known = {*await session.scalars(select(InstanceRow.id).where(InstanceRow.id.in_(ids)))}
    known |= {*await session.scalars(select(QueuedStart.id).where(QueuedStart.id.in_(ids)))}
    begun: dict[str, Begun] = {}
    alone: list[_New] = []
    for wish in wishes:
        id_ = wish.start.id
        if id_ in known:
            begun.setdefault(id_, Begun("known"))
            continue
        known.add(id_)
        if wish.start.workflow.placement == EDGE:
            begun[id_] = await _send(session, wish, now)
            continue
        try:
            new = _New(_created(wish, now), wish.parent)
        except InvalidStart as error:
            begun[id_] = Begun("refused", str(error))
            continue
        if wish.start.correlation is None or wish.start.trigger.overlap == "allow":
            begun[id_] = Begun("created")
            alone.append(new)
        else:
            begun[id_] = await _begin(session, new, wish.start.trigger.overlap, wish.start.correlation, now)
    await _insert(session, alone, now)
    return begun


async def metadata_of(session: AsyncSession, id_: str) -> dict[str, Any]:
    """Return what is kept with an instance, or a start that waits for its turn; nothing when there is none."""
    row = await session.get(InstanceRow, id_)
    if row is not None and row.gateway:
        return edge.mirror(row).metadata
    checkpoint = row.checkpoint if row is not None else None
    if checkpoint is None:
        checkpoint = await session.scalar(select(QueuedStart.checkpoint).where(QueuedStart.id == id_))
    return {} if checkpoint is None else decode(checkpoint).metadata


async def release(session: AsyncSession, keys: Iterable[tuple[str, str | None]], now: int) -> None:
    """Begin with what has waited longest behind those keys of which an instance has ended."""
    wanted = sorted({(workflow, key) for workflow, key in keys if key is not None})
    if not wanted:
        return
    pair = tuple_(QueuedStart.workflow, QueuedStart.correlation)
    if not await session.scalar(select(func.count()).select_from(QueuedStart).where(pair.in_(wanted))):
        return
    await _hold_keys(session, wanted)
    rows = await session.scalars(select(QueuedStart).where(pair.in_(wanted)).order_by(QueuedStart.number))
    first: dict[tuple[str, str], QueuedStart] = {}
    for row in rows:
        first.setdefault((row.workflow, row.correlation), row)
    for (workflow, key), row in first.items():
        active = await _active(session, workflow, key)
        if decide("queue", active, 0).does == "start":
            await _insert(session, [_New(decode(row.checkpoint), row.parent)], now)
            await session.delete(row)


def not_started(session: AsyncSession, id_: str, workflow: str, reason: str, device: str = "") -> None:
    """Leave an event of a start that came to nothing."""
    outbox.leave(session, "workflow.not_started", {"id": workflow, "instance": id_, "reason": reason}, device)


async def by_triggers(session: AsyncSession, found: list[Start | NotStarted], now: int) -> dict[str, Begun]:
    """Begin with what triggers ask for, and leave an event of each that came to nothing."""
    starts = [one for one in found if isinstance(one, Start)]
    begun = await begin(session, [Wish(one) for one in starts], now)
    for start in starts:
        outcome = begun[start.id]
        if outcome.outcome in {"skipped", "refused"}:
            device = _device(start.variables.get("device_id"))
            not_started(session, start.id, start.workflow.id, outcome.reason or "", device)
    for one in found:
        if isinstance(one, NotStarted):
            not_started(session, one.id, one.workflow.id, one.reason)
            begun[one.id] = Begun("refused", one.reason)
    return begun


class _New(NamedTuple):
    """An instance that has not begun."""

    instance: Instance
    parent: str | None


def _created(wish: Wish, now: int) -> Instance:
    """Return the instance of a start. Raises InvalidStart."""
    start = wish.start
    key, metadata = start.correlation, wish.metadata
    return create(start.workflow, start.id, start.variables, now, correlation=key, metadata=metadata)


async def _send(session: AsyncSession, wish: Wish, now: int) -> Begun:
    """Have a gateway begin with an instance; how it overlaps with others is decided there."""
    try:
        await edge.begin(session, wish.start, wish.parent, wish.metadata, now)
    except edge.NoGateway as error:
        return Begun("skipped", str(error))
    return Begun("sent")


async def _begin(session: AsyncSession, new: _New, overlap: Overlap, key: str, now: int) -> Begun:
    """Begin with an instance as its policy says, or let it wait or be."""
    instance = new.instance
    active = await _active(session, instance.workflow, key)
    of_key = (QueuedStart.workflow == instance.workflow, QueuedStart.correlation == key)
    queued = await session.scalar(select(func.count()).select_from(QueuedStart).where(*of_key)) or 0
    decision = decide(overlap, active, queued)
    reason = f"replaced by {instance.id}"
    await happenings.tell(session, [Told(one, Terminated(reason)) for one in decision.terminates])
    if decision.does == "skip":
        return Begun("skipped", decision.reason)
    if decision.does == "queue":
        row: dict[str, Any] = {"id": instance.id, "workflow": instance.workflow, "correlation": key}
        row |= {"parent": new.parent, "checkpoint": encode(instance)}
        await session.execute(insert(QueuedStart), [row])
        return Begun("queued", decision.reason)
    await _insert(session, [new], now)
    return Begun("created")


async def _active(session: AsyncSession, workflow: str, key: str) -> list[str]:
    of_key = (InstanceRow.workflow == workflow, InstanceRow.correlation == key, InstanceRow.status.not_in(FINAL))
    query = select(InstanceRow.id).where(*of_key, InstanceRow.gateway == "")
    return list(await session.scalars(query.order_by(InstanceRow.created)))


async def _insert(session: AsyncSession, new: list[_New], now: int) -> None:
    if not new:
        return
    await session.execute(insert(table_of(InstanceRow)), [_row(*one, now) for one in new])
    announce_all(session, (_change(one.instance, now) for one in new))


def _row(instance: Instance, parent: str | None, now: int) -> dict[str, Any]:
    row: dict[str, Any] = {"id": instance.id, "workflow": instance.workflow, "version": instance.version}
    row |= {"status": instance.status, "correlation": instance.correlation, "device": _device_of(instance)}
    row |= {"parent": parent, "created": instance.created, "ended": None, "deadline": now, "revision": 0}
    return row | {"checkpoint": encode(instance), "fault": None}


def _change(instance: Instance, now: int) -> Change:
    told = {"id": instance.id, "workflow": instance.workflow, "version": instance.version}
    return Change("instance", _device_of(instance), {**told, "status": instance.status, "states": [], "ts": now})


def _device_of(instance: Instance) -> str:
    return _device(instance.variables.get("device_id"))


async def _hold_keys(session: AsyncSession, keys: Iterable[tuple[str, str | None]]) -> None:
    """Let nobody else begin with instances of these keys until the commit."""
    if is_sqlite(session):
        await hold_writers(session)
        return
    for number in sorted({_number(workflow, key) for workflow, key in keys if key is not None}):
        await session.execute(select(func.pg_advisory_xact_lock(number)))


def _number(workflow: str, key: str) -> int:
    drawn = hashlib.blake2b(f"{workflow}\0{key}".encode(), digest_size=8).digest()
    return int.from_bytes(drawn, signed=True)


def _device(told: object) -> str:
    return told if isinstance(told, str) and len(told) <= MAX_NAME else ""
