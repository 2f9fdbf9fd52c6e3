"""What the replicated map weighs, and how many partitions move as gateways come and go: a part of `cluster.py`.

`map_mib_100k_keys` is by how much a member's process has grown once it holds 100,000 keys of 20 bytes with values of
64: the map, its history, the log that is not compacted yet, and what the allocator keeps. The moves are those that the
log shows, of real owners; beside each the least that could be.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from fieldloom_gateway.cluster.consensus.member import Member
from fieldloom_gateway.cluster.consensus.membership import Membership
from fieldloom_gateway.cluster.partitions.partition import PARTITIONS
from fieldloom_gateway.cluster.partitions.placement import moves, place
from fieldloom_gateway.cluster.partitions.records import OWNER
from fieldloom_gateway.cluster.partitions.service import Partitions
from fieldloom_gateway.cluster.state.machine import ReplicatedMap
from fieldloom_gateway.cluster.state.store import Store

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from fixtures.processes import free_port  # the ports of tests are those of benchmarks

KEYS, WRITERS = 100_000, 64
VALUE = b"x" * 64
SECRET = b"a secret of the benchmark, long enough"
CACHE = Path(__file__).parents[1] / ".cache"
NAMES = ("gw.a", "gw.b", "gw.c")
NEWCOMER = "gw.d"


def key(number: int) -> str:
    return f"devices/{number:012}"


def resident_mib(pid: int | str) -> float:
    """Return the memory that a process holds now."""
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0]) / 1024


async def fill(write) -> None:
    """Write all keys, WRITERS at a time."""
    numbers = iter(range(KEYS))

    async def work() -> None:
        for number in numbers:
            await write(key(number))

    await asyncio.gather(*(work() for _ in range(WRITERS)))


def weigh() -> dict[str, float]:
    """Return what a member that holds all keys has grown by."""
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        done = subprocess.run([sys.executable, __file__, folder], stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout)


async def _weigh(folder: str) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    machine, address = ReplicatedMap(), f"127.0.0.1:{free_port()}"
    membership = Membership("a", address, {"a": address}, SECRET, Path(folder))
    async with Member(membership, machine) as member:
        store = Store(member, machine)
        await store.set("first", b"", within=30.0)
        before = resident_mib("self")
        await fill(lambda one: store.set(one, VALUE, within=60.0))
        print(json.dumps({"map_mib_100k_keys": resident_mib("self") - before}))


class Owners:
    """Members that share the partitions by a strategy, all in this process, over the real consensus."""

    def __init__(self, folder: Path, strategy: str) -> None:
        self.folder, self.strategy = folder, strategy
        self.addresses = {name: f"127.0.0.1:{free_port()}" for name in NAMES}
        self.members: dict[str, Member] = {}
        self.stores: dict[str, Store] = {}
        self.partitions: dict[str, Partitions] = {}
        self._tasks: dict[str, asyncio.Task] = {}

    async def start(self, name: str) -> None:
        """Have a member run; a newcomer is added by one that is there."""
        machine = ReplicatedMap()
        self.addresses.setdefault(name, f"127.0.0.1:{free_port()}")
        membership = Membership(name, self.addresses[name], self.addresses, SECRET, self.folder / name)
        member = Member(membership, machine)
        await member.start()
        if name not in NAMES:
            await self.members[NAMES[0]].add_member(name, self.addresses[name], within=60.0)
        self.members[name] = member
        store = self.stores[name] = Store(member, machine)
        partitions = self.partitions[name] = Partitions(store, member, (), self.strategy)
        self._tasks[name] = asyncio.create_task(partitions.run())

    async def stop(self, name: str) -> None:
        task = self._tasks.pop(name)
        task.cancel()
        await asyncio.wait([task])
        await self.members.pop(name).stop()
        del self.stores[name], self.partitions[name]

    def owners(self) -> dict[int, str]:
        entries = self.stores[NAMES[0]].below(OWNER)
        return {int(entry.key.removeprefix(OWNER)): entry.value.decode() for entry in entries}

    def is_settled(self, among: set[str]) -> bool:
        owners = self.owners()
        active = sum(partitions.status()["active"] for partitions in self.partitions.values())
        return active == PARTITIONS and place(self.strategy, owners, among) == owners

    @asynccontextmanager
    async def change(self, among: set[str]):
        """Count what is assigned anew until all is as it should be among some; yields the counts, full afterwards."""
        counts, watch = {"least": _least(self.owners(), self.strategy, among)}, self.stores[NAMES[0]].watch(OWNER)
        yield counts
        async with asyncio.timeout(120):
            while not self.is_settled(among):
                await asyncio.sleep(0.05)
        counts["moved"] = sum(len(told.changes) for told in watch.ready())


def _least(owners: dict[int, str], strategy: str, members: set[str]) -> int:
    """Return how many have to move at least: as the ring has it; balanced, what is nobody's or a newcomer's share."""
    target = place(strategy, owners, members)
    if strategy == "consistent_hash":
        return len(moves(owners, target))
    orphans = sum(owner not in members for owner in owners.values())
    newcomers = len(members - set(owners.values()))
    return orphans or newcomers * (PARTITIONS // len(members))


async def count_moves(strategy: str) -> dict[str, int]:
    """Return what moves as a fourth gateway comes, is killed, and one of three leaves in order."""
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        owners, among = Owners(Path(folder), strategy), set(NAMES)
        for name in NAMES:
            await owners.start(name)
        async with owners.change(among):
            pass
        async with owners.change(among | {NEWCOMER}) as joined:
            await owners.start(NEWCOMER)
        async with owners.change(among) as killed:
            await owners.stop(NEWCOMER)
        async with owners.change(among - {NAMES[-1]}) as left:
            owners.partitions[NAMES[-1]].drain()
        for name in NAMES:
            await owners.stop(name)
    counted = {"join": joined, "kill": killed, "leave": left}
    return {
        f"{strategy}_{name}_{kind}": counts[kind] for name, counts in counted.items() for kind in ("moved", "least")
    }


if __name__ == "__main__":
    asyncio.run(_weigh(sys.argv[1]))
