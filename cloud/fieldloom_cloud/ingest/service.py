"""What came up and is no series, in SQL: one transaction a batch, with the store's own guards."""

import time
from collections import Counter
from collections.abc import Callable
from operator import attrgetter
from typing import Any

import msgspec
from sqlalchemy import Row, delete, func, select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud import pages
from fieldloom_cloud.alarms import service as alarms
from fieldloom_cloud.changes import Change, announce, announce_all
from fieldloom_cloud.credentials import service as credentials
from fieldloom_cloud.database import Database, insert
from fieldloom_cloud.device_types import service as device_types
from fieldloom_cloud.discoveries import service as discoveries
from fieldloom_cloud.dispatch import service as dispatch
from fieldloom_cloud.enrolment import renewal
from fieldloom_cloud.guard import Guard, Incoming
from fieldloom_cloud.holds import service as holds
from fieldloom_cloud.ingest import guards
from fieldloom_cloud.ingest.checked import FOREIGN, letter
from fieldloom_cloud.ingest.judge import Came, Judge
from fieldloom_cloud.ingest.models import DeadLetter as DeadLetterRow
from fieldloom_cloud.ingest.models import Event as EventRow
from fieldloom_cloud.ingest.models import Latest, Received
from fieldloom_cloud.ingest.staleness import Staleness
from fieldloom_cloud.ingest.watermarks import Watermarks
from fieldloom_cloud.pki.authority import Authority
from fieldloom_cloud.registry import service as registry
from fieldloom_cloud.timeseries.ports import Seen
from fieldloom_cloud.timeseries.relay import Relay
from fieldloom_cloud.trail import service as trail
from fieldloom_cloud.trail.origin import GATEWAY, Origin
from fieldloom_cloud.twins import service as twins
from fieldloom_cloud.workers.leases import Slots
from fieldloom_engine import commands
from fieldloom_runtime import down
from fieldloom_runtime.records import (
    AnyRecord,
    CertificateRequest,
    DeadLetter,
    Desired,
    Discovered,
    Event,
    Expired,
    Record,
    Reported,
    Result,
    State,
    Telemetry,
    Value,
)

UNFIT = "reading.unfit"
DROPPED = "records.dropped"
FOREIGN_GATEWAY = "gateway.refused"
FIRED, ACTION = "rule.fired", "rule.action"
LOOKED_AT = 10_000  # firings
AHEAD_MS = 3_600_000
"""How far a device's clock may be ahead of its gateway's."""
MADE_HERE = (
    UNFIT,
    FOREIGN_GATEWAY,
    "command.result",
    "command.expired",
    "twin.reported",
    "twin.desired",
    "twin.refused",
)
"""The types of stored events that no rule judges: what the cloud makes of other records."""


class Records:
    """The SQL store of the ingest. One caller at a time writes.

    `authority` answers requests for certificates, `slots` says whose records may be stored here, `judge` judges what is
    new; `wake` is called when there is more to send down; `relay` takes the points, if they go to a server.
    """

    def __init__(
        self,
        database: Database,
        authority: Authority,
        slots: Slots,
        judge: Judge,
        wake: Callable[[], None],
        relay: Relay | None = None,
    ) -> None:
        self._database = database
        self._authority = authority
        self._slots = slots
        self._judge = judge
        self._wake = wake
        self._staleness = Staleness()
        self._watermarks = Watermarks()
        self._relay = relay

    async def write(self, group: list[Incoming]) -> list[int]:
        """Store what is new of some batches, durably, and return the position of each one's stream.

        Raises NotHeld when another process has the slot of one of their gateways.
        """
        begun: set[str] = set()
        try:
            async with self._judge.turn(), self._database.transaction() as session:
                await self._slots.hold(session, [sent.gateway for sent in group])
                stored = await guards.read(session, group)
                guard = Guard(stored.positions, dict(stored.received))
                unknown = {sent.stream for sent in group if not guard.knows_disk(sent.stream)}
                telemetry: list[Telemetry] = []
                for sent in group:
                    fresh = guard.take(sent)
                    if sent.stream in unknown and guard.knows_disk(sent.stream) and sent.gateway not in begun:
                        begun.add(sent.gateway)
                        await self._judge.restore(session, sent.gateway)
                    await _store(session, self._authority, self._staleness, sent.gateway, fresh)
                    complete = self._watermarks.take(fresh, guard.run)
                    await self._judge.judge(session, Came(sent.gateway, fresh, complete))
                    telemetry += [one for one in fresh if isinstance(one, Telemetry)]
                if self._relay is not None:
                    await self._relay.leave(session, telemetry)
                await guards.write(session, guard.changes(), stored)
                for gateway in sorted(begun):
                    await credentials.restore(session, gateway)
                    await twins.restore(session, gateway)
        except BaseException:
            self.forget()  # what memory took may not be on the disk
            raise
        if begun:
            self._wake()
        if self._relay is not None:
            self._relay.wake()
        return [guard.position(sent.stream) for sent in group]

    def forget(self) -> None:
        """Begin with what is on the disk."""
        self._staleness, self._watermarks = Staleness(), Watermarks()

    async def judge(self, now: int) -> int:
        """Make stale who is online and has stopped reading; return how many those were. (R6)"""
        async with self._database.transaction() as session:
            await self._slots.lead(session)
            return await self._staleness.judge(session, now)


