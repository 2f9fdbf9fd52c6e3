"""Two processes of one cloud on PostgreSQL and VictoriaMetrics: one is paused, the other killed. (A7, T5, S1, C1)

Every record is stored once and in the order of its stream, commands go on down, and a rule fires once.
"""

import asyncio
import signal

import httpx2
import pytest

from cloud.conftest import TEMPLATE
from cloud.workers.scene import TICKING, Scene
from fixtures.series_servers import VictoriaServer

TAKEN_OVER_S = 60.0
"""About 10 s, and the rest for a busy machine."""
GOES_ON_S = 120.0


@pytest.fixture
def scene(tmp_path, postgresql):
    victoria = VictoriaServer(tmp_path / "victoria").start()
    scene = Scene(tmp_path, victoria, postgresql.create("several", TEMPLATE), every_s=1.5)
    yield scene
    scene.stop()
    victoria.stop()


async def test_a_paused_and_a_killed_process_lose_nothing_and_repeat_nothing(scene):
    first, second = scene.start(1), scene.start(2)
    await scene.until(lambda: scene.shares() == {1: 128, 2: 128}, TAKEN_OVER_S)
    await asyncio.to_thread(scene.deploy)

    async with scene.running():
        await scene.until(lambda: scene.stored() >= 15, GOES_ON_S)
        with scene.watching(2) as seen:
            await scene.until(
                lambda: {slot < 128 for slot in map(scene.slot_of, seen & set(TICKING))} == {True, False}, GOES_ON_S
            )
        await asyncio.to_thread(scene.command, 2)

        second.popen.send_signal(signal.SIGSTOP)
        await scene.until(lambda: scene.shares() == {1: 256}, TAKEN_OVER_S)
        await asyncio.to_thread(scene.command, 1)
        before = scene.stored()
        await scene.until(lambda: scene.stored() >= before + 10, GOES_ON_S)
        second.popen.send_signal(signal.SIGCONT)
        await scene.until(lambda: scene.shares() == {1: 128, 2: 128}, TAKEN_OVER_S)

        first.kill()
        await scene.until(lambda: scene.shares() == {2: 256}, TAKEN_OVER_S)
        await asyncio.to_thread(scene.command, 2)
        before = scene.stored()
        await scene.until(lambda: scene.stored() >= before + 10, GOES_ON_S)
        scene.end()
        await scene.until(scene.is_through, GOES_ON_S)

    scene.check()
    with scene.api(2) as api:
        (worker,) = api.get("/workers").raise_for_status().json()["items"]
    assert (worker["number"], worker["leads"], len(worker["slots"])) == (2, True, 256)
    figures = httpx2.get(f"http://127.0.0.1:{scene.ports[2]}/metrics", timeout=20).text
    assert "fieldloom_cloud_slots_held 256.0" in figures
    assert 'fieldloom_cloud_slots_moved_total{how="lost"}' in figures
    assert httpx2.get(f"http://127.0.0.1:{scene.ports[2]}/readyz", timeout=20).json()["reason"] is None
