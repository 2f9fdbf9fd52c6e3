"""AMQP devices at a real RabbitMQ, and its users as the credentials say. (C4, P8, T4, T5)"""

import asyncio
import contextlib
import json
import sqlite3

import aio_pika
import pytest
from aio_pika import DeliveryMode
from aio_pika.exceptions import AMQPError, ChannelClosed
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fieldloom_cloud.credentials import kinds
from fieldloom_contract import messages
from fieldloom_gateway.adapters import amqp, kept
from fieldloom_gateway.adapters.amqp import AmqpAdapter, AmqpSettings
from fieldloom_gateway.ingest.database import open_database
from fieldloom_gateway.ingest.store import Store
from fieldloom_runtime import files
from fieldloom_runtime.down import Credential
from fieldloom_runtime.errors import StartFailed
from fixtures.certificates import TestAuthority
from fixtures.processes import free_port
from fixtures.rabbitmq import PASSWORD, RabbitMQ
from gateway.bench import NOW, WAIT_S, Bench, until
from gateway.conftest import Site

KEPT = {"url": "http://rabbit.site:15672", "user": "admin", "password_file": "p"}
DAY_MS = 24 * 3600 * 1000
ANEW = messages.dumps({"values": {"t": 21.5}})


def numbered(seq):
    return messages.dumps({"boot": 1, "seq": seq, "values": {"t": seq}})


@pytest.fixture(scope="module")
def rabbit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rabbit")
    rabbit = RabbitMQ(folder / "rabbit", TestAuthority(folder / "pki")).start()
    rabbit.wait()
    rabbit.add_user("gw.test", *["^fieldloom.*"] * 3)
    for name in ("dev-1", "dev-2"):
        rabbit.add_user(name)
    yield rabbit
    rabbit.stop()


class Ground(Bench):
    def __init__(self, folder, rabbit, **more):
        folder.mkdir(exist_ok=True)
        super().__init__(folder)
        told = {"protocol": "amqp", "port": rabbit.port, "user": "gw.test", "password_file": rabbit.password_file()}
        self.settings = AmqpSettings(**told, ca=rabbit.authority.ca, queue=f"fieldloom.{folder.name}", **more)
        self.adapter = AmqpAdapter(self.settings, self.site(TestAuthority(folder / "pki")))
        self.add("amqp", "amqp", self.adapter)

    def records(self):
        return [record for record in super().records() if record["kind"] != "dead_letter"]

    async def command(self, command_id):
        """Have a command for dev-1 come down from the cloud."""
        command = {"id": command_id, "device": "dev-1", "type": "read", "parameters": {}, "expires": NOW + DAY_MS}
        for news in self.hear(command):
            await self.ingest.send(*news)


@pytest.fixture
async def ground(tmp_path, rabbit, monkeypatch):
    monkeypatch.setattr(kept, "BACK_OFF_S", 0.2)
    monkeypatch.setattr(kept, "BACK_OFF_MAX_S", 0.2)
    async with Ground(tmp_path / tmp_path.name, rabbit).running() as ground:
        yield ground


@contextlib.asynccontextmanager
async def device(rabbit, name, password=PASSWORD):
    """Give a device's channel, with confirms."""
    connection = await rabbit.connect(name, password)
    try:
        yield await connection.channel()
    finally:
        await connection.close()


async def send(channel, key, body, user="dev-1", **more):
    exchange = await channel.get_exchange("fieldloom", ensure=False)
    message = aio_pika.Message(body, user_id=user, delivery_mode=DeliveryMode.PERSISTENT, **more)
    await exchange.publish(message, key, timeout=WAIT_S)


