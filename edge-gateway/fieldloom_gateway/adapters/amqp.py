"""AMQP devices, through a RabbitMQ of the site: a topic exchange, and a queue that outlives the gateway. (C4)

A message is acknowledged to RabbitMQ after the commit; until then RabbitMQ keeps it, and gives it again to a gateway
that comes back. Who a device is RabbitMQ proves: it takes the property `user_id` from the user of that name alone.
"""

import asyncio
import time
from asyncio import Future
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import aio_pika
import structlog
from aio_pika import DeliveryMode, ExchangeType
from aio_pika.abc import AbstractConnection, AbstractExchange, AbstractIncomingMessage
from aio_pika.exceptions import CONNECTION_EXCEPTIONS, DeliveryError
from pydantic import Field, ValidationInfo, field_validator

from fieldloom_contract import messages, topics
from fieldloom_contract.errors import Rejected
from fieldloom_contract.limits import MAX_NAME
from fieldloom_gateway.adapters import formats
from fieldloom_gateway.adapters.base import (
    AdapterMetrics,
    AdapterSettings,
    Fault,
    Kind,
    Message,
    Outcome,
    Settle,
    Site,
    User,
    Verdict,
    key_of,
)
from fieldloom_gateway.adapters.formats import JSON
from fieldloom_gateway.adapters.inbox import Inbox
from fieldloom_gateway.adapters.rabbitmq import LOOPBACK, Management, ManagementSettings, Users
from fieldloom_runtime import files
from fieldloom_runtime.tls import client_context

log = structlog.get_logger()

EXCHANGE = "fieldloom"
UP = {"telemetry": topics.TELEMETRY, "event": topics.EVENT, "command.result": topics.RESULT, "state": topics.STATE}
"""Verbs by what follows the device in a routing key, as in d.pump-7.telemetry."""
PREFETCH = 256
"""Messages that RabbitMQ hands over before they are acknowledged: what the gateway's memory has to hold."""
BUSY_PAUSE_S = 2.0
CONNECT_TIMEOUT_S = 20.0
PUBLISH_TIMEOUT_S = 5.0
HEARTBEAT_S = 30
SENT = 10_000
"""Commands that are known to lie in RabbitMQ."""
KEPT_MAX_S = 30 * 24 * 3600.0  # RabbitMQ's expiration has 32 bits of ms
LOOK_S, LOOK_AGAIN_S, RETRY_S = 1.0, 60.0, 5.0
"""How often credentials are looked at; how often RabbitMQ is, which may have been set up anew."""


class AmqpSettings(AdapterSettings):
    """Which RabbitMQ, and who the gateway is there."""

    host: str = "127.0.0.1"
    port: int = Field(default=5671, ge=1, le=65535)
    tls: bool = Field(default=True, description="Only on loopback can it be false.")
    ca: Path | None = Field(default=None, description="Whose certificate RabbitMQ has, PEM; by default Fieldloom's CA.")
    vhost: str = "/"
    user: str = "fieldloom"
    password_file: Path = Field(description="A file that holds the user's password, readable by its owner alone.")
    queue: str = Field(default="fieldloom.up", description="Gateways with the same queue share what comes in.")
    management: ManagementSettings | None = Field(
        default=None, description="Where users are kept as their credentials say; without it they are named as devices."
    )

    @field_validator("tls")
    @classmethod
    def _is_protected(cls, value: bool, others: ValidationInfo) -> bool:
        if not value and others.data.get("host") not in LOOPBACK:
            raise ValueError("can be false only where host is loopback")
        return value


def address(key: str) -> tuple[str, str]:
    """Return device and verb of a routing key, as of d.pump-7.command.result; empty ones for another one's."""
    first, _, rest = key.partition(".")
    device, _, verb = rest.partition(".")
    return (device, UP[verb]) if first == "d" and verb in UP else ("", "")


