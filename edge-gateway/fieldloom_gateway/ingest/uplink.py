"""The acknowledged streams between gateway and cloud, both ways over one MQTT 5 connection."""

import asyncio
import json
import os
import random
import sqlite3
import ssl
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any, NamedTuple

import aiomqtt
import structlog

from fieldloom_contract import batch, messages, topics
from fieldloom_contract.errors import Rejected
from fieldloom_gateway.ingest.bandwidth import Bandwidth
from fieldloom_gateway.ingest.down import Sent, command_of, order_of
from fieldloom_gateway.ingest.judge import Downward
from fieldloom_gateway.ingest.lanes import BATCH_BYTES, Lanes
from fieldloom_gateway.ingest.outbox import Lane, Outbox
from fieldloom_gateway.ingest.store import Store
from fieldloom_runtime.decoding import UNREADABLE
from fieldloom_runtime.down import (
    ANSWERED,
    CREDENTIAL,
    RELEASE,
    REMOVED,
    RETRY,
    REVOKED,
    RULE,
    RULES,
    SIGNAL,
    START,
    TERMINATE,
    TOPICS,
    TWIN,
    WITHDRAWN,
    WORKFLOW,
    WORKFLOWS,
    ForAutomation,
    Release,
    Revoked,
    Rule,
    TwinPatch,
    Withdrawn,
    decode,
)
from fieldloom_runtime.gateway_state import TELL_EVERY_S, Cluster, GatewayState
from fieldloom_runtime.gateway_state import encode as encode_state
from fieldloom_runtime.mqtt import MqttLink

log = structlog.get_logger()

