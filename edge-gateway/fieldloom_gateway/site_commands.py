"""The commands that the gateways of a site hold together: told to the others, and taken from them. (D7, ADR 63)"""

import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fieldloom_gateway.cluster.handing import Handing, Held
from fieldloom_gateway.cluster.node import Node
from fieldloom_gateway.cluster.told import decode
from fieldloom_gateway.ingest.down import Down
from fieldloom_gateway.ingest.judge import Downward

InStore = Callable[..., Awaitable[Any]]
"""Calls something on the thread of the disk."""


class SiteCommands:
    """`act` gets, after each commit, what of it is news for devices; other words may have been judged in it too."""

    def __init__(
        self,
        node: Node,
        down: Down,
        in_store: InStore,
        now: Callable[[], int],
        act: Callable[[Sequence[Downward]], Awaitable[None]],
        tls: Callable[[], ssl.SSLContext],
    ) -> None:
        self._down = down
        self._in_store = in_store
        self._now = now
        self._act = act
        self._handing = Handing(node, self._read, lambda: down.has_news, tls)
        self.run = self._handing.run
        self.leaves = self._handing.leaves

    async def take(self, member: str, body: bytes) -> bytes:
        """Keep what a member tells, and act on it. Raises MsgspecError, Rejected, sqlite3.Error."""
        told = decode(body)
        fresh = await self._in_store(self._down.take_told, told, self._now())
        self._handing.heard(member, told)
        await self._act(fresh)
        return b"{}"

    async def _read(self) -> Held:
        return Held(*await self._in_store(self._down.told))