class AmqpAdapter:
    """A ProtocolAdapter: one connection; what came over it dies with it, since RabbitMQ gives it again."""

    def __init__(self, settings: AmqpSettings, site: Site) -> None:
        self.metrics = AdapterMetrics()
        self._settings = settings
        self._site = site
        self._users = Users(site.credentials, is_kept=settings.management is not None)
        self._inbox = Inbox()
        self._connection: AbstractConnection | None = None
        self._exchange: AbstractExchange | None = None
        self._lost: Future[str] | None = None
        self._sent: set[int] = set()
        self._sending = asyncio.Lock()  # one at a time: what is being confirmed is not sent beside it
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection now."""
        return self._exchange is not None

    async def connect(self) -> None:
        """Connect, declare what is needed, and begin to receive. Raises OSError, AMQPError or StartFailed."""
        at = self._settings
        self._inbox, self._lost = Inbox(), asyncio.get_running_loop().create_future()
        self._sent.clear()
        self.metrics.reconnects += self._connection is not None
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            self._connection = await aio_pika.connect(
                host=at.host,
                port=at.port,
                login=at.user,
                password=self._secret(at.password_file),
                virtualhost=at.vhost,
                ssl=at.tls,
                ssl_context=client_context(self._authority()) if at.tls else None,
                heartbeat=HEARTBEAT_S,
            )
            self._connection.close_callbacks.add(lambda _, error: self._lose(str(error or "closed")))
            self._exchange = await self._consume(self._connection)
        if at.management is not None:
            self._begin(self._keep_users(at.management))

    async def subscribe(self, topics: list[str]) -> None:
        """Do nothing: the queue's bindings say what comes in."""

    async def publish(self, topic: str, payload: bytes, qos: int = 0) -> bool:  # noqa: ARG002 - the port's
        """Send a command, and say whether it lies in a queue of RabbitMQ; the rest has no place here.

        What RabbitMQ has confirmed is not sent again over the same connection.
        """
        try:
            device, verb = topics.parse_device(topic)
        except Rejected:
            return False
        if verb != topics.COMMAND:
            return False
        async with self._sending:
            return await self._send(device, payload)

    async def _send(self, device: str, payload: bytes) -> bool:
        if self._exchange is None:
            return False
        mark = hash((device, payload))
        if mark in self._sent:
            return True
        command = aio_pika.Message(payload, content_type=JSON, delivery_mode=DeliveryMode.PERSISTENT)
        left_s = messages.parse_command(payload)["expires"] / 1000 - time.time()
        command.expiration = min(max(left_s, 1.0), KEPT_MAX_S)
        try:
            await self._exchange.publish(command, f"d.{device}.command", timeout=PUBLISH_TIMEOUT_S)
        except DeliveryError:
            return False  # the device has no queue
        if len(self._sent) >= SENT:
            self._sent.clear()
        self._sent.add(mark)
        self.metrics.messages_sent += 1
        self.metrics.bytes_sent += len(payload)
        return True

    async def receive(self) -> AsyncIterator[Message]:
        """Yield what comes in. Raises ConnectionError when the connection ends."""
        if self._lost is None:
            raise ConnectionError("not connected")
        inbox = self._inbox.receive()
        while True:
            taken = asyncio.ensure_future(anext(inbox))
            either: set[Future[Any]] = {taken, self._lost}
            try:
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                if self._lost.done():
                    raise ConnectionError(self._lost.result())
                yield taken.result()
            finally:
                taken.cancel()

    def pending(self, limit: int) -> list[Message]:
        """Return, without waiting, up to `limit` of what has come in meanwhile."""
        return self._inbox.pending(limit)

    async def close(self) -> None:
        """End the connection; what is not acknowledged stays in RabbitMQ."""
        self._exchange = None
        for task in self._tasks:
            task.cancel()
        if self._connection is not None:
            await self._connection.close()

    async def _consume(self, connection: AbstractConnection) -> AbstractExchange:
        """Declare exchange, queue and bindings, take from the queue, and return the exchange for what goes down."""
        down, up = await connection.channel(on_return_raises=True), await connection.channel()
        await up.set_qos(prefetch_count=PREFETCH)
        exchange = await up.declare_exchange(EXCHANGE, ExchangeType.TOPIC, durable=True)
        queue = await up.declare_queue(self._settings.queue, durable=True)
        for verb in UP:
            await queue.bind(exchange, f"d.*.{verb}")
        for channel in (down, up):
            channel.close_callbacks.add(lambda _, error: self._lose(str(error or "a channel was closed")))
        await queue.consume(self._take)
        below = await up.get_underlay_channel()
        below.on_consumer_cancel_callbacks.add(lambda _: self._lose(f"the queue {queue.name} was deleted"))
        return await down.get_exchange(EXCHANGE, ensure=False)

    async def _take(self, incoming: AbstractIncomingMessage) -> None:
        self.metrics.messages_received += 1
        self.metrics.bytes_received += len(incoming.body)
        message = self._message(incoming, self._settling(incoming))
        if not self._inbox.put(message):
            self.metrics.dropped += 1
            self._begin(self._give_back(incoming))

    def _message(self, incoming: AbstractIncomingMessage, settle: Settle) -> Message:
        """Return the contract's message; one that is not its device's goes to the dead letters."""
        routing_key, user = incoming.routing_key or "", incoming.user_id
        device, verb = address(routing_key)
        fault = None
        if not device:
            fault = Fault("routing_key", "must be d, the device and one of " + ", ".join(UP))
        elif user is None:
            fault = Fault("user_id", "is missing, a message names the user that sends it")
        elif self._users.device(user) != device:
            fault = Fault("user_id", f"{user} is no user of {device}")
        if fault is not None:
            return Message(f"amqp:{routing_key}", incoming.body, settle, fault)
        payload, fault = formats.read(verb, incoming.content_type or JSON, incoming.body, "content_type")
        mark = incoming.message_id
        if mark and len(mark) > MAX_NAME:
            fault = Fault("message_id", f"must have up to {MAX_NAME} characters")
        known_by = key_of(mark, incoming.body) if mark else None
        return Message(topics.device(device, verb), payload, settle, fault, known_by)

    def _settling(self, incoming: AbstractIncomingMessage) -> Settle:
        def settle(outcome: Outcome) -> None:
            if outcome.verdict is Verdict.BUSY:
                self._begin(self._give_back(incoming))
                return
            if outcome.verdict is Verdict.TAKEN:
                self.metrics.acks += 1
            else:
                self.metrics.errors += 1
            self._begin(self._acknowledge(incoming))

        return settle

    async def _acknowledge(self, incoming: AbstractIncomingMessage) -> None:
        with suppress(
            *CONNECTION_EXCEPTIONS
        ):  # RabbitMQ gives it again, and it is known then by its numbers or its mark
            await incoming.ack()

    async def _give_back(self, incoming: AbstractIncomingMessage) -> None:
        """Have it come again after a pause; meanwhile it counts against the prefetch, so that RabbitMQ pauses too."""
        await asyncio.sleep(BUSY_PAUSE_S)
        with suppress(*CONNECTION_EXCEPTIONS):
            await incoming.nack(requeue=True)

    async def _keep_users(self, settings: ManagementSettings) -> None:
        tls = client_context(self._authority()) if settings.url.startswith("https") else None
        administrator = (settings.user, self._secret(settings.password_file))
        management = Management(settings.url, administrator, self._settings.vhost, EXCHANGE, tls)
        kept: list[User] | None = None
        looked_s = 0.0
        while True:
            users, now_s = self._users.renew(), time.monotonic()
            if users != kept or now_s - looked_s > LOOK_AGAIN_S:
                try:
                    await management.keep(users)
                    kept, looked_s = users, now_s
                except (OSError, ValueError) as error:
                    self.metrics.errors += 1
                    log.warning("rabbitmq_users_not_kept", url=settings.url, error=str(error))
                    await asyncio.sleep(RETRY_S)
            await asyncio.sleep(LOOK_S)

    def _authority(self) -> Path:
        return self._site.ca if self._settings.ca is None else self._site.data / self._settings.ca

    def _secret(self, path: Path) -> str:
        return files.read_secret(self._site.data / path)

    def _lose(self, why: str) -> None:
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(why)

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._lose(str(error))


KIND = Kind(AmqpSettings, AmqpAdapter)