FOR_AUTOMATION = (RULE, RULES, WORKFLOW, WORKFLOWS, TOPICS, START, TERMINATE, SIGNAL, RETRY, RELEASE)
TYPED = (WITHDRAWN, REVOKED, ANSWERED, TWIN, CREDENTIAL, REMOVED, *FOR_AUTOMATION)
"""The kinds of what is no command."""
LEAST_BATCH_BYTES = 4096
SEALED_FROM_BATCHES = 4  # less that waits is through before anybody notices
TICK_S = 0.25
LOOK_EVERY_S = 1.0  # whether the cloud is to be told more of the cluster
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
        self._release = ""
        self._cluster: Callable[[], Cluster | None] = lambda: None
        self._told_cluster: Cluster | None = None
        self._batch_bytes = BATCH_BYTES
        self._lanes = Lanes(outbox, random.random)
        reads = (topics.gateway(gateway, "ack"), topics.gateway(gateway, "down"))
        will = aiomqtt.Will(topics.gateway(gateway, "state"), encode_state(GatewayState(online=False)))
        self._link = MqttLink(*address, gateway, tls, reads, self._hear, self._on_connected, will)
        self.news: asyncio.Queue[Downward] = asyncio.Queue(NEWS)  # what devices are to be told
        self.new_list = asyncio.Event()  # of revoked certificates

    @property
    def is_connected(self) -> bool:
        """Whether the cloud's broker can be reached."""
        return self._link.is_connected

    def limit(self, bytes_per_s: int) -> None:
        """Send no more than so much of the outbox; to be called before `run`."""
        self._bandwidth = Bandwidth(bytes_per_s)
        self._batch_bytes = min(BATCH_BYTES, max(bytes_per_s, LEAST_BATCH_BYTES))
        self._lanes = Lanes(self._outbox, random.random, self._batch_bytes)
        self._store.express.from_bytes = SEALED_FROM_BATCHES * self._batch_bytes

    def listen(self, verb: str, hear: Callable[[bytes], None]) -> None:
        """Hear the cloud on one more verb of this gateway; to be called before `run`."""
        self._link.topics += (topics.gateway(self._gateway, verb),)
        self._hearers[verb] = hear

    def describe(self, release: str, cluster: Callable[[], Cluster | None]) -> None:
        """Tell of this gateway's release and cluster, and when that changes; to be called before `run`."""
        self._release, self._cluster = release, cluster

    async def ask(self, verb: str, payload: bytes) -> bool:
        """Send to the cloud beside the stream, and say whether there was a link; who needs an answer asks again."""
        return await self._link.publish(topics.gateway(self._gateway, verb), payload)

    def wake(self) -> None:
        """Say that the outbox has grown. What comes shortly after a batch waits for what follows it."""
        if not self._link.is_connected:
            return  # the next connection wakes it
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
            tasks.create_task(self._tell_often(), name="uplink-state")

    async def _pump(self) -> None:
        while True:
            await self._send_all()
            self._outbox.settle()
            for lane in self._outbox.lanes:
                await self._trim(lane)
            self._wake.clear()
            try:
                async with asyncio.timeout(TICK_S):
                    await self._wake.wait()
            except TimeoutError:
                continue

    async def _send_all(self) -> None:
        if not self._link.is_connected:
            self._lanes.disconnected()
            return
        while self._bandwidth is None or self._bandwidth.has_room(self._steady()):
            message = self._lanes.poll(self._steady())
            if message is None:
                return
            self._sent = self._steady()
            if not await self._link.publish(topics.up(self._gateway), message.payload):
                return
            if self._bandwidth is not None:
                self._bandwidth.spend(len(message.payload))

    async def _trim(self, lane: Lane) -> None:
        """Delete what the cloud has."""
        acknowledged = lane.acknowledged
        if acknowledged == lane.trimmed:
            return
        try:
            await self._on_disk(self._store.trim, acknowledged, lane.after)
        except sqlite3.Error as error:
            # A full disk has no room for a deletion either; the next turn tries it again.
            log.error("disk_refused_trim", error=str(error))  # noqa: TRY400
            return
        lane.trimmed = acknowledged

    async def _on_connected(self) -> None:
        self._lanes.disconnected()  # no record may go up under two streams
        least = SEALED_FROM_BATCHES * self._batch_bytes
        try:
            await self._on_disk(self._store.seal, least, os.urandom(batch.LANE_BYTES))
        except sqlite3.Error as error:
            # Then what has waited goes first, as it came.
            log.error("disk_refused_seal", error=str(error))  # noqa: TRY400
        self._lanes.connected(self._steady())
        self.wake()
        # What the cloud has for this gateway need not wait for its next resend.
        await self._tell_state(connected=True)

    async def _tell_often(self) -> None:
        while True:
            await self._wait_for_news()
            if self._link.is_connected:
                await self._tell_state(connected=False)

    async def _wait_for_news(self) -> None:
        """Wait until it is time to tell again, or the cluster is another one than was told."""
        time = asyncio.get_running_loop().time
        due = time() + TELL_EVERY_S
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if time() >= due or self._cluster() != self._told_cluster:
                return

    async def _tell_state(self, *, connected: bool) -> None:
        told = GatewayState(online=True, connected=connected, at=self._now(), stream=self._outbox.live.stream)
        told.numbered = self._outbox.unsettled()  # after the clock: what was taken until then has its number
        told.waiting = self._outbox.waiting()
        told.holds = self._outbox.held() if told.waiting else []
        told.release = self._release
        told.cluster = self._told_cluster = self._cluster()
        await self._link.publish(topics.gateway(self._gateway, "state"), encode_state(told))

    async def _on_disk(self, call: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._writer, call, *arguments)

    async def _hear(self, topic: str, payload: bytes) -> None:
        try:
            _, verb = topics.parse_gateway(topic)
            if verb in self._hearers:
                self._hearers[verb](payload)
            elif verb == "ack":
                stream, number = batch.unpack_ack(payload)
                self._lanes.acknowledge(stream, number, self._steady())
                self.wake()
            else:
                await self._take_down(batch.unpack(payload))
        except Rejected as error:
            log.warning("unreadable_from_cloud", topic=topic, field=error.field, reason=error.reason)
        except sqlite3.Error as error:
            # Not acknowledged, so the cloud sends it again.
            log.error("disk_refused_commands", error=str(error))  # noqa: TRY400

    async def _take_down(self, sent: batch.Batch) -> None:
        had = max(await self._on_disk(self._store.down.number, sent.stream), sent.first - 1)
        if sent.offset <= had + 1:
            last = max(had, sent.offset + len(sent.records) - 1)
            fresh = [_read(record) for record in sent.records[had + 1 - sent.offset :]]
            known = [record for record in fresh if record is not None]
            for record in known:
                if isinstance(record, Rule):
                    await asyncio.to_thread(self._store.prepare, record)
            news = await self._on_disk(self._store.down.take, sent.stream, last, known, self._now())
            had = last
            if any(isinstance(record, Revoked) for record in known):
                self.new_list.set()
            if any(isinstance(record, (TwinPatch, ForAutomation)) for record in known):
                self.wake()
            for one in news:
                # What finds no room is on the disk: what waits is sent again, and for the rest devices ask.
                if not self.news.full():
                    self.news.put_nowait(one)
        await self._link.publish(topics.gateway(self._gateway, "down/ack"), batch.pack_ack(sent.stream, had))


def _read(text: bytes) -> Sent | None:
    """Return a record of the cloud, a command checked as its device will check it; None, and said, for what is none."""
    try:
        record = json.loads(text)
        if record.get("kind") in TYPED:
            read = decode(text)
            if isinstance(read, (TwinPatch, Release)):
                topics.device_id(read.device)
            if isinstance(read, TwinPatch):
                messages.desired(read.version, read.values)
            return None if isinstance(read, Withdrawn) else read
        topics.device_id(record["device"])
        command_of(order_of(record))
    except (*UNREADABLE, ValueError, AttributeError, KeyError, TypeError, Rejected) as error:
        log.warning("unusable_from_cloud", error=str(error))
        return None
    return dict(record)
