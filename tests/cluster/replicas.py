"""Several members in one process: one log on a disk, which each applies at its own pace; no votes, no network.

What is built on the port is tried by it where what counts is that copies lag, leaders change and members come and go.
"""

import asyncio
import contextlib

from fieldloom_gateway.cluster.consensus.port import NoLeader
from fieldloom_gateway.cluster.consensus.single import LocalConsensus
from fieldloom_gateway.cluster.state.machine import ReplicatedMap
from fieldloom_gateway.cluster.state.store import Store


class Replica:
    """A member's consensus: the port over the common log."""

    def __init__(self, name, replicas):
        self.name = name
        self.machine = ReplicatedMap()
        self.last_index = 0
        self._replicas = replicas
        self._moved = asyncio.Event()
        self.is_linked = asyncio.Event()
        """Clear while the member reaches nobody."""
        self.is_linked.set()

    @property
    def leader(self):
        return self._replicas.leader if self.is_linked.is_set() else None

    @property
    def members(self):
        return tuple(sorted(self._replicas.addresses))

    async def submit(self, command, within=5.0):
        await self._reach_leader(within)
        return await self._replicas.log.submit(command, within)

    async def barrier(self, within=5.0):
        await self._reach_leader(within)
        index = self._replicas.log.last_index
        async with asyncio.timeout(within):
            while self.last_index < index:
                self._moved.clear()
                await self._moved.wait()
        return index

    async def add_member(self, name, address, within=5.0):
        self._replicas.addresses[name] = address

    async def remove_member(self, name, within=5.0):
        del self._replicas.addresses[name]

    async def follow(self):
        """Apply what is committed, a little later than others, and hold all to the same outcomes."""
        self.machine.restore(self._replicas.log_machine.snapshot())
        self.last_index = self.machine.index
        async for entry in self._replicas.log.subscribe():
            await asyncio.sleep(self._replicas.rng.random() * self._replicas.lag_s)
            await self.is_linked.wait()
            assert self.machine.apply(entry.index, entry.command) == entry.outcome
            self.last_index = entry.index
            self._moved.set()

    async def _reach_leader(self, within):
        if self.leader is None:
            await asyncio.sleep(min(within, 0.05))
            raise NoLeader("cut off")


class Replicas:
    """The members of a cluster, each with a store that runs."""

    def __init__(self, folder, rng, lag_s=0.01, **options):
        self.rng = rng
        self.lag_s = lag_s
        self.log_machine = ReplicatedMap()
        self.log = LocalConsensus("log", folder, self.log_machine)
        self.addresses = {}
        self.leader = None
        self.members = {}
        self.stores = {}
        self._options = options
        self._tasks = {}

    async def start(self, name, wrap=lambda consensus: consensus):
        """Have a process of a member run."""
        replica = self.members[name] = Replica(name, self)
        self.leader = self.leader or name
        store = self.stores[name] = Store(wrap(replica), replica.machine, **self._options)
        self._tasks[name] = [asyncio.create_task(replica.follow()), asyncio.create_task(store.run())]
        await asyncio.sleep(0)
        return store

    async def stop(self, name):
        """Have a process of a member end."""
        for task in self._tasks.pop(name):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def __aenter__(self):
        await self.log.start()
        return self

    async def __aexit__(self, *error):
        for name in list(self._tasks):
            await self.stop(name)
        await self.log.stop()
