"""The two acknowledged streams between gateway and cloud, over one MQTT 5 connection."""

import asyncio
import json
import random
import sqlite3
import ssl
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, NamedTuple

import structlog

from fieldloom_contract import batch, messages, topics
from fieldloom_contract.errors import Rejected
from fieldloom_contract.stream import Sender
from fieldloom_gateway.ingest.bandwidth import Bandwidth
from fieldloom_gateway.ingest.outbox import Outbox, encode
from fieldloom_gateway.ingest.store import Downward, Store
from fieldloom_runtime.down import (
    ANSWERED,
    CREDENTIAL,
    REVOKED,
    TWIN,
    WITHDRAWN,
    Answered,
    Credential,
    Revoked,
    TwinPatch,
    Withdrawn,
    decode,
)
from fieldloom_runtime.mqtt import MqttLink

log = structlog.get_logger()

BATCH_BYTES = 128 * 1024  # any segment fits, and the broker takes 256 KiB
LEAST_BATCH_BYTES = 4096
WINDOW_SEGMENTS = 1000
WINDOW_BYTES = 4 * 1024 * 1024
TICK_S = 0.25
GATHER_MS = 50  # a batch costs the cloud two transactions, however little is in it
NEWS = 1000


class Clocks(NamedTuple):
    """Two clocks, both in ms: one that nobody sets, and Unix time."""

    steady: Callable[[], int]
    now: Callable[[], int]


