"""A rule from a file to what it does outside, by the command, over a real gateway and cloud. (E3, E5, E6, E10)

E3: a call is signed; an action that fails is recorded, and does not stop the others.
"""

import json
import time

import paho.mqtt.publish as mqtt
import yaml
from standardwebhooks.webhooks import Webhook
from typer.testing import CliRunner

from e2e.test_boards import wait_for
from fieldloom_cli import rule as commands
from fieldloom_contract import messages, topics
from fixtures.web import server

DEVICE = "hot-1"
MINE = {"source_match": DEVICE}
HOT = {"property_range": {"property": "temperature", "min": 80}}
BODY = {"device": "{{ device_id }}", "t": "{{ data.temperature }}"}


def told(system, *arguments):
    """Return what a command says as JSON."""
    environment = {"FIELDLOOM_API": f"http://127.0.0.1:{system.cloud.port}", "FIELDLOOM_TOKEN": system.cloud.token}
    done = CliRunner().invoke(commands.app, [*map(str, arguments), "--json"], env=environment)
    assert done.exit_code == 0, f"{done.exception} {done.stderr}"
    return json.loads(done.stdout)


def measure(system, *temperatures):
    """Have the device measure something each second, until now."""
    start = time.time_ns() // 1_000_000 - len(temperatures) * 1000
    records = [
        messages.dumps({"boot": 7, "seq": seq, "ts": start + seq * 1000, "values": {"temperature": value}})
        for seq, value in enumerate(temperatures, 1)
    ]
    payload, topic = messages.frame(records, 1), topics.device(DEVICE, topics.TELEMETRY)
    mqtt.single(topic, payload, 1, False, "127.0.0.1", system.mqtt_port, DEVICE, tls=system.tls(DEVICE))


def test_a_rule_is_deployed_acts_outside_and_is_explained_and_taken_back(shared_system, tmp_path):
    system = shared_system
    system.enrol_device(DEVICE)
    secrets = system.cloud.data / "webhooks.yaml"
    secrets.write_text(f"{secrets.read_text()}allow: [127.0.0.1]\n")
    file = tmp_path / "hot.yaml"

    def performed():
        shown = told(system, "show", "hot")
        is_over = sum(shown["effects"].get(status, 0) for status in ("done", "failed")) == 2
        return shown if is_over else None

    with server("127.0.0.1") as (port, arrived):
        actions = [
            {"notification": {"recipient": "nobody", "message": "hot"}},
            {"http": {"url": f"http://127.0.0.1:{port}/hot", "body": BODY}},
        ]
        document = {"id": "hot", "placement": "cloud", "when": {"and": [MINE, HOT]}, "do": actions}
        file.write_text(yaml.safe_dump(document))
        (deployed,) = told(system, "deploy", file)["items"]
        measure(system, 20.0, 81.5)
        shown = wait_for(performed, 60, "effects")

    (call,) = arrived
    (firing,) = shown["firings"]
    secret = yaml.safe_load(secrets.read_text())["secret"]
    assert Webhook(secret).verify(call.body, call.headers) == {"device": DEVICE, "t": 81.5}
    assert call.headers["Idempotency-Key"] == firing["effects"][1]["id"]
    assert (deployed["mode"], shown["effects"]) == ("active", {"done": 1, "failed": 1})

    event = tmp_path / "event.json"
    event.write_text('{"temperature": 90}')
    found = told(system, "explain", "hot", "--event", event, "--device", DEVICE)
    tried = told(system, "backtest", "hot", "--since", "1h")
    file.write_text(yaml.safe_dump({**document, "version": "1.1.0", "when": {"and": [MINE, {"not": HOT}]}}))
    compared = told(system, "backtest", file, "--since", "1h", "--version", "1.0.0")
    assert (found["fires"], found["condition"]["holds"]) == (True, True)
    assert [one["values"] for one in tried["firings"]] == [{"temperature": 81.5}]
    assert compared["summary"]["only"] == {"rule": 1, "against": 1}

    told(system, "deploy", file, "--shadow")
    back = told(system, "rollback", "hot")
    told(system, "activate", "hot")
    (listed,) = told(system, "list")["items"]
    told(system, "delete", "hot")
    assert (back["version"], back["mode"]) == ("1.0.0", "shadow")
    assert (listed["version"], listed["mode"]) == ("1.0.0", "active")
    assert told(system, "list")["items"] == []