async def test_what_is_confirmed_is_stored_once(ground, rabbit):
    async with device(rabbit, "dev-1") as channel:
        for seq in (1, 2, 2, 3):
            await send(channel, "d.dev-1.telemetry", numbered(seq))
        for _ in range(2):
            await send(channel, "d.dev-1.event", b'{"type":"door.opened"}', message_id="e-1")
        await send(channel, "d.dev-1.telemetry", b'[{"n":"t","v":1}]', content_type="application/senml+json")
    await until(lambda: ground.adapter.metrics.acks == 7)

    told = [(one["kind"], one.get("seq")) for one in ground.records()]
    assert told == [("telemetry", 1), ("telemetry", 2), ("telemetry", 3), ("event", None), ("telemetry", None)]
    assert (ground.adapter.metrics.messages_received, ground.adapter.metrics.errors) == (7, 0)


async def test_commands_go_down_and_results_come_up(ground, rabbit):
    async with device(rabbit, "dev-1") as channel:
        queue = await channel.declare_queue("fieldloom.d.dev-1", durable=True)
        await queue.bind("fieldloom", "d.dev-1.command")
        await send(channel, "d.dev-1.state", messages.state(True, 1, "s"))
        await until(lambda: ground.adapter.metrics.acks == 1)
        await ground.command("c-1")
        await ground.ingest.repeat()
        command = await queue.get(timeout=WAIT_S)
        await command.ack()
        await send(channel, "d.dev-1.command.result", b'{"id":"c-1","status":"succeeded"}')
        await until(lambda: ground.adapter.metrics.acks == 2)
        assert await queue.get(fail=False) is None, "what RabbitMQ has confirmed is not sent again"
        await queue.delete(if_empty=False)
        await ground.command("c-2")

    assert messages.parse_command(command.body)["id"] == "c-1"
    assert [one["kind"] for one in ground.records()] == ["state", "result"]
    assert ground.adapter.metrics.messages_sent == 1


async def test_what_is_not_the_devices_or_bad_lies_with_the_dead_letters(ground, rabbit):
    async with device(rabbit, "dev-1") as channel:
        await send(channel, "d.dev-2.telemetry", ANEW)
        await send(channel, "d.dev-1.telemetry", ANEW, user=None)
        await send(channel, "d.dev-1.telemetry", b"{nonsense")
        await send(channel, "d.dev-1.telemetry", b" " * 70_000)
        await send(channel, "d.dev-1.telemetry", b"[]", content_type="application/senml+json")
        await send(channel, "d.dev-1.event", b"x", content_type="text/plain")
        with pytest.raises(ChannelClosed):
            await send(channel, "d.dev-2.telemetry", ANEW, user="dev-2")
    await until(lambda: ground.adapter.metrics.errors == 6)

    assert [(topic, ": ".join(reason.split(": ")[:2])) for topic, _, reason in ground.letters()] == [
        ("amqp:d.dev-2.telemetry", "user_id: dev-1 is no user of dev-2"),
        ("amqp:d.dev-1.telemetry", "user_id: is missing, a message names the user that sends it"),
        ("fl/v1/d/dev-1/telemetry", "payload: is not JSON"),
        ("fl/v1/d/dev-1/telemetry", "payload: has 70000 bytes, the limit is 65536"),
        ("fl/v1/d/dev-1/telemetry", "payload: must be a JSON array of at least one record"),
        ("fl/v1/d/dev-1/event", "content_type: must be application/json"),
    ]
    assert ground.records() == []


async def test_a_full_gateway_gives_back_and_takes_later(ground, rabbit, monkeypatch):
    monkeypatch.setattr(amqp, "BUSY_PAUSE_S", 0.2)
    limit = ground.store.room.limit
    ground.store.room.limit = 0
    async with device(rabbit, "dev-1") as channel:
        await send(channel, "d.dev-1.telemetry", ANEW)
    await until(lambda: ground.ingest.counts["refused_full"] >= 3)
    ground.store.room.limit = limit
    await until(lambda: ground.adapter.metrics.acks == 1)

    assert len(ground.records()) == 1
    assert ground.adapter.metrics.messages_received < 10, "no hot loop"


async def refused(rabbit, user, password=PASSWORD):
    """Whether a user is not let in."""
    try:
        async with device(rabbit, user, password):
            return False
    except AMQPError:
        return True


