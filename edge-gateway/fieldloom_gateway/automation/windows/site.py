"""Rules that remember as a gateway of a cluster runs them: over the map and the members' doors. (D4, ADR 66)"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from fieldloom_gateway.automation.windows import handing, runtime
from fieldloom_gateway.automation.windows.checkpoints import Checkpoints
from fieldloom_gateway.automation.windows.handing import Handing
from fieldloom_gateway.automation.windows.parcel import Lot
from fieldloom_gateway.automation.windows.runtime import Runtime
from fieldloom_gateway.automation.windows.service import Windows
from fieldloom_gateway.cluster.calling import Caller
from fieldloom_gateway.cluster.node import Node
from fieldloom_gateway.cluster.partitions.service import Partitions


class Ports(NamedTuple):
    """What the rest of a gateway does for it."""

    in_store: Callable[..., Awaitable[Any]]
    """Calls something on the thread that has the gateway's database."""
    commit: Callable[..., Awaitable[Any]]
    """Calls something in a transaction of its own. Raises sqlite3.Error."""
    deliver: Callable[[], Awaitable[None]]
    """Tells devices and others of what was committed."""
    tls: Callable[[], ssl.SSLContext]
    """Makes what other members are asked by."""
    now: Callable[[], int]
    """Unix ms."""
    steady: Callable[[], float]
    """Seconds of a clock that nobody sets."""


class SiteWindows:
    """`take` is for the members' door, at `handing.PATH`."""

    def __init__(self, node: Node, partitions: Partitions, windows: Windows, ports: Ports) -> None:
        self._windows = windows
        self._ports = ports
        checkpoints = Checkpoints(node.store)
        does = runtime.Ports(ports.in_store, self._judge, self._elapse, partitions.did, ports.now, ports.steady)
        self._runtime = Runtime(windows.homes, checkpoints, partitions.acts, does)
        partitions.attend(self._runtime)
        ask = Caller(node.doors, ports.tls).ask
        ways = handing.Ports(node.doors, ask, ports.in_store, ports.commit, ports.steady)
        name = node.store.name
        self._handing = Handing(name, partitions.owner, windows, checkpoints, self._runtime.hear, ways)
        self.take = self._handing.take

    async def run(self) -> None:
        """Hand over, judge and keep until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._runtime.run(), name="windows-runtime")
            tasks.create_task(self._handing.run(), name="windows-handing")

    def look(self) -> None:
        """Hand over what was received since the last time."""
        if self._windows.rows.has_more:
            self._windows.rows.has_more = False
            self._handing.wake()

    async def _judge(self, stream: str, lots: Sequence[Lot]) -> list[int | None]:
        judged: list[int | None] = await self._ports.commit(self._windows.judge, stream, lots, self._ports.now())
        await self._ports.deliver()
        return judged

    async def _elapse(self, partitions: Sequence[int]) -> None:
        await self._ports.commit(self._windows.elapse, partitions, self._ports.now())
        await self._ports.deliver()
