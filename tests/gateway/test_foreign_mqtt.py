"""Devices of a broker that is not ours, which here is a real one: to the outbox, and back. (C1, C2, C6, A3, T1, T4)"""

import asyncio
import contextlib
import gc
import json
import socket
import sqlite3
import threading
import time

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion
from structlog.testing import capture_logs

from fieldloom_gateway.adapters import factory, kept
from fieldloom_gateway.adapters.base import TAKEN
from fieldloom_gateway.adapters.foreign import adapter as foreign
from fieldloom_gateway.adapters.mqtt import KIND, MqttSettings
from fieldloom_runtime.errors import StartFailed
from fixtures.certificates import TestAuthority
from fixtures.foreign import DEVICES, GATEWAY, ForeignBroker, old_broker
from fixtures.processes import mosquitto, wait_for_port
from fixtures.sparkplug_node import SparkplugNode
from gateway.bench import WAIT_S, Bench, until
from gateway.conftest import Site

MAPPINGS = [{"preset": "tasmota", "prefix": "ws-"}, {"preset": "zigbee2mqtt", "devices": {"bulb": "lamp"}}]
KEPT = 300


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return TestAuthority(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    broker = ForeignBroker(tmp_path_factory.mktemp("foreign") / "broker").start()
    yield broker
    broker.process.stop()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(kept, "BACK_OFF_S", 0.05)
    monkeypatch.setattr(foreign, "AGAIN_AFTER_S", 0.05)
    monkeypatch.setattr(foreign, "ANNOUNCE_EVERY_S", 0.05)


def entry(broker, name, **fields):
    told = {"protocol": "mqtt", "name": name, "host": "127.0.0.1", "port": broker.port, "client_id": name}
    told |= {"username": GATEWAY[0], "password_file": str(broker.password_file), "mappings": MAPPINGS}
    return {**told, **fields}


class Bridge:
    """A bench whose second adapter is at a foreign broker."""

    def __init__(self, folder, authority, broker, name, **fields):
        self.bench = Bench(folder)
        settings = MqttSettings.model_validate(entry(broker, name, **fields))
        self.adapter = KIND.build(settings, self.bench.site(authority))
        self.bench.add(name, "mqtt", self.adapter)
        self.metrics = self.adapter.metrics

    @property
    def error(self):
        return self.bench.kept[1].error

    def cut(self):
        """End the connection, as a network does."""
        self.adapter._client.socket().shutdown(socket.SHUT_RDWR)

    def told(self, device):
        return [one for one in self.bench.records() if one["device"] == device]


@pytest.fixture
async def bridge(tmp_path, authority, broker, request):
    bridge = Bridge(tmp_path, authority, broker, request.node.name[:64])
    async with bridge.bench.running():
        yield bridge


@pytest.fixture
async def device(broker, request):
    async with broker.device(f"device-{request.node.name}") as device:
        yield device


async def test_what_devices_say_is_in_the_outbox_and_acknowledged(bridge, device):
    await device.publish("tele/plug/LWT", "Online", qos=1)
    await device.publish("tele/plug/SENSOR", json.dumps({"ENERGY": {"Power": 12.5}}), qos=1)
    await device.publish("zigbee2mqtt/bulb", json.dumps({"state": "ON", "brightness": 215}))
    await device.publish("zigbee2mqtt/unknown", json.dumps({"state": "ON"}))
    await device.publish("tele/plug/LWT", "Offline", qos=1)
    await until(lambda: bridge.metrics.acks == 3 and bridge.told("lamp"))

    plug = bridge.told("ws-plug")
    assert [one.get("online") for one in plug if one["kind"] == "state"] == [True, False]
    assert [one["values"] for one in plug if one["kind"] == "telemetry"] == [{"ENERGY.Power": 12.5}]
    assert [one["values"] for one in bridge.told("lamp")] == [{"state": True, "brightness": 215}]
    assert (bridge.metrics.ignored, bridge.metrics.lost) == (1, 0)


async def test_what_does_not_map_lies_with_the_dead_letters_and_holds_up_nothing(bridge, device):
    await device.publish("tele/plug/SENSOR", b'{"ENERGY": ', qos=1)
    await device.publish("tele/Pl\u00fcg/SENSOR", b"{}", qos=1)
    await device.publish("tele/a.b/SENSOR", b'{"t": 1}', qos=1)
    await device.publish("tele/a b/SENSOR", b'{"t": 2}', qos=1)
    await device.publish("tele/plug/SENSOR", b'{"t": 3}', qos=1)
    await until(lambda: bridge.told("ws-plug") and len(bridge.bench.letters()) == 3 and bridge.metrics.acks == 5)

    letters = {topic: (payload, reason) for topic, payload, reason in bridge.bench.letters()}
    payload, reason = letters["fl/v1/d/ws-plug/telemetry"]
    assert payload == b'{"ENERGY": '
    assert reason.startswith("payload: is not JSON")
    assert reason.endswith("(tele/plug/SENSOR)")
    assert letters["tele/Pl\u00fcg/SENSOR"][1].startswith(
        "device: may hold only a-z 0-9 - _: give it a name in devices"
    )
    assert letters["fl/v1/d/ws-a-b/telemetry"][1].startswith("device: 'a.b' is ws-a-b already: give 'a b' a name")


async def test_of_what_is_retained_only_the_state_is_taken(tmp_path, authority, broker, device):
    await device.publish("tele/old/LWT", "Online", qos=1, retain=True)
    await device.publish("tele/old/SENSOR", '{"t": 1}', qos=1, retain=True)
    bridge = Bridge(tmp_path, authority, broker, "retained")
    async with bridge.bench.running():
        await until(lambda: bridge.told("ws-old") and bridge.metrics.retained)

        assert [one["kind"] for one in bridge.told("ws-old")] == ["state"]
    for topic in ("LWT", "SENSOR"):
        await device.publish(f"tele/old/{topic}", b"", qos=1, retain=True)


async def test_a_command_reaches_the_device_once_and_is_answered(bridge, device):
    def wish(number, name, value, kind="write"):
        expires = (time.time_ns() // 1_000_000) + 60_000
        parameters = {"name": name, "value": value}
        return {"id": number, "device": "ws-plug", "type": kind, "parameters": parameters, "expires": expires}

    bridge.bench.hear(wish("c1", "POWER", True), wish("c2", "POWER", None, "reboot"))
    await device.publish("tele/plug/SENSOR", '{"t": 1}', qos=1)  # it is heard, and nobody listens there yet
    await until(lambda: any(one["kind"] == "result" for one in bridge.told("ws-plug")))
    await device.subscribe("cmnd/plug/+", qos=1)
    await device.publish("tele/plug/LWT", "Online", qos=1)
    async with asyncio.timeout(WAIT_S):
        message = await anext(device.messages)
    assert (str(message.topic), message.payload) == ("cmnd/plug/POWER", b"ON")
    await until(lambda: len([one for one in bridge.told("ws-plug") if one["kind"] == "result"]) == 2)

    results = {one["id"]: one for one in bridge.told("ws-plug") if one["kind"] == "result"}
    assert (results["c2"]["status"], results["c2"]["error"][:14]) == ("rejected", "type: reboot i")
    assert (results["c1"]["status"], results["c1"]["result"]) == ("succeeded", {"published": "cmnd/plug/POWER"})
    await until(lambda: bridge.bench.store.down.commands("ws-plug") == [])


async def test_a_full_outbox_leaves_qos_1_with_the_broker_and_names_the_loss_of_the_rest(bridge, device, monkeypatch):
    monkeypatch.setattr(bridge.bench.store.room, "limit", 1)
    with capture_logs() as logs:
        await device.publish("tele/plug/SENSOR", '{"t": 1}', qos=1)
        await device.publish("tele/plug/SENSOR", '{"t": 2}', qos=0)
        await until(lambda: bridge.metrics.lost == 1 and bridge.metrics.dropped > 1)
    assert bridge.metrics.acks == 0
    assert [one["newest_topic"] for one in logs if one["event"] == "foreign_messages_lost"] == ["tele/plug/SENSOR"]

    monkeypatch.setattr(bridge.bench.store.room, "limit", 100_000)
    await until(lambda: bridge.metrics.acks == 1)
    assert [one["values"] for one in bridge.told("ws-plug")] == [{"t": 1}]


async def test_a_message_that_was_taken_and_not_acknowledged_is_taken_once(tmp_path, authority, broker, device):
    bridge = Bridge(tmp_path, authority, broker, "twice")
    async with bridge.bench.running():
        acknowledge = paho.Client.ack
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(paho.Client, "ack", lambda *_: None)  # the power goes before it
            for _ in range(2):
                await device.publish("tele/plug/SENSOR", '{"t": 1}', qos=1)
            await until(lambda: len(bridge.told("ws-plug")) == 2)
        assert paho.Client.ack is acknowledge
        bridge.cut()
        await until(lambda: bridge.bench.ingest.counts["duplicates"] == 2)
        await device.publish("tele/plug/SENSOR", '{"t": 1}', qos=1)
        await until(lambda: len(bridge.told("ws-plug")) == 3)


async def test_a_wrong_password_is_said_and_tried_again_until_it_is_right(tmp_path, authority, broker):
    bridge = Bridge(tmp_path, authority, broker, "guest")
    broker.tell_password("guessed")
    try:
        async with contextlib.AsyncExitStack() as stack:
            running = asyncio.create_task(stack.enter_async_context(bridge.bench.running()))
            await until(lambda: bridge.bench.kept[1]._restarts > 1)
            assert bridge.error == "Not authorized"
            broker.tell_password(GATEWAY[1])
            await running
            assert bridge.error is None
    finally:
        broker.tell_password(GATEWAY[1])


async def test_a_broker_of_mqtt_3_1_1_keeps_what_was_not_acknowledged_too(tmp_path, authority, broker, device):
    async with old_broker(broker.port) as (port, asked):
        bridge = Bridge(tmp_path, authority, broker, "old", port=port)
        async with bridge.bench.running():
            assert asked == [5, 4]
            bridge.cut()
            await device.publish("tele/plug/SENSOR", '{"t": 1}', qos=1)
            await until(lambda: bridge.told("ws-plug"))
            assert asked == [5, 4, 4]
            assert bridge.metrics.lost == 0


async def test_our_own_devices_show_up_in_home_assistant(tmp_path, authority, broker, device):
    wish = {"units": {"temperature": "°C"}}
    await device.subscribe([("homeassistant/#", 1), ("fieldloom/#", 1)])
    bridge = Bridge(tmp_path, authority, broker, "shows", home_assistant=wish)
    heard = {}

    async def hear_until(topic, payload):
        async with asyncio.timeout(WAIT_S):
            while heard.get(topic) != payload:
                message = await anext(device.messages)
                heard[str(message.topic)] = message.payload

    async with bridge.bench.running():
        await device.publish("tele/plug/SENSOR", '{"t": 1}', qos=1)  # theirs is not shown to them again
        await hear_until("fieldloom/gw.test/availability", b"online")
        await until(lambda: bridge.told("ws-plug"))
        assert (await bridge.bench.broker.say(b'{"values": {"temperature": 21.5, "open": true}}')) == TAKEN
        await hear_until("fieldloom/dev-1/values/open", b"true")
        state = b'{"online": false, "boot": 1, "session": "a"}'
        assert (await bridge.bench.broker.say(state, "state")) == TAKEN
        await hear_until("fieldloom/dev-1/availability", b"offline")
    await hear_until("fieldloom/gw.test/availability", b"offline")

    entity = json.loads(heard["homeassistant/sensor/dev-1/temperature/config"])
    assert (entity["state_topic"], entity["unit_of_measurement"]) == ("fieldloom/dev-1/values/temperature", "°C")
    assert entity["availability"] == [{"topic": f"fieldloom/{one}/availability"} for one in ("gw.test", "dev-1")]
    assert heard["fieldloom/dev-1/values/temperature"] == b"21.5"
    assert json.loads(heard["homeassistant/binary_sensor/dev-1/open/config"])["payload_on"] == "true"
    assert not any("plug" in topic for topic in heard)
    async with broker.device("later") as later:
        await later.subscribe("homeassistant/sensor/dev-1/+/config")
        async with asyncio.timeout(WAIT_S):
            assert (await anext(later.messages)).retain


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"host": "192.168.1.9"}, "adapters.0: Value error, needs a ca: without TLS it goes to loopback alone"),
        ({"username": None}, "adapters.0: Value error, needs a username beside the password_file"),
        ({"password_file": __file__}, "adapters.0.password_file: Value error, may be read by others: chmod 600"),
        ({"mappings": [{"preset": "tasmota"}]}, "adapters.0.mappings.0: Value error, needs devices, a prefix, or both"),
    ],
)
def test_nothing_is_open_and_faults_are_named(tmp_path, broker, fields, told):
    (tmp_path / "adapters.yaml").write_text(json.dumps({"adapters": [entry(broker, "one", **fields)]}))

    with pytest.raises(StartFailed) as refused:
        factory.load(tmp_path)
    assert str(refused.value).startswith(f"{tmp_path / 'adapters.yaml'}: {told}")
    safe = entry(broker, "one", host="192.168.1.9", insecure=True)
    (tmp_path / "adapters.yaml").write_text(json.dumps({"adapters": [safe]}))
    assert factory.load(tmp_path)[0].settings.insecure


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # paho leaves a refused socket to the collector
async def test_tls_takes_a_broker_of_its_ca_alone(tmp_path, authority, broker):
    cert, key = authority.issue("localhost")
    port = broker.port + 1
    lines = [f"listener {port} 127.0.0.1", f"cafile {authority.ca}", f"certfile {cert}", f"keyfile {key}"]
    lines += ["allow_anonymous false", f"password_file {broker.folder / 'passwords'}", "user root", ""]
    (tmp_path / "tls.conf").write_text("\n".join(lines))
    process = mosquitto(tmp_path / "tls.conf", tmp_path / "tls.log").start()
    bridges = []
    for name, ca in (("tls", authority.ca), ("wary", TestAuthority(tmp_path / "stranger", "stranger").ca)):
        (tmp_path / name).mkdir()
        bridges.append(Bridge(tmp_path / name, authority, broker, name, port=port, ca=str(ca)))
    try:
        wait_for_port(port)
        async with bridges[0].bench.running():
            assert bridges[0].error is None
        running = asyncio.create_task(bridges[1].bench.ingest.run())
        await until(lambda: "CERTIFICATE_VERIFY_FAILED" in (bridges[1].error or ""))
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    finally:
        process.stop()
        bridges.clear()
        gc.collect()


