"""Takes the batches of all gateways off the cloud's broker and acknowledges what both stores have. (T5)"""

import asyncio
import json
import ssl
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
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
from fieldloom_runtime.mqtt import MqttLink
from fieldloom_runtime.tls import client_context

log = structlog.get_logger()

READS = ("fl/v1/g/+/up/+", "fl/v1/g/+/down/ack", "fl/v1/g/+/state")
KINDS = {"telemetry", "event", "result", "reported", "state", "expired", "dead_letter"}


class Worker:
    """One ingest worker: batch by batch, the two stores one after the other, then the acknowledgement of the lower."""

    def __init__(
        self, address: tuple[str, int], identity: str, tls: ssl.SSLContext, database: Database, series: TimeSeries
    ) -> None:
        self._database = database
        self._series = series
        self._records: Records | None = None
        self._link = MqttLink(*address, identity, tls, READS, self._hear)
        self.downlink = Downlink(database, self._link.publish)
        self.counts: Counter[str] = Counter()

    @property
    def is_connected(self) -> bool:
        """Whether the broker can be reached."""
        return self._link.is_connected

    async def run(self) -> None:
        """Take batches until cancelled."""
        self._records = await Records.open(self._database)
        await self._link.run()

    async def _hear(self, topic: str, payload: bytes) -> None:
        try:
            gateway, verb = topics.parse_gateway(topic)
            if not verb.startswith("up/"):
                await self._hear_of_gateway(gateway, verb, payload)
                return
            sent = batch.unpack(payload)
        except Rejected as error:
            self.counts["unreadable"] += 1
            log.warning("unreadable_batch", topic=topic, field=error.field, reason=error.reason)
            return
        try:
            number = await self._store(gateway, sent)
        except (duckdb.Error, SQLAlchemyError) as error:
            # Not acknowledged, so the gateway sends it again; what one store took, it will not take twice.
            self.counts["disk_errors"] += 1
            log.error("disk_refused_batch", gateway=gateway, error=str(error))  # noqa: TRY400
            return
        self.counts["batches"] += 1
        await self._link.publish(topics.gateway(gateway, "ack"), batch.pack_ack(sent.stream, number))

    async def _hear_of_gateway(self, gateway: str, verb: str, payload: bytes) -> None:
        if verb == "down/ack":
            await self.downlink.acknowledge(gateway, payload)
        else:
            self.downlink.greet(gateway)

    async def _store(self, gateway: str, sent: batch.Batch) -> int:
        async with self._database.transaction() as session:
            allowed = await registry.devices_of_gateway(session, gateway)
        records = [_checked(text, allowed) for text in sent.records]
        incoming = Incoming(sent.stream, sent.offset, sent.first, [tuple(cover) for cover in sent.covers], records)
        self.counts["records"] += len(records)
        in_series = await asyncio.to_thread(self._series.write, incoming)
        assert self._records is not None, "run opens the store before the link delivers"  # noqa: S101 - for mypy
        return min(in_series, await self._records.write(gateway, incoming))


def _checked(text: bytes, allowed: set[str]) -> dict[str, Any]:
    """Return a record of a device that this gateway may speak for, or the dead letter that takes its place."""
    try:
        record = json.loads(text)
        device, kind = record["device"], record["kind"]
        if kind not in KINDS or not isinstance(record["at"], int):
            raise ValueError("its kind or its time is not known")
    except (ValueError, KeyError, TypeError) as error:
        return {
            "kind": "dead_letter",
            "device": "",
            "at": 0,
            "reason": f"unreadable: {error}",
            "text": repr(text[:4096]),
        }
    if device in allowed or kind == "dead_letter":
        return dict(record)
    reason = "the device is not registered at the site of this gateway"
    return {**record, "kind": "dead_letter", "was": kind, "reason": reason}


def open_worker(data: Path, identity: str, address: tuple[str, int], database: Database, series: TimeSeries) -> Worker:
    """Return the worker of a cloud's data folder. Raises StartFailed."""
    pki = data / "pki"
    tls = client_context(pki / "ca.pem", pki / f"{identity}.pem", pki / f"{identity}.key")
    return Worker(address, identity, tls, database, series)
