"""Takes the batches of all gateways off the cloud's broker and acknowledges what both stores have. (T5)"""

import asyncio
import ssl
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import duckdb
import msgspec
import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.credentials import service as credentials
from fieldloom_cloud.database import Database
from fieldloom_cloud.dispatch import service as dispatch
from fieldloom_cloud.dispatch.downlink import Downlink
from fieldloom_cloud.guard import Incoming
from fieldloom_cloud.ingest import gateways
from fieldloom_cloud.ingest.checked import allowed, letter, opened
from fieldloom_cloud.ingest.judge import Judge
from fieldloom_cloud.ingest.service import Records, keep
from fieldloom_cloud.pki.authority import Authority
from fieldloom_cloud.registry import service as registry
from fieldloom_cloud.releases.serving import Pieces
from fieldloom_cloud.settings import Settings
from fieldloom_cloud.timeseries.relay import Relay
from fieldloom_cloud.timeseries.store import TimeSeries
from fieldloom_cloud.workers.leases import Slots
from fieldloom_cloud.workers.service import NotHeld
from fieldloom_contract import batch, topics
from fieldloom_contract.errors import Rejected
from fieldloom_contract.stream import fingerprint
from fieldloom_runtime.mqtt import MqttLink
from fieldloom_runtime.records import AnyRecord, CertificateRequest, DeadLetter
from fieldloom_runtime.tls import client_context

log = structlog.get_logger()

UP = "fl/v1/g/+/up/"
READS = ("fl/v1/g/+/down/ack", "fl/v1/g/+/state", "fl/v1/g/+/release/request")
JUDGE_EVERY_S = 15
GROUP = 64  # batches that one commit may take


class Broker(NamedTuple):
    """Where the cloud's broker is, and who we are there."""

    host: str
    port: int
    identity: str
    tls: ssl.SSLContext


