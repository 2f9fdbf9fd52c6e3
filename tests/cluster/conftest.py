"""A store on the disk of a test, alone, and what goes wrong with its answers."""

import asyncio
import contextlib

import pytest

from fieldloom_gateway.cluster.consensus.port import Unknown
from fieldloom_gateway.cluster.consensus.single import LocalConsensus
from fieldloom_gateway.cluster.state.machine import ReplicatedMap
from fieldloom_gateway.cluster.state.store import Store

SECONDS = 30.0
"""How long a test waits for what has to come."""


class Faulty:
    """A consensus of which answers and commands get lost, as `random` has it: a share of each."""

    def __init__(self, consensus, random, share=0.0):
        self._consensus = consensus
        self._random = random
        self.share = share

    def __getattr__(self, name):
        return getattr(self._consensus, name)

    async def submit(self, command, within=5.0):
        lost = self._random.random() < self.share
        if lost and self._random.random() < 0.5:
            raise Unknown("the command was lost")
        applied = await self._consensus.submit(command, within)
        if lost:
            raise Unknown("the answer was lost")
        return applied


class Steady:
    """A steady clock that stands still unless it is moved on."""

    def __init__(self):
        self.seconds = 1000.0

    def __call__(self):
        return self.seconds


@contextlib.asynccontextmanager
async def open_store(folder, wrap=lambda consensus: consensus, **options):
    """A store that runs alone on the disk, as a part of a gateway."""
    machine = ReplicatedMap()
    consensus = LocalConsensus("gw.test", folder, machine)
    await consensus.start()
    store = Store(wrap(consensus), machine, **options)
    running = asyncio.create_task(store.run())
    try:
        yield store
    finally:
        running.cancel()
        await asyncio.wait([running])
        await consensus.stop()


@pytest.fixture
async def store(tmp_path):
    async with open_store(tmp_path, grace_s=0.0) as store:
        yield store
