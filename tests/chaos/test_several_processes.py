"""Three processes of one cloud, killed, paused and started again: nothing lost, nothing twice. (A7, T5, S1)"""

import asyncio
import random
import signal

import pytest

from cloud.conftest import TEMPLATE
from cloud.workers.scene import Scene
from fieldloom_cloud.database import migrate
from fixtures.postgresql import PostgreSql
from fixtures.series_servers import VictoriaServer

SEEDS = (1, 2)
ROUNDS = 12
WORKERS = (1, 2, 3)


@pytest.fixture
def scene(tmp_path):
    server = PostgreSql().start()
    migrate(server.create(TEMPLATE))
    victoria = VictoriaServer(tmp_path / "victoria").start()
    scene = Scene(tmp_path, victoria, server.create("several", TEMPLATE), every_s=0.5)
    yield scene
    scene.stop()
    victoria.stop()
    server.stop()


async def harm(scene, rng):
    """Do something bad to a process while others live, for a time by chance, and put it right."""
    number = rng.choice(WORKERS)
    process = scene.processes[number]
    deed = rng.choice(("kill", "pause", "stop"))
    if deed == "pause":
        process.popen.send_signal(signal.SIGSTOP)
        await asyncio.sleep(rng.uniform(0.2, 14))
        process.popen.send_signal(signal.SIGCONT)
        return
    await asyncio.to_thread(process.kill if deed == "kill" else process.stop)
    await asyncio.sleep(rng.uniform(0, 12))
    await asyncio.to_thread(scene.start, number)


@pytest.mark.chaos
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", SEEDS)
async def test_whoever_dies_or_hangs_every_record_is_stored_once_and_in_order(scene, seed):
    rng = random.Random(seed)
    for number in WORKERS:
        await asyncio.to_thread(scene.start, number)
    await asyncio.to_thread(scene.deploy)

    async with scene.running():
        for _ in range(ROUNDS):
            await harm(scene, rng)
            await scene.until(lambda: len(scene.shares()) == len(WORKERS) and sum(scene.shares().values()) == 256, 60)
            await asyncio.to_thread(scene.command, rng.choice(WORKERS))
        scene.end()
        await scene.until(scene.is_through, 180)

    scene.check()
