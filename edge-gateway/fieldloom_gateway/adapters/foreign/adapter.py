"""A client at a broker that is not ours, for devices that know nothing of us. (C2, T1, T4)

On paho, whose `manual_ack` leaves the PUBACK to us: it follows our commit, so what a device has sent with QoS 1 lies
with its broker until it is on our disk. The broker keeps the session and numbers what it sends again; what comes with
QoS 0 and finds no room is lost, which is counted and said.
"""

import asyncio
import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import structlog
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from fieldloom_contract import messages
from fieldloom_contract.errors import Rejected
from fieldloom_contract.topics import COMMAND, RESULT, TELEMETRY, device, parse_device
from fieldloom_gateway.adapters.base import AdapterMetrics, Fault, Message, Outcome, Site, Slot, Verdict, key_of
from fieldloom_gateway.adapters.foreign.announcing import OFFLINE, ONLINE, Announcement, Announcer
from fieldloom_gateway.adapters.foreign.definition import Command, Mapping
from fieldloom_gateway.adapters.foreign.reading import Mappings
from fieldloom_gateway.adapters.foreign.sparkplug.nodes import Heard, Nodes
from fieldloom_gateway.adapters.foreign.writing import Publication, publication
from fieldloom_gateway.adapters.inbox import Inbox

log = structlog.get_logger()

KEEP_ALIVE_S = 30
CONNECT_TIMEOUT_S = 20.0
AGAIN_AFTER_S = 1.0
TELL_LOSS_EVERY_S = 60.0
SESSION_EXPIRY_S = 7 * 24 * 3600
IN_FLIGHT = 1000
"""What an MQTT 5 broker sends before it waits for acknowledgements; one of 3.1.1 has a limit of its own."""
COMMANDS_KNOWN = 1000
DEVICES_KNOWN = 10_000
HANDED_OVER = 1000
"""Messages on their way from paho's thread to the loop; then the thread waits, and the broker with it."""
HAND_OVER_WITHIN_S = 10.0
ANNOUNCE_EVERY_S = 1.0
ANNOUNCEMENTS = 100_000
VERSION_REFUSED, NOBODY_LISTENS = "Unsupported protocol version", "No matching subscribers"


class Refused(Exception):  # noqa: N818 - it reads as what happened
    """The broker does not take us, or has gone; the text says why."""


@dataclass(frozen=True)
class Broker:
    """Where a foreign broker is, and who we are there."""

    host: str
    port: int
    client_id: str
    tls: ssl.SSLContext | None
    username: str | None = None
    password: Path | None = None
    """The file of it, read at each connection."""


class Packet(NamedTuple):
    """A message of the broker's: to be acknowledged, on its connection, once all that it says is on the disk."""

    client: paho.Client
    id: int
    qos: int
    topic: str
    said: tuple[Message, ...]