async def test_users_are_kept_as_the_credentials_say(tmp_path, rabbit, monkeypatch):
    monkeypatch.setattr(amqp, "LOOK_S", 0.1)
    management = {
        "url": f"http://127.0.0.1:{rabbit.management}",
        "user": "admin",
        "password_file": rabbit.password_file(),
    }
    rabbit.ask("PUT", "users/left-over", {"password": "x", "tags": "fieldloom"})

    old, new = "dev-3.000000000000", "dev-3.111111111111"
    first, second = kinds.amqp(), kinds.amqp()
    async with Ground(tmp_path / "kept", rabbit, management=management).running() as ground:
        ground.hear(Credential(old, "dev-3", "amqp", first.kept))
        ground.hear(Credential(new, "dev-3", "amqp", second.kept))
        await until(
            lambda: {user["name"] for user in rabbit.ask("GET", "users") if user["tags"]} == {"admin", old, new}
        )
        assert await refused(rabbit, new, first.shown)
        async with device(rabbit, old, first.shown) as before, device(rabbit, new, second.shown) as channel:
            await send(before, "d.dev-3.telemetry", ANEW, old)
            await send(channel, "d.dev-3.telemetry", ANEW, new)
            await until(lambda: ground.adapter.metrics.acks == 2)
            queue = await channel.declare_queue("fieldloom.d.dev-3", durable=True)
            await queue.bind("fieldloom", "d.dev-3.command")

            ground.hear(Credential(old, "dev-3", "amqp", b"", 0))
            await until(lambda: before.is_closed)
            await send(channel, "d.dev-3.telemetry", ANEW, new)
            await until(lambda: ground.adapter.metrics.acks == 3)
        assert await refused(rabbit, old, first.shown)

        for forbidden in (
            lambda channel: send(channel, "d.dev-1.telemetry", ANEW, new),
            lambda channel: send(channel, "d.dev-3.command", ANEW, new),
            lambda channel: channel.declare_queue("fieldloom.kept", durable=True),
            lambda channel: channel.declare_queue("another"),
            lambda channel: listen(channel, "d.dev-1.command"),
            lambda channel: listen(channel, "#"),
        ):
            async with device(rabbit, new, second.shown) as channel:
                with pytest.raises(AMQPError):
                    await forbidden(channel)
        assert len(ground.records()) == 3
        ground.hear(Credential(new, "dev-3", "amqp", b"", 0))
        await until(lambda: {user["name"] for user in rabbit.ask("GET", "users") if user["tags"]} == {"admin"})


async def listen(channel, key):
    queue = await channel.declare_queue("fieldloom.d.dev-3", durable=True)
    await queue.bind("fieldloom", key)


async def test_a_broker_that_is_killed_loses_nothing_that_it_has_confirmed(ground, rabbit):
    limit = ground.store.room.limit
    ground.store.room.limit = 0  # so that all of it is still RabbitMQ's
    async with device(rabbit, "dev-1") as channel:
        for seq in range(1, 101):
            await send(channel, "d.dev-1.telemetry", numbered(seq))
        await send(channel, "d.dev-1.event", b'{"type":"door.opened"}', message_id="e-1")

    rabbit.kill()
    await until(lambda: not ground.adapter.is_connected)
    ground.store.room.limit = limit
    await asyncio.to_thread(rabbit.start().wait)
    await until(lambda: ground.adapter.metrics.acks == 101)

    assert sorted(one["seq"] for one in ground.records() if one["kind"] == "telemetry") == list(range(1, 101))
    assert [one["kind"] for one in ground.records()].count("event") == 1
    assert ground.adapter.metrics.reconnects >= 1


def told_of(site, device):
    """The seqs of a device's records that wait for the cloud."""
    with contextlib.closing(sqlite3.connect(f"file:{site.data / 'gateway.db'}?mode=ro", uri=True)) as connection:
        bodies = connection.execute("SELECT body FROM outbox ORDER BY last").fetchall()
    records = [json.loads(line) for (body,) in bodies for line in body.splitlines()]
    return [record["seq"] for record in records if record["device"] == device and record["kind"] == "telemetry"]


