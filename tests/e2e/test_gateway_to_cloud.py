"""Device to cloud over real processes, each of them killed: gateway, its broker, cloud, the cloud's broker. (T5)

The device is an MQTT client with the contract's own Sender, so it behaves as a board does.
"""

import asyncio
import contextlib
import random
import time

import aiomqtt
import pytest

from e2e.system import System
from fieldloom_contract import messages, topics
from fieldloom_contract.stream import Item, Sender

READINGS = 600
ROUNDS = 4


class Device:
    """What a board does, on CPython: keeps what is not acknowledged and sends it until it is."""

    def __init__(self, system):
        self.system = system
        self.items = []
        self.taken = 0
        self.acknowledged = 0
        self.sender = Sender(self, self.encode, random.random, message_bytes=4096)

    def peek(self, after, records, size):
        return [item for item in self.items if after is None or item.seq > after[1]][:records]

    def first(self, life):
        return self.items[0].seq if self.items else None

    def discard(self, life, seq):
        before = len(self.items)
        self.items = [item for item in self.items if item.seq > seq]
        return before - len(self.items)

    @staticmethod
    def encode(items, first):
        return messages.frame([item.body for item in items], first)

    async def measure(self):
        for seq in range(1, READINGS + 1):
            record = {"boot": 7, "seq": seq, "ts": time.time_ns() // 1_000_000, "values": {"reading": seq}}
            self.items.append(Item(7, seq, topics.TELEMETRY, messages.dumps(record)))
            self.taken = seq
            await asyncio.sleep(0.02)

    async def report(self):
        while self.taken < READINGS or self.items:
            with contextlib.suppress(aiomqtt.MqttError, TimeoutError):
                await self.connection()
            self.sender.disconnected()
            await asyncio.sleep(0.1)

    async def connection(self):
        client = aiomqtt.Client(
            "127.0.0.1", self.system.mqtt_port, identifier="dev-1", tls_context=self.system.tls("dev-1"), timeout=5
        )
        async with client:
            await client.subscribe(topics.device("dev-1", topics.ACK))
            self.sender.connected(self.now())
            hearing = asyncio.create_task(self.hear(client))
            try:
                while (self.taken < READINGS or self.items) and not hearing.done():
                    while (message := self.sender.poll(self.now())) is not None:
                        await client.publish(topics.device("dev-1", message.kind), message.payload)
                    await asyncio.sleep(0.02)
            finally:
                hearing.cancel()
                with contextlib.suppress(asyncio.CancelledError, aiomqtt.MqttError):
                    await hearing

    async def hear(self, client):
        async for message in client.messages:
            ack = messages.parse_ack(message.payload)
            if ack["boot"] == 7:
                self.acknowledged = max(self.acknowledged, ack["seq"])
                self.sender.acknowledge(7, ack["seq"], self.now())

    @staticmethod
    def now():
        return time.monotonic_ns() // 1_000_000


@pytest.fixture
def system(tmp_path):
    system = System(tmp_path)
    system.enrol_device("dev-1")
    yield system
    system.stop()


async def sabotage(system, rng):
    """Kill each process once a round in seeded order, two at once in every third round; nothing waits for calm."""
    for round_number in range(ROUNDS):
        order = rng.sample(list(system.processes.values()), 4)
        groups = [order[:2], order[2:]] if round_number % 3 == 2 else [[process] for process in order]
        for victims in groups:
            await asyncio.sleep(rng.uniform(0.2, 1.0))
            for process in victims:
                process.kill()
            for process in victims:
                process.start()


async def test_nothing_is_lost_and_nothing_is_stored_twice_whatever_is_killed(system):
    device = Device(system)

    async with asyncio.timeout(120), asyncio.TaskGroup() as tasks:
        tasks.create_task(device.measure())
        tasks.create_task(device.report())
        tasks.create_task(sabotage(system, random.Random(20261124)))

    assert device.acknowledged == READINGS
    stored = []
    async with asyncio.timeout(60):
        while len(stored) < READINGS:
            with contextlib.suppress(Exception):  # the cloud may be starting
                stored = await asyncio.to_thread(system.stored, "dev-1")
            await asyncio.sleep(0.25)
    assert sorted(stored) == [float(seq) for seq in range(1, READINGS + 1)]


async def test_a_command_reaches_its_device_and_its_result_comes_back_over_kills(system):
    def api(method, path, **request):
        with system.cloud.client(system.cloud.token) as client:
            return client.request(method, f"/api/v1{path}", **request)

    wish = {"type": "write", "parameters": {"name": "relay", "value": True}}
    once = {"Idempotency-Key": "only-once"}
    sent = await asyncio.to_thread(api, "POST", "/devices/dev-1/commands", json=wish, headers=once)
    again = await asyncio.to_thread(api, "POST", "/devices/dev-1/commands", json=wish, headers=once)
    assert (sent.status_code, again.json()["id"]) == (202, sent.json()["id"])
    path = f"/commands/{sent.json()['id']}"
    await status(api, path, "sent")
    for process in (system.processes["cloud"], system.processes["gateway-1"]):
        process.kill()
        process.start()

    client = aiomqtt.Client("127.0.0.1", system.mqtt_port, identifier="dev-1", tls_context=system.tls("dev-1"))
    async with client, asyncio.timeout(30):
        await client.subscribe(topics.device("dev-1", topics.COMMAND))
        await client.subscribe(topics.device("dev-1", topics.TIME))
        heard = topics.TIME
        while heard != topics.COMMAND:  # the gateway may still be starting: a board says again that it is there
            await client.publish(topics.device("dev-1", topics.STATE), messages.state(True, 7, "s"))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    message = await anext(aiter(client.messages))
                    heard = topics.parse_device(str(message.topic))[1]
        command = messages.parse_command(message.payload)
        assert (command["id"], command["parameters"]) == (sent.json()["id"], wish["parameters"])
        for seq, word in enumerate(("accepted", "succeeded"), start=1):
            told = {"boot": 7, "seq": seq, "ts": time.time_ns() // 1_000_000, "id": command["id"], "status": word}
            told["result"] = {"value": True} if word == "succeeded" else None
            await client.publish(topics.device("dev-1", topics.RESULT), messages.dumps(told))

        done = await status(api, path, "succeeded")
    assert done["result"] == {"value": True}


async def status(api, path, wanted, seconds=30):
    """Wait until a command has a status, over a cloud that may be starting."""
    async with asyncio.timeout(seconds):
        while True:
            with contextlib.suppress(Exception):
                command = (await asyncio.to_thread(api, "GET", path)).json()
                if command["status"] == wanted:
                    return command
            await asyncio.sleep(0.1)


def test_a_command_that_no_device_would_take_is_refused(system):
    with system.cloud.client(system.cloud.token) as api:
        long = api.post("/api/v1/devices/dev-1/commands", json={"type": "write", "parameters": {"value": "x" * 5000}})
        nobody = api.post("/api/v1/devices/nobody/commands", json={"type": "read"})

    assert (long.status_code, nobody.status_code) == (422, 404)
    assert "4096" in long.json()["errors"][0]["reason"]
