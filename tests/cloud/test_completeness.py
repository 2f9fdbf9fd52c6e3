"""What the cloud says of a window, from the first hole to the last word on it, at the real cloud. (T8)"""

import asyncio
import os
import time

import pytest

from cloud.test_ingest import GATEWAY, START, Fleet, packed, reading, send
from fieldloom_contract import topics
from fieldloom_runtime.gateway_state import GatewayState, encode

WINDOW = {"device": "dev-1", "start": "2026-09-21T14:13:22Z", "end": "2026-09-21T14:13:29.500Z"}
"""From reading 2 to reading 9: START is 14:13:20."""


@pytest.fixture(scope="module")
def fleet(tmp_path_factory, new_database):
    fleet = Fleet(tmp_path_factory.mktemp("completeness"), database=new_database())
    yield fleet
    fleet.cloud.process.stop()
    fleet.broker.stop()


def state(at, waiting):
    record = {"kind": "state", "device": "dev-1", "boot": 7, "ts": START + at, "at": START + at}
    return {**record, "online": True, "session": "s", "facts": {"waiting": waiting}}


def dropped(first, last):
    data = {"boot": 7, "from": first, "to": last, "reason": "oldest", "by": "gateway"}
    return {"kind": "event", "device": "dev-1", "ts": START, "at": START, "type": "records.dropped", "data": data}


async def say(fleet, client, told, expected):
    """Tell a gateway's state and return the answer on the window once its status and holes are as expected."""
    await client.publish(topics.gateway(GATEWAY, "state"), encode(told))
    deadline = time.monotonic() + 20
    while True:
        answer = await asyncio.to_thread(fleet.get, "/completeness", **WINDOW)
        found = [(one["first"], one["last"], one["where"], one["gateway"]) for one in answer["missing"]]
        if (answer["status"], found) == expected:
            return answer
        assert time.monotonic() < deadline, answer
        await asyncio.sleep(0.05)


async def test_holes_are_named_where_they_are_and_at_last_for_good(fleet):
    stream = os.urandom(16)
    told = GatewayState(online=True, connected=True, at=START + 10_000, stream=stream, numbered=6)
    async with fleet.gateway() as client:
        await send(client, packed(stream, 1, *[reading(seq) for seq in (1, 2, 3, 4, 9, 10)]))
        await say(fleet, client, told, ("open", [(5, 8, "unknown", None)]))
        await send(client, packed(stream, 7, state(10_000, 3)))
        told.numbered = 7
        await say(fleet, client, told, ("open", [(5, 8, "not_sent", None)]))
        await say(fleet, client, GatewayState(online=False), ("open", [(5, 8, "unknown", GATEWAY)]))
        told.numbered, told.waiting, told.holds = 10, 3, [("dev-1", 7, 5, 6)]
        behind = await say(fleet, client, told, ("open", [(5, 6, "in_gateway", GATEWAY), (7, 8, "unknown", GATEWAY)]))
        await send(client, packed(stream, 8, reading(5), reading(6), dropped(7, 7)))
        await say(fleet, client, told, ("open", [(7, 7, "dropped", None), (8, 8, "not_sent", None)]))
        await send(client, packed(stream, 11, state(80_000, 0)))
        told = GatewayState(online=True, at=START + 150_000, stream=stream, numbered=11)
        last = await say(fleet, client, told, ("incomplete", [(7, 7, "dropped", None), (8, 8, "lost", None)]))

    assert behind["settled"] is None
    assert behind["reasons"] == ["what is missing may still come"]
    assert last["settled"] == "2026-09-21T14:13:29.500Z"
    assert last["missing"][0]["reason"] == "oldest"
    assert last["missing"][0]["records"] == 1
    whole = await asyncio.to_thread(fleet.get, "/completeness", **{**WINDOW, "end": "2026-09-21T14:13:25Z"})
    assert (whole["status"], whole["missing"], whole["reasons"]) == ("complete", [], [])


def test_a_senseless_window_names_the_field(fleet):
    with fleet.cloud.client(fleet.cloud.token) as api:
        backwards = api.get("/api/v1/completeness", params={**WINDOW, "start": WINDOW["end"]})
        nobody = api.get("/api/v1/completeness", params={**WINDOW, "device": "nobody"})

    assert backwards.json()["errors"][0]["path"] == "start"
    assert (backwards.status_code, nobody.status_code) == (422, 404)
