"""Asks other members at their doors: HTTPS by the certificates of the site's CA, each name verified. (D3, D4)"""

import asyncio
import http.client
import ssl
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import msgspec


class OutOfReach(Exception):  # noqa: N818 - it reads as what happened
    """No member could be asked, or none could decide now."""


UNREACHABLE = (OSError, http.client.HTTPException, OutOfReach)


class NotLetIn(Exception):  # noqa: N818 - it reads as what happened
    """A member has refused; asking again changes nothing."""


def connected(name: str, address: str, tls: ssl.SSLContext, timeout_s: float) -> http.client.HTTPSConnection:
    """Return a connection to a gateway, HOST:PORT, that has proven its name. Raises OSError, OutOfReach."""
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPSConnection(host.strip("[]"), int(port), context=tls, timeout=timeout_s)
    try:
        connection.connect()
        found = _name(connection.sock)
        if found != name:
            raise OutOfReach(f"who answers there is {found}")
    except BaseException:
        connection.close()
        raise
    return connection


def posted(connection: http.client.HTTPSConnection, path: str, body: bytes) -> bytes:
    """Return the answer to a POST. Raises OSError, HTTPException, OutOfReach, NotLetIn."""
    connection.request("POST", path, body)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status >= http.client.INTERNAL_SERVER_ERROR:
        raise OutOfReach(_detail(content))
    if answer.status != http.client.OK:
        raise NotLetIn(_detail(content))
    return content


class Caller:
    """Asks members one thing after the other each, over connections that are kept.

    `doors` are where members answer, HOST:PORT by name; `tls` makes what a connection is opened by.
    """

    TIMEOUT_S = 8.0

    def __init__(self, doors: Callable[[], dict[str, str]], tls: Callable[[], ssl.SSLContext]) -> None:
        self._doors = doors
        self._tls = tls
        self._kept: dict[str, http.client.HTTPSConnection] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def ask(self, member: str, path: str, body: bytes) -> bytes:
        """Return a member's answer. Raises OutOfReach, NotLetIn."""
        address = self._doors().get(member)
        if address is None:
            raise OutOfReach(f"nobody knows where {member} answers")
        async with self._locks[member]:
            return await asyncio.to_thread(self._ask, member, address, path, body)

    def _ask(self, member: str, address: str, path: str, body: bytes) -> bytes:
        kept = self._kept.pop(member, None)
        try:
            if kept is not None:
                try:
                    return self._over(kept, member, path, body)
                except ConnectionError:  # it was closed meanwhile, as by a start of the other side
                    pass
            return self._over(connected(member, address, self._tls(), self.TIMEOUT_S), member, path, body)
        except (OSError, http.client.HTTPException) as error:
            raise OutOfReach(f"{member} at {address}: {error}") from error

    def _over(self, connection: http.client.HTTPSConnection, member: str, path: str, body: bytes) -> bytes:
        """Ask over a connection, and keep it if it may be used again."""
        try:
            answer = posted(connection, path, body)
        except BaseException:
            connection.close()
            raise
        self._kept[member] = connection
        return answer


def _name(sock: Any) -> str | None:
    subject = sock.getpeercert().get("subject", ())
    return next((value for part in subject for key, value in part if key == "commonName"), None)


def _detail(content: bytes) -> str:
    try:
        return str(msgspec.json.decode(content, type=dict[str, Any])["detail"])
    except (msgspec.MsgspecError, KeyError):
        return "it gave no reason"
