"""Rules of a real gateway process, deployed by its cloud: fired by devices, over kills, outages. (E3, E5, E8, E10)"""

import asyncio
import contextlib
import json
import os
import time

import httpx2
import pytest
from typer.testing import CliRunner

from fieldloom_contract import topics
from fieldloom_gateway.commands import app
from fieldloom_runtime import files
from fixtures.certificates import TestAuthority
from fixtures.processes import wait_until_ready
from fixtures.web import server
from gateway.conftest import GATEWAY, Site, hear
from gateway.test_ingest import outbox, report
from gateway.test_uplink import cloud_client, command_down, down_ack, run_cloud_broker

HOT = {"and": [{"event_type": "device.telemetry"}, {"property_range": {"property": "temperature", "min": 80}}]}
COOL = {"command": {"type": "cooling", "parameters": {"mode": "max"}}}
OVERHEAT = {
    "id": "overheat",
    "fire": "on_change",
    "when": HOT,
    "do": [
        {"raise_alarm": {"alarm": "overheat", "severity": "critical", "message": "{{ data.temperature }} °C"}},
        COOL,
    ],
    "otherwise": [{"clear_alarm": {"alarm": "overheat"}}],
}
SEQUENCE = {
    "id": "break-in",
    "when": {"sequence": {"steps": ["door.opened", "motion", "door.closed"], "within": "1m"}},
    "do": [
        {"publish": {"topic": "site/alarms/{{ device_id }}", "payload": {"rule": "{{ rule.id }}", "at": "{{ at }}"}}}
    ],
}
CALL = {
    "id": "call",
    "when": {"event_type": "call"},
    "do": [{"http": {"url": "{{ data.url }}", "body": "{{ data.n }}"}}],
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """One gateway for all tests, which the cloud has sent its rules and left; each test has devices of its own."""
    folder = tmp_path_factory.mktemp("rules")
    site = Site(folder, TestAuthority(folder / "pki")).start()
    broker = run_cloud_broker(site, site.authority)
    asyncio.run(deploy(site, OVERHEAT, SEQUENCE, CALL))
    broker.stop()
    yield site
    site.stop()


async def deploy(site, *documents):
    told = [{"kind": "rule", "id": one["id"], "version": "1.0.0", "document": one} for one in documents]
    await send_down(site, *told, {"kind": "rules", "ids": {one["id"]: "1.0.0" for one in documents}})


async def send_down(site, *told):
    """Send records down to the gateway until it has acknowledged them."""
    stream = os.urandom(16)
    async with cloud_client(site) as cloud, asyncio.timeout(30):
        await cloud.subscribe(topics.gateway(GATEWAY, "down/ack"))
        acked = (b"", 0)
        while acked != (stream, len(told)):
            await command_down(cloud, stream, 1, *told)
            with contextlib.suppress(TimeoutError):
                acked = await down_ack(cloud, 1.0)


def now():
    return time.time_ns() // 1_000_000


def reading(seq, temperature, ago_s=0):
    return {"boot": 7, "seq": seq, "ts": now() + seq - ago_s * 1000, "values": {"temperature": temperature}}


def happened(seq, kind):
    return {"boot": 7, "seq": seq, "ts": now() + seq, "type": kind}


@contextlib.asynccontextmanager
async def device(site, name):
    async with site.device(name) as client:
        await client.subscribe(topics.device(name, "#"))
        yield client


def told(site, name, *types):
    return [one for one in outbox(site) if one["device"] == name and one["kind"] == "event" and one["type"] in types]


def local(site, method, path, body=None):
    token = (site.data / "local.token").read_text().strip()
    url = f"http://127.0.0.1:{site.ports['http']}/api/v1{path}"
    return httpx2.request(method, url, json=body, headers={"Authorization": f"Bearer {token}"}, timeout=20)


def commanded(site, name):
    """Return what became of commands that rules have asked for."""
    return [one["data"] for one in told(site, name, "rule.action") if one["data"]["kind"] == "command"]


async def test_a_hot_device_gets_its_command_once_while_the_cloud_is_away(site):
    async with device(site, "dev-1") as client:
        await report(client, "dev-1", reading(1, 79), reading(2, 81), reading(3, 85))
        command = (await hear(client, "command", seconds=30)).message
        answer = {
            "boot": 7,
            "seq": 4,
            "ts": now() + 4,
            "id": command["id"],
            "status": "succeeded",
            "result": {"fan": 3},
        }
        await report(client, "dev-1", answer, verb="command/result")
        while (await hear(client, "ack", seconds=30)).message["seq"] != 4:
            continue

    assert (command["type"], command["parameters"]) == ("cooling", {"mode": "max"})
    (fired,) = told(site, "dev-1", "rule.fired")
    assert (fired["data"]["version"], fired["data"]["values"]) == ("1.0.0", {"temperature": 81})
    outcomes = commanded(site, "dev-1")
    answered = {"status": "succeeded", "result": {"fan": 3}}
    assert [(one["effect"], one["status"], one["result"]) for one in outcomes] == [(command["id"], "done", answered)]
    shown = local(site, "GET", "/rules/overheat").json()
    assert [one["values"] for one in shown["firings"]] == [{"temperature": 81}]
    assert [one["status"] for one in shown["effects"]] == ["done", "done"]
    (alarm,) = [one for one in local(site, "GET", "/alarms").json()["items"] if one["device"] == "dev-1"]
    assert (alarm["alarm"], alarm["severity"], alarm["message"]) == ("overheat", "critical", "81 °C")


async def test_a_kill_in_the_middle_of_a_sequence_neither_loses_nor_repeats_its_firing(site):
    async with device(site, "dev-2") as client, device(site, "watcher") as watcher:
        await watcher.subscribe("site/alarms/#")
        await report(client, "dev-2", happened(1, "door.opened"), happened(2, "motion"), verb="event")
        await hear(client, "ack", seconds=30)
        site.gateway.kill()
        site.gateway.start()
        wait_until_ready(site.ports["http"])
        last = happened(3, "door.closed")
        await taken(client, "dev-2", last)
        async with asyncio.timeout(30):
            published = await anext(aiter(watcher.messages))
        await taken(client, "dev-2", last, happened(4, "motion"))

    assert str(published.topic) == "site/alarms/dev-2"
    assert json.loads(published.payload) == {"rule": "break-in", "at": last["ts"]}
    (fired,) = told(site, "dev-2", "rule.fired")
    assert fired["data"]["event"]["id"] == "dev-2/7/3"


async def taken(client, name, *records):
    """Send events until the last of them is acknowledged, as a board does."""
    async with asyncio.timeout(30):
        while True:
            await report(client, name, *records, verb="event")
            with contextlib.suppress(TimeoutError):
                while (await hear(client, "ack", seconds=1)).message["seq"] != records[-1]["seq"]:
                    continue
                return


async def test_what_an_outage_held_back_amends_and_commands_nothing(site):
    async with device(site, "dev-3") as client:
        backlog = [reading(seq, 90 if seq < 3 else 70, ago_s=3 * 3600) for seq in range(1, 5)]
        await report(client, "dev-3", *backlog, reading(5, 60))
        heard = [(await hear(client, "ack", "command", seconds=30)).message]
        while heard[-1].get("seq") != 5:
            heard.append((await hear(client, "ack", "command", seconds=30)).message)

    assert all("type" not in one for one in heard), "no command"
    amended = told(site, "dev-3", "alarm.raised", "alarm.cleared")
    assert [(one["type"], one["ts"]) for one in amended] == [
        ("alarm.raised", backlog[0]["ts"]),
        ("alarm.cleared", backlog[2]["ts"]),
    ]
    assert all(one["data"]["late"] for one in told(site, "dev-3", "rule.fired"))


async def test_a_web_server_is_called_with_the_effects_id(site):
    secrets = site.data / "webhooks.yaml"
    files.write(secrets, secrets.read_text() + "allow: [127.0.0.1/32]\n")
    with server("127.0.0.1") as (port, arrived):
        async with device(site, "dev-4") as client:
            data = {"url": f"http://127.0.0.1:{port}/hook", "n": 7}
            await report(client, "dev-4", {**happened(1, "call"), "data": data}, verb="event")
        (outcome,) = await asyncio.to_thread(outcomes_of, site, "dev-4")

    assert (outcome["data"]["status"], outcome["data"]["result"]["status"]) == ("done", 200)
    assert {call.headers["Idempotency-Key"] for call in arrived} == {outcome["data"]["effect"]}
    assert [call.body for call in arrived] == [b"7"]


def outcomes_of(site, name):
    deadline = time.monotonic() + 60
    while not (found := told(site, name, "rule.action")):
        assert time.monotonic() < deadline, "nothing became of it in 60 s"
        time.sleep(0.1)
    return found


def test_rules_are_seen_explained_and_reloaded_over_the_gateways_own_interface(site):
    (site.data / "rules").mkdir()
    (site.data / "rules" / "own.yaml").write_text(
        json.dumps({"id": "own", "when": HOT, "do": [{"log": {"message": "x"}}]})
    )

    run(site, "reload")
    listed = json.loads(run(site, "list", "--json").stdout)["items"]
    assert [(one["id"], one["origin"], one["mode"]) for one in listed] == [
        ("break-in", "cloud", "active"),
        ("call", "cloud", "active"),
        ("overheat", "cloud", "active"),
        ("own", "folder", "active"),
    ]
    (site.data / "rules" / "own.yaml").write_text("id: own\nwhen: {}")
    assert "rules/own.yaml: when: must have exactly one of the keys" in run(site, "reload", code=1).stderr
    assert json.loads(run(site, "show", "own", "--json").stdout)["refused"]["faults"]
    why = local(site, "POST", "/rules/overheat/explain", {"device": "dev-9", "data": {"temperature": 60}}).json()
    assert (why["fires"], why["condition"]["parts"][1]["values"]) == (False, {"temperature": 60})
    assert "overheat" in run(site, "list").stdout
    assert local(site, "GET", "/rules/unknown").status_code == 404
    metrics = httpx2.get(f"http://127.0.0.1:{site.ports['http']}/metrics", timeout=20).text
    assert "fieldloom_gateway_rules_at_work 4.0" in metrics
    assert 'fieldloom_gateway_rules_total{what="events"}' in metrics


@pytest.mark.parametrize("path", ["/rules", "/rules/overheat", "/alarms"])
def test_nobody_sees_rules_without_the_token(site, path):
    answer = httpx2.get(f"http://127.0.0.1:{site.ports['http']}/api/v1{path}", timeout=20)

    assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")


def run(site, *arguments, code=0):
    done = CliRunner().invoke(app, ["rules", *arguments, "--data", str(site.data)])
    assert done.exit_code == code, done.output
    return done


async def test_who_holds_at_the_gateway_wins_over_its_rules_while_the_cloud_is_away(site):
    holds = "/devices/dev-held/holds"
    async with device(site, "dev-held") as client:
        asked = local(site, "POST", holds, {"type": "cooling", "parameters": {"mode": "off"}, "reason": "a new fan"})
        command = (await hear(client, "command", seconds=40)).message
        await report(client, "dev-held", reading(1, 79), reading(2, 81))
        async with asyncio.timeout(40):
            while not (actions := commanded(site, "dev-held")):  # noqa: ASYNC110 - the outbox sets no event
                await asyncio.sleep(0.1)
    released = local(site, "DELETE", f"{holds}/cooling")

    assert (asked.status_code, command["id"], command["parameters"]) == (202, asked.json()["id"], {"mode": "off"})
    (held,) = asked.json()["items"]
    assert (held["actuator"], held["holds"][0]["owner"], held["holds"][0]["expires"]) == (
        "cooling",
        "at the gateway",
        None,
    )
    (action,) = actions
    refusal = "rejected: at the gateway (person) holds cooling until released: a new fan"
    assert (action["status"], action["error"]) == ("failed", refusal)
    assert (released.status_code, released.json()["items"]) == (202, [])
    events = told(site, "dev-held", "actuator.held", "actuator.lost", "actuator.released")
    assert [one["type"] for one in events] == ["actuator.held", "actuator.lost", "actuator.released"]


def test_what_can_not_be_held_at_the_gateway_is_refused_with_the_reason(site):
    refused = [
        local(site, "POST", "/devices/dev-held/holds", {"type": "reboot"}),
        local(site, "POST", "/devices/dev-held/holds", {"type": "cooling", "priority": "rule"}),
        local(site, "POST", "/devices/dev-held/holds", {"type": "cooling", "parameters": {"x": "y" * 5000}}),
        local(site, "POST", "/devices/No Device/holds", {"type": "cooling"}),
    ]
    url = f"http://127.0.0.1:{site.ports['http']}/api/v1/devices/dev-held/holds"

    assert [one.status_code for one in refused] == [422, 422, 422, 404]
    assert refused[0].json()["detail"] == "reboot moves no actuator"
    strangers = [httpx2.get(url), httpx2.post(url, json={"type": "cooling"}), httpx2.delete(f"{url}/cooling")]
    assert [one.status_code for one in strangers] == [401, 401, 401]
