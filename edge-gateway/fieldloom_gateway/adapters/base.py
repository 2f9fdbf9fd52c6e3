"""What every protocol looks like to the gateway. (C1)"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import NamedTuple, Protocol


class Message(NamedTuple):
    """What came in, as it came."""

    topic: str
    payload: bytes


@dataclass
class AdapterMetrics:
    """What passed an adapter since the process started."""

    messages_received: int = 0
    bytes_received: int = 0
    messages_sent: int = 0
    bytes_sent: int = 0
    reconnects: int = 0
    retained: int = 0
    """Meant for whoever subscribes later, so they are no messages of now: ignored."""
    dropped: int = 0
    """Came while the queue was full: not acknowledged, so their senders send them again."""


class ProtocolAdapter(Protocol):
    """One protocol's connection to devices. A failed one is started again for ever."""

    @property
    def metrics(self) -> AdapterMetrics:
        """The figures since the start."""
        ...

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection now."""
        ...

    async def connect(self) -> None:
        """Begin to connect, and stay at it until `close`."""
        ...

    async def subscribe(self, topics: list[str]) -> None:
        """Receive these from now on, over every later connection too."""
        ...

    async def publish(self, topic: str, payload: bytes, qos: int = 0) -> bool:
        """Send, and say whether there was a connection to send on."""
        ...

    def receive(self) -> AsyncIterator[Message]:
        """Yield what comes in, until `close`."""
        ...

    async def close(self) -> None:
        """End the connection and the iterator."""
        ...
