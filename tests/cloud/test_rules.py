"""A rule of the cloud over its real broker, killed in the middle of what the rule waits for. (E2, E3, E5, T5)"""

import asyncio
import itertools
import json
import os

import pytest

from cloud.test_ingest import GATEWAY, START, Fleet, packed, send
from fieldloom_contract import batch, topics

STEPS = {"sequence": {"steps": ["door.opened", "motion"], "within": "1m"}}
ACTIONS = [{"raise_alarm": {"alarm": "break-in"}}, {"command": {"type": "siren"}}]
RULE = {"id": "break-in", "placement": "cloud", "when": STEPS, "do": ACTIONS, "late": "fire"}
FIRED = {"id": "01-knocks", "rule": "edge", "version": "1.0.0", "mode": "active", "event": {"id": "knock"}}
FIRED |= {"values": {}, "holds": True, "late": False, "effects": []}
EDGE = {"id": "edge", "placement": "edge", "when": {"event_type": "tick"}, "do": [{"log": {"message": "tick"}}]}


@pytest.fixture
def fleet(tmp_path):
    fleet = Fleet(tmp_path)
    yield fleet
    fleet.cloud.process.stop()
    fleet.broker.stop()


def event(seq, kind, device="dev-1", **data):
    numbered = {"boot": 7, "seq": seq} if seq else {}
    ts = START + (seq or 0) * 1000
    return {"kind": "event", "device": device, **numbered, "ts": ts, "at": ts, "type": kind, "data": data}


async def hear(gateway, wanted):
    """Take what comes down until a record is wanted, and return all of it, in order."""
    heard = {}
    async with asyncio.timeout(40):
        async for message in gateway.messages:
            if not message.topic.matches(topics.gateway(GATEWAY, "down")):
                continue
            sent = batch.unpack(message.payload)
            heard |= {sent.offset + at: json.loads(one) for at, one in enumerate(sent.records)}
            last = next(number for number in itertools.count(sent.first) if number not in heard) - 1
            await gateway.publish(topics.gateway(GATEWAY, "down/ack"), batch.pack_ack(sent.stream, last))
            if any(map(wanted, heard.values())):
                return [one for _, one in sorted(heard.items())]
    return []


async def test_a_kill_in_the_middle_of_a_sequence_neither_loses_nor_repeats_a_firing(fleet):
    stream = os.urandom(16)
    with fleet.cloud.client(fleet.cloud.token) as api:
        for rule in (RULE, EDGE):
            api.put(f"/api/v1/rules/{rule['id']}", json={"document": rule}).raise_for_status()
    async with fleet.gateway() as gateway:
        await gateway.subscribe(topics.gateway(GATEWAY, "down"))
        await gateway.publish(topics.gateway(GATEWAY, "state"), b'{"online":true}')
        told = await hear(gateway, lambda record: record["kind"] == "rules")
        word = event(None, "rule.applied", GATEWAY, rule="edge", version="1.0.0", mode="active")
        fired = event(None, "rule.fired", "dev-1", **FIRED)
        await send(gateway, packed(stream, 1, word, event(1, "door.opened"), fired))

        fleet.cloud.process.kill()
        fleet.cloud.start()
        await send(gateway, packed(stream, 4, event(2, "motion"), fired))
        command = (await hear(gateway, lambda record: record["kind"] == "command"))[-1]
        await send(gateway, packed(stream, 4, event(2, "motion"), fired, event(3, "tick")))

    assert [one["id"] for one in told if one["kind"] == "rule"] == ["edge"]
    assert [one["ids"] for one in told if one["kind"] == "rules"][-1] == {"edge": "1.0.0"}
    assert (command["device"], command["type"]) == ("dev-1", "siren")
    (at_gateway,) = [one for one in fleet.get("/rules/edge")["gateways"] if one["gateway"] == GATEWAY]
    assert (at_gateway["status"], at_gateway["applied"]) == ("applied", "1.0.0")
    assert [one["id"] for one in fleet.get("/devices/dev-1/commands")["items"]] == [command["id"]]
    (by_owner,) = fleet.get("/rules/edge/firings")["items"]
    assert by_owner["event"] == FIRED["event"], "told again by the device's next owner: kept once (D4)"
    (fired,) = fleet.get("/rules/break-in/firings")["items"]
    assert [one["id"] for one in fired["effects"]][1] == command["id"]
    (alarm,) = fleet.get("/alarms")["items"]
    assert (alarm["name"], alarm["state"], alarm["count"]) == ("break-in", "active", 1)
