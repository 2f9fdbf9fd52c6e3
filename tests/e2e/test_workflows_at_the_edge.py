"""A workflow that the cloud deploys to its gateways: carried out there, cloud or not, and followed. (W4 to W8)"""

import asyncio
import contextlib
import time

import aiomqtt
import httpx2
import yaml

from e2e.test_workflows import ask, told
from fieldloom_contract import messages, topics
from fixtures.processes import wait_for_port

DEVICE = "cooled-1"
HOT = {"and": [{"source_match": DEVICE}, {"property_range": {"property": "temperature", "min": 80}}]}
VARIABLES = [{"name": "device_id", "type": "string"}]
COOLING = {
    "id": "edge-cooling",
    "placement": "edge",
    "triggers": [{"event": {"type": "device.telemetry"}, "condition": HOT}, {"api": {}}],
    "variables": VARIABLES,
    "initial_state": "cool",
    "states": {
        "cool": {
            "type": "task",
            "actions": [{"command": {"type": "cooling", "parameters": {"mode": "max"}}}],
            "transitions": [{"target": "closed"}],
        },
        "closed": {"type": "wait", "event": {"type": "closed"}, "transitions": [{"target": "end"}]},
        "end": {"type": "succeed", "output": {"by": "{{ result.data.by }}"}},
    },
}
START = {"start_workflow": {"workflow": "edge-cooling", "variables": {"device_id": "{{ device_id }}"}}}
GLOBAL = {
    "id": "global-cooling",
    "variables": VARIABLES,
    "initial_state": "start",
    "states": {
        "start": {"type": "task", "actions": [START], "transitions": [{"target": "end"}]},
        "end": {"type": "succeed", "output": "{{ result }}"},
    },
}


