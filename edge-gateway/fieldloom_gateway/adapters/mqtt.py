"""MQTT devices that speak our contract, through the gateway's own broker or another one. (C2)

Devices that are not ours are the business of `foreign`: an entry with mappings leads there.

On gmqtt, which hands messages over without a task each: the gateway's hot path begins here (ADR 14).
"""

import asyncio
import logging
import random
import ssl
import stat
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import gmqtt
import structlog
from gmqtt.mqtt.handler import MQTTError
from pydantic import Field, FilePath, field_validator, model_validator

from fieldloom_gateway.adapters.base import AdapterMetrics, AdapterSettings, Kind, Message, Site
from fieldloom_gateway.adapters.foreign.adapter import Broker, ForeignAdapter
from fieldloom_gateway.adapters.foreign.announcing import Announcer
from fieldloom_gateway.adapters.foreign.definition import HomeAssistant, Mapping
from fieldloom_gateway.adapters.gathering import Gathering
from fieldloom_gateway.adapters.inbox import Inbox
from fieldloom_runtime.tls import client_context

log = structlog.get_logger()

PROTOCOL = "mqtt"
LOOPBACK = ("127.0.0.1", "localhost")
KEEP_ALIVE_S = 30
CONNECT_TIMEOUT_S = 20.0
CLOSE_TIMEOUT_S = 2.0
BACK_OFF_S = 0.25
BACK_OFF_MAX_S = 5.0
NEVER = {"reconnect_retries": -2}  # below "for ever" (-1) and "once" (0): to come back is our own business

# What was retained is told apart from what was sent just now, and what a broker has kept is not asked for.
AS_SENT = {"retain_as_published": True, "retain_handling_options": 2}

# It tells of its own life at every level; what an operator has to know is logged here.
quiet = logging.getLogger("gmqtt")
quiet.setLevel(logging.CRITICAL + 1)


class MqttSettings(AdapterSettings):
    """A broker beside the gateway's own one.

    Without mappings it must hold each device to its own topics of the contract, as ours does.
    """

    host: str
    port: int = Field(ge=1, le=65535)
    client_id: str = Field(min_length=1, max_length=64)
    ca: FilePath | None = Field(default=None, description="Whose certificate the broker shows; none: no TLS.")
    cert: FilePath | None = None
    key: FilePath | None = None
    username: str | None = None
    password_file: FilePath | None = Field(default=None, description="Readable by its owner alone.")
    insecure: bool = Field(default=False, description="Whether it goes without TLS over a network.")
    mappings: list[Mapping] = Field(default=[], description="Of devices that are not ours.")
    home_assistant: HomeAssistant | None = Field(default=None, description="Shows our own devices to it; true or more.")

    @field_validator("home_assistant", mode="before")
    @classmethod
    def _is_wished(cls, value: Any) -> Any:
        return {True: {}, False: None}[value] if isinstance(value, bool) else value

    @field_validator("password_file")
    @classmethod
    def _is_private(cls, value: Path | None) -> Path | None:
        if value is not None and stat.S_IMODE(value.stat().st_mode) & 0o077:
            raise ValueError("may be read by others: chmod 600")
        return value

    @model_validator(mode="after")
    def _is_safe(self) -> "MqttSettings":
        if self.ca is None and not self.insecure and self.host not in LOOPBACK:
            raise ValueError("needs a ca: without TLS it goes to loopback alone, or with `insecure: true`")
        if (self.cert is None) != (self.key is None):
            raise ValueError("needs cert and key, or neither")
        if self.password_file is not None and self.username is None:
            raise ValueError("needs a username beside the password_file")
        return self


