"""The link away for as many readings as an hour of 20 boards gives: all arrives, once, and now first. (T4, T5, S2)"""

import asyncio
import time

import aiomqtt
import httpx2
import pytest

from e2e.system import System
from fieldloom_cloud import census
from fieldloom_contract import messages, topics

DEVICES = [f"board-{number}" for number in range(1, 21)]
EACH = 3600
AT_ONCE = 600  # 60 KiB of JSON at most
NOW_VALUE = 4711.0
SOON_S = 10.0


@pytest.fixture
def system(tmp_path):
    system = System(tmp_path)
    yield system
    system.stop()


async def report(system, device, seqs, value=None):
    """Send readings in large messages, and wait until the gateway has them on its disk."""
    client = aiomqtt.Client("127.0.0.1", system.mqtt_port, identifier=device, tls_context=system.tls(device))
    async with client, asyncio.timeout(120):
        await client.subscribe(topics.device(device, topics.ACK))
        for start in range(seqs[0], seqs[-1] + 1, AT_ONCE):
            chunk = range(start, min(start + AT_ONCE, seqs[-1] + 1))
            told = [{"boot": 7, "seq": seq, "ts": ts(seq), "values": {"t": value or float(seq)}} for seq in chunk]
            await client.publish(topics.device(device, topics.TELEMETRY), messages.dumps(told))
        async for message in client.messages:
            if messages.parse_ack(message.payload)["seq"] >= seqs[-1]:
                return


def ts(seq):
    return time.time_ns() // 1_000_000 - (EACH + 1 - seq) * 1000


async def until(holds, seconds=120):
    async with asyncio.timeout(seconds):
        while not holds():  # noqa: ASYNC110 - what is waited for sets no event
            await asyncio.sleep(0.05)


def outbox(system):
    return httpx2.get(system.status_pages[0], timeout=20).json()["outbox"]


@pytest.mark.chaos
@pytest.mark.timeout(600)
async def test_an_hour_of_twenty_boards_arrives_once_and_behind_what_is_new(system, capsys):
    for device in DEVICES:
        system.enrol_device(device)
    system.processes["cloud-broker"].kill()
    await asyncio.gather(*(report(system, device, range(1, EACH + 1)) for device in DEVICES))
    assert outbox(system)["records"] >= EACH * len(DEVICES)

    system.processes["cloud-broker"].start()
    await until(lambda: outbox(system)["sealed_lanes"] == 1)
    back = time.monotonic()
    await report(system, DEVICES[0], range(EACH + 1, EACH + 2), NOW_VALUE)
    with system.api() as api:
        await until(
            lambda: (
                api.get(f"/api/v1/devices/{DEVICES[0]}/latest").json()["metrics"].get("t", {}).get("value") == NOW_VALUE
            )
        )
    seen, behind = time.monotonic() - back, outbox(system)
    await until(lambda: outbox(system)["records"] == 0)
    through = time.monotonic() - back

    system.processes["cloud"].stop()
    found = census.take(system.cloud.data)
    assert found.duplicated == 0
    assert {device: found.lost((device, 7), EACH) for device in DEVICES} == {device: [] for device in DEVICES}
    assert seen < SOON_S
    assert behind["records"] > EACH, "what is new did not wait for what had waited"
    with capsys.disabled():
        print(f"\nnew in {seen:.2f} s with {behind['records']} waiting; all {EACH * len(DEVICES)} in {through:.1f} s")
