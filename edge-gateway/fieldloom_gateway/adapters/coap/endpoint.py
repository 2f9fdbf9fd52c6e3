"""aiocoap's UDP and DTLS servers with bounds: what is remembered of peers and of their messages has a limit.

aiocoap 0.4.17 keeps every peer, and every message for four minutes, however many they are; and an option that is no
UTF-8 leaves its parser as an error of Python's, past all that would count it. What is overridden here has no public
name, so its version is pinned. (ADR 28)
"""

import asyncio
import logging
import os
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from aiocoap import Context, Message, interfaces
from aiocoap.credentials import CredentialsMap
from aiocoap.error import BadOption, LibraryShutdown, UnparsableMessage
from aiocoap.messagemanager import MessageManager
from aiocoap.numbers.constants import COAP_PORT, COAPS_PORT
from aiocoap.oscore_sitewrapper import OscoreSiteWrapper
from aiocoap.tokenmanager import TokenManager
from aiocoap.transports.generic_udp import GenericMessageInterface
from aiocoap.transports.simplesocketserver import MessageInterfaceSimpleServer
from aiocoap.transports.tinydtls_server import (
    CloseNotifyReceived,
    MessageInterfaceTinyDTLSServer,
    SecurityStore,
    _AddressDTLS,
    _DatagramServerSocketSimpleDTLS,
)

CONNECTIONS = 2_000
"""DTLS peers that are remembered; one more takes the place of the oldest that has proven nothing, or of the oldest."""
REPEATS = 20_000
"""Messages whose repeats are answered from memory; beyond it the oldest are forgotten."""
UNREADABLE = (UnparsableMessage, UnicodeDecodeError)
CLOSE_NOTIFY = (1, 0)  # an alert's level and code (RFC 5246, section 7.2.1)

# It shares its ports (SO_REUSEPORT), and two servers would get half of the peers each.
os.environ["AIOCOAP_REUSE_PORT"] = "0"
# It tells of every malformed datagram; what an operator has to know is logged and counted by the adapter.
quiet = logging.getLogger("coap-server")
quiet.setLevel(logging.CRITICAL + 1)


async def serve(
    site: interfaces.Resource,
    keys: CredentialsMap,
    on_unreadable: Callable[[], None],
    host: str,
    oscore_port: int,
    dtls_port: int,
) -> Context:
    """Return a server of `site` at one address of this machine. Raises OSError when a port is not to be had.

    `on_unreadable` is called for each message that is none; outside of OSCORE it gets no answer (RFC 7252, 4.2).
    """
    wrapped = _Site(site, keys, on_unreadable)
    context = Context(serversite=wrapped, server_credentials=keys, loggername=quiet.name)
    arguments = {"log": context.log, "loop": context.loop}
    manager = _Manager(TokenManager(context))
    server = await _PlainServer.create_server((host, oscore_port), manager, **arguments)
    server.on_unreadable = on_unreadable
    _add(context, manager, server)
    manager = _Manager(TokenManager(context))
    bind = (host, dtls_port - (COAPS_PORT - COAP_PORT))  # it adds the distance of the two standard ports
    try:
        server = await _DtlsServer.create_server(bind, manager, server_credentials=keys, **arguments)
    except BaseException:
        await context.shutdown()
        raise
    server.on_unreadable = on_unreadable
    _add(context, manager, server)
    return context


def _add(context: Context, manager: MessageManager, server: interfaces.MessageInterface) -> None:
    manager.message_interface = server
    manager.token_manager.token_interface = manager
    context.request_interfaces.append(manager.token_manager)


class _Manager(MessageManager):  # type: ignore[misc]  # aiocoap has no types
    """Remembers the newest messages only."""

    def __init__(self, tokens: TokenManager) -> None:
        super().__init__(tokens)
        self._ends: OrderedDict[tuple[Any, int], float] = OrderedDict()

    def _deduplicate_message(self, message: Message) -> bool:
        key, now = (message.remote, message.mid), self.loop.time()
        self._forget(now)
        if key not in self._recent_messages:
            self._recent_messages[key] = None
            self._ends[key] = now + message.transport_tuning.EXCHANGE_LIFETIME
            return False
        if self._recent_messages[key] is not None:
            self._send_initially(self._recent_messages[key])
        return True

    def _forget(self, now: float) -> None:
        while self._ends:
            key = next(iter(self._ends))
            if self._ends[key] > now and len(self._ends) < REPEATS:
                return
            del self._ends[key], self._recent_messages[key]