async def test_a_killed_gateway_loses_no_message_of_qos_1_and_stores_none_twice(tmp_path, authority, broker):
    site = Site(tmp_path, authority)
    (site.data / "adapters.yaml").write_text(json.dumps({"adapters": [entry(broker, "killed", home_assistant=True)]}))
    site.gateway.start()
    is_killed = threading.Event()

    def say():
        """Send a half, each message until the broker has it, and the rest once nobody is there."""
        client = paho.Client(CallbackAPIVersion.VERSION2, "meter")
        client.username_pw_set(*DEVICES)
        client.connect("127.0.0.1", broker.port)
        client.loop_start()
        for number in range(KEPT):
            if number == KEPT // 2:
                is_killed.wait(WAIT_S)
            client.publish("tele/meter/SENSOR", json.dumps({"n": number}), qos=1).wait_for_publish(WAIT_S)
        client.disconnect()
        client.loop_stop()

    def stored():
        """The numbers that are on the gateway's disk."""
        with contextlib.closing(sqlite3.connect(f"file:{site.data / 'gateway.db'}?mode=ro", uri=True)) as db:
            bodies = db.execute("SELECT body FROM outbox").fetchall()
        records = [json.loads(line) for (body,) in bodies for line in body.splitlines()]
        return [record["values"]["n"] for record in records if record["kind"] == "telemetry"]

    try:
        await until(lambda: "killed" in broker.sessions())
        devices = threading.Thread(target=say)
        devices.start()
        await until(lambda: len(stored()) > 20)
    finally:
        site.gateway.kill()
        is_killed.set()
    before = len(stored())
    await asyncio.to_thread(devices.join, WAIT_S)

    next_life = Bridge(site.data, authority, broker, "killed")
    async with next_life.bench.running():
        await until(lambda: len(next_life.told("ws-meter")) >= KEPT)
        values = [one["values"]["n"] for one in next_life.told("ws-meter")]
    assert 0 < before < KEPT
    assert sorted(values) == list(range(KEPT))