class ForeignAdapter:
    """A ProtocolAdapter. Where the connection ends, so does `receive`, and `Kept` connects again."""

    def __init__(
        self,
        broker: Broker,
        name: str,
        mappings: Sequence[Mapping],
        site: Site,
        announcer: Announcer | None = None,
    ) -> None:
        self.metrics = AdapterMetrics()
        self._broker = broker
        self._name = name
        self._mappings = Mappings(mappings)
        self._nodes = Nodes(mappings)
        self._filters = self._mappings.filters + self._nodes.filters
        self._site = site
        self._inbox = Inbox()
        self.pending = self._inbox.pending
        self._version = MQTTProtocolVersion.MQTTv5
        self._client: paho.Client | None = None
        self._is_connected = False
        self._ended: asyncio.Future[str] | None = None
        self._theirs = self._mappings.named()
        """Of each device of ours that is known: its own name, and the commands that it knows."""
        self._met: set[str] = set()
        """The devices heard over this connection."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._in_flight: dict[int, tuple[str, str, Publication]] = {}
        """The device, the command's id and what was sent, by packet id."""
        self._answers: OrderedDict[str, bytes | None] = OrderedDict()
        """By a command's id; None while the broker has not answered."""
        self._announcer = announcer
        self._announcements: dict[str, Announcement] = {}
        """What waits to be published, the newest of a topic."""
        self._is_listening = False
        self._room = threading.Semaphore(HANDED_OVER)
        self._loss_told_at = -TELL_LOSS_EVERY_S

    @property
    def is_connected(self) -> bool:
        """Whether the broker has taken us, and our subscriptions."""
        return self._is_connected

    async def subscribe(self, topics: list[str]) -> None:
        """Nothing: the mappings say which topics."""

    async def connect(self) -> None:
        """Return when all topics are subscribed to. Raises Refused, OSError, TimeoutError."""
        try:
            await self._open()
        except Refused as error:
            if str(error) != VERSION_REFUSED or self._version != MQTTProtocolVersion.MQTTv5:
                raise
            await self.close()
            self._version = MQTTProtocolVersion.MQTTv311
            await self._open()
        self._is_connected = True
        if self._announcer is not None:
            self._announcer.forget()
            self._announcements[self._announcer.presence] = Announcement(
                self._announcer.presence, ONLINE, is_retained=True
            )
            self._start(self._publish_announcements())
            if not self._is_listening:
                self._is_listening = True
                self._site.listen(self._announce)

    async def receive(self) -> AsyncIterator[Message]:
        """Yield what the devices say. Raises Refused when the connection has ended."""
        ended = self._ended
        assert ended is not None  # noqa: S101 - `connect` comes first
        messages_in = self._inbox.receive()
        while True:
            coming: asyncio.Future[Message] = asyncio.ensure_future(anext(messages_in))
            both: set[asyncio.Future[Any]] = {coming, ended}
            try:
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                if not coming.done():
                    raise Refused(ended.result())
                yield coming.result()
            finally:
                coming.cancel()

    async def publish(self, topic: str, payload: bytes, qos: int = 0) -> bool:  # noqa: ARG002 - the interface's
        """Send a command on by its mapping; False for all else, and for a device that was not heard yet."""
        try:
            name, verb = parse_device(topic)
        except Rejected:
            return False
        known, client = self._theirs.get(name), self._client
        if verb != COMMAND or known is None or client is None or not self._is_connected:
            return False
        if self._nodes.is_unborn(name):
            return False
        command = messages.parse_command(payload)
        if command["expires"] > _unix_ms():
            self._send(client, name, command)
        return True

    async def close(self) -> None:
        """End the connection; the broker keeps the session, with all that was not acknowledged."""
        client, self._client, self._is_connected = self._client, None, False
        for task in self._tasks:
            task.cancel()
        for _, command, _ in self._in_flight.values():
            self._answers.pop(command, None)
        self._in_flight.clear()
        self._met.clear()
        self._nodes.forget()
        self._announcements.clear()
        if client is not None:
            if self._announcer is not None:
                client.publish(self._announcer.presence, OFFLINE, retain=True)
            client.disconnect()
            await asyncio.to_thread(client.loop_stop)

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        self._ended = loop.create_future()
        accepted: asyncio.Future[None] = loop.create_future()
        client = self._client = self._new_client(loop, accepted)
        fields: dict[str, Any] = {}
        if self._version == MQTTProtocolVersion.MQTTv5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho's
            properties.SessionExpiryInterval, properties.ReceiveMaximum = SESSION_EXPIRY_S, IN_FLIGHT
            fields = {"clean_start": False, "properties": properties}
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await asyncio.to_thread(client.connect, self._broker.host, self._broker.port, KEEP_ALIVE_S, **fields)
            client.loop_start()
            await accepted

    def _new_client(self, loop: asyncio.AbstractEventLoop, accepted: asyncio.Future[None]) -> paho.Client:
        is_old = self._version != MQTTProtocolVersion.MQTTv5
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            self._broker.client_id,
            clean_session=False if is_old else None,
            protocol=self._version,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S / 2  # of TCP, and again of TLS
        if self._broker.tls is not None:
            client.tls_set_context(self._broker.tls)
        if self._announcer is not None:
            client.will_set(self._announcer.presence, OFFLINE, retain=True)
        if self._broker.username is not None:
            password = self._broker.password
            client.username_pw_set(self._broker.username, password.read_text().strip() if password else None)

        def hand(call: Callable[..., None], *told: Any) -> None:
            """Leave paho's thread."""
            loop.call_soon_threadsafe(call, *told)

        def hand_message(_: Any, __: Any, message: paho.MQTTMessage) -> None:
            self._room.acquire(timeout=HAND_OVER_WITHIN_S)
            hand(self._take, client, message)

        client.on_connect = lambda _, __, ___, reason, *____: hand(self._connected, client, accepted, reason)
        client.on_subscribe = lambda _, __, ___, reasons, *____: hand(self._subscribed, accepted, reasons)
        client.on_disconnect = lambda _, __, ___, reason, *____: hand(self._disconnected, client, accepted, reason)
        client.on_message = hand_message
        client.on_publish = lambda _, __, packet, reason, ___: hand(self._sent, client, packet, reason)
        return client

    def _connected(self, client: paho.Client, accepted: asyncio.Future[None], reason: ReasonCode) -> None:
        if reason.is_failure:
            _fail(accepted, str(reason))
            return
        if self._filters:
            client.subscribe([(topic, 1) for topic in self._filters])
        else:
            self._subscribed(accepted, ())

    def _subscribed(self, accepted: asyncio.Future[None], reasons: Sequence[ReasonCode]) -> None:
        for topic, reason in zip(self._filters, reasons, strict=False):
            if reason.is_failure:
                _fail(accepted, f"{topic} may not be subscribed to: {reason}")
        if not accepted.done():
            accepted.set_result(None)

    def _disconnected(self, client: paho.Client, accepted: asyncio.Future[None], reason: ReasonCode) -> None:
        _fail(accepted, f"the broker has closed the connection: {reason}")
        if client is self._client and self._ended is not None and not self._ended.done():
            self._is_connected = False
            self._ended.set_result(f"the connection has ended: {reason}")

    def _take(self, client: paho.Client, message: paho.MQTTMessage) -> None:
        self._room.release()
        self.metrics.messages_received += 1
        self.metrics.bytes_received += len(message.payload)
        if client is not self._client:
            return  # the broker sends it again over the next connection
        heard = (
            None
            if message.retain
            else self._nodes.hear(message.topic, bytes(message.payload), _unix_ms(), is_repeat=message.dup)
        )
        said = self._said(message) if heard is None else self._said_of_node(client, heard)
        if not said:
            client.ack(message.mid, message.qos)
            return
        slot = f"mqtt/{self._name}/{message.mid}"
        marked = tuple(
            one._replace(key=key_of(one.topic, one.payload), slot=Slot(f"{slot}/{place}", message.dup))
            for place, one in enumerate(said)
        )
        self._give(Packet(client, message.mid, message.qos, message.topic, marked if message.qos else tuple(said)))

    def _said(self, message: paho.MQTTMessage) -> list[Message]:
        """Return what a message says in the contract's words; of one that says nothing, nothing, which is counted."""
        address, payload = message.topic, bytes(message.payload)
        try:
            found = self._mappings.find(message.topic)
            if found is None:
                self.metrics.ignored += 1
                return []
            address = device(found.device, TELEMETRY)
            self._learn(found.device, found.name, found.commands)
            said = found.read(payload, is_retained=message.retain)
        except Rejected as error:
            return [Message(address, payload, fault=Fault(error.field, f"{error.reason} ({message.topic})"))]
        if not said:
            self.metrics.retained += message.retain
            self.metrics.ignored += not message.retain
        return [Message(device(found.device, one.verb), one.payload) for one in said]

    def _said_of_node(self, client: paho.Client, heard: Heard) -> list[Message]:
        """Return what a node of Sparkplug B says, and ask it for its births where something of them is missing."""
        self.metrics.gaps += heard.is_gap
        self.metrics.left_out += heard.left_out
        if heard.rebirth is not None:
            self._count_sent(heard.rebirth)
            client.publish(*heard.rebirth)
        if not heard.messages:
            self.metrics.ignored += 1
        try:
            if heard.device is not None:
                self._learn(heard.device, heard.name, ())
        except Rejected as error:
            heard.messages.clear()
            heard.refuse([Fault(error.field, error.reason)])
        return heard.messages

    def _learn(self, ours: str, name: str, commands: Sequence[Command]) -> None:
        """Take note of a device's own name. Raises Rejected where two devices would be one of ours."""
        if ours not in self._theirs and len(self._theirs) >= DEVICES_KNOWN:
            raise Rejected("device", f"is one more than the {DEVICES_KNOWN} that are taken of a broker")
        theirs, _ = self._theirs.setdefault(ours, (name, commands))
        if theirs != name:
            raise Rejected("device", f"{theirs!r} is {ours} already: give {name!r} a name in devices")
        if ours not in self._met and commands:
            self._met.add(ours)
            self._start(self._send_waiting(ours))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        """Have something done until `close`."""
        task = asyncio.get_running_loop().create_task(work, name=f"adapter-{self._name}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _announce(self, taken: Sequence[Message]) -> None:
        """Take note of what our own devices have said, for Home Assistant."""
        if self._announcer is None or not self._is_connected:
            return
        for message in taken:
            name, verb = parse_device(message.topic)
            if name not in self._theirs and len(self._announcements) < ANNOUNCEMENTS:
                for one in self._announcer.announcements(name, verb, message.payload):
                    self._announcements[one.topic] = one

    async def _publish_announcements(self) -> None:
        """Publish what is new once a second, of each topic the newest."""
        while (client := self._client) is not None:
            waiting, self._announcements = self._announcements, {}
            for one in waiting.values():
                client.publish(one.topic, one.payload, retain=one.is_retained)
            self.metrics.messages_sent += len(waiting)
            self.metrics.bytes_sent += sum(len(one.payload) for one in waiting.values())
            await asyncio.sleep(ANNOUNCE_EVERY_S)

    async def _send_waiting(self, name: str) -> None:
        for payload in await self._site.waiting(name):
            await self.publish(device(name, COMMAND), payload)

    def _give(self, packet: Packet) -> None:
        """Have the ingest take what a packet says."""
        outcomes: list[Outcome] = []

        def settle(outcome: Outcome) -> None:
            outcomes.append(outcome)
            if len(outcomes) == len(packet.said):
                self._settled(packet, outcomes)

        for one in packet.said:
            if not self._inbox.put(one._replace(settle=settle)):
                settle(Outcome(Verdict.BUSY))

    def _settled(self, packet: Packet, outcomes: Sequence[Outcome]) -> None:
        is_taken = all(outcome.verdict is not Verdict.BUSY for outcome in outcomes)
        if packet.qos == 0:
            if not is_taken:
                self.metrics.lost += 1
                self._tell_loss(packet.topic)
        elif packet.client is not self._client:
            pass  # the broker sends it again over the next connection
        elif is_taken:
            packet.client.ack(packet.id, packet.qos)
            self.metrics.acks += 1
        else:
            self.metrics.dropped += 1
            said = tuple(one._replace(slot=one.slot._replace(is_repeat=True)) for one in packet.said if one.slot)
            asyncio.get_running_loop().call_later(AGAIN_AFTER_S, self._give_again, packet._replace(said=said))

    def _give_again(self, packet: Packet) -> None:
        if packet.client is self._client:
            self._give(packet)

    def _tell_loss(self, topic: str) -> None:
        now = time.monotonic()
        if now - self._loss_told_at >= TELL_LOSS_EVERY_S:
            self._loss_told_at = now
            log.warning("foreign_messages_lost", adapter=self._name, so_far=self.metrics.lost, newest_topic=topic)

    def _send(self, client: paho.Client, name: str, command: dict[str, Any]) -> None:
        """Send a command on, once; what was answered is answered again."""
        number = command["id"]
        if number in self._answers:
            self._answer(name, number, self._answers[number])
            return
        try:
            told = self._publication(name, command["type"], command["parameters"])
        except Rejected as error:
            self._answer(name, number, _result(number, "rejected", error=str(error)))
            return
        self._remember(number, None)
        sent = client.publish(told.topic, told.payload, qos=1)
        self._in_flight[sent.mid] = (name, number, told)
        self._count_sent(told)

    def _publication(self, name: str, kind: str, parameters: dict[str, Any]) -> Publication:
        """Return what a command is in the device's own words. Raises Rejected."""
        if self._nodes.is_born(name):
            return self._nodes.publication(name, kind, parameters, _unix_ms())
        theirs, commands = self._theirs[name]
        return publication(commands, theirs, kind, parameters)

    def _count_sent(self, told: Publication) -> None:
        self.metrics.messages_sent += 1
        self.metrics.bytes_sent += len(told.payload)

    def _sent(self, client: paho.Client, packet_id: int, reason: ReasonCode) -> None:
        """Answer a command by the broker's word on it; where nobody listens it waits until it expires."""
        if client is not self._client or packet_id not in self._in_flight:
            return
        name, number, told = self._in_flight.pop(packet_id)
        if str(reason) == NOBODY_LISTENS:
            self._answers.pop(number, None)
            log.info("foreign_command_waits", adapter=self._name, device=name, topic=told.topic)
        elif reason.is_failure:
            self._answer(name, number, _result(number, "failed", error=f"{told.topic}: {reason}"))
        else:
            self._answer(name, number, _result(number, "succeeded", result={"published": told.topic}))

    def _answer(self, name: str, number: str, payload: bytes | None) -> None:
        self._remember(number, payload)
        if payload is not None:
            self._inbox.put(Message(device(name, RESULT), payload))  # without room it is asked for again

    def _remember(self, number: str, payload: bytes | None) -> None:
        self._answers[number] = payload
        while len(self._answers) > COMMANDS_KNOWN:
            self._answers.popitem(last=False)


def _result(number: str, status: str, **fields: Any) -> bytes:
    return messages.dumps({"id": number, "status": status, **fields})


def _fail(accepted: asyncio.Future[None], why: str) -> None:
    if not accepted.done():
        accepted.set_exception(Refused(why))


def _unix_ms() -> int:
    return time.time_ns() // 1_000_000
