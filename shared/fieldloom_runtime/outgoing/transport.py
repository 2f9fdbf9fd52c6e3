"""HTTP to addresses that were looked at: the name is resolved once, and the connection goes to what was checked. (E3)

So a name that has another address a moment later (DNS rebinding) leads nowhere else, on no redirect either.
"""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection

import httpx2

from fieldloom_runtime.outgoing import addresses
from fieldloom_runtime.outgoing.addresses import Network

PORTS = {"http": 80, "https": 443}

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Returns the addresses of a host, best first. Raises OSError."""


class AddressRefused(Exception):  # noqa: N818 - it reads as what happened
    """A host whose address no call may go to."""


async def resolve(host: str, port: int) -> list[str]:
    """Return the addresses that the system knows of a host, best first. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


class Transport(httpx2.AsyncBaseTransport):
    """Sends requests to public addresses over TLS, and to `listed` ones with or without it. Raises AddressRefused."""

    def __init__(self, listed: Collection[Network], resolve: Resolve, tls: ssl.SSLContext) -> None:
        self._listed = listed
        self._resolve = resolve
        # No connection is kept: over one to an address a second name would not be held against the certificate.
        limits = httpx2.Limits(max_keepalive_connections=0)
        self._http = httpx2.AsyncHTTPTransport(verify=tls, trust_env=False, limits=limits)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request to the first address of its host that takes a connection."""
        found = await self._addresses(request.url)
        for address in found[:-1]:
            try:
                return await self._http.handle_async_request(_aimed(request, address))
            except (httpx2.ConnectError, httpx2.ConnectTimeout):
                continue
        return await self._http.handle_async_request(_aimed(request, found[-1]))

    async def aclose(self) -> None:
        """Close what is open."""
        await self._http.aclose()

    async def _addresses(self, url: httpx2.URL) -> list[str]:
        host = url.raw_host.decode()
        try:
            found = await self._resolve(host, url.port or PORTS[url.scheme])
        except (OSError, UnicodeError) as error:
            raise httpx2.ConnectError(f"{host} has no address ({error})") from error
        for address in found:
            if (fault := addresses.fault(address, self._listed)) is not None:
                raise AddressRefused(f"{host} is {address}, {fault}: list it under `allow` in webhooks.yaml to call it")
            if url.scheme == "http" and not addresses.is_listed(address, self._listed):
                raise AddressRefused(f"{host} is to be called without TLS: use https, or list it under `allow`")
        return found


def _aimed(request: httpx2.Request, address: str) -> httpx2.Request:
    """Return a request to an address, whose `Host` and certificate stay those of the name."""
    extensions = {**request.extensions, "sni_hostname": request.url.raw_host.decode()}
    url = request.url.copy_with(host=address)
    return httpx2.Request(request.method, url, headers=request.headers, stream=request.stream, extensions=extensions)
