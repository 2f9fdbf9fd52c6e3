"""A workflow by the command: its device does once what it asks for, though the cloud is killed. (W6, A3, A1)"""

import asyncio
import contextlib
import time

import aiomqtt
import httpx2
import yaml
from typer.testing import CliRunner

from fieldloom_cli import workflow as commands
from fieldloom_contract import messages, topics
from fixtures.processes import wait_for_port

DEVICE = "flushed-1"
FLOW = {
    "id": "flush",
    "variables": [{"name": "device_id", "type": "string"}],
    "initial_state": "flush",
    "states": {
        "flush": {
            "type": "task",
            "actions": [{"command": {"type": "flush", "parameters": {"seconds": 5}}}],
            "transitions": [{"target": "rest"}],
        },
        "rest": {"type": "wait", "for": "2s"},
    },
}


def told(system, *arguments):
    """Return what a command says."""
    environment = {"FIELDLOOM_API": f"http://127.0.0.1:{system.cloud.port}", "FIELDLOOM_TOKEN": system.cloud.token}
    done = CliRunner().invoke(commands.app, [*map(str, arguments)], env=environment | {"COLUMNS": "200"})
    assert done.exit_code == 0, f"{done.exception} {done.stderr}"
    return done.stdout


def kill_cloud(system):
    system.processes["cloud"].kill()
    system.processes["cloud"].start()
    wait_for_port(system.cloud.port)


async def commands_for(client):
    """Return the first command for the device; it says that it is there until one comes."""
    await client.subscribe(topics.device(DEVICE, topics.COMMAND))
    while True:
        await client.publish(topics.device(DEVICE, topics.STATE), messages.state(True, 7, "s"))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                async for message in client.messages:
                    if topics.parse_device(str(message.topic))[1] == topics.COMMAND:
                        return messages.parse_command(message.payload)


async def test_a_device_does_once_what_a_workflow_asks_for_though_the_cloud_is_killed(shared_system, tmp_path):
    system = shared_system
    await asyncio.to_thread(system.enrol_device, DEVICE)
    file = tmp_path / "flush.yaml"
    file.write_text(yaml.safe_dump(FLOW))
    assert "flush 1.0.0 is deployed" in told(system, "deploy", file)
    id_ = told(system, "start", "flush", "--device", DEVICE).split()[0]

    client = aiomqtt.Client("127.0.0.1", system.mqtt_port, identifier=DEVICE, tls_context=system.tls(DEVICE))
    async with client, asyncio.timeout(120):
        command = await commands_for(client)
        await asyncio.to_thread(kill_cloud, system)
        for seq, word in enumerate(("accepted", "succeeded"), start=1):
            now = time.time_ns() // 1_000_000
            answer = {"boot": 7, "seq": seq, "ts": now, "id": command["id"], "status": word}
            await client.publish(topics.device(DEVICE, topics.RESULT), messages.dumps(answer), qos=1)
        shown = await over(system, id_)

    with system.api() as api:
        items = api.get(f"/api/v1/devices/{DEVICE}/commands").json()["items"]
    assert [(one["id"], one["status"]) for one in items] == [(command["id"], "succeeded")]
    assert [one["state"] for one in shown["history"] if one["state"]] == ["flush", "rest"]
    text = told(system, "show", id_)
    assert f"{id_} of flush 1.0.0, about {DEVICE}: succeeded" in text
    assert "flush" in told(system, "list") and id_ in told(system, "list", "flush")
    told(system, "undeploy", "flush")


async def over(system, id_):
    """Return an instance once it has succeeded."""
    while True:
        with contextlib.suppress(httpx2.TransportError):
            answer = await asyncio.to_thread(ask, system, f"/api/v1/instances/{id_}")
            if answer.is_success and answer.json()["status"] == "succeeded":
                return answer.json()
        await asyncio.sleep(0.2)


def ask(system, path):
    with system.api() as api:
        return api.get(path)
