"""Looks whether a service works: by a connection, or by a request. (D5)"""

import asyncio
import os
import socket
import ssl
from functools import cache

import httpx2

from fieldloom_gateway.cluster.services.definition import Check, Service

FAULT_LENGTH = 200


async def perform(check: Check, service: Service) -> str | None:
    """Return what is wrong with a service in words for a person, None if a check passes. Never raises for its fault."""
    port = check.port or service.port
    try:
        async with asyncio.timeout(check.timeout_s):
            if check.kind == "http":
                return await _get(check, service.host, port)
            await _connect(service.host, port)
    except TimeoutError:
        return f"no answer within {check.timeout_s:g} s"
    except (OSError, ValueError, httpx2.HTTPError, httpx2.InvalidURL) as error:
        return _told(error)
    return None


async def _connect(host: str, port: int) -> None:
    transport, _ = await asyncio.get_running_loop().create_connection(asyncio.Protocol, host, port)
    transport.abort()


async def _get(check: Check, host: str, port: int) -> str | None:
    """Ask for the headers of an answer; its body, however long, is not read."""
    bracketed = f"[{host}]" if ":" in host else host
    url = f"{'https' if check.tls else 'http'}://{bracketed}:{port}{check.path}"
    # No proxy of the environment stands between a gateway and its site.
    client = httpx2.AsyncClient(verify=_context(check.verify), timeout=check.timeout_s, trust_env=False)
    async with client, client.stream("GET", url) as answer:
        return None if answer.is_success else f"answered {answer.status_code}"


@cache
def _context(verify: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _told(error: BaseException) -> str:
    """Return the cause below what a client made of it: `Connection refused`, not that all attempts failed."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, OSError) and not isinstance(found, (ssl.SSLError, socket.gaierror)) and found.errno:
            return os.strerror(found.errno)
        error, found = found, found.__cause__ or found.__context__
    return (str(error) or type(error).__name__)[:FAULT_LENGTH]
