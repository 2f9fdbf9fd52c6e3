"""Tells the other gateways of a site what begins and ends its alarms, so that each lists the same. (E7, D7, ADR 72)"""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, NamedTuple

import structlog

from fieldloom_gateway.automation.alarms.service import Alarms
from fieldloom_gateway.automation.alarms.words import Unread, Word, decode, encode
from fieldloom_gateway.automation.carrying import Carrier
from fieldloom_gateway.cluster.calling import NotLetIn, OutOfReach

log = structlog.get_logger()

PATH = "/cluster/alarms"
AGAIN_S = 5.0


class Ports(NamedTuple):
    """What the rest of a gateway does for it."""

    members: Callable[[], Iterable[str]]
    """The other gateways, by name, that can be asked."""
    ask: Callable[[str, str, bytes], Awaitable[bytes]]
    """Asks a member, by name, at a path of its door. Raises OutOfReach, NotLetIn."""
    in_store: Callable[..., Awaitable[Any]]
    """Calls something on the thread that has the gateway's database."""
    commit: Callable[..., Awaitable[Any]]
    """Calls something in a transaction of its own. Raises sqlite3.Error."""
    bury: Callable[[str, bytes, str, int], None]
    """Keeps a dead letter, with the transaction that is open: topic, payload, reason, Unix ms."""
    now: Callable[[], int]
    """Unix ms."""


class Telling:
    """One gateway's part, both ways; `take` is for the members' door, at `PATH`."""

    def __init__(self, alarms: Alarms, ports: Ports) -> None:
        self._alarms = alarms
        self._ports = ports
        self._carrier = Carrier("alarms", self._members, self.tell)
        self._through: dict[str, int] = {}
        """Up to which number each member has all: who was away, or made its database anew, is told all again."""
        self._out_of_reach: set[str] = set()
        """Members of which it was said that they take nothing."""

    async def run(self) -> None:
        """Tell until cancelled."""
        await self._carrier.run()

    async def take(self, member: str, body: bytes) -> bytes:
        """Keep what a member tells. Raises MsgspecError, sqlite3.Error."""
        words, unread = decode(body)
        if unread:
            log.warning("alarms_not_understood", member=member, words=len(unread), reason=unread[0].reason)
        await self._ports.commit(self._keep, words, unread)
        return b"{}"

    async def tell(self, member: str) -> bool:
        """Tell a member some of what it has yet to know; return whether there may be more."""
        try:
            words, through = await self._ports.in_store(self._alarms.news, self._through.get(member, 0))
            if not words:
                return False
            await self._ports.ask(member, PATH, encode(words))
        except (OutOfReach, NotLetIn, sqlite3.Error) as error:
            if member not in self._out_of_reach:
                self._out_of_reach.add(member)
                log.warning("alarms_not_told", member=member, reason=str(error))
            await asyncio.sleep(AGAIN_S)
            return False
        self._out_of_reach.discard(member)
        self._through[member] = through
        return True

    def _members(self) -> list[str]:
        there = [*self._ports.members()]
        self._through = {member: self._through.get(member, 0) for member in there}
        return there

    def _keep(self, words: Sequence[Word], unread: Sequence[Unread]) -> None:
        for one in unread:
            self._ports.bury(PATH, one.told, one.reason, self._ports.now())
        self._alarms.learn(words)