class MqttAdapter:
    """A ProtocolAdapter. Its queue is bounded, in bytes too; what finds it full is dropped and counted.

    `login` is a user's name and the file of its password, for a broker that asks for one.
    """

    def __init__(
        self,
        address: tuple[str, int],
        identity: str,
        tls: ssl.SSLContext | None,
        on_connected: Callable[[], Awaitable[None]],
        login: tuple[str, Path | None] | None = None,
    ) -> None:
        self.metrics = AdapterMetrics()
        self._host, self._port = address
        self._identity = identity
        self._tls = tls
        self._on_connected = on_connected
        self._login = login
        self._topics: list[str] = []
        self._inbox = Inbox()
        self.receive = self._inbox.receive
        self.pending = self._inbox.pending
        self._client: gmqtt.Client | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection now."""
        return self._client is not None

    async def connect(self) -> None:
        """Begin to connect, and stay at it until `close`."""
        self._task = asyncio.create_task(self._run(), name="mqtt-adapter")

    async def subscribe(self, topics: list[str]) -> None:
        """Receive these over every later connection; to be called before `connect`."""
        self._topics += topics

    async def publish(self, topic: str, payload: bytes, qos: int = 0) -> bool:
        """Send, and say whether there was a connection to send on."""
        if self._client is None:
            return False
        self._client.publish(topic, payload, qos=qos)
        self.metrics.messages_sent += 1
        self.metrics.bytes_sent += len(payload)
        self.metrics.acks += topic.endswith("/ack")
        return True

    async def close(self) -> None:
        """End the connection."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        back_off = BACK_OFF_S
        while True:
            lost, subscribed = asyncio.Event(), asyncio.Event()
            client = self._new_client(lost, subscribed)
            try:
                async with asyncio.timeout(CONNECT_TIMEOUT_S):
                    await client.connect(self._host, self._port, ssl=self._tls or False, keepalive=KEEP_ALIVE_S)
                    _gather(client)
                    client.subscribe([gmqtt.Subscription(topic, **AS_SENT) for topic in self._topics])
                    await subscribed.wait()
                self._client, back_off = client, BACK_OFF_S
                await self._on_connected()
                await lost.wait()
                log.warning(
                    "mqtt_adapter_down", host=self._host, port=self._port, error="the broker has closed the connection"
                )
            except (OSError, TimeoutError, MQTTError) as error:
                self.metrics.errors += 1
                log.warning(
                    "mqtt_adapter_down", host=self._host, port=self._port, error=str(error) or type(error).__name__
                )
            finally:
                self._client = None
                with suppress(OSError, TimeoutError):  # the other side may be gone
                    async with asyncio.timeout(CLOSE_TIMEOUT_S):
                        await client.disconnect()
            self.metrics.reconnects += 1
            await asyncio.sleep(back_off * random.uniform(0.5, 1.5))  # noqa: S311 - spreads load, hides nothing
            back_off = min(back_off * 2, BACK_OFF_MAX_S)

    def _new_client(self, lost: asyncio.Event, subscribed: asyncio.Event) -> gmqtt.Client:
        client = gmqtt.Client(self._identity, clean_session=True, logger=quiet)
        client.set_config(NEVER)
        if self._login is not None:
            username, password = self._login
            client.set_auth_credentials(username, password.read_text().strip() if password else None)
        client.on_message = self._take
        client.on_disconnect = lambda *_: lost.set()
        client.on_subscribe = lambda *_: subscribed.set()
        return client

    def _take(self, _: gmqtt.Client, topic: str | bytes, payload: bytes, __: int, properties: dict[str, Any]) -> int:
        self.metrics.messages_received += 1
        self.metrics.bytes_received += len(payload)
        if properties["retain"]:
            self.metrics.retained += 1
        elif not self._inbox.put(Message(topic if isinstance(topic, str) else topic.decode(errors="replace"), payload)):
            self.metrics.dropped += 1
        return 0  # MQTT 5's "success"


def _gather(client: gmqtt.Client) -> None:
    """Have a client write what it publishes together."""
    protocol = client._connection._protocol  # noqa: SLF001 - gmqtt has no place for it
    protocol.write_data = Gathering(protocol.write_data).write


def _build(settings: MqttSettings, site: Site) -> MqttAdapter | ForeignAdapter:
    tls = None
    if settings.ca is not None:
        is_ours = not (settings.mappings or settings.home_assistant)
        tls = client_context(settings.ca, settings.cert, settings.key, ssl.TLSVersion.TLSv1_2, is_ours=is_ours)
    if settings.mappings or settings.home_assistant:
        username, password = settings.username, settings.password_file
        broker = Broker(settings.host, settings.port, settings.client_id, tls, username, password)
        told = settings.home_assistant
        announcer = None if told is None else Announcer(told, site.gateway)
        return ForeignAdapter(broker, settings.name or PROTOCOL, settings.mappings, site, announcer)
    login = (settings.username, settings.password_file) if settings.username is not None else None
    return MqttAdapter((settings.host, settings.port), settings.client_id, tls, site.greet, login)


KIND = Kind(MqttSettings, _build)