class Uplink:
    """Sends the outbox up, several batches in flight, and takes what the cloud sends down.

    What is new for a device goes into `new_messages`, as (device, verb, payload).
    """

    def __init__(
        self,
        gateway: str,
        address: tuple[str, int],
        tls: ssl.SSLContext,
        outbox: Outbox,
        store: Store,
        writer: Executor,
        clocks: Clocks,
    ) -> None:
        self._gateway = gateway
        self._outbox = outbox
        self._store = store
        self._writer = writer
        self._steady, self._now = clocks
        self._bandwidth: Bandwidth | None = None
        self._wake = asyncio.Event()
        self._sent = -GATHER_MS  # when the last batch was
        self._gathering: asyncio.TimerHandle | None = None
        self._hearers: dict[str, Callable[[bytes], None]] = {}
        self._sender = Sender(outbox, encode, random.random, BATCH_BYTES, WINDOW_SEGMENTS, WINDOW_BYTES)
        reads = (topics.gateway(gateway, "ack"), topics.gateway(gateway, "down"))
        self._link = MqttLink(*address, gateway, tls, reads, self._hear, self._on_connected)
        self.news: asyncio.Queue[Downward] = asyncio.Queue(NEWS)  # what devices are to be told
        self.new_list = asyncio.Event()  # of revoked certificates

    @property
    def is_connected(self) -> bool:
        """Whether the cloud's broker can be reached."""
        return self._link.is_connected

    def limit(self, bytes_per_s: int) -> None:
        """Send no more than so much of the outbox; to be called before `run`."""
        self._bandwidth = Bandwidth(bytes_per_s)
        size = min(BATCH_BYTES, max(bytes_per_s, LEAST_BATCH_BYTES))
        self._sender = Sender(self._outbox, encode, random.random, size, WINDOW_SEGMENTS, WINDOW_BYTES)

    def listen(self, verb: str, hear: Callable[[bytes], None]) -> None:
        """Hear the cloud on one more verb of this gateway; to be called before `run`."""
        self._link.topics += (topics.gateway(self._gateway, verb),)
        self._hearers[verb] = hear

    async def ask(self, verb: str, payload: bytes) -> bool:
        """Send to the cloud beside the stream, and say whether there was a link; who needs an answer asks again."""
        return await self._link.publish(topics.gateway(self._gateway, verb), payload)

    def wake(self) -> None:
        """Say that the outbox has grown. What comes shortly after a batch waits for what follows it."""
        wait = self._sent + GATHER_MS - self._steady()
        if wait <= 0:
            self._wake.set()
        elif self._gathering is None:
            self._gathering = asyncio.get_running_loop().call_later(wait / 1000, self._gathered)

    def _gathered(self) -> None:
        self._gathering = None
        self._wake.set()

    async def run(self) -> None:
        """Keep the link and send, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._link.run(), name="uplink-link")
            tasks.create_task(self._pump(), name="uplink-pump")

    async def _pump(self) -> None:
        trimmed = self._outbox.acknowledged
        while True:
            await self._send_all()
            if self._outbox.acknowledged > trimmed:
                trimmed = await self._trim(trimmed)
            self._wake.clear()
            try:
                async with asyncio.timeout(TICK_S):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _send_all(self) -> None:
        if not self._link.is_connected:
            self._sender.disconnected()
            return
        while self._bandwidth is None or self._bandwidth.has_room(self._steady()):
            message = self._sender.poll(self._steady())
            if message is None:
                return
            self._sent = self._steady()
            if not await self._link.publish(topics.up(self._gateway), message.payload):
                return
            if self._bandwidth is not None:
                self._bandwidth.spend(len(message.payload))

    async def _trim(self, trimmed: int) -> int:
        """Delete what the cloud has, and return up to where that is done."""
        acknowledged = self._outbox.acknowledged
        try:
            await asyncio.get_running_loop().run_in_executor(self._writer, self._store.trim, acknowledged)
        except sqlite3.Error as error:
            # A full disk has no room for a deletion either; the next turn tries it again.
            log.error("disk_refused_trim", error=str(error))  # noqa: TRY400
            return trimmed
        return acknowledged

    async def _on_connected(self) -> None:
        self._sender.connected(self._steady())
        self.wake()
        # What the cloud has for this gateway need not wait for its next resend.
        await self._link.publish(topics.gateway(self._gateway, "state"), messages.dumps({"online": True}))

    async def _hear(self, topic: str, payload: bytes) -> None:
        try:
            _, verb = topics.parse_gateway(topic)
            if verb in self._hearers:
                self._hearers[verb](payload)
            elif verb == "ack":
                stream, number = batch.unpack_ack(payload)
                self._sender.acknowledge(stream, number, self._steady())
                self.wake()
            else:
                await self._take_down(batch.unpack(payload))
        except Rejected as error:
            log.warning("unreadable_from_cloud", topic=topic, field=error.field, reason=error.reason)
        except sqlite3.Error as error:
            # Not acknowledged, so the cloud sends it again.
            log.error("disk_refused_commands", error=str(error))  # noqa: TRY400

    async def _take_down(self, sent: batch.Batch) -> None:
        loop = asyncio.get_running_loop()
        had = max(await loop.run_in_executor(self._writer, self._store.downstream, sent.stream), sent.first - 1)
        if sent.offset <= had + 1:
            last = max(had, sent.offset + len(sent.records) - 1)
            fresh = [_read(record) for record in sent.records[had + 1 - sent.offset :]]
            known = [record for record in fresh if record is not None]
            take_down, now = self._store.take_down, self._now()
            news = await loop.run_in_executor(self._writer, take_down, sent.stream, last, known, now)
            had = last
            if any(isinstance(record, Revoked) for record in known):
                self.new_list.set()
            if any(isinstance(record, TwinPatch) for record in known):
                self.wake()
            for one in news:
                # What finds no room is on the disk: what waits is sent again, and for the rest devices ask.
                if not self.news.full():
                    self.news.put_nowait(one)
        await self._link.publish(topics.gateway(self._gateway, "down/ack"), batch.pack_ack(sent.stream, had))


def _read(text: bytes) -> dict[str, Any] | Revoked | Answered | TwinPatch | Credential | None:
    """Return a record of the cloud, a command checked as its device will check it; None, and said, for what is none."""
    try:
        record = json.loads(text)
        if record.get("kind") in (WITHDRAWN, REVOKED, ANSWERED, TWIN, CREDENTIAL):
            read = decode(text)
            if isinstance(read, TwinPatch):
                topics.device_id(read.device)
                messages.desired(read.version, read.values)
            return None if isinstance(read, Withdrawn) else read
        topics.device_id(record["device"])
        messages.command(record["id"], record["type"], record["parameters"], record["expires"])
    except (ValueError, AttributeError, KeyError, TypeError, Rejected) as error:  # msgspec's are ValueErrors
        log.warning("unusable_from_cloud", error=str(error))
        return None
    return dict(record)