PRESS = [
    {"name": "Force/kN", "alias": 1, "type": "Float", "value": 21.1},
    {"name": "Cycles", "alias": 2, "type": "Int64", "value": 7},
    {"name": "Running", "alias": 3, "type": "Boolean", "value": True},
    {"name": "Job", "alias": 4, "type": "String", "value": "A-7"},
    {"name": "Raw", "alias": 5, "type": "Bytes", "value": [1, 2]},
]


async def test_a_sparkplug_node_of_others_is_read_asked_for_its_births_and_written_to(tmp_path, authority, broker):
    mappings = [{"preset": "sparkplug", "base": "spBv1.0/Plant", "prefix": "sp-"}]
    bridge = Bridge(tmp_path, authority, broker, "sparkplug", mappings=mappings)

    def values(device):
        return [one["values"] for one in bridge.told(device) if one["kind"] == "telemetry"]

    def states(device):
        return [one["online"] for one in bridge.told(device) if one["kind"] == "state"]

    async with SparkplugNode(broker.port, "Plant", "line") as node, bridge.bench.running():
        await node.bear((None, [{"name": "load", "type": "Double", "value": 0.5}]), ("press", PRESS))
        await until(lambda: values("sp-line-press"))
        assert values("sp-line-press") == [{"Force/kN": 21.1, "Cycles": 7, "Running": True, "Job": "A-7"}]
        assert bridge.metrics.left_out == 1
        found = {one["device"]: one["capabilities"] for one in bridge.bench.found()}
        assert found == {"sp-line": ["load"], "sp-line-press": [one["name"] for one in PRESS]}

        bridge.cut()  # what was born meanwhile is not known
        await until(lambda: bridge.metrics.reconnects or bridge.bench.kept[1]._restarts)
        await until(lambda: bridge.adapter.is_connected)
        by_alias = {"timestamp": 1_790_000_000_000, "metrics": [{"alias": 1, "type": "Float", "value": 22.5}]}
        await node.call("publishDeviceData", "press", by_alias)
        asked = await node.next()
        assert asked["ncmd"]["metrics"][0]["name"] == "Node Control/Rebirth"
        await until(lambda: len(values("sp-line-press")) == 2)
        await node.call("publishDeviceData", "press", by_alias)
        await until(lambda: {"Force/kN": 22.5} in values("sp-line-press"))
        letters = [(topic, reason) for topic, _, reason in bridge.bench.letters()]
        assert letters[0][0] == "fl/v1/d/sp-line-press/telemetry"
        assert letters[0][1].startswith("metrics.0.alias: 1 is told by no birth")

        expires = time.time_ns() // 1_000_000 + 60_000
        wish = {"device": "sp-line-press", "type": "write", "expires": expires}
        bridge.bench.hear({**wish, "id": "c1", "parameters": {"name": "Cycles", "value": -3}})
        await bridge.bench.ingest.repeat()
        command = await node.next()
        assert command["device"] == "press"
        assert [(one["name"], one["value"]) for one in command["dcmd"]["metrics"]] == [("Cycles", -3)]
        await until(lambda: bridge.bench.store.down.commands("sp-line-press") == [])

        await node.call("stop")
        await until(lambda: states("sp-line") == [True, True, False])
        assert states("sp-line-press") == [True, True, False]
        assert bridge.metrics.gaps == 0
