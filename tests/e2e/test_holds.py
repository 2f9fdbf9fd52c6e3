"""A person and a rule of the gateway want the same relay of a real board: who holds it wins. (E9)"""

import json
import time

import paho.mqtt.publish as mqtt
import pytest
import yaml
from typer.testing import CliRunner

from e2e.test_boards import execute, wait_for
from e2e.test_rules import told
from e2e.test_rules_at_the_edge import items
from fieldloom_cli import device as commands
from fieldloom_contract import messages, topics
from fixtures.processes import wait_until_ready

BOARD, SENSOR = "held-1", "held-sensor"
RULE = {
    "id": "held-hot",
    "placement": "edge",
    "when": {"and": [{"event_type": "too.hot"}, {"source_match": SENSOR}]},
    "do": [{"command": {"device_id": BOARD, "type": "write", "parameters": {"name": "relay", "value": True}}}],
}


@pytest.fixture
def world(shared_system, shared_fleet, tmp_path):
    """A system with a board and a sensor at its first gateway, and the rule at work there."""
    system = shared_system
    shared_fleet.add(system.enrol_device(BOARD), system.gateways[:1], interval=500)
    system.enrol_device(SENSOR)
    file = tmp_path / "held-hot.yaml"
    file.write_text(yaml.safe_dump(RULE))
    told(system, "deploy", file)
    applied = {"device": "gw.site1", "type": "rule.applied"}
    wait_for(
        lambda: [one for one in items(system, "events", **applied) if one["data"]["rule"] == RULE["id"]], 60, "the rule"
    )
    wait_for(lambda: system.stored(BOARD), 60, "telemetry")
    yield system
    told(system, "delete", RULE["id"])


def device(system, *arguments, code=0):
    """Return what the command says."""
    environment = {"FIELDLOOM_API": f"http://127.0.0.1:{system.cloud.port}", "FIELDLOOM_TOKEN": system.cloud.token}
    done = CliRunner().invoke(commands.app, [*map(str, arguments)], env=environment)
    assert done.exit_code == code, f"{done.exception} {done.output}"
    return done.stdout


def holds(system):
    return json.loads(device(system, "holds", BOARD, "--json"))["items"]


def set_by(system, wanted):
    """Wait until somebody has set the relay last, to what, and return the ids of its holds."""

    def found():
        told = next((one for one in holds(system) if one["actuator"] == "relay"), None)
        last = told and told["set_by"]
        return told if last and (last["owner"], last["parameters"]["value"]) == wanted else None

    return [hold["id"] for hold in wait_for(found, 60, f"{wanted} as the last")["holds"]]


def fire(system, seq):
    """Have the sensor tell that it is too hot, and return what became of the rule's command."""
    record = messages.dumps({"boot": 7, "seq": seq, "ts": time.time_ns() // 1_000_000, "type": "too.hot", "data": {}})
    topic, tls = topics.device(SENSOR, topics.EVENT), system.tls(SENSOR)
    mqtt.single(topic, messages.frame([record], 1), 1, False, "127.0.0.1", system.mqtt_port, SENSOR, tls=tls)

    def became():
        actions = items(system, "events", device=SENSOR, type="rule.action")
        return actions[0]["data"] if len(actions) == seq else None

    return wait_for(became, 120, f"the outcome of action {seq}")


def relay(system):
    with system.api() as api:
        return execute(api, BOARD, "read", seconds=60, name="relay")["result"]["values"]["relay"]


def test_a_persons_hold_wins_over_an_edge_rule_until_it_is_released(world):
    system = world
    assert fire(system, 1)["status"] == "done"
    assert relay(system) is True
    assert set_by(system, (RULE["id"], True)) == []

    asked = ("hold", BOARD, "relay=false", "--reason", "maintenance", "--wait", 60, "--json")
    (held,) = json.loads(device(system, *asked))["items"]
    owner = held["holds"][0]["owner"]
    refused = fire(system, 2)
    assert (held["actuator"], held["holds"][0]["priority"], held["holds"][0]["reason"]) == (
        "relay",
        "person",
        "maintenance",
    )
    assert refused["status"] == "failed"
    assert refused["error"] == f"rejected: {held['holds'][0]['owner']} (person) holds relay until released: maintenance"
    (lost, *_) = items(system, "events", device=BOARD, type="actuator.lost")
    assert (lost["data"]["command"]["owner"], lost["data"]["to"]["priority"]) == (RULE["id"], "person")
    assert relay(system) is False
    assert set_by(system, (owner, False)) == [held["holds"][0]["id"]]

    system.processes["gateway-1"].kill()
    system.processes["gateway-1"].start()
    wait_until_ready(int(system.status_pages[0].split(":")[2].split("/")[0]))
    assert fire(system, 3)["status"] == "failed"
    # Two gateways that are no cluster: each says of the same hold since when it has it.
    assert [hold["id"] for one in holds(system) for hold in one["holds"]] == [held["holds"][0]["id"]]

    had = len(system.stored(BOARD))
    wait_for(lambda: len(system.stored(BOARD)) > had, 120, "the board's way back")
    device(system, "release", BOARD, "relay")
    released = {"device": BOARD, "type": "actuator.released"}
    both = {"gw.site1", "gw.site2"}
    wait_for(lambda: {one["gateway"] for one in items(system, "events", **released)} == both, 120, "the release")
    assert set_by(system, (owner, False)) == []
    assert fire(system, 4)["status"] == "done"
    assert relay(system) is True
