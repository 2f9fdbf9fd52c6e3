"""The gateway's two streams with a cloud that is a real broker and, at its edge, this test. (T4, T5, A3)"""

import asyncio
import json
import os

import aiomqtt
import pytest

from fieldloom_contract import batch, messages, topics
from fieldloom_gateway.ingest.outbox import Segment, encode
from fieldloom_runtime.broker import Listener, Rights, write
from fieldloom_runtime.compression import inflate
from fieldloom_runtime.gateway_state import decode
from fixtures.processes import mosquitto, wait_for_port, wait_until_ready
from gateway.conftest import GATEWAY, hear
from gateway.test_ingest import reading, report

CLOUD = "svc.cloud"


@pytest.fixture
def cloud_broker(site, authority):
    broker = run_cloud_broker(site, authority)
    yield broker
    broker.stop()


def run_cloud_broker(site, authority):
    cert, key = authority.issue("svc.cloud-broker")  # read while a client of the same name may get its own
    rights = Rights(
        patterns=tuple(("write", topics.gateway("%u", verb)) for verb in ("up/+", "down/ack", "state"))
        + tuple(("read", topics.gateway("%u", verb)) for verb in ("ack", "down")),
        users={CLOUD: (("readwrite", "fl/v1/g/#"),)},
    )
    listener = Listener("127.0.0.1", site.ports["cloud"], authority.ca, cert, key)
    broker = mosquitto(
        write(site.folder / "cloud-broker", [listener], rights), site.folder / "cloud-broker.log"
    ).start()
    wait_for_port(site.ports["cloud"])
    return broker


def cloud_client(site):
    return site.device(CLOUD, port=site.ports["cloud"], protocol=aiomqtt.ProtocolVersion.V5)


async def next_batch(client, seconds=20.0):
    return batch.unpack(await next_payload(client, seconds), inflate)


async def next_payload(client, seconds=20.0):
    """Return the next batch as it comes over the wire."""
    async with asyncio.timeout(seconds):
        async for message in client.messages:
            if "/up/" in str(message.topic):
                return message.payload
    raise AssertionError("the connection ended")


async def next_state(client, *, online, seconds=20.0):
    """Return the next word of the gateway that it is there, or gone. (T8)"""
    async with asyncio.timeout(seconds):
        async for message in client.messages:
            if str(message.topic).endswith("/state") and (told := decode(message.payload)).online == online:
                return told
    raise AssertionError("the connection ended")


async def acknowledge(client, sent):
    last = sent.offset + len(sent.records) - 1
    await client.publish(topics.gateway(GATEWAY, "ack"), batch.pack_ack(sent.stream, last))


async def test_what_the_cloud_does_not_acknowledge_is_sent_again_after_kill_9(site, cloud_broker):
    async with cloud_client(site) as cloud, site.device("dev-1") as device:
        await cloud.subscribe(topics.up(GATEWAY))
        await cloud.subscribe(topics.gateway(GATEWAY, "state"))
        await device.subscribe("fl/v1/d/dev-1/ack")
        await report(device, "dev-1", reading(1), reading(2))
        first = await next_batch(cloud)
        assert first.covers == [["dev-1", 7, 1, 2]]

        site.gateway.kill()
        await next_state(cloud, online=False)
        site.gateway.start()
        told = await next_state(cloud, online=True)
        assert (told.connected, told.stream, told.numbered, told.waiting) == (True, first.stream, 2, 2)
        assert told.holds == [("dev-1", 7, 1, 2)]
        again = await next_batch(cloud)

        assert again == first
        await acknowledge(cloud, again)
        await report(device, "dev-1", reading(3))
        async with asyncio.timeout(20):
            while (following := await next_batch(cloud)).offset < 3:
                await acknowledge(cloud, following)
        assert (following.stream, following.offset, following.first) == (first.stream, 3, 3)


