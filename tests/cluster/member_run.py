"""A member in a process of its own, for tests that kill it: `python member_run.py NAME FOLDER SECRET NAME=ADDRESS...`.

It submits numbered commands as fast as they are committed, one after the other, and prints `begun COMMAND` and
`done COMMAND PLACE` for each, `led NAME` whenever the leader changes. With the word `idle` on its input it stops to
submit and prints `log LENGTH FINGERPRINT` of its state once a second.
"""

import asyncio
import sys
import time
from contextlib import suppress
from pathlib import Path
from zlib import crc32

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1]))

from cluster.simulation import Log
from fieldloom_gateway.cluster.consensus.member import Member
from fieldloom_gateway.cluster.consensus.membership import Membership
from fieldloom_gateway.cluster.consensus.port import ConsensusFailed


def say(*words: object) -> None:
    print(f"{time.monotonic():.6f}", *words, flush=True)


async def submit(member: Member, is_idle: asyncio.Event) -> None:
    life = time.monotonic_ns()
    for number in range(1_000_000):
        if is_idle.is_set():
            return
        command = f"{member.name}-{life}-{number}"
        say("begun", command)
        with suppress(ConsensusFailed):
            applied = await member.submit(command.encode(), 2.0)
            say("done", command, applied.outcome.decode())
        await asyncio.sleep(0.01)


async def main() -> None:
    name, folder, secret, *told = sys.argv[1:]
    members = dict(one.split("=") for one in told)
    machine = Log()
    membership = Membership(name, members[name], members, secret.encode(), Path(folder))
    is_idle = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin, lambda: sys.stdin.readline() and is_idle.set())
    async with Member(membership, machine) as member:
        submitting = asyncio.create_task(submit(member, is_idle))
        await is_idle.wait()
        await submitting
        while True:
            with suppress(ConsensusFailed):
                await member.barrier(2.0)
                say("log", len(machine.commands), crc32(msgspec.msgpack.encode(machine.commands)))
            await asyncio.sleep(0.2)


asyncio.run(main())
