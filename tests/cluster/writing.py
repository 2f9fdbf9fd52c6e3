"""A program: writes numbered keys into the store of a folder, and says each once it is acknowledged. Run by tests."""

import asyncio
import itertools
import sys
from pathlib import Path

from fieldloom_gateway.cluster.consensus.single import LocalConsensus
from fieldloom_gateway.cluster.state.machine import ReplicatedMap
from fieldloom_gateway.cluster.state.store import Store


async def main(folder):
    machine = ReplicatedMap()
    consensus = LocalConsensus("gw.test", folder, machine, compact_entries=50)
    await consensus.start()
    store = Store(consensus, machine)
    numbers = itertools.count(len(machine.entries))

    async def write():
        for number in numbers:
            await store.set(f"{number:06}", b"x")
            sys.stdout.write(f"{number:06}\n")
            sys.stdout.flush()

    await asyncio.gather(*(write() for _ in range(4)))


asyncio.run(main(Path(sys.argv[1])))