async def _store(
    session: AsyncSession, authority: Authority, staleness: Staleness, gateway: str, fresh: list[AnyRecord]
) -> None:
    telemetry: list[Telemetry] = []
    found: list[Discovered] = []
    for record in fresh:
        if isinstance(record, Telemetry):
            telemetry.append(record)
        elif isinstance(record, Discovered):
            found.append(record)
        elif isinstance(record, DeadLetter):
            keep(session, gateway, record)
        elif isinstance(record, State):
            await _store_presence(session, staleness, gateway, record)
        elif isinstance(record, CertificateRequest):
            await _answer(session, authority, gateway, record)
        else:
            await store_event(session, gateway, record)
        if isinstance(record, Reported):
            await staleness.tell(session, gateway, record, await twins.reported(session, record.device))
    _tell_of_foreign(session, gateway, fresh)
    await discoveries.meet(session, gateway, found)
    await _store_latest(session, telemetry)
    typed = await device_types.typed(session, {record.device for record in telemetry})
    await staleness.read(session, gateway, telemetry, _periods(typed))
    for unfit in await device_types.flag(session, telemetry, typed):
        session.add(EventRow(device=unfit.device, type=UNFIT, ts=unfit.ts, gateway=gateway, data=unfit.data))
        announce(session, "event", unfit.device, {"type": UNFIT, "ts": unfit.ts, "data": unfit.data})
    told = (
        Change("telemetry", one.device, {"ts": one.ts, "values": one.values, "tags": one.tags or {}})
        for one in telemetry
    )
    announce_all(session, told)


async def _store_presence(session: AsyncSession, staleness: Staleness, gateway: str, record: State) -> None:
    status = "online" if record.online else "asleep" if "wakes_by" in record.facts else "offline"
    word = registry.Told(record.session, record.at, status, record.facts, record.began, gateway)
    if not await registry.set_presence(session, record.device, word):
        return
    if record.online:
        period = _periods(await device_types.typed(session, {record.device})).get(record.device)
        await staleness.come(session, gateway, record.device, record.at, period)
    else:
        await staleness.go(session, record.device)


def _periods(typed: dict[str, device_types.Typed]) -> dict[str, int]:
    """Return how often devices read, in ms, of those whose types say so."""
    told = ((device, one.definition.period_ms) for device, one in typed.items())
    return {device: period for device, period in told if period is not None}


def _tell_of_foreign(session: AsyncSession, gateway: str, fresh: list[AnyRecord]) -> None:
    """Make an event, one a batch and device, of a gateway that spoke for a device which is not of its site. (P5)"""
    foreign = [record for record in fresh if isinstance(record, DeadLetter) and record.reason == FOREIGN]
    for device, count in Counter(record.device for record in foreign).items():
        last = max(record.at for record in foreign if record.device == device)
        data = {"gateway": gateway, "records": count, "reason": FOREIGN}
        session.add(EventRow(device=device, type=FOREIGN_GATEWAY, ts=last, gateway=gateway, data=data))


