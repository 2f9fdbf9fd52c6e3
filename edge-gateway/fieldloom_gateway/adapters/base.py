"""What every protocol looks like to the gateway, and what the gateway lends to it. (C1)

An adapter has proven who a device is before it gives a message on, and has translated its own addresses: a message's
topic is always the contract's `fl/v1/d/{device}/{verb}`. Where a protocol has an answer of its own, the adapter gives a
`settle` along and answers by its outcome, which comes after the commit: what is answered with success is on the disk.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from pydantic import BaseModel, ConfigDict, Field

from fieldloom_contract.stream import fingerprint


class Verdict(Enum):
    """What became of a message."""

    TAKEN = "taken"
    """All of it is on the disk, or was before."""
    REFUSED = "refused"
    """Something of it is bad and lies with the dead letters, and the rest is on the disk: not to be sent again."""
    BUSY = "busy"
    """The disk or the outbox is full: nothing was taken for good, so it is to be sent again later."""


class Fault(NamedTuple):
    """What is wrong with a message: the field's path, and the reason in words for a person."""

    path: str
    reason: str


class Outcome(NamedTuple):
    """What became of a message; `faults` says why it is refused."""

    verdict: Verdict
    faults: tuple[Fault, ...] = ()


TAKEN = Outcome(Verdict.TAKEN)
BUSY = Outcome(Verdict.BUSY)

Settle = Callable[[Outcome], None]
"""Called once, on the event loop; it neither waits nor raises."""


class Slot(NamedTuple):
    """A number that a sender has for one message at a time, as a packet id of MQTT is.

    What was taken under it before gives way to a message that is no repeat.
    """

    name: str
    """Of the sender and the number; it has a slash, so it is no device's."""
    is_repeat: bool
    """Whether the sender says that it may have sent the message before."""


class Message(NamedTuple):
    """What came in."""

    topic: str
    payload: bytes
    settle: Settle | None = None
    """Missing where the stream acknowledges (MQTT)."""
    fault: Fault | None = None
    """What the adapter itself has found wrong: the message goes to the dead letters for it."""
    key: str | None = None
    """By which a message that comes again is known for a day, where its records bear no numbers; see `key_of`."""
    slot: Slot | None = None
    """Whose key it is, where a protocol tells repeats: by default the device's, among all its keys of the day."""


def key_of(mark: str, payload: bytes) -> str:
    """Return the key of a message by its sender's mark and what was sent: a mark used twice hides no other message."""
    return f"{mark}:{fingerprint(payload):08x}"


@dataclass
class AdapterMetrics:
    """What passed an adapter since the process started."""

    messages_received: int = 0
    bytes_received: int = 0
    messages_sent: int = 0
    bytes_sent: int = 0
    acks: int = 0
    """What was answered as being on the disk."""
    errors: int = 0
    """Failures of the connection or the server, and requests that were refused."""
    reconnects: int = 0
    retained: int = 0
    """Meant for whoever subscribes later, so they are no messages of now: ignored."""
    dropped: int = 0
    """Came while the queue was full: not acknowledged, so their senders send them again."""
    lost: int = 0
    """Found no room, of senders that send nothing again."""
    ignored: int = 0
    """Of topics that nobody has mapped, or without what is mapped: not kept."""
    left_out: int = 0
    """Values of messages that were taken which are no number, boolean or text, as a table: not kept."""
    gaps: int = 0
    """Times that messages were missing before one that came, by the number that its sender gave it."""


class ProtocolAdapter(Protocol):
    """One protocol's connection to devices.

    Where `connect` or the iterator raises, the adapter has failed: it is closed, and connected again, for ever.
    """

    @property
    def metrics(self) -> AdapterMetrics:
        """The figures since the start."""
        ...

    @property
    def is_connected(self) -> bool:
        """Whether devices can be heard now."""
        ...

    async def connect(self) -> None:
        """Begin to connect or to serve, and stay at it until `close`; to be called again after it."""
        ...

    async def subscribe(self, topics: list[str]) -> None:
        """Receive these from now on, over every later connection too; a server receives what it serves anyway."""
        ...

    async def publish(self, topic: str, payload: bytes, qos: int = 0) -> bool:
        """Send, and say whether there was a way; False for what this protocol has no place for."""
        ...

    def receive(self) -> AsyncIterator[Message]:
        """Yield what comes in, until `close`."""
        ...

    def pending(self, limit: int) -> list[Message]:
        """Return, without waiting, up to `limit` of what has come in meanwhile: the rest of a group."""
        ...

    async def close(self) -> None:
        """End the connection; what is connected no more may be closed again."""
        ...


class Key(NamedTuple):
    """A device's secret key; `id` is the credential's."""

    device: str
    id: str
    secret: bytes


class User(NamedTuple):
    """An AMQP user; `password_hash` is RabbitMQ's (salt and SHA-256, base64)."""

    device: str
    id: str
    password_hash: str


class Credentials(Protocol):
    """Who is who without a certificate, as far as it holds at this moment. (P8)"""

    def device_of(self, token: str) -> str | None:
        """Return whose HTTP token this is."""
        ...

    def psk(self, identity: str) -> Key | None:
        """Return the key of a DTLS-PSK identity, which is the credential's last 12 digits."""
        ...

    def oscore(self, client_id: bytes) -> Key | None:
        """Return the master secret of an OSCORE client by its sender id."""
        ...

    def users(self) -> list[User]:
        """Return all AMQP users."""
        ...


@dataclass(frozen=True)
class Site:
    """What a gateway lends to its adapters."""

    gateway: str
    data: Path
    ca: Path
    cert: Path
    key: Path
    credentials: Credentials
    waiting: Callable[[str], Awaitable[list[bytes]]]
    """The payloads of the commands that wait for a device."""
    greet: Callable[[], Awaitable[None]]
    """To be awaited after each connection to a broker: asks who is there."""
    listen: Callable[[Callable[[Sequence[Message]], None]], None] = lambda _: None
    """Has a callback told of all messages that were taken, over any adapter, after their commit; it must not raise."""


class AdapterSettings(BaseModel):
    """What `adapters.yaml` says of an adapter; each protocol adds its own fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    protocol: str
    name: str = Field(default="", max_length=64, description="By default the protocol; no two have the same.")


class Kind(NamedTuple):
    """What an entry point of the group `fieldloom.adapters` leads to; its name is the protocol."""

    settings: type[AdapterSettings]
    build: Callable[[Any, Site], ProtocolAdapter]
    """Of the settings and the site; it connects nothing yet."""
