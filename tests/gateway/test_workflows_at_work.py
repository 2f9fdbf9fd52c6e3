"""Workflows of a real gateway process: deployed by its cloud, over a kill, started and ended over HTTP. (W4 to W8)"""

import asyncio
import json
import shutil
import ssl

import aiomqtt
import httpx2
import pytest
from typer.testing import CliRunner

from fieldloom_gateway.commands import app
from fieldloom_gateway.deploy import identity
from fieldloom_runtime.tls import client_context
from fixtures.certificates import TestAuthority
from fixtures.processes import wait_until_ready
from gateway.conftest import Site, hear
from gateway.test_ingest import outbox, report
from gateway.test_rules_at_work import device, happened, local, now, send_down, taken
from gateway.test_uplink import run_cloud_broker

COOLING = {
    "id": "cooling",
    "placement": "edge",
    "triggers": [{"event": {"type": "hot"}}, {"api": {}}],
    "variables": [{"name": "device_id", "type": "string"}],
    "initial_state": "cool",
    "states": {
        "cool": {
            "type": "task",
            "actions": [{"command": {"type": "cooling", "parameters": {"mode": "max"}}}],
            "transitions": [{"target": "closed"}],
        },
        "closed": {"type": "wait", "event": {"type": "cold"}, "transitions": [{"target": "tell"}]},
        "tell": {"type": "task", "actions": [{"publish": {"topic": "site/cooled/{{ device_id }}", "payload": "cold"}}]},
    },
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """One gateway for all tests, which the cloud has sent its workflow and left."""
    folder = tmp_path_factory.mktemp("workflows")
    site = Site(folder, TestAuthority(folder / "pki")).start()
    broker = run_cloud_broker(site, site.authority)
    told = {"kind": "workflow", "id": "cooling", "version": "1.0.0", "document": COOLING}
    asyncio.run(send_down(site, told, {"kind": "workflows", "ids": {"cooling": "1.0.0"}}))
    broker.stop()
    yield site
    site.stop()


async def test_a_kill_in_the_middle_of_a_workflow_changes_nothing(site):
    async with device(site, "dev-1") as client, device(site, "watcher") as watcher:
        await watcher.subscribe("site/cooled/#")
        await taken(client, "dev-1", happened(1, "hot"))
        command = (await hear(client, "command")).message
        site.gateway.kill()
        site.gateway.start()
        wait_until_ready(site.ports["http"])
        answer = {"boot": 7, "seq": 2, "ts": now(), "id": command["id"], "status": "succeeded", "result": {"fan": 3}}
        again = await heard_until_acknowledged(client, answer)
        await until(site, "dev-1", "waiting")
        await taken(client, "dev-1", happened(3, "cold"))
        async with asyncio.timeout(30):
            published = await anext(aiter(watcher.messages))
        shown = await until(site, "dev-1", "succeeded")

    assert again <= {command["id"]}, "a device executes an id once"
    assert str(published.topic) == "site/cooled/dev-1"
    assert [one["state"] for one in shown["history"] if one["kind"] == "state"] == ["cool", "closed", "tell"]
    told = [one["data"] for one in outbox(site) if one["kind"] == "event" and one["type"] == "workflow.recorded"]
    assert [one["record"]["number"] for one in told if one["instance"] == shown["id"]] == [1, 2, 3, 4, 5]


async def heard_until_acknowledged(client, answer):
    """Send a result until it is acknowledged; return the ids of the commands that come meanwhile."""
    commands = set()
    async with asyncio.timeout(30):
        while True:
            await report(client, "dev-1", answer, verb="command/result")
            verb, message = await hear(client, "ack", "command")
            if verb == "command":
                commands.add(message["id"])
            elif message["seq"] == answer["seq"]:
                return commands


async def until(site, name, status):
    """Return the instance of a device once it has a status."""
    async with asyncio.timeout(30):
        while True:
            found = [one for one in local(site, "GET", "/instances").json()["items"] if one["device"] == name]
            if found and found[0]["status"] == status:
                return local(site, "GET", f"/instances/{found[0]['id']}").json()
            await asyncio.sleep(0.05)


def test_instances_are_started_seen_signalled_ended_and_begun_again_over_http(site):
    start = {"variables": {"device_id": "dev-9"}}
    answer = local(site, "POST", "/workflows/cooling/start", start)
    name = answer.json()["id"]

    shown = local(site, "GET", f"/instances/{name}").json()
    signalled = local(site, "POST", f"/instances/{name}/signal", {"type": "cold"})
    ended = local(site, "POST", f"/instances/{name}/terminate", {"reason": "enough"})
    again = local(site, "POST", f"/instances/{name}/retry", {"state": "closed"})
    too_early = local(site, "POST", f"/instances/{name}/retry", {"state": "closed"})
    cold = local(site, "POST", f"/instances/{name}/signal", {"type": "cold"})

    assert (answer.status_code, answer.json()["queued"]) == (201, False)
    assert (shown["status"], shown["states"], shown["variables"]["device_id"]) == ("running", ["cool"], "dev-9")
    assert signalled.json()["states"] == ["cool"], "it waits for its command"
    assert (ended.json()["status"], ended.json()["reason"]) == ("terminated", "enough")
    assert again.json()["states"] == ["closed"]
    assert (too_early.status_code, too_early.json()["detail"]) == (409, "it is waiting: terminate it first")
    assert cold.json()["history"][-1]["state"] in {"closed", "tell"}


@pytest.mark.parametrize(
    ("path", "body", "status", "detail"),
    [
        ("/workflows/none/start", {}, 422, "workflow: no workflow none is at work here"),
        ("/workflows/cooling/start", {"variables": {"limit": 3}}, 422, "variables: limit is not declared"),
        ("/workflows/cooling/start", {"variables": {"device_id": "a/b"}}, 422, "device: may hold only a-z 0-9 - _"),
        ("/instances/none/terminate", {"reason": "x"}, 404, "there is no instance none here"),
        ("/instances/none/terminate", {}, 422, "the request can't be used"),
    ],
)
def test_what_can_not_be_done_is_refused(site, path, body, status, detail):
    answer = local(site, "POST", path, body)

    assert (answer.status_code, answer.json()["detail"]) == (status, detail)


@pytest.fixture
def folder(site):
    """The operator's own workflows: none before, and none after."""
    folder = site.data / "workflows"
    folder.mkdir()
    yield folder
    shutil.rmtree(folder)
    assert local(site, "POST", "/workflows/reload").status_code == 200


def test_workflows_are_seen_and_read_anew_from_the_folder(site, folder):
    own = {**COOLING, "id": "own", "triggers": []}
    (folder / "own.yaml").write_text(json.dumps(own))

    listed = local(site, "POST", "/workflows/reload").json()["items"]
    (folder / "own.yaml").write_text(json.dumps({**own, "initial_state": "none", "version": "2.0.0"}))
    refused = local(site, "POST", "/workflows/reload")
    shown = local(site, "GET", "/workflows/own").json()

    assert [(one["id"], one["origin"], one["version"]) for one in listed] == [
        ("cooling", "cloud", "1.0.0"),
        ("own", "folder", "1.0.0"),
    ]
    assert refused.json()["errors"][0]["path"] == "workflows/own.yaml: initial_state"
    assert (shown["version"], shown["refused"]["version"]) == ("1.0.0", "2.0.0")
    assert local(site, "GET", "/workflows/none").status_code == 404


def test_workflows_and_instances_on_the_command_line(site):
    name = run(site, "workflows", "start", "cooling", "--set", "device_id=dev-8").strip()
    listed = run(site, "instances", "list", "--workflow", "cooling", "--status", "running")
    shown = run(site, "instances", "show", name)
    ended = run(site, "instances", "terminate", name, "--reason", "enough", "--keep")

    assert "cooling" in run(site, "workflows", "list")
    assert name in listed
    assert "cooling 1.0.0, running: cool" in shown
    assert ended.strip() == f"{name} is terminated"
    assert json.loads(run(site, "instances", "show", name, "--json"))["reason"] == "enough"
    assert run(site, "workflows", "show", "cooling").startswith("cooling 1.0.0, from the cloud")
    assert "there is no instance none here" in run(site, "instances", "show", "none", code=3)
    assert "'x' is not NAME=VALUE" in run(site, "workflows", "start", "cooling", "--set", "x", code=1)


def run(site, *arguments, code=0):
    done = CliRunner().invoke(app, [*arguments, "--data", str(site.data)])
    assert done.exit_code == code, done.output
    return done.output


@pytest.mark.parametrize("path", ["/workflows", "/instances"])
def test_nobody_sees_workflows_without_the_token(site, path):
    answer = httpx2.get(f"http://127.0.0.1:{site.ports['http']}/api/v1{path}", timeout=20)

    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")


ORDERS = {
    "id": "orders",
    "placement": "edge",
    "triggers": [
        {
            "message": {"topic": "site/orders/+"},
            "condition": {"property_range": {"property": "litres", "min": 1}},
            "overlap": "allow",
        }
    ],
    "variables": [{"name": "litres", "type": "number"}],
    "initial_state": "done",
    "states": {"done": {"type": "succeed", "output": "{{ event.metadata.topic }}: {{ litres }}"}},
}


async def test_messages_on_the_sites_topics_start_a_workflow_once_over_a_kill(site, folder):
    """(W4)"""
    (folder / "orders.yaml").write_text(json.dumps(ORDERS))
    assert local(site, "POST", "/workflows/reload").status_code == 200
    async with asyncio.timeout(120), service(site) as client:
        while not await outputs(site):  # until it listens: it starts one, however often it comes
            await client.publish("site/orders/7", json.dumps({"id": "o-1", "litres": 3}), qos=1)
        site.gateway.kill()
        for payload in (b"litres: 4", b"[4]", json.dumps({"litres": 0}), json.dumps({"litres": 4})):
            await client.publish("site/orders/8", payload, qos=1)
        await client.publish("site/others/8", b"nothing that it is for", qos=1)
        site.gateway.start()
        wait_until_ready(site.ports["http"])
        await client.publish("site/orders/9", json.dumps({"id": "o-2", "litres": 5}), qos=1)
        while len(told := await outputs(site)) < 3:
            continue

    assert sorted(told) == ["site/orders/7: 3", "site/orders/8: 4", "site/orders/9: 5"]
    letters = [one for one in local(site, "GET", "/dead-letters").json()["items"] if one["topic"].startswith("site/")]
    assert {(one["topic"], one["reason"]) for one in letters} == {
        ("site/orders/8", "payload: is no JSON"),
        ("site/orders/8", "payload: must be a JSON object"),
    }


def service(site):
    """A client at the gateway's own broker that was given the right to publish to the site."""
    own = identity.of(site.data)
    tls = client_context(own.cert, own.cert, own.key, ssl.TLSVersion.TLSv1_3)
    return aiomqtt.Client("127.0.0.1", site.ports["local"], identifier="orders", tls_context=tls)


async def outputs(site):
    """Return what instances of the orders have given, a moment later."""
    await asyncio.sleep(0.2)
    found = local(site, "GET", "/instances?workflow=orders").json()["items"]
    return [local(site, "GET", f"/instances/{one['id']}").json()["output"] for one in found]
