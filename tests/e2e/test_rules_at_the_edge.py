"""A rule of the cloud at work in a gateway: put to work there, fired by a device, told to the cloud. (E5, E7, E8)"""

import time

import httpx2
import paho.mqtt.publish as mqtt
import yaml

from e2e.test_boards import wait_for
from e2e.test_rules import told
from fieldloom_contract import messages, topics

DEVICE = "edge-1"
HOT = {"property_range": {"property": "temperature", "min": 80}}
RULE = {
    "id": "edge-hot",
    "placement": "edge",
    "when": {"and": [{"event_type": "device.telemetry"}, {"source_match": DEVICE}, HOT]},
    "do": [{"raise_alarm": {"alarm": "hot", "severity": "major"}}, {"command": {"type": "cooling"}}],
}


def items(system, path, **asked):
    """Return what the cloud's API lists."""
    headers = {"Authorization": f"Bearer {system.cloud.token}"}
    url = f"http://127.0.0.1:{system.cloud.port}/api/v1/{path}"
    return httpx2.get(url, params=asked, headers=headers, timeout=20).raise_for_status().json()["items"]


def applied(system):
    """Whether both gateways say that the rule is at work."""
    told = items(system, "events", type="rule.applied")
    return len({one["device"] for one in told if one["data"]["rule"] == RULE["id"]}) == 2


def test_a_rule_of_the_cloud_fires_at_the_gateway_once_and_the_cloud_hears_of_it(shared_system, tmp_path):
    system = shared_system
    system.enrol_device(DEVICE)
    file = tmp_path / "edge-hot.yaml"
    file.write_text(yaml.safe_dump(RULE))
    told(system, "deploy", file)
    wait_for(lambda: applied(system), 60, "the gateways' word that it is at work")
    record = messages.dumps({"boot": 7, "seq": 1, "ts": time.time_ns() // 1_000_000, "values": {"temperature": 81.5}})

    for _ in range(2):  # it comes again, as a board sends it that has not heard
        topic, tls = topics.device(DEVICE, topics.TELEMETRY), system.tls(DEVICE)
        mqtt.single(topic, messages.frame([record], 1), 1, False, "127.0.0.1", system.mqtt_port, DEVICE, tls=tls)
    (alarm,) = wait_for(lambda: items(system, "alarms", device=DEVICE), 60, "the alarm")

    (fired,) = items(system, "events", device=DEVICE, type="rule.fired")
    assert (alarm["name"], alarm["severity"], alarm["state"]) == ("hot", "major", "active")
    assert (fired["data"]["rule"], fired["data"]["values"]) == ("edge-hot", {"temperature": 81.5})
    assert [one["kind"] for one in fired["data"]["effects"]] == ["raise_alarm", "command"]
    told(system, "delete", "edge-hot")
