"""What came up and is no series, in SQL: one transaction a batch, with the store's own guards."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud import pages
from fieldloom_cloud.database import Database
from fieldloom_cloud.dispatch import service as dispatch
from fieldloom_cloud.guard import Guard, Incoming
from fieldloom_cloud.ingest.models import DeadLetter, Event, IngestStream, Latest, Received
from fieldloom_cloud.registry import service as registry
from fieldloom_contract.ranges import Ranges
from fieldloom_engine import commands


class Records:
    """The SQL store of the ingest. One caller at a time writes."""

    def __init__(self, database: Database, guard: Guard) -> None:
        self._database = database
        self._guard = guard

    @classmethod
    async def open(cls, database: Database) -> "Records":
        """Read what is stored already."""
        return cls(database, await _stored_guard(database))

    async def write(self, gateway: str, sent: Incoming) -> int:
        """Store what is new of a batch, durably, and return the position of its stream."""
        fresh = self._guard.fresh(sent)
        if fresh is None:
            return self._guard.position(sent.stream)
        try:
            return await self._commit(gateway, sent, fresh)
        except BaseException:
            # What memory took may not be on the disk: read the guards again.
            self._guard = await _stored_guard(self._database)
            raise

    async def _commit(self, gateway: str, sent: Incoming, fresh: list[dict[str, Any]]) -> int:
        async with self._database.transaction() as session:
            await _store_latest(session, [record for record in fresh if record["kind"] == "telemetry"])
            for record in fresh:
                await _store(session, gateway, record)
            last, touched = self._guard.remember(sent)
            await session.merge(IngestStream(stream=sent.stream, number=last))
            for device, boot in touched:
                spans = [list(span) for span in self._guard.spans(device, boot)]
                await session.merge(Received(device=device, boot=boot, spans=spans))
        return last


async def _stored_guard(database: Database) -> Guard:
    async with database.transaction() as session:
        positions = {row.stream: row.number for row in await session.scalars(select(IngestStream))}
        rows = await session.scalars(select(Received))
        return Guard(positions, {(row.device, row.boot): Ranges(row.spans) for row in rows})


async def _store(session: AsyncSession, gateway: str, record: dict[str, Any]) -> None:
    kind, device = record["kind"], record["device"]
    if kind == "dead_letter":
        session.add(DeadLetter(device=device, gateway=gateway, ts=record["at"], reason=record["reason"], record=record))
    elif kind == "state":
        await registry.set_presence(session, device, record)
    elif kind != "telemetry":
        if kind == "result":
            await dispatch.hear(session, record["id"], device, record["status"], record)
        elif kind == "expired":
            await dispatch.hear(session, record["id"], device, commands.GATEWAY_EXPIRED)
        kinds = {"event": record.get("type", ""), "result": "command.result", "reported": "twin.reported"}
        own = {"device", "boot", "seq", "ts", "at", "kind", "type"}
        data = record["data"] if kind == "event" else {name: value for name, value in record.items() if name not in own}
        where = {"device": device, "boot": record.get("boot"), "seq": record.get("seq"), "gateway": gateway}
        session.add(Event(**where, type=kinds.get(kind, f"command.{kind}"), ts=record["ts"], data=data))


async def _store_latest(session: AsyncSession, telemetry: list[dict[str, Any]]) -> None:
    """Keep the newest value of each metric: one statement a batch, however many records it holds."""
    newest: dict[tuple[str, str], dict[str, Any]] = {}
    for record in sorted(telemetry, key=lambda record: int(record["ts"])):
        for metric, value in record["values"].items():
            row = {"device": record["device"], "metric": metric, "ts": record["ts"], "value": value}
            newest[record["device"], metric] = row
    if newest:
        insertion = insert(Latest)
        newer = insertion.on_conflict_do_update(
            index_elements=[Latest.device, Latest.metric],
            set_={"ts": insertion.excluded.ts, "value": insertion.excluded.value},
            where=insertion.excluded.ts >= Latest.ts,
        )
        await session.execute(newer, list(newest.values()))


async def latest(session: AsyncSession, device: str) -> dict[str, Any]:
    """Return {metric: {"ts", "value"}} of a device."""
    rows = await session.scalars(select(Latest).where(Latest.device == device).order_by(Latest.metric))
    return {row.metric: {"ts": row.ts, "value": row.value} for row in rows}


async def events(
    session: AsyncSession, device: str | None, kind: str | None, asked: pages.Asked
) -> tuple[list[dict[str, Any]], str | None]:
    """Return a page of events, the newest first, of one device or type or of all, and the next page's cursor."""
    query = select(Event).order_by(Event.id.desc())
    if device is not None:
        query = query.where(Event.device == device)
    if kind is not None:
        query = query.where(Event.type == kind)
    found, following = await pages.read(session, query, asked, [int])
    names = ("id", "device", "boot", "seq", "type", "ts", "gateway", "data")
    return [{name: getattr(row, name) for name in names} for row in found], following


async def dead_letters(
    session: AsyncSession, device: str | None, asked: pages.Asked
) -> tuple[list[dict[str, Any]], str | None]:
    """Return a page of dead letters, the newest first, and the next page's cursor."""
    query = select(DeadLetter).order_by(DeadLetter.id.desc())
    if device is not None:
        query = query.where(DeadLetter.device == device)
    found, following = await pages.read(session, query, asked, [int])
    names = ("id", "device", "gateway", "ts", "reason", "record")
    return [{name: getattr(row, name) for name in names} for row in found], following