async def test_a_gateway_that_is_killed_takes_what_it_had_not_acknowledged(tmp_path, rabbit):
    dtls, oscore = free_port(), free_port()
    site = Site(tmp_path, TestAuthority(tmp_path / "pki"))
    files.write(site.data / "rabbit.password", PASSWORD)
    adapters = [
        {"protocol": "amqp", "port": rabbit.port, "user": "gw.test", "password_file": "rabbit.password"},
        {"protocol": "coap", "dtls_port": dtls, "oscore_port": oscore},
    ]
    adapters[0] |= {"ca": str(rabbit.authority.ca), "queue": "fieldloom.killed"}
    (site.data / "adapters.yaml").write_text(json.dumps({"adapters": adapters}))
    with contextlib.closing(open_database(site.data)) as database:
        told = Credential("dev-2.0123456789ab", "dev-2", "psk", b"0123456789abcdef")
        Store(database, 100_000).down.take(b"s" * 16, 1, [told], 1)
    posting = f"coap-client-openssl -m post -k 0123456789abcdef -u {told.id[-12:]} -v 7 -e"
    try:
        await asyncio.to_thread(site.start)
        async with device(rabbit, "dev-1") as channel:
            sending = [asyncio.create_task(send(channel, "d.dev-1.telemetry", numbered(seq))) for seq in range(1, 1001)]
            await until(lambda: len(told_of(site, "dev-1")) > 100)
            uri = f"coaps://127.0.0.1:{dtls}/telemetry/dev-2"
            asked = await asyncio.create_subprocess_exec(*posting.split(), numbered(1).decode(), uri, stdout=-1)
            answer, _ = await asked.communicate()
            site.gateway.kill()
            await asyncio.gather(*sending)

        assert b"2.04" in answer
        assert told_of(site, "dev-2") == [1]
        site.gateway.start()
        await until(lambda: len(told_of(site, "dev-1")) >= 1000)
        assert sorted(told_of(site, "dev-1")) == list(range(1, 1001))
    finally:
        site.stop()


async def test_a_queue_that_is_deleted_is_declared_again(ground, rabbit):
    rabbit.ask("DELETE", f"queues/%2F/{ground.settings.queue}")
    await until(lambda: ground.kept[1].shown()["restarts"] == 1 and ground.adapter.is_connected)

    async with device(rabbit, "dev-1") as channel:
        await send(channel, "d.dev-1.telemetry", ANEW)
    await until(lambda: ground.adapter.metrics.acks == 1)


@given(st.text(max_size=40), st.sampled_from([*amqp.UP, "command", "ack"]), st.text(max_size=20))
def test_a_routing_key_is_one_devices_or_nobodys(text, verb, device):
    address = amqp.address(f"d.{device}.{verb}")
    if "." not in device and verb in amqp.UP:
        assert address == (device, amqp.UP[verb])
    else:
        assert device not in address or device == ""
    device, verb = amqp.address(text)
    assert not device or text.startswith(f"d.{device}.")


@pytest.mark.parametrize(
    ("told", "where", "reason"),
    [
        ({}, ("password_file",), "Field required"),
        ({"password_file": "p", "host": "rabbit.site", "tls": False}, ("tls",), "only where host is loopback"),
        ({"password_file": "p", "prefetch": 1}, ("prefetch",), "Extra inputs"),
        ({"password_file": "p", "management": KEPT}, ("management", "url"), "must begin with https://"),
    ],
)
def test_settings_that_cannot_be_are_refused(told, where, reason):
    with pytest.raises(ValidationError) as refusal:
        AmqpSettings(protocol="amqp", **told)

    first = refusal.value.errors()[0]
    assert first["loc"] == where
    assert reason in first["msg"]


def test_a_secret_is_its_owners_alone(tmp_path):
    path = tmp_path / "password"
    with pytest.raises(StartFailed, match="can't be read"):
        files.read_secret(path)
    files.write(path, "word\n")
    assert files.read_secret(path) == "word"
    path.chmod(0o640)
    with pytest.raises(StartFailed, match="can be read by others"):
        files.read_secret(path)
