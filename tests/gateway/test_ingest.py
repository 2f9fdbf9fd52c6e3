"""Devices at a real gateway process and its real broker: acknowledged means on the disk. (C2, P5, T4, T5)"""

import asyncio
import contextlib
import json
import sqlite3
from urllib.request import urlopen

import aiomqtt
import pytest

from fieldloom_contract import messages, topics
from fieldloom_contract.stream import fingerprint
from gateway.conftest import GATEWAY, hear


def reading(seq, boot=7, **fields):
    return {"boot": boot, "seq": seq, "ts": 1_732_380_000_000 + seq, "values": {"temperature": 20.5}, **fields}


def outbox(site):
    with contextlib.closing(sqlite3.connect(site.data / "gateway.db")) as connection:
        bodies = connection.execute("SELECT body FROM outbox ORDER BY last").fetchall()
    return [{"seq": None, **json.loads(line)} for (body,) in bodies for line in body.splitlines()]


async def report(client, name, *records, verb="telemetry"):
    await client.publish(topics.device(name, verb), messages.dumps(list(records)))


async def test_what_is_acknowledged_is_on_the_disk_and_survives_kill_9(site):
    async with site.device("dev-1") as client:
        await client.subscribe("fl/v1/d/dev-1/ack")
        await report(client, "dev-1", *[reading(seq) for seq in range(1, 101)])
        assert (await hear(client, "ack")).message == {"boot": 7, "seq": 100}

    site.gateway.kill()

    taken = [record for record in outbox(site) if record["kind"] == "telemetry"]
    assert [record["seq"] for record in taken] == list(range(1, 101))
    assert taken[0]["values"] == {"temperature": 20.5}


async def test_a_duplicate_is_answered_and_not_taken_again_even_after_kill_9(site):
    async with site.device("dev-1") as client:
        await client.subscribe("fl/v1/d/dev-1/ack")
        await report(client, "dev-1", reading(1), reading(2))
        await hear(client, "ack")
        site.gateway.kill()
        site.gateway.start()
        await asyncio.sleep(0)

        async with asyncio.timeout(20):
            while True:  # the board sends again until it is answered
                await report(client, "dev-1", reading(2), reading(3))
                with contextlib.suppress(TimeoutError):
                    assert (await hear(client, "ack", seconds=0.5)).message == {"boot": 7, "seq": 3}
                    break

    assert [record["seq"] for record in outbox(site) if record["kind"] == "telemetry"] == [1, 2, 3]


async def test_a_gap_is_not_acknowledged_until_it_is_filled_or_settled(site):
    async with site.device("dev-1") as client:
        await client.subscribe("fl/v1/d/dev-1/ack")
        await report(client, "dev-1", reading(1), reading(3))
        assert (await hear(client, "ack")).message == {"boot": 7, "seq": 1}
        await report(client, "dev-1", reading(6, first=5))
        assert (await hear(client, "ack")).message == {"boot": 7, "seq": 4}
        await report(client, "dev-1", reading(5, first=5))
        assert (await hear(client, "ack")).message == {"boot": 7, "seq": 6}


async def test_what_cannot_be_read_is_refused_by_name_and_kept(site):
    async with site.device("dev-1") as client:
        await client.subscribe("fl/v1/d/dev-1/ack")
        await report(client, "dev-1", reading(1))
        await hear(client, "ack")
        await client.publish("fl/v1/d/dev-1/telemetry", b'{"boot":7,')

        refused = (await hear(client, "ack")).message

    assert refused["refused"] == fingerprint(b'{"boot":7,')
    assert refused["error"].startswith("payload: is not JSON")
    letter = outbox(site)[-1]
    assert (letter["kind"], letter["length"], letter["topic"]) == ("dead_letter", 10, "fl/v1/d/dev-1/telemetry")