class _Peer(_AddressDTLS):  # type: ignore[misc]
    """A DTLS connection that ends when its peer says so, or when another one begins at its address."""

    def __init__(self, *arguments: Any) -> None:
        self.has_proven = False
        super().__init__(*arguments)
        self._psk_store: _Identity = _Identity(self._dtls_socket.pskStore, self._give_way)
        self._dtls_socket.pskStore = self._psk_store

    def _give_way(self) -> None:
        if self._protocol._connections.get(self._underlying_address.address) is self:  # noqa: SLF001 - its own place
            self._inject_error(LibraryShutdown("another peer is at this address"))

    def _read(self, sender: Any, data: bytes) -> int:
        self.has_proven = True  # only with the key are there data
        return int(super()._read(sender, data))

    def _event(self, level: int, code: int) -> None:
        if (level, code) == CLOSE_NOTIFY:
            self._inject_error(CloseNotifyReceived())
        else:
            super()._event(level, code)


class _Identity:
    """The one identity of a connection, which can't become another one's half-way.

    Who names another one has answered a challenge at this address, so the former peer is gone: its connection ends, and
    the new peer's next attempt finds the place free. A device with a port of its own does so after a new credential.
    """

    def __init__(self, store: SecurityStore, on_other: Callable[[], None]) -> None:
        self._store = store
        self._on_other = on_other

    @property
    def _claims(self) -> Any:
        return self._store._claims  # noqa: SLF001 - what this stands for

    def keys(self) -> "_Identity":
        return self

    def __contains__(self, identity: bytes) -> bool:
        if identity not in self._store:
            return False
        _, claims = self._store._server_credentials.find_dtls_psk(identity)  # noqa: SLF001 - what this stands for
        if self._claims not in (None, claims):
            asyncio.get_running_loop().call_soon(self._on_other)
            return False
        return True

    def __getitem__(self, identity: bytes) -> bytes:
        return bytes(self._store[identity])


class _DtlsSocket(_DatagramServerSocketSimpleDTLS):  # type: ignore[misc]
    _Address = _Peer

    def datagram_received(self, data: bytes, sockaddr: Any) -> None:
        if sockaddr not in self._connections and len(self._connections) >= CONNECTIONS:
            peers = self._connections.values()
            oldest = next((peer for peer in peers if not peer.has_proven), next(iter(peers)))
            oldest._inject_error(LibraryShutdown("the place is needed"))  # noqa: SLF001
        super().datagram_received(data, sockaddr)


class _Careful(GenericMessageInterface):  # type: ignore[misc]
    """Counts and drops what is no message, which also lies in a DTLS record of a peer that has proven itself."""

    on_unreadable: Callable[[], None]

    def _received_datagram(self, address: Any, datagram: bytes) -> None:
        try:
            message = Message.decode(datagram, remote=address)
        except UNREADABLE:
            self.on_unreadable()
            return
        self._mman.dispatch_message(message)


class _PlainServer(_Careful, MessageInterfaceSimpleServer):  # type: ignore[misc]
    pass


class _DtlsServer(_Careful, MessageInterfaceTinyDTLSServer):  # type: ignore[misc]
    _serversocket = _DtlsSocket


class _Site(OscoreSiteWrapper):  # type: ignore[misc]
    """Refuses what is no message within OSCORE."""

    def __init__(self, site: interfaces.Resource, keys: CredentialsMap, on_unreadable: Callable[[], None]) -> None:
        super().__init__(site, keys)
        self._on_unreadable = on_unreadable

    async def render_to_pipe(self, pipe: Any) -> None:
        try:
            await super().render_to_pipe(pipe)
        except UNREADABLE:
            self._on_unreadable()
            raise BadOption("an option can't be read") from None
