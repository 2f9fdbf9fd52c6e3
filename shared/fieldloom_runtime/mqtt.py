"""A link to a broker that comes back by itself: MQTT 5 with 3.1.1 as fallback, jittered back-off, counters. (C2)"""

import asyncio
import random
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import aiomqtt
import structlog
from paho.mqtt.subscribeoptions import SubscribeOptions

log = structlog.get_logger()

KEEP_ALIVE_S = 30
CONNECT_TIMEOUT_S = 20.0
BACK_OFF_S = 0.25
BACK_OFF_MAX_S = 5.0

OnMessage = Callable[[str, bytes], Awaitable[None]]
OnConnected = Callable[[], Awaitable[None]]


@dataclass
class Counters:
    """What passed a link since the process started."""

    messages_received: int = 0
    bytes_received: int = 0
    messages_sent: int = 0
    bytes_sent: int = 0
    errors: int = 0
    reconnects: int = 0


@dataclass
class MqttLink:
    """One identity's connection. `run` keeps it up until cancelled; `on_message` is awaited one by one."""

    host: str
    port: int
    identity: str
    tls: ssl.SSLContext
    topics: tuple[str, ...]
    on_message: OnMessage
    on_connected: OnConnected | None = None
    will: aiomqtt.Will | None = None
    inbound_limit: int = 1000
    """Messages that may wait; more are dropped before they are acknowledged, so their senders send them again."""
    counters: Counters = field(default_factory=Counters)
    _client: aiomqtt.Client | None = None
    _subscribed: frozenset[str] = frozenset()
    _subscribing: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection now."""
        return self._client is not None

    async def run(self) -> None:
        """Connect, subscribe, receive, and start again when the connection ends, for ever."""
        back_off = BACK_OFF_S
        while True:
            try:
                async with self._connection() as client:
                    back_off = BACK_OFF_S
                    await self._serve(client)
            except (aiomqtt.MqttError, OSError, TimeoutError) as error:
                self.counters.errors += 1
                log.warning("mqtt_link_down", host=self.host, port=self.port, identity=self.identity, error=str(error))
            finally:
                self._client = None
            self.counters.reconnects += 1
            await asyncio.sleep(back_off * random.uniform(0.5, 1.5))  # noqa: S311 - spreads load, hides nothing
            back_off = min(back_off * 2, BACK_OFF_MAX_S)

    async def publish(self, topic: str, payload: bytes, qos: int = 0) -> bool:
        """Send a message and say whether there was a connection to send it on; delivery is the stream's business."""
        client = self._client
        if client is None:
            return False
        try:
            await client.publish(topic, payload, qos=qos)
        except aiomqtt.MqttError:
            self.counters.errors += 1
            return False
        self.counters.messages_sent += 1
        self.counters.bytes_sent += len(payload)
        return True

    async def watch(self, topics: tuple[str, ...]) -> None:
        """Subscribe to these topics and no others, now and on each new connection."""
        self.topics = topics
        if self._client is not None:
            try:
                await self._subscribe(self._client)
            except aiomqtt.MqttError:
                self.counters.errors += 1  # the next connection has them

    async def _subscribe(self, client: aiomqtt.Client) -> None:
        """Bring a connection's subscriptions to what is wanted, in one packet each way."""
        async with self._subscribing:
            wanted = frozenset(self.topics)
            if gone := sorted(self._subscribed - wanted):
                await client.unsubscribe(gone)
            if new := sorted(wanted - self._subscribed):
                await client.subscribe([(topic, SubscribeOptions(qos=0)) for topic in new])
            self._subscribed = wanted

    def _connection(self) -> aiomqtt.Client:
        return aiomqtt.Client(
            self.host,
            self.port,
            identifier=self.identity,
            protocol=aiomqtt.ProtocolVersion.V5,
            tls_context=self.tls,
            keepalive=KEEP_ALIVE_S,
            timeout=CONNECT_TIMEOUT_S,
            will=self.will,
            max_queued_incoming_messages=self.inbound_limit,
        )

    async def _serve(self, client: aiomqtt.Client) -> None:
        self._subscribed = frozenset()
        await self._subscribe(client)
        self._client = client
        await self._subscribe(client)  # to what was asked for meanwhile
        if self.on_connected is not None:
            await self.on_connected()
        async for message in client.messages:
            payload = message.payload if isinstance(message.payload, bytes) else str(message.payload or "").encode()
            self.counters.messages_received += 1
            self.counters.bytes_received += len(payload)
            if not message.retain:
                await self.on_message(str(message.topic), payload)