async def test_a_bad_record_with_good_numbers_goes_to_the_dead_letters_and_holds_nothing_up(site):
    async with site.device("dev-1") as client:
        await client.subscribe("fl/v1/d/dev-1/ack")
        await report(client, "dev-1", reading(1), reading(2, values={"a": [1]}), reading(3))

        assert (await hear(client, "ack")).message == {"boot": 7, "seq": 3}

    assert {record["kind"] for record in outbox(site) if record["seq"] == 2} == {"dead_letter"}


async def test_a_device_that_comes_online_gets_the_time_and_its_acknowledgement(site):
    async with site.device("dev-1") as client:
        await client.subscribe("fl/v1/d/dev-1/#")
        await client.publish("fl/v1/d/dev-1/state", messages.state(True, 7, "s1", {"up": 5}))

        assert (await hear(client, "time")).message["ts"] > 1_700_000_000_000
        assert (await hear(client, "ack")).message == {"boot": 7, "seq": 0}
        await report(client, "dev-1", {"boot": 7, "seq": 1, "up": 5, "values": {"t": 1}})
        await hear(client, "ack")

    dated = outbox(site)[-1]
    assert dated["clock"] == "gateway"
    assert dated["ts"] <= dated["at"]


async def test_the_last_will_of_an_earlier_session_does_not_put_a_device_offline(site):
    async with site.device("dev-1") as client:
        await client.subscribe("fl/v1/d/dev-1/time")
        await client.publish("fl/v1/d/dev-1/state", messages.state(True, 7, "new"))
        await hear(client, "time")
        await client.publish("fl/v1/d/dev-1/state", messages.state(False, 7, "old"))
        await client.publish("fl/v1/d/dev-1/state", messages.state(True, 7, "new"))
        await hear(client, "time")

    states = [record["session"] for record in outbox(site) if record["kind"] == "state"]
    assert states == ["new", "new"]


@pytest.mark.parametrize("topic", ["fl/v1/d/dev-2/telemetry", "fl/v1/d/dev-1/ack", "fl/v1/d/dev-1/command"])
async def test_a_device_may_not_write_its_neighbours_topics_nor_its_own_orders(site, topic):
    async with site.device("dev-1") as client:
        await client.subscribe("fl/v1/d/dev-1/#")
        await client.publish(topic, messages.dumps(reading(66)))
        await report(client, "dev-1", reading(1))

        assert await hear(client, "ack", "command") == ("ack", {"boot": 7, "seq": 1})

    assert [(record["device"], record["seq"]) for record in outbox(site)] == [("dev-1", 1)]


async def test_a_device_hears_nothing_of_its_neighbour(site):
    async with site.device("dev-1") as spy, site.device("dev-2") as client:
        await spy.subscribe("fl/v1/d/#")
        await client.subscribe("fl/v1/d/dev-2/ack")
        await report(client, "dev-2", reading(1))
        await hear(client, "ack")

        with pytest.raises(TimeoutError):
            await hear(spy, "ack", "telemetry", seconds=0.5)


async def test_a_client_without_a_certificate_is_turned_away(site):
    with pytest.raises(aiomqtt.MqttError):
        async with aiomqtt.Client("127.0.0.1", port=site.ports["mqtt"], timeout=3):
            pass


async def test_the_status_page_tells_what_waits(site):
    async with site.device("dev-1") as client:
        await client.subscribe("fl/v1/d/dev-1/ack")
        await report(client, "dev-1", reading(1))
        await hear(client, "ack")

    base = f"http://127.0.0.1:{site.ports['http']}"
    told = await asyncio.to_thread(lambda: json.load(urlopen(base + "/api/v1/status", timeout=20)))
    metrics = await asyncio.to_thread(lambda: urlopen(base + "/metrics", timeout=20).read().decode())

    assert told["id"] == GATEWAY
    assert told["outbox"]["records"] == 1
    assert told["cloud_connected"] is False
    assert 'fieldloom_gateway_ingest_total{outcome="records"} 1.0' in metrics
