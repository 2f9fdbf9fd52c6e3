"""A TLS connection that blocks nobody: asyncio waits on the plain socket, reads and writes go to the TLS object.

A TLS socket has no file descriptor, so asyncio's own streams would ask it every millisecond; an idle board would then
cost 400 times the CPU.
"""

import asyncio.core
import gc
import socket

from fieldloom_contract.compat import const

IN_PROGRESS = (115, 119)  # EINPROGRESS of Linux and of lwIP
_TCP_NODELAY = const(1)
_IPPROTO_TCP = const(6)


class TlsStream:
    """One connection. Raises OSError when it ends, ValueError for a certificate that is not to be trusted."""

    def __init__(self):
        self._raw = None
        self._tls = None
        self._established = False

    async def open(self, host, port, context):
        """Connect; the handshake happens in the first write."""
        await self.dial(host, port)
        gc.collect()  # so that what stays as long as the connection lies low, and the largest room in one piece
        self._tls = context.wrap_socket(self._raw, server_hostname=host, do_handshake_on_connect=False)

    async def dial(self, host, port):
        """Make the connection below the TLS; a refusal may show only in what is done next."""
        address = socket.getaddrinfo(host, port)[0][-1]
        self._raw = socket.socket()
        self._raw.setblocking(False)
        try:
            self._raw.setsockopt(_IPPROTO_TCP, _TCP_NODELAY, 1)
        except OSError:
            pass  # MicroPython 1.22 on ESP32 has no such option
        try:
            self._raw.connect(address)
        except OSError as error:
            if error.errno not in IN_PROGRESS:
                raise
        await _writable(self._raw)

    async def heard(self):
        """Return when the other side has said something, or has refused or ended the connection."""
        await _readable(self._raw)

    async def write(self, data):
        """Send all of it."""
        view = memoryview(data)
        while view:
            count = self._tls.write(view)
            if count:
                view = view[count:]
            elif self._established:
                await _writable(self._raw)
            else:
                await _readable(self._raw)  # the handshake waits for the server
        self._established = True

    async def read_into(self, view):
        """Fill a view."""
        while view:
            count = self._tls.readinto(view)
            if count is None:
                await _readable(self._raw)
            elif count == 0:
                raise OSError(104)  # ECONNRESET: the gateway has closed
            else:
                view = view[count:]

    def close(self):
        """End it; nothing is waited for."""
        for stream in (self._tls, self._raw):
            try:
                if stream is not None:
                    stream.close()
            except OSError:
                pass
        self._tls = self._raw = None
        self._established = False


async def _readable(raw):
    yield asyncio.core._io_queue.queue_read(raw)


async def _writable(raw):
    yield asyncio.core._io_queue.queue_write(raw)
