"""The consensus of a gateway that is alone: durable, in one order, and behind the same port. (D1, D7)"""

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.conftest import SECONDS
from fieldloom_gateway.cluster.consensus.port import (
    COMMAND_BYTES,
    Compacted,
    FellBehind,
    NoLeader,
    NotCommitted,
    Refused,
    TooLarge,
)
from fieldloom_gateway.cluster.consensus.single import FILE, VERSION, LocalConsensus
from fieldloom_gateway.cluster.consensus.subscription import WAITING
from fieldloom_gateway.cluster.state.machine import ReplicatedMap
from fieldloom_runtime.errors import StartFailed


class Commands:
    """A state machine that is all commands that it was given."""

    def __init__(self):
        self.all = []

    def apply(self, index, command):
        self.all.append(command)
        return b"%d" % index

    def query(self, question):
        return b" ".join(self.all)

    def snapshot(self):
        return b" ".join(self.all)

    def restore(self, snapshot):
        self.all = snapshot.split()


@pytest.fixture
async def start(tmp_path):
    """Start a consensus on the test's disk, after the one before has stopped."""
    running = []

    async def start(**options):
        for one in running:
            await one.stop()
        machine = Commands()
        running[:] = [LocalConsensus("gw.test", tmp_path, machine, **options)]
        await running[0].start()
        return running[0], machine

    yield start
    for one in running:
        await one.stop()


async def test_what_is_acknowledged_is_there_after_a_restart(start):
    consensus, _ = await start()
    applied = await asyncio.gather(*(consensus.submit(b"%d" % number) for number in range(10)))

    again, machine = await start()

    assert [(one.index, one.outcome) for one in applied] == [(at, b"%d" % at) for at in range(1, 11)]
    assert machine.all == [b"%d" % number for number in range(10)]
    assert (again.last_index, again.leader, again.members) == (10, "gw.test", ("gw.test",))
    assert await again.barrier() == 10


async def test_a_snapshot_takes_the_place_of_old_entries(start):
    consensus, _ = await start(compact_entries=4)
    for number in range(6):
        await consensus.submit(b"%d" % number)

    async with asyncio.timeout(SECONDS):
        await _until_compacted(consensus, 4)
    found = [consensus.read(5), consensus.read(6)]
    _, machine = await start()

    assert found == [b"4", b"5"]
    assert machine.all == [b"%d" % number for number in range(6)]


async def _until_compacted(consensus, index):
    while True:
        try:
            consensus.read(index)
        except Compacted as error:
            assert error.first == index + 1
            return
        await asyncio.sleep(0.01)


async def test_what_is_not_committed_can_not_be_read(start):
    consensus, _ = await start()

    with pytest.raises(NotCommitted, match="entry 1 is not committed"):
        consensus.read(1)


async def test_a_subscriber_gets_each_command_or_is_told_that_it_missed_some(start):
    consensus, _ = await start()
    await consensus.submit(b"before")
    quick, slow = consensus.subscribe(), consensus.subscribe()
    await asyncio.gather(*(consensus.submit(b"x") for _ in range(WAITING - 1)))
    got = [await anext(quick) for _ in range(WAITING - 1)]
    await asyncio.gather(*(consensus.submit(b"x") for _ in range(2)))
    got += [await anext(quick) for _ in range(2)]

    with pytest.raises(FellBehind, match="missed entries after 10001"):
        async for entry in slow:
            last = entry.index

    assert [one.index for one in got] == list(range(2, WAITING + 3))
    assert last == 10_001
    await consensus.stop()
    assert [one async for one in quick] == []


async def test_members_do_not_change(start):
    consensus, _ = await start()

    with pytest.raises(Refused, match=r"gw\.test is alone: set up a cluster"):
        await consensus.add_member("gw.other", "127.0.0.1:7000")
    with pytest.raises(Refused, match=r"gw\.test can't go"):
        await consensus.remove_member("gw.test")


async def test_what_is_too_long_or_too_late_is_not_proposed(start):
    consensus, machine = await start()

    with pytest.raises(TooLarge, match="1048577 bytes is longer than 1048576"):
        await consensus.submit(b"x" * (COMMAND_BYTES + 1))
    await consensus.stop()
    with pytest.raises(NoLeader):
        await consensus.submit(b"x")
    with pytest.raises(NoLeader):
        await consensus.barrier()

    assert (machine.all, consensus.leader) == ([], None)


async def test_a_disk_that_refuses_loses_nothing_and_is_tried_again(start, tmp_path):
    consensus, machine = await start()
    await consensus.submit(b"first")
    with sqlite3.connect(tmp_path / FILE) as other:
        other.execute("ALTER TABLE journal RENAME TO away")

    with pytest.raises(NoLeader, match=r"cluster\.db can't be written"):
        await consensus.submit(b"refused")
    other.execute("ALTER TABLE away RENAME TO journal")
    other.close()
    await consensus.submit(b"second", within=SECONDS)

    assert machine.all == [b"first", b"second"]
    _, machine = await start()
    assert machine.all == [b"first", b"second"]


async def test_a_file_that_can_not_be_used_is_named(start, tmp_path):
    (tmp_path / FILE).write_bytes(b"no database" * 100)

    with pytest.raises(StartFailed, match=r"cluster.db can't be used .*: restore it from a copy"):
        await start()


async def test_a_file_of_a_newer_version_is_left_alone(start, tmp_path):
    with sqlite3.connect(tmp_path / FILE) as other:
        other.execute(f"PRAGMA user_version = {VERSION + 1}")
    other.close()

    with pytest.raises(StartFailed, match="has version 2, this gateway knows 1"):
        await start()


async def test_the_file_is_for_its_owner_alone(start, tmp_path):
    consensus, _ = await start()
    await consensus.submit(b"x")

    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path):
    acknowledged = []
    for _ in range(2):
        program = [sys.executable, Path(__file__).with_name("writing.py"), tmp_path]
        with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as writing:
            acknowledged += [writing.stdout.readline().strip() for _ in range(120)]
            writing.kill()
            acknowledged += writing.stdout.read().split()

    machine = asyncio.run(_read(tmp_path))
    found = machine.entries.keys("")

    assert len(acknowledged) >= 240
    assert set(acknowledged) <= set(found)
    assert found == [f"{number:06}" for number in range(len(found))]
    assert {entry.version for entry in machine.entries} == {1}


async def _read(folder):
    machine = ReplicatedMap()
    consensus = LocalConsensus("gw.test", folder, machine)
    await consensus.start()
    await consensus.stop()
    return machine
