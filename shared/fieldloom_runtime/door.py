"""The door of a broker: it reads the list of revoked certificates at once, and shows out who is inside. (P3)

mosquitto looks at the list in a handshake alone, so who is connected stays. His connection ends when another client
takes his client id, which the listener on loopback lets us do. Who has done a handshake and kept silent since has not
been seen yet: mosquitto forgets him after 90 s (measured), and for so long his client id stays ours.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import structlog

from fieldloom_runtime import broker, files

log = structlog.get_logger()

LIST = "crl.pem"
HOLD_S = 100.0
RETRY_S = 1.0
STARTING_S = 0.05
CONNECT_TIMEOUT_S = 10.0
ACCEPTED = b"\x20\2\0\0"


class Door:
    """The broker of a folder, and the port of its listener on loopback with what opens it."""

    def __init__(self, folder: Path, port: int, tls: ssl.SSLContext) -> None:
        self._folder = folder
        self._port = port
        self._tls = tls

    async def post(self, crl: bytes) -> None:
        """Have the broker keep to a list, PEM: now, or from its start if none runs."""
        await asyncio.to_thread(files.write, self._folder / LIST, crl)
        while (pid := broker.process_of(self._folder)) is not None:
            try:
                if broker.reload(pid):
                    return
            except PermissionError:
                log.error("broker_of_another_user", pid=pid, way_out="run broker and gateway as one user")  # noqa: TRY400
                return
            await asyncio.sleep(STARTING_S)
        log.warning("broker_not_running", folder=str(self._folder))

    async def expel(self, identity: str, *, hold: bool) -> None:
        """End an identity's connection; with `hold`, every one that it begins in the next 100 s too.

        A broker that does not answer is asked until it does.
        """
        loop = asyncio.get_running_loop()
        ends: float | None = None
        while ends is None or loop.time() < ends:
            try:
                async with self._taken_over(identity) as connection:
                    if ends is None:
                        ends = loop.time() + (HOLD_S if hold else 0)
                        log.info("identity_expelled", identity=identity, hold=hold)
                    with suppress(TimeoutError):
                        async with asyncio.timeout_at(ends):
                            await connection.read()
            except (OSError, EOFError, TimeoutError) as error:
                log.info("expelling_again", identity=identity, error=str(error))
                await asyncio.sleep(RETRY_S)

    @asynccontextmanager
    async def _taken_over(self, identity: str) -> AsyncIterator[asyncio.StreamReader]:
        """Give a connection that has an identity's client id; it ends when somebody else takes that."""
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port, ssl=self._tls)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                writer.write(_connect(identity))
                if await reader.readexactly(len(ACCEPTED)) != ACCEPTED:
                    raise ConnectionRefusedError("the broker refuses the client id")
            yield reader
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


def _connect(client_id: str) -> bytes:
    """Return MQTT 3.1.1's CONNECT with a clean session and without keep-alive (OASIS, section 3.1).

    By hand, since a client library's connection has a life of its own: aiomqtt missed that a thief had taken it over.
    """
    name = client_id.encode()
    body = b"\0\4MQTT\4\2\0\0" + len(name).to_bytes(2, "big") + name
    return bytes([0x10, len(body)]) + body  # a name has up to 64 characters, so the length has one byte