class Worker:
    """One ingest worker: what has come in goes to the two stores in one commit each, then the lower is acknowledged.

    With a server of time series SQL is the one store: it keeps the points until the server has them (ADR 37), and other
    workers may have other slots (ADR 45).
    """

    def __init__(
        self,
        broker: Broker,
        database: Database,
        series: TimeSeries | Relay,
        authority: Authority,
        judge: Judge,
        slots: Slots,
    ) -> None:
        self._database = database
        self._authority = authority
        self._embedded = series if isinstance(series, TimeSeries) else None
        self.relay = series if isinstance(series, Relay) else None
        self._judge = judge
        self._slots = slots
        self._waiting: asyncio.Queue[tuple[str, batch.Batch, list[AnyRecord]]] = asyncio.Queue(GROUP)
        self._link = MqttLink(*broker, _topics(slots.held), self._hear)
        self.downlink = Downlink(database, self._link.publish, self._told, slots.holds)
        self.pieces = Pieces(database, self._link.publish)
        self.counts: Counter[str] = Counter()
        self._kept: dict[str, int] = {}

    async def _told(self, session: AsyncSession, waiting: Sequence[dispatch.Waiting]) -> list[bytes]:
        return await credentials.told(session, self._authority.sealer, waiting)

    @property
    def is_connected(self) -> bool:
        """Whether the broker can be reached."""
        return self._link.is_connected

    async def run(self) -> None:
        """Take batches until cancelled."""
        told = (self._judge, self.downlink.wake, self.relay)
        records = Records(self._database, self._authority, self._slots, *told)
        look = partial(self._look_for_stale, records)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._link.run(), name="ingest-link")
            tasks.create_task(self._write(records), name="ingest-writer")
            tasks.create_task(self._slots.while_leading(look), name="ingest-staleness")
            tasks.create_task(self._follow(records), name="ingest-slots")

    async def _hear(self, topic: str, payload: bytes) -> None:
        try:
            gateway, verb = topics.parse_gateway(topic)
            if not self._slots.holds(gateway):
                return  # another process takes it, or its sender sends it again
            if verb.startswith("up/"):
                if topic != topics.up(gateway):
                    raise Rejected("topic", f"is not the one of this gateway's slot, {topics.slot(gateway)}")
                await self._waiting.put((gateway, *opened(payload, _now())))
            elif verb == "down/ack":
                await self.downlink.acknowledge(gateway, payload)
            elif verb == topics.RELEASE_REQUEST:
                self.pieces.hear(gateway, payload)
            else:
                await self._hear_state(gateway, payload)
        except Rejected as error:
            self.counts["unreadable"] += 1
            log.warning("unreadable_from_gateway", topic=topic, field=error.field, reason=error.reason)
            await self._keep(topic, payload, str(error))
        except SQLAlchemyError as error:
            self._count_refusal(error)

    async def _hear_state(self, gateway: str, payload: bytes) -> None:
        told = gateways.parse(payload)
        if told.connected:
            self.downlink.greet(gateway)
        with suppress(NotHeld):  # then its newest word is known where it is ours
            async with self._database.transaction() as session:
                await self._slots.hold(session, [gateway])
                await gateways.hear(session, gateway, told, _now())

    async def _write(self, records: Records) -> None:
        while True:
            group = [await self._waiting.get()]
            while not self._waiting.empty() and len(group) < GROUP:
                group.append(self._waiting.get_nowait())
            if self.relay is not None and self.relay.is_full:
                self.counts["held_back"] += len(group)  # not acknowledged: their gateways keep them and send them again
                continue
            ours = [one for one in group if self._slots.holds(one[0])]
            self.counts["not_ours"] += len(group) - len(ours)
            if ours:
                await self._take(records, ours)

    async def _take(self, records: Records, group: list[tuple[str, batch.Batch, list[AnyRecord]]]) -> None:
        """Store batches and acknowledge them; what is not acknowledged is sent again."""
        try:
            incoming = [await self._checked(*one) for one in group]
            positions = await self._store(records, incoming)
        except NotHeld as error:
            self.counts["not_ours"] += len(group)
            log.warning("slots_not_held", slots=sorted(error.slots), batches=len(group))
            return
        except (duckdb.Error, SQLAlchemyError) as error:
            # What one store took, it will not take twice.
            self._count_refusal(error)
            return
        self.counts["batches"] += len(group)
        everything = [record for sent in incoming for record in sent.records]
        self.counts["records"] += len(everything)
        self.counts["dead_letters"] += sum(isinstance(record, DeadLetter) for record in everything)
        await self._acknowledge(incoming, positions)

    async def _follow(self, records: Records) -> None:
        """Hear the gateways of those slots that are ours, and remember nothing of others."""
        held = self._slots.held
        while True:
            await self._link.watch(_topics(held))
            self.downlink.wake()
            before, held = held, await self._slots.moved(held)
            if before - held:
                records.forget()

    async def _look_for_stale(self, records: Records) -> None:
        """Look for devices that have stopped reading, now and then."""
        while True:
            await asyncio.sleep(JUDGE_EVERY_S)
            try:
                await records.judge(_now())
            except NotHeld:
                continue
            except SQLAlchemyError as error:
                self._count_refusal(error)

    async def _checked(self, gateway: str, sent: batch.Batch, parsed: list[AnyRecord]) -> Incoming:
        """Return a batch with its records; what its gateway may not say has become a dead letter."""
        named = {record.device for record in parsed}
        async with self._database.transaction() as session:
            devices = await registry.of_same_site(session, gateway, named)
        records = [allowed(record, devices, gateway) for record in parsed]
        covers = [tuple(cover) for cover in sent.covers if cover[0] in devices]
        return Incoming(gateway, sent.stream, sent.offset, sent.first, covers, records)

    async def _store(self, records: Records, incoming: list[Incoming]) -> list[int]:
        """Store a group; what no check foresaw must neither stop the cloud nor hold up a gateway's stream for ever."""
        try:
            return await self._commit(records, incoming)
        except (duckdb.Error, SQLAlchemyError, NotHeld):
            raise
        except Exception as error:
            log.exception("batches_not_storable", batches=len(incoming))
            if len(incoming) > 1:
                return [position for sent in incoming for position in await self._store(records, [sent])]
            self.counts["unforeseen"] += 1
            reason = f"can't be stored: {type(error).__name__}"
            letters: list[AnyRecord] = [
                letter(msgspec.json.encode(record), reason, _now()) for record in incoming[0].records
            ]
            return await self._commit(records, [incoming[0]._replace(records=letters, covers=[])])

    async def _commit(self, records: Records, incoming: list[Incoming]) -> list[int]:
        in_series = None if self._embedded is None else await asyncio.to_thread(self._embedded.ingest, incoming)
        reached = await records.write(incoming)
        if in_series is not None:
            reached = list(map(min, in_series, reached))
        if any(isinstance(record, CertificateRequest) for sent in incoming for record in sent.records):
            self.downlink.wake()
        return reached

    async def _keep(self, topic: str, payload: bytes, reason: str) -> None:
        """Keep what has no place in a stream; its sender may send it over and over, so the same is kept once."""
        gateway = topic.split("/")[3]
        if self._kept.get(gateway) == fingerprint(payload):
            return
        self._kept[gateway] = fingerprint(payload)
        self.counts["dead_letters"] += 1
        kept = letter(payload, reason, _now())
        kept.topic = topic
        try:
            async with self._database.transaction() as session:
                keep(session, gateway, kept)
        except SQLAlchemyError as error:
            self._count_refusal(error)

    def _count_refusal(self, error: Exception) -> None:
        self.counts["disk_errors"] += 1
        log.error("disk_refused", error=str(error))

    async def _acknowledge(self, group: list[Incoming], positions: Iterable[int]) -> None:
        reached = {(sent.gateway, sent.stream): position for sent, position in zip(group, positions, strict=True)}
        for (gateway, stream), position in reached.items():
            await self._link.publish(topics.gateway(gateway, "ack"), batch.pack_ack(stream, position))


def _now() -> int:
    return time.time_ns() // 1_000_000


def _topics(held: frozenset[int]) -> tuple[str, ...]:
    """Return what to subscribe to for some slots."""
    slots = ("+",) if len(held) == topics.SLOTS else sorted(map(str, held))
    return (*(UP + slot for slot in slots), *READS)


def open_broker(data: Path, settings: Settings) -> Broker:
    """Return the broker of a cloud with what opens it to a process of that. Raises StartFailed."""
    pki, identity = data / "pki", settings.identity
    tls = client_context(pki / "ca.pem", pki / f"{identity}.pem", pki / f"{identity}.key")
    return Broker(settings.mqtt_host, settings.mqtt_port, identity, tls)
