"""An HTTP interface as a part of a process: its port is bound before it counts as started. (V3)"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from fieldloom_runtime.errors import StartFailed


@asynccontextmanager
async def serving(
    app: Any, name: str, address: tuple[str, int], way_out: str, grace_s: int, tls: ssl.SSLContext | None = None
) -> AsyncIterator[None]:
    """Serve an ASGI application at an address; open requests get `grace_s` seconds at the end. Raises StartFailed.

    `name` and `way_out` tell the user which interface has no port, and what to do about it. With `tls` a request's
    `state.certificate` is the client's certificate, DER, None without one.
    """
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        proxy_headers=False,  # nobody else may say where a request comes from
        timeout_graceful_shutdown=grace_s,
        http=_WithCertificate if tls else "auto",
    )
    config.load()
    config.ssl = tls
    server = uvicorn.Server(config)
    with _listening(name, address, way_out) as listener:
        # Signals are this process's: uvicorn's own handlers would stop the interface alone.
        task = asyncio.create_task(server._serve([listener]), name=name)  # noqa: SLF001
        try:
            yield
        finally:
            server.should_exit = True
            await task


class _WithCertificate(H11Protocol):
    """Hands the client's certificate to the application, which uvicorn does not."""

    def connection_made(self, transport: Any) -> None:
        """Begin a connection, whose handshake is done."""
        super().connection_made(transport)
        certificate = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
        self.app_state = {**self.app_state, "certificate": certificate}


def _listening(name: str, address: tuple[str, int], way_out: str) -> socket.socket:
    # Only to sockets that name TCP does asyncio give TCP_NODELAY; without it an answer waits 40 ms for its second half.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        host, port = address
        raise StartFailed(f"{name} can't listen on {host}:{port} ({error.strerror})", way_out) from error
    return listener
