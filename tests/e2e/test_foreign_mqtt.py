"""A plug at a broker that is not ours: to the cloud's store, and a command of the cloud's to the plug. (C6, A3, T4)"""

import json
import time

import pytest
from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

from fixtures.foreign import DEVICES, GATEWAY, ForeignBroker
from fixtures.processes import wait_until_ready

WAIT_S = 60
READINGS = 20


@pytest.fixture
def broker(tmp_path):
    broker = ForeignBroker(tmp_path / "foreign").start()
    yield broker
    broker.process.stop()


@pytest.fixture
def plug(broker):
    """A device as Tasmota is one; `heard` holds what it was told."""
    client = paho.Client(CallbackAPIVersion.VERSION2, "plug")
    client.username_pw_set(*DEVICES)
    client.heard = []
    client.on_message = lambda _, __, message: client.heard.append((message.topic, message.payload))
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    client.subscribe("cmnd/plug/#", 1)
    yield client
    client.disconnect()
    client.loop_stop()


def until(get, holds):
    """Return what is got as soon as it holds."""
    deadline = time.monotonic() + WAIT_S
    while not holds(value := get()):
        assert time.monotonic() < deadline, value
        time.sleep(0.1)
    return value


def test_a_plug_of_another_broker_is_in_the_cloud_and_is_switched_from_there(shared_system, broker, plug):
    file = shared_system.folder / "gateway-2" / "adapters.yaml"
    before = file.read_text()
    told = {"protocol": "mqtt", "name": "plugs", "host": "127.0.0.1", "port": broker.port, "client_id": "gw.site2"}
    told |= {"username": GATEWAY[0], "password_file": str(broker.password_file), "home_assistant": True}
    told["mappings"] = [{"preset": "tasmota", "devices": {"plug": "plug-1"}}]
    file.write_text(json.dumps({"adapters": [told]}))
    gateway = shared_system.processes["gateway-2"]
    gateway.kill()
    gateway.start()
    wait_until_ready(int(shared_system.status_pages[1].split(":")[2].split("/")[0]))
    file.write_text(before)

    with shared_system.api() as api:
        api.post("/api/v1/devices", json={"id": "plug-1"}).raise_for_status()
        plug.publish("tele/plug/LWT", "Online", qos=1, retain=True)
        for number in range(READINGS):
            plug.publish("tele/plug/SENSOR", json.dumps({"ENERGY": {"Power": number}}), qos=1)
        stored = until(lambda: shared_system.stored("plug-1"), lambda values: len(values) >= READINGS)
        assert sorted(stored) == list(range(READINGS))
        until(lambda: api.get("/api/v1/devices/plug-1").json(), lambda device: device["status"] == "online")

        wish = {"type": "write", "parameters": {"name": "POWER", "value": True}}
        number = api.post("/api/v1/devices/plug-1/commands", json=wish).json()["id"]
        command = until(lambda: api.get(f"/api/v1/commands/{number}").json(), lambda one: one["status"] == "succeeded")
    assert command["result"] == {"published": "cmnd/plug/POWER"}
    assert plug.heard == [("cmnd/plug/POWER", b"ON")]