async def test_an_emptied_data_folder_begins_another_stream(site, cloud_broker):
    async with cloud_client(site) as cloud, site.device("dev-1") as device:
        await cloud.subscribe(topics.up(GATEWAY))
        await device.subscribe("fl/v1/d/dev-1/ack")
        await report(device, "dev-1", reading(1))
        old = await next_batch(cloud)
        site.gateway.kill()
        for path in site.data.glob("gateway.db*"):
            path.unlink()
        site.gateway.start()
        wait_until_ready(site.ports["http"])

        await report(device, "dev-1", reading(2, first=2))
        async with asyncio.timeout(20):
            while (fresh := await next_batch(cloud)).stream == old.stream:
                continue

        assert fresh.stream != old.stream
        assert fresh.offset == 1


async def command_down(cloud, stream, offset, *records):
    payload = batch.pack(stream, offset, 1, [], [messages.dumps(record) for record in records])
    await cloud.publish(topics.gateway(GATEWAY, "down"), payload)


def command(command_id, expires=4_000_000_000_000):
    parameters = {"name": "relay", "value": True}
    record = {"kind": "command", "device": "dev-1", "id": command_id, "type": "write"}
    return {**record, "parameters": parameters, "expires": expires}


async def down_ack(client, seconds=20.0):
    async with asyncio.timeout(seconds):
        async for message in client.messages:
            if str(message.topic).endswith("/down/ack"):
                return batch.unpack_ack(message.payload)
    raise AssertionError("the connection ended")


async def test_a_command_waits_on_the_disk_until_its_device_has_answered(site, cloud_broker):
    stream = os.urandom(16)
    async with cloud_client(site) as cloud:
        await cloud.subscribe(topics.gateway(GATEWAY, "down/ack"))
        async with asyncio.timeout(20):
            acked = None
            while acked is None:
                await command_down(cloud, stream, 1, command("c-1"))
                try:
                    acked = await down_ack(cloud, 1.0)
                except TimeoutError:
                    continue
        assert acked == (stream, 1)
        site.gateway.kill()
        site.gateway.start()
        wait_until_ready(site.ports["http"])

        async with site.device("dev-1") as device:
            await device.subscribe("fl/v1/d/dev-1/#")
            await device.publish("fl/v1/d/dev-1/state", messages.state(True, 7, "s"))
            assert (await hear(device, "command")).message["id"] == "c-1"
            assert (await hear(device, "command")).message["id"] == "c-1", "sent again while there is no answer"
            done = {"boot": 7, "seq": 1, "ts": 1_732_380_000_000, "id": "c-1", "status": "succeeded"}
            await report(device, "dev-1", done, verb="command/result")
            await hear(device, "ack")
            await device.publish("fl/v1/d/dev-1/state", messages.state(True, 7, "s"))
            await hear(device, "time")
            with pytest.raises(TimeoutError):
                await hear(device, "command", seconds=0.5)


async def test_an_expired_command_is_told_upwards(site, cloud_broker):
    async with cloud_client(site) as cloud:
        await cloud.subscribe(topics.up(GATEWAY))
        async with asyncio.timeout(30):
            kinds = []
            while "expired" not in kinds:
                await command_down(cloud, b"s" * 16, 1, command("c-old", expires=1_600_000_000_000))
                try:
                    sent = await next_batch(cloud, 1.0)
                except TimeoutError:
                    continue
                kinds += [json.loads(record)["kind"] for record in sent.records]


def test_a_batch_covers_what_it_carries():
    segments = [
        Segment(b"s" * 16, 6, "batch", b"{}\n{}", 5, '[["dev-1", 7, 1, 1], ["dev-2", 3, 9, 9]]'),
        Segment(b"s" * 16, 8, "batch", b"{}\n{}", 7, '[["dev-1", 7, 2, 2], ["dev-1", 7, 4, 4]]'),
    ]

    sent = batch.unpack(encode(segments, 5), inflate)

    assert (sent.offset, len(sent.records)) == (5, 4)
    assert sent.covers == [["dev-1", 7, 1, 2], ["dev-1", 7, 4, 4], ["dev-2", 3, 9, 9]]
