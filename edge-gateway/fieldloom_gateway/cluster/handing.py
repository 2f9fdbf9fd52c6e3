"""Tells the other gateways of a site which commands wait and which have ended, until each has it on its disk. (D7)

So a command reaches its device at whichever gateway that is, or comes to: no gateway needs to know where. (ADR 63)
"""

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import structlog

from fieldloom_gateway.cluster.calling import UNREACHABLE, NotLetIn
from fieldloom_gateway.cluster.joining import post
from fieldloom_gateway.cluster.node import Node
from fieldloom_gateway.cluster.told import Told, encode, encode_for_older, news

log = structlog.get_logger()

COMMANDS = "/cluster/commands"
LOOK_S = 0.5
READ_EVERY_S = 5.0
"""A device that does not answer when all are asked who is there makes no news of its commands."""
AGAIN_S = 5.0


class Held(NamedTuple):
    """What a gateway holds: what is to be told to others, and the ids of all commands that wait here."""

    told: Told
    ids: set[str]


class Handing:
    """`read()` gives what is held, `has_news()` says whether that is other than before; `tls()` is for the doors."""

    def __init__(
        self,
        node: Node,
        read: Callable[[], Awaitable[Held]],
        has_news: Callable[[], bool],
        tls: Callable[[], ssl.SSLContext],
    ) -> None:
        self._node = node
        self._read = read
        self._has_news = has_news
        self._tls = tls
        self._held = Held(Told([], []), set())
        self._waiting: dict[str, set[str]] = {}
        """Which commands others keep, by member: those that they were told of, and those that they have told of."""
        self._ended: dict[str, set[str]] = {}
        """Of which ends they were told."""
        self._busy: set[str] = set()

    async def run(self) -> None:
        """Tell until cancelled."""
        context, read_at = self._tls(), 0.0
        async with asyncio.TaskGroup() as tasks:
            while True:
                if self._has_news() or time.monotonic() - read_at >= READ_EVERY_S:
                    read_at = time.monotonic()
                    self._take(await self._read())
                for name, address in self._peers().items():
                    told = news(self._held.told, self._waiting.get(name, set()), self._ended.get(name, set()))
                    if name not in self._busy and any(told):
                        self._busy.add(name)
                        tasks.create_task(self._tell(name, address, told, context), name=f"handing-{name}")
                await asyncio.sleep(LOOK_S)

    def heard(self, member: str, told: Told) -> None:
        """Take note that a member has what it tells of, or was told of."""
        self._waiting.setdefault(member, set()).update(one.id for one in told.waiting)
        self._ended.setdefault(member, set()).update(one.id for one in told.ended)

    def leaves(self, command_id: str) -> bool:
        """Whether another gateway that is there tells of this command that it has expired: the first by its name."""
        own = self._node.store.name
        known = list(self._waiting.items())  # the disk's thread asks, while others may come to be known
        return any(name < own and command_id in has and self._is_there(name) for name, has in known)

    def _take(self, held: Held) -> None:
        """Forget who has what is held no more."""
        self._held = held
        ends = {one.id for one in held.told.ended}
        for has in self._waiting.values():
            has.intersection_update(held.ids)
        for has in self._ended.values():
            has.intersection_update(ends)

    def _peers(self) -> dict[str, str]:
        doors = self._node.doors()
        return {name: door for name, door in doors.items() if name != self._node.store.name and self._is_there(name)}

    def _is_there(self, name: str) -> bool:
        return self._node.roster.member(name).state in ("active", "leaving")

    async def _tell(self, name: str, address: str, told: Told, context: ssl.SSLContext) -> None:
        try:
            await asyncio.to_thread(_post, name, address, told, context)
            self.heard(name, told)
        except (*UNREACHABLE, NotLetIn) as error:
            log.warning("commands_not_told", member=name, reason=str(error))
            await asyncio.sleep(AGAIN_S)
        finally:
            self._busy.discard(name)


def _post(name: str, address: str, told: Told, tls: ssl.SSLContext) -> None:
    """Tell a gateway, which may be of an older release and refuse what it does not know. (D6)"""
    try:
        post(name, address, COMMANDS, encode(told), tls)
    except NotLetIn:
        post(name, address, COMMANDS, encode_for_older(told), tls)
