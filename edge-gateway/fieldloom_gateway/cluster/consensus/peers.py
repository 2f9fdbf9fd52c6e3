"""The connections between members: TCP, sealed by the cluster's secret, dialled again for as long as a member is one.

Each member dials each other; what it sends goes over the connection that it has dialled, or over one of the other's.
Nothing is kept for a member out of reach: the core sends again what matters.
"""

import asyncio
import random
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec
import structlog

from fieldloom_gateway.cluster.consensus import messages
from fieldloom_gateway.cluster.consensus.messages import Malformed, Message
from fieldloom_gateway.cluster.consensus.sealing import HELLO_BYTES, NotSealed, Seal
from fieldloom_runtime.errors import StartFailed

log = structlog.get_logger()

FRAME_BYTES = 16 * 1024 * 1024
GREETING_BYTES = 1024
"""A frame's greatest length while nobody knows who sends it."""
WAITING_BYTES = 64 * 1024 * 1024
"""A member that takes its data so slowly is dropped and dialled anew."""
GREETING_S = 5.0
SILENCE_MS = 3000
"""A connection on which nothing sent is confirmed for so long is dead. (RFC 5482)"""
DIAL_S = 2.0
PAUSE_S = (0.05, 1.0)
STRANGERS = 16
"""Connections that may be open at a time before they have proven anything."""


class Greeting(msgspec.Struct, array_like=True, forbid_unknown_fields=True):
    """The first sealed frame: who this is, and where it listens."""

    name: str
    address: str


