"""MQTT devices, through the gateway's own broker. (C2)"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress

from fieldloom_gateway.adapters.base import AdapterMetrics, Message
from fieldloom_runtime.mqtt import MqttLink

QUEUE = 10_000


class MqttAdapter:
    """A ProtocolAdapter on aiomqtt. Its queue is bounded; what comes while it is full is dropped and counted."""

    def __init__(
        self,
        port: int,
        identity: str,
        tls: ssl.SSLContext,
        on_connected: Callable[[], Awaitable[None]],
    ) -> None:
        self.metrics = AdapterMetrics()
        self._queue: asyncio.Queue[Message] = asyncio.Queue(QUEUE)
        self._task: asyncio.Task[None] | None = None
        self._link = MqttLink("127.0.0.1", port, identity, tls, (), self._take, on_connected, inbound_limit=QUEUE)

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection now."""
        return self._link.is_connected

    async def connect(self) -> None:
        """Begin to connect, and stay at it until `close`."""
        self._task = asyncio.create_task(self._link.run(), name="mqtt-adapter")

    async def subscribe(self, topics: list[str]) -> None:
        """Receive these over every later connection; to be called before `connect`."""
        self._link.topics = (*self._link.topics, *topics)

    async def publish(self, topic: str, payload: bytes, qos: int = 0) -> bool:
        """Send, and say whether there was a connection to send on."""
        sent = await self._link.publish(topic, payload, qos)
        if sent:
            self.metrics.messages_sent += 1
            self.metrics.bytes_sent += len(payload)
        return sent

    async def receive(self) -> AsyncIterator[Message]:
        """Yield what comes in."""
        while True:
            yield await self._queue.get()

    def pending(self, limit: int) -> list[Message]:
        """Return, without waiting, up to `limit` of what has come in meanwhile: the rest of a group."""
        return [self._queue.get_nowait() for _ in range(min(limit, self._queue.qsize()))]

    async def close(self) -> None:
        """End the connection."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _take(self, topic: str, payload: bytes) -> None:
        self.metrics.messages_received += 1
        self.metrics.bytes_received += len(payload)
        try:
            self._queue.put_nowait(Message(topic, payload))
        except asyncio.QueueFull:
            self.metrics.dropped += 1