async def _answer(session: AsyncSession, authority: Authority, gateway: str, record: CertificateRequest) -> None:
    """Answer a device's request for a certificate over the gateway that brought it. (P4)"""
    trail.begin(session, Origin(GATEWAY, gateway, action="renew_certificate"))
    answered = await renewal.answer(session, authority, record.device, record.csr)
    if answered.error is not None:
        bury(session, gateway, record, answered.error)
    await dispatch.queue(session, gateway, down.ANSWERED, down.encode(answered))


def refuse(session: AsyncSession, line: bytes, reason: str) -> None:
    """Put a point that no store takes with the dead letters."""
    keep(session, "", letter(line, reason, time.time_ns() // 1_000_000))


def bury(session: AsyncSession, gateway: str, record: Record, reason: str) -> None:
    """Put a record of which nothing can be made with the dead letters."""
    was = msgspec.to_builtins(record)
    keep(session, gateway, DeadLetter(record.device, record.ts, record.at, reason=reason, was=was))


def keep(session: AsyncSession, gateway: str, record: DeadLetter) -> None:
    """Put a dead letter with the others."""
    row = {"device": record.device, "gateway": gateway, "ts": record.at, "reason": record.reason}
    session.add(DeadLetterRow(**row, record=msgspec.to_builtins(record)))
    announce(session, "dead_letter", record.device, {name: row[name] for name in ("gateway", "ts", "reason")})


async def store_event(
    session: AsyncSession, gateway: str, record: Event | Result | Reported | Desired | Expired
) -> None:
    """Store what a gateway tells, or the cloud itself where its name is empty, with all that follows from it."""
    if isinstance(record, Event):
        kind, data = record.type, record.data
        if kind == FIRED and await _is_told(session, record):
            return
        fault = await alarms.told(session, record.device, data) if kind in alarms.TOLD else None
        if kind in holds.TOLD:
            fault = await holds.told(session, gateway, record.device, data)
        if fault is not None:
            bury(session, gateway, record, f"{kind}: {fault}")
    elif isinstance(record, Result):
        kind, data = "command.result", {name: getattr(record, name) for name in ("id", "status", "result", "error")}
        await dispatch.hear(session, record.id, record.device, record.status, data)
        await holds.moved(session, gateway, record)
    elif isinstance(record, Reported):
        kind, data = "twin.reported", {"version": record.version, "values": record.values}
        data |= {"errors": record.errors} if record.errors else {}
        await twins.hear_reported(session, record)
    elif isinstance(record, Desired):
        kind = "twin.desired" if record.error is None else "twin.refused"
        data = {name: getattr(record, name) for name in ("version", "values", "patch", "error")}
        if not await twins.hear_desired(session, record):
            return
    else:
        kind, data = "command.expired", {"id": record.id}
        data |= {"error": record.error} if record.error else {}
        await dispatch.hear(session, record.id, record.device, commands.GATEWAY_EXPIRED, data)
    where = {"device": record.device, "boot": record.boot, "seq": record.seq, "gateway": gateway, "ts": record.ts}
    session.add(EventRow(**where, type=kind, data=data))
    announce(session, "event", record.device, {"type": kind, "ts": record.ts, "data": data})


async def _is_told(session: AsyncSession, fired: Event) -> bool:
    """Whether a firing is stored already: the owner of a device that took over may find it out again. (D4, ADR 66)"""
    name = fired.data.get("id")
    if name is None:
        return False
    same = (EventRow.device == fired.device, EventRow.ts == fired.ts, EventRow.type == FIRED)
    query = select(EventRow.id).where(*same, EventRow.data["id"].as_string() == str(name)).limit(1)
    return await session.scalar(query) is not None


async def _store_latest(session: AsyncSession, telemetry: list[Telemetry]) -> None:
    """Keep the newest value of each metric: one statement a batch, however many records it holds."""
    newest: dict[tuple[str, str], tuple[int, Value]] = {}
    for record in sorted(telemetry, key=attrgetter("ts")):
        for metric, value in record.values.items():
            newest[record.device, metric] = (record.ts, value)
    if newest:
        rows = [
            {"device": device, "metric": metric, "ts": ts, "value": value}
            for (device, metric), (ts, value) in newest.items()
        ]
        insertion = insert(session, Latest)
        newer = insertion.on_conflict_do_update(
            index_elements=[Latest.device, Latest.metric],
            set_={"ts": insertion.excluded.ts, "value": insertion.excluded.value},
            where=insertion.excluded.ts >= Latest.ts,
        )
        await session.execute(newer, rows)


async def latest_of(session: AsyncSession, devices: list[str]) -> dict[str, dict[str, Any]]:
    """Return {device: {metric: {"ts", "value"}}} of those that have any."""
    query = select(Latest).where(Latest.device.in_(devices)).order_by(Latest.device, Latest.metric)
    found: dict[str, dict[str, Any]] = {}
    for row in await session.scalars(query):
        found.setdefault(row.device, {})[row.metric] = {"ts": row.ts, "value": row.value}
    return found


async def events(
    session: AsyncSession, device: str | None, kind: str | None, asked: pages.Asked
) -> tuple[list[dict[str, Any]], str | None]:
    """Return a page of events, the newest first, of one device or type or of all, and the next page's cursor."""
    query = select(EventRow).order_by(EventRow.id.desc())
    if device is not None:
        query = query.where(EventRow.device == device)
    if kind is not None:
        query = query.where(EventRow.type == kind)
    found, following = await pages.read(session, query, asked, [int])
    names = ("id", "device", "boot", "seq", "type", "ts", "gateway", "data")
    return [{name: getattr(row, name) for name in names} for row in found], following


async def told_events(
    session: AsyncSession, devices: list[str], after: tuple[int, int], end: int, limit: int
) -> tuple[list[Event], tuple[int, int]]:
    """Return events that devices or gateways have told, in the order of their time, and the place of the last one.

    Of some devices or of all, behind a place (ts, id) and before a time, Unix ms.
    """
    query = select(EventRow).where(EventRow.gateway != "", EventRow.type.not_in(MADE_HERE), EventRow.ts < end)
    query = query.where(tuple_(EventRow.ts, EventRow.id) > after)
    if devices:
        query = query.where(EventRow.device.in_(devices))
    rows = list(await session.scalars(query.order_by(EventRow.ts, EventRow.id).limit(limit)))
    told = [
        Event(device=row.device, ts=row.ts, at=row.ts, boot=row.boot, seq=row.seq, type=row.type, data=row.data)
        for row in rows
    ]
    return told, (rows[-1].ts, rows[-1].id) if rows else after


async def firings(session: AsyncSession, rule: str, asked: pages.Asked) -> tuple[list[dict[str, Any]], str | None]:
    """Return a page of the firings of a rule at gateways and here, the newest first, and the next page's cursor."""
    of_rule = (EventRow.type == FIRED, EventRow.data["rule"].as_string() == rule)
    query = select(EventRow).where(*of_rule).order_by(EventRow.ts.desc(), EventRow.id.desc())
    rows, following = await pages.read(session, query, asked, [int, int])
    became = await _outcomes(session, rows)
    found = []
    for row in rows:
        effects = [{**_untold(one), **became.get(one["id"], {})} for one in row.data["effects"]]
        found.append({"device": row.device, "at": row.ts, "gateway": row.gateway, **row.data, "effects": effects})
    return found, following


async def last_firings(session: AsyncSession) -> dict[str, int]:
    """Return by rule when it has fired last, Unix ms, as far as the newest firings of all rules tell."""
    newest = select(EventRow.ts, EventRow.data["rule"].as_string().label("rule")).where(EventRow.type == FIRED)
    looked_at = newest.order_by(EventRow.ts.desc()).limit(LOOKED_AT).subquery()
    query = select(looked_at.c.rule, func.max(looked_at.c.ts)).group_by(looked_at.c.rule)
    return {row[0]: row[1] for row in await session.execute(query)}


def _untold(effect: dict[str, Any]) -> dict[str, Any]:
    """Return an effect of which nothing was told since its firing."""
    return {**effect, "status": "waiting" if effect["withheld"] is None else "withheld"}


async def _outcomes(session: AsyncSession, fired: list[EventRow]) -> dict[str, dict[str, Any]]:
    """Return by id what became of the effects of some firings, as it was told last."""
    ids = [one["id"] for row in fired for one in row.data["effects"] if one["withheld"] is None]
    if not ids:
        return {}
    since = min(row.ts for row in fired) - AHEAD_MS
    of_effects = (EventRow.type == ACTION, EventRow.data["effect"].as_string().in_(ids))
    query = select(EventRow).where(
        *of_effects, EventRow.device.in_({row.device for row in fired}), EventRow.ts >= since
    )
    names = ("status", "result", "error")
    told = await session.scalars(query.order_by(EventRow.id))
    return {row.data["effect"]: {name: row.data[name] for name in names} for row in told}


async def forget_rules(session: AsyncSession, before: int, limit: int) -> int:
    """Forget what rules have told before a time, Unix ms; return how many events, of those that go at once."""
    old = select(EventRow.id).where(EventRow.type.in_((FIRED, ACTION)), EventRow.ts < before).limit(limit)
    ids = list(await session.scalars(old))
    await session.execute(delete(EventRow).where(EventRow.id.in_(ids)))
    return len(ids)


async def seen_events(session: AsyncSession, device: str, start: int, end: int) -> Seen:
    """Return what the numbered events of a device say of a window, Unix ms, `end` excluded. (T8)"""
    of_device = (EventRow.device == device, EventRow.boot.is_not(None), EventRow.seq.is_not(None))
    one = select(EventRow.boot, EventRow.seq, EventRow.ts).where(*of_device).limit(1)
    before = (await session.execute(one.where(EventRow.ts < start).order_by(EventRow.ts.desc(), EventRow.id))).first()
    after = (await session.execute(one.where(EventRow.ts >= end).order_by(EventRow.ts, EventRow.id))).first()
    figures = [call(column) for column in (EventRow.seq, EventRow.ts) for call in (func.min, func.max)]
    query = select(EventRow.boot, *figures).where(*of_device, EventRow.ts >= start, EventRow.ts < end)
    inside = [tuple(row) for row in await session.execute(query.group_by(EventRow.boot))]
    return Seen(_whole(before), inside, _whole(after))


def _whole(row: Row[int | None, int | None, int] | None) -> tuple[int, int, int] | None:
    """Return (boot, seq, ts) of a row that has all three, as the query has asked for."""
    if row is None or row.boot is None or row.seq is None:
        return None
    return row.boot, row.seq, row.ts


async def boots_of_events(session: AsyncSession, device: str, boots: set[int]) -> set[int]:
    """Return those of some boots of a device of which there is a numbered event."""
    query = select(EventRow.boot).where(EventRow.device == device, EventRow.boot.in_(boots), EventRow.seq.is_not(None))
    return {boot for boot in await session.scalars(query.distinct()) if boot is not None}


async def received(session: AsyncSession, device: str) -> dict[int, list[list[int]]]:
    """Return which seqs of a device are stored: spans by boot."""
    return {row.boot: row.spans for row in await session.scalars(select(Received).where(Received.device == device))}


async def reports_of_drops(session: AsyncSession, device: str, since: int) -> list[tuple[int, bool, dict[str, Any]]]:
    """Return (ts, whether its gateway says so, data) of a device's reports of drops since a time, Unix ms."""
    query = select(EventRow).where(EventRow.device == device, EventRow.type == DROPPED, EventRow.ts >= since)
    rows = await session.scalars(query.order_by(EventRow.id))
    return [(row.ts, row.seq is None and row.data.get("by") == "gateway", row.data) for row in rows]


async def dead_letters(
    session: AsyncSession, device: str | None, asked: pages.Asked
) -> tuple[list[dict[str, Any]], str | None]:
    """Return a page of dead letters, the newest first, and the next page's cursor."""
    query = select(DeadLetterRow).order_by(DeadLetterRow.id.desc())
    if device is not None:
        query = query.where(DeadLetterRow.device == device)
    found, following = await pages.read(session, query, asked, [int])
    names = ("id", "device", "gateway", "ts", "reason", "record")
    return [{name: getattr(row, name) for name in names} for row in found], following