class Board:
    """The device, over MQTT: it reads, and executes each command once."""

    def __init__(self, client):
        self.client = client
        self.seq = 0
        self.executed = []

    async def run(self):
        await self.client.subscribe(topics.device(DEVICE, topics.COMMAND))
        await self.client.publish(topics.device(DEVICE, topics.STATE), messages.state(True, 7, "s"))
        async for message in self.client.messages:
            command = messages.parse_command(message.payload)
            if command["id"] in [one["id"] for one in self.executed]:
                continue
            self.executed.append(command)
            for word in ("accepted", "succeeded"):
                await self.send(topics.RESULT, id=command["id"], status=word)

    async def read(self, temperature):
        """Send a reading twice, as a board does that has not heard."""
        await self.send(topics.TELEMETRY, values={"temperature": temperature})
        self.seq -= 1
        await self.send(topics.TELEMETRY, values={"temperature": temperature})

    async def close(self):
        await self.send(topics.EVENT, type="closed", data={"by": "the door"})

    async def send(self, verb, **fields):
        self.seq += 1
        record = {"boot": 7, "seq": self.seq, "ts": time.time_ns() // 1_000_000, **fields}
        await self.client.publish(topics.device(DEVICE, verb), messages.dumps([record]), qos=1)


async def until(what, description):
    """Return what a question gives once that is something; the cloud may be starting."""
    try:
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(Exception):
                    if found := await asyncio.to_thread(what):
                        return found
                await asyncio.sleep(0.2)
    except TimeoutError:
        raise AssertionError(f"{description} did not come") from None


def items(system, path):
    return ask(system, path).raise_for_status().json()["items"]


def instances(system, status, version="1.0.0"):
    found = items(system, f"/api/v1/instances?workflow=edge-cooling&status={status}")
    return [one for one in found if one["version"] == version]


def applied(system, version):
    at_gateways = ask(system, "/api/v1/workflows/edge-cooling").json()["gateways"]
    return [one["applied"] for one in at_gateways] == [version, version]


def deploy(system, folder, document):
    file = folder / f"{document['id']}.yaml"
    file.write_text(yaml.safe_dump(document))
    return told(system, "deploy", file)


async def test_a_workflow_of_the_edge_is_deployed_carried_out_and_followed(shared_system, tmp_path):
    system = shared_system
    await asyncio.to_thread(system.enrol_device, DEVICE)
    await asyncio.to_thread(deploy, system, tmp_path, COOLING)
    await until(lambda: applied(system, "1.0.0"), "the gateways' word that it is at work")

    client = aiomqtt.Client("127.0.0.1", system.mqtt_port, identifier=DEVICE, tls_context=system.tls(DEVICE))
    async with client, asyncio.TaskGroup() as tasks:
        board = Board(client)
        running = tasks.create_task(board.run())

        await board.read(81.5)
        (waiting,) = await until(lambda: instances(system, "waiting"), "the instance in the cloud")
        await board.close()
        (done,) = await until(lambda: instances(system, "succeeded"), "its end")
        shown = await asyncio.to_thread(lambda: ask(system, f"/api/v1/instances/{done['id']}").json())
        assert (waiting["id"], waiting["gateway"], waiting["device"]) == (done["id"], "gw.site1", DEVICE)
        assert [one["state"] for one in shown["history"] if one["state"]] == ["cool", "closed", "end"]
        assert (shown["output"], len(board.executed)) == ({"by": "the door"}, 1)

        system.processes["cloud"].kill()
        await board.read(82)
        await until(lambda: len(board.executed) == 2, "the command while the cloud is away")
        system.processes["cloud"].start()
        await asyncio.to_thread(wait_for_port, system.cloud.port)
        (waiting,) = await until(lambda: instances(system, "waiting"), "the instance of the time without the cloud")

        await asyncio.to_thread(deploy, system, tmp_path, {**COOLING, "version": "1.1.0"})
        await until(lambda: applied(system, "1.1.0"), "the word that the new version is at work")
        await asyncio.to_thread(deploy, system, tmp_path, GLOBAL)
        parent = (await asyncio.to_thread(told, system, "start", "global-cooling", "--device", DEVICE)).split()[0]
        (child,) = await until(lambda: instances(system, "waiting", "1.1.0"), "the instance that the cloud asked for")
        await asyncio.to_thread(told, system, "terminate", waiting["id"], "--reason", "by hand")
        await asyncio.to_thread(told, system, "signal", child["id"], "closed", "--set", "by=Ann")
        ended = await until(lambda: instances(system, "terminated"), "the end that a person asked for")
        over = await until(lambda: over_with(system, parent), "the end of what has waited")
        assert ([one["id"] for one in ended], child["parent"]) == ([waiting["id"]], parent)
        assert (over["output"], len(board.executed)) == ({"by": "Ann"}, 3)
        assert "gateway: gw.site1" in await asyncio.to_thread(told, system, "show", child["id"])
        assert "gw.site2  1.1.0" in await asyncio.to_thread(told, system, "show", "edge-cooling")

        await asyncio.to_thread(told, system, "undeploy", "edge-cooling")
        await until(lambda: at_work(system) is None, "that the gateway has it no more")
        await board.read(83)
        await board.close()
        await until(lambda: 83 in system.stored(DEVICE), "the reading that starts nothing")
        running.cancel()

    assert len(board.executed) == 3
    everything = await asyncio.to_thread(items, system, "/api/v1/instances?workflow=edge-cooling")
    assert len(everything) == 3


def at_work(system):
    """Return the version that is at work at the device's gateway."""
    data = system.folder / "gateway-1"
    url = system.status_pages[0].replace("/status", "/workflows/edge-cooling")
    headers = {"Authorization": f"Bearer {(data / 'local.token').read_text().strip()}"}
    return httpx2.get(url, headers=headers, timeout=20).raise_for_status().json()["version"]


def over_with(system, id_):
    shown = ask(system, f"/api/v1/instances/{id_}").json()
    return shown if shown["status"] == "succeeded" else None
