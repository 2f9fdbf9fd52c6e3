"""Takes the batches of all gateways off the cloud's broker and acknowledges what both stores have. (T5)"""

import asyncio
import base64
import ssl
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import duckdb
import msgspec
import structlog
from sqlalchemy.exc import SQLAlchemyError

from fieldloom_cloud.database import Database
from fieldloom_cloud.dispatch.downlink import Downlink
from fieldloom_cloud.guard import Incoming
from fieldloom_cloud.ingest.service import Records
from fieldloom_cloud.registry import service as registry
from fieldloom_cloud.timeseries.store import TimeSeries
from fieldloom_contract import batch, topics
from fieldloom_contract.errors import Rejected
from fieldloom_contract.limits import DEAD_LETTER_BYTES
from fieldloom_runtime.mqtt import MqttLink
from fieldloom_runtime.records import AnyRecord, DeadLetter, decode
from fieldloom_runtime.tls import client_context

log = structlog.get_logger()

READS = ("fl/v1/g/+/up/+", "fl/v1/g/+/down/ack", "fl/v1/g/+/state")
GROUP = 64  # batches that one commit may take


class Worker:
    """One ingest worker: what has come in goes to the two stores in one commit each, then the lower is acknowledged."""

    def __init__(
        self, address: tuple[str, int], identity: str, tls: ssl.SSLContext, database: Database, series: TimeSeries
    ) -> None:
        self._database = database
        self._series = series
        self._waiting: asyncio.Queue[tuple[str, batch.Batch]] = asyncio.Queue(GROUP)
        self._link = MqttLink(*address, identity, tls, READS, self._hear)
        self.downlink = Downlink(database, self._link.publish)
        self.counts: Counter[str] = Counter()

    @property
    def is_connected(self) -> bool:
        """Whether the broker can be reached."""
        return self._link.is_connected

    async def run(self) -> None:
        """Take batches until cancelled."""
        records = await Records.open(self._database)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._link.run(), name="ingest-link")
            tasks.create_task(self._write(records), name="ingest-writer")

    async def _hear(self, topic: str, payload: bytes) -> None:
        try:
            gateway, verb = topics.parse_gateway(topic)
            if verb.startswith("up/"):
                await self._waiting.put((gateway, batch.unpack(payload)))
            elif verb == "down/ack":
                await self.downlink.acknowledge(gateway, payload)
            else:
                self.downlink.greet(gateway)
        except Rejected as error:
            self.counts["unreadable"] += 1
            log.warning("unreadable_batch", topic=topic, field=error.field, reason=error.reason)

    async def _write(self, records: Records) -> None:
        while True:
            group = [await self._waiting.get()]
            while not self._waiting.empty() and len(group) < GROUP:
                group.append(self._waiting.get_nowait())
            try:
                incoming = [await self._checked(gateway, sent) for gateway, sent in group]
                in_series = await asyncio.to_thread(self._series.write, incoming)
                in_records = await records.write(incoming)
            except (duckdb.Error, SQLAlchemyError) as error:
                # Not acknowledged, so the gateways send it again; what one store took, it will not take twice.
                self.counts["disk_errors"] += 1
                log.error("disk_refused_batches", batches=len(group), error=str(error))  # noqa: TRY400
                continue
            self.counts["batches"] += len(group)
            self.counts["records"] += sum(len(sent.records) for sent in incoming)
            await self._acknowledge(incoming, map(min, in_series, in_records))

    async def _checked(self, gateway: str, sent: batch.Batch) -> Incoming:
        """Return a batch with its records parsed; what its gateway may not say has become a dead letter."""
        parsed = [_parsed(text) for text in sent.records]
        named = {record.device for record in parsed}
        async with self._database.transaction() as session:
            allowed = await registry.of_same_site(session, gateway, named)
        records = [_allowed(record, allowed) for record in parsed]
        covers = [tuple(cover) for cover in sent.covers if cover[0] in allowed]
        return Incoming(gateway, sent.stream, sent.offset, sent.first, covers, records)

    async def _acknowledge(self, group: list[Incoming], positions: Iterable[int]) -> None:
        reached = {(sent.gateway, sent.stream): position for sent, position in zip(group, positions, strict=True)}
        for (gateway, stream), position in reached.items():
            await self._link.publish(topics.gateway(gateway, "ack"), batch.pack_ack(stream, position))


def _parsed(text: bytes) -> AnyRecord:
    """Return a record, or the dead letter that takes the place of what is none."""
    try:
        return decode(text)
    except msgspec.DecodeError as error:  # ValidationError is one too
        kept = base64.b64encode(text[:DEAD_LETTER_BYTES]).decode()
        return DeadLetter(device="", ts=0, at=0, reason=f"unreadable: {error}", payload=kept, length=len(text))


def _allowed(record: AnyRecord, allowed: set[str]) -> AnyRecord:
    if record.device in allowed or isinstance(record, DeadLetter):
        return record
    reason = "the device is not registered at the site of this gateway"
    return DeadLetter(device=record.device, ts=record.ts, at=record.at, reason=reason, was=msgspec.to_builtins(record))


def open_worker(data: Path, identity: str, address: tuple[str, int], database: Database, series: TimeSeries) -> Worker:
    """Return the worker of a cloud's data folder. Raises StartFailed."""
    pki = data / "pki"
    tls = client_context(pki / "ca.pem", pki / f"{identity}.pem", pki / f"{identity}.key")
    return Worker(address, identity, tls, database, series)
