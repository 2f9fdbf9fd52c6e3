"""A gateway that is alone writes into its replicated map, to be recorded: each answer is marked when it comes.

python alone_run.py DATA
"""

import asyncio
import os
import sys
from pathlib import Path

from fieldloom_gateway.cluster.consensus.single import LocalConsensus
from fieldloom_gateway.cluster.state.machine import ReplicatedMap
from fieldloom_gateway.cluster.state.store import Store
from powercut.trace import mark

WRITES = 24
AT_ONCE = 3
COMPACT_ENTRIES = 7  # so many let a short run do it several times


async def run(data: Path) -> None:
    machine = ReplicatedMap()
    consensus = LocalConsensus("gw.test", data, machine, COMPACT_ENTRIES)
    await consensus.start()
    store = Store(consensus, machine)

    async def write(number: int) -> None:
        await store.set(f"{number:04}", b"x" * 700)  # more than a sector of the disk
        mark("acknowledged", number)

    for first in range(0, WRITES, AT_ONCE):
        await asyncio.gather(*(write(number) for number in range(first, first + AT_ONCE)))


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1])))
    sys.stdout.flush()
    os._exit(0)  # as a power cut would end it: nothing is closed