def split(address: str) -> tuple[str, int]:
    """Return (host, port) of HOST:PORT. Raises ValueError."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"{address!r} is not HOST:PORT")
    return host.strip("[]"), int(port)


class Link(asyncio.Protocol):
    """One connection; `dialled` is the name that has to answer, None if the other side has dialled."""

    def __init__(self, peers: "Peers", dialled: str | None) -> None:
        self._peers = peers
        self._seal = Seal(peers.secret, dialled=dialled is not None)
        self._buffer = bytearray()
        self._agreed = False
        self.dialled = dialled
        self.peer: Greeting | None = None
        self.closed = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what create_server and create_connection give
        self._transport = transport
        _detect_silence(transport.get_extra_info("socket"))
        self._deadline = asyncio.get_running_loop().call_later(GREETING_S, self.refuse, "too_slow", "no greeting")
        if self._peers.admit(self) and self.dialled is not None:
            self._write(self._seal.hello)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        place = 0
        try:
            while (end := self._end_of_frame(place)) is not None:
                frame = bytes(self._buffer[place + 4 : end])
                place = end
                self._take(frame)
        except NotSealed as error:
            self.refuse("not_sealed", str(error))
        except (Malformed, msgspec.DecodeError) as error:
            self.refuse("malformed", str(error))
        del self._buffer[:place]

    def connection_lost(self, _: Exception | None) -> None:
        self._deadline.cancel()
        self._peers.lost(self)
        if not self.closed.done():
            self.closed.set_result(None)

    def send(self, body: bytes) -> None:
        self._write(self._seal.close(body))
        if self._transport.get_write_buffer_size() > WAITING_BYTES:
            self.refuse("too_slow", "it does not take what it is sent")

    def refuse(self, reason: str, why: str) -> None:
        """Close a connection for a fault of the other side."""
        self._peers.refused[reason] += 1
        log.warning("peer_refused", peer=self._who(), reason=why)
        self.abort()

    def abort(self) -> None:
        self._transport.abort()

    def _end_of_frame(self, place: int) -> int | None:
        if len(self._buffer) < place + 4 or self._transport.is_closing():
            return None
        size = int.from_bytes(self._buffer[place : place + 4])
        if size > (FRAME_BYTES if self.peer else GREETING_BYTES):
            raise Malformed(f"a frame of {size} bytes")
        return place + 4 + size if len(self._buffer) >= place + 4 + size else None

    def _take(self, frame: bytes) -> None:
        if self.peer is not None:
            self._peers.heard(self.peer, messages.decode(self._seal.open(frame)))
        elif not self._agreed:
            self._agree(frame)
        else:
            self._greeted(msgspec.msgpack.decode(self._seal.open(frame), type=Greeting))

    def _agree(self, hello: bytes) -> None:
        self._seal.agree(hello[:HELLO_BYTES] if len(hello) == HELLO_BYTES else b"")
        self._agreed = True
        if self.dialled is None:
            self._write(self._seal.hello)
        else:
            self.send(self._peers.greeting)

    def _greeted(self, peer: Greeting) -> None:
        if self.dialled not in (None, peer.name) or peer.name == self._peers.name:
            self.refuse("another_name", f"it is {peer.name}, not {self.dialled or 'another member'}")
            return
        self._deadline.cancel()
        self.peer = peer
        if self.dialled is None:
            self.send(self._peers.greeting)
        self._peers.opened(self)

    def _write(self, frame: bytes) -> None:
        self._transport.write(len(frame).to_bytes(4) + frame)

    def _who(self) -> str:
        return self.peer.name if self.peer else str(self._transport.get_extra_info("peername"))


class Peers:
    """All connections of a member. `on_heard` gets (name, address, messages), `on_reach` (name, address, whether)."""

    def __init__(
        self,
        me: tuple[str, str],
        secret: bytes,
        on_heard: Callable[[str, str, list[Message]], None],
        on_reach: Callable[[str, str, bool], None],
    ) -> None:
        self.name, self._address = me
        self.secret = secret
        self.greeting = msgspec.msgpack.encode(Greeting(*me))
        self.refused: Counter[str] = Counter()
        self._on_heard = on_heard
        self._on_reach = on_reach
        self._strangers: set[Link] = set()
        self._links: dict[tuple[str, bool], Link] = {}
        """By the name of the other side, and whether it was dialled."""
        self._dialling: dict[str, asyncio.Task[None]] = {}
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen. Raises StartFailed."""
        host, port = split(self._address)
        try:
            self._server = await asyncio.get_running_loop().create_server(lambda: Link(self, None), host, port)
        except OSError as error:
            raise StartFailed(
                f"the cluster can't listen at {self._address} ({error.strerror or error})",
                "choose an address of this machine and a port that is free",
            ) from error

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        dialling, self._dialling = list(self._dialling.values()), {}
        for task in dialling:
            task.cancel()
        links = [*self._strangers, *self._links.values()]
        for link in links:
            link.abort()
        await asyncio.gather(*dialling, *(link.closed for link in links), return_exceptions=True)

    def talk_to(self, name: str, address: str | None) -> None:
        """Dial a member from now on; or, address None, no longer."""
        task = self._dialling.pop(name, None)
        if task is not None:
            task.cancel()
        if address is not None:
            self._dialling[name] = asyncio.create_task(self._dial(name, address), name=f"dial-{name}")

    def send(self, name: str, group: Sequence[Message]) -> None:
        """Send messages in as few frames as they fit in, if the member is within reach."""
        link = self._links.get((name, True)) or self._links.get((name, False))
        if link is None:
            return
        body = messages.encode(group)
        if len(body) <= FRAME_BYTES // 2 or len(group) == 1:
            link.send(body)
            return
        half = len(group) // 2
        self.send(name, group[:half])
        self.send(name, group[half:])

    # What links call.

    def admit(self, link: Link) -> bool:
        """Whether a new connection may go on."""
        if link.dialled is None and len(self._strangers) >= STRANGERS:
            link.refuse("too_many", "too many connections have not proven anything")
            return False
        self._strangers.add(link)
        return True

    def opened(self, link: Link) -> None:
        assert link.peer is not None  # noqa: S101 - opened says that it is known
        self._strangers.discard(link)
        key = (link.peer.name, link.dialled is not None)
        older = self._links.get(key)
        self._links[key] = link
        if older is not None:
            older.abort()
        self._on_reach(link.peer.name, link.peer.address, True)

    def heard(self, peer: Greeting, group: list[Message]) -> None:
        self._on_heard(peer.name, peer.address, group)

    def lost(self, link: Link) -> None:
        self._strangers.discard(link)
        if link.peer is None:
            return
        name, key = link.peer.name, (link.peer.name, link.dialled is not None)
        if self._links.get(key) is link:
            del self._links[key]
            if (name, True) not in self._links and (name, False) not in self._links:
                self._on_reach(name, link.peer.address, False)

    async def _dial(self, name: str, address: str) -> None:
        host, port = split(address)
        pause = PAUSE_S[0]
        while True:
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(DIAL_S):
                    _, link = await asyncio.get_running_loop().create_connection(lambda: Link(self, name), host, port)
                try:
                    await asyncio.shield(link.closed)
                finally:
                    link.abort()
                pause = PAUSE_S[0] if link.peer else pause
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - spreads members, hides nothing
            pause = min(2 * pause, PAUSE_S[1])


def _detect_silence(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", 3),
        ("TCP_KEEPINTVL", 1),
        ("TCP_KEEPCNT", 3),
        ("TCP_USER_TIMEOUT", SILENCE_MS),
    ):
        option = getattr(socket, name, None)  # not every system has all
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
