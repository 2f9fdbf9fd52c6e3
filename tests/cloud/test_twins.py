"""Twins in the cloud: what people ask for goes down to the gateway, and what that decides comes up. (R4, A1)"""

import asyncio
import itertools
import json
import os

import pytest

from cloud.test_ingest import GATEWAY, START, Fleet, packed, send
from fieldloom_contract import batch, topics

numbers = itertools.count(1)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory, new_database):
    fleet = Fleet(tmp_path_factory.mktemp("fleet"), database=new_database())
    yield fleet
    fleet.cloud.process.stop()
    fleet.broker.stop()


@pytest.fixture
def api(fleet):
    with fleet.cloud.client(fleet.cloud.token) as client:
        yield client


@pytest.fixture
def device(api):
    name = f"twin-{next(numbers)}"
    api.post("/api/v1/devices", json={"id": name, "site": "default"}).raise_for_status()
    return name


def path(device):
    return f"/api/v1/devices/{device}/twin"


def patch(api, device, desired, **headers):
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return api.patch(path(device), json={"desired": desired}, headers=told)


class Owner:
    """What a gateway of the site says and hears, in a stream of its own."""

    def __init__(self, fleet):
        self.fleet, self.stream, self.sent = fleet, os.urandom(16), 0

    async def tell(self, *records):
        offset, self.sent = self.sent + 1, self.sent + len(records)
        async with self.fleet.gateway() as gateway:
            await send(gateway, packed(self.stream, offset, *records))

    async def hear(self, device, count=1):
        """Return the first of what comes down for a device; all that came is acknowledged, as a gateway does it."""
        heard, reached = [], 0
        async with asyncio.timeout(30), self.fleet.gateway() as gateway:
            await gateway.subscribe(topics.gateway(GATEWAY, "down"))
            await gateway.publish(topics.gateway(GATEWAY, "state"), b'{"online":true}')
            async for message in gateway.messages:
                sent = batch.unpack(message.payload)
                reached = max(reached, sent.first - 1)
                if sent.offset > reached + 1:
                    continue  # what lies between was sent to nobody, and comes again
                heard += map(json.loads, sent.records[reached + 1 - sent.offset :])
                reached = max(reached, sent.offset + len(sent.records) - 1)
                await gateway.publish(topics.gateway(GATEWAY, "down/ack"), batch.pack_ack(sent.stream, reached))
                own = [one for one in heard if one.get("kind") == "twin" and one["device"] == device]
                if len(own) >= count:
                    return own
        raise AssertionError("the broker has ended the connection")


def desired(device, version, values, **told):
    return {"kind": "desired", "device": device, "ts": START, "at": START, "version": version, "values": values, **told}


def reported(device, seq, version, values, **told):
    head = {"kind": "reported", "device": device, "ts": START + seq, "at": START, "boot": 7, "seq": seq}
    return {**head, "version": version, "values": values, **told}


async def test_a_patch_is_pending_until_the_owner_has_decided(fleet, api, device):
    owner = Owner(fleet)

    asked = patch(api, device, {"interval": 500, "led": 2}, Idempotency_Key=f"key {device}")
    again = patch(api, device, {"interval": 500, "led": 2}, Idempotency_Key=f"key {device}")
    other = patch(api, device, {"interval": 1}, Idempotency_Key=f"key {device}")
    (sent,) = await owner.hear(device)
    await owner.tell(desired(device, 1, {"interval": 500, "led": 2}, patch=sent["id"]))
    decided = api.get(path(device))
    await owner.tell(desired(device, 1, {"interval": 500, "led": 2}, patch=sent["id"]))  # another gateway's answer
    await owner.tell(reported(device, 1, 1, {"interval": 500}, errors={"led": "is not there"}))
    answered = api.get(path(device)).json()

    assert asked.status_code == 202
    assert asked.headers["ETag"].startswith('"0+1-')
    (pending,) = asked.json()["pending"]
    assert (pending["id"], pending["desired"]) == (sent["id"], {"interval": 500, "led": 2})
    assert again.json()["pending"] == asked.json()["pending"]
    assert (other.status_code, other.json()["errors"][0]["path"]) == (422, "Idempotency-Key")
    assert (sent["version"], sent["values"], sent["changes"]) == (0, {}, {"interval": 500, "led": 2})
    assert (decided.headers["ETag"], decided.json()["pending"]) == ('"1"', [])
    assert decided.json()["delta"] == {"interval": 500, "led": 2}
    assert (answered["reported_version"], answered["reported"], answered["delta"]) == (1, {"interval": 500}, {"led": 2})
    assert answered["errors"] == {"led": "is not there"}
    events = api.get("/api/v1/events", params={"device": device}).json()["items"]
    kinds = [event["type"] for event in events if event["type"].startswith("twin.")]
    assert kinds == ["twin.reported", "twin.desired"]


async def test_of_two_who_have_seen_the_same_version_one_is_refused(fleet, api, device):
    etag = api.get(path(device)).headers["ETag"]

    first = patch(api, device, {"led": 1}, If_Match=etag)
    second = patch(api, device, {"led": 2}, If_Match=etag)
    third = patch(api, device, {"led": 3}, If_Match=first.headers["ETag"])

    assert [one.status_code for one in (first, second, third)] == [202, 412, 202]
    assert 'is at "0+' in second.json()["detail"]
    assert [one["desired"]["led"] for one in third.json()["pending"]] == [1, 3]
    assert [one["changes"]["led"] for one in await Owner(fleet).hear(device, 2)] == [1, 3]


@pytest.mark.parametrize(("also", "status"), [({}, 202), ({"led": 9}, 412)], ids=["as expected", "otherwise"])
async def test_who_has_seen_a_patch_wait_means_what_comes_of_it(fleet, api, device, also, status):
    owner = Owner(fleet)
    seen = patch(api, device, {"interval": 500}).headers["ETag"]
    (sent,) = await owner.hear(device)
    await owner.tell(desired(device, 1, {"interval": 500, **also}, patch=sent["id"]))

    assert patch(api, device, {"interval": 600}, If_Match=seen).status_code == status


async def test_what_no_device_would_take_is_refused_here_or_by_the_owner(fleet, api, device):
    owner = Owner(fleet)

    fits = patch(api, device, {"a": "x" * 3000})
    too_long = patch(api, device, {"b": "x" * 2000})
    bad = [api.patch(path(device), json=body).status_code for body in ({}, {"desired": 1}, {"desired": {}, "x": 1}, [])]
    name = fits.json()["pending"][0]["id"]
    await owner.tell(desired(device, 3, {"c": "c"}, patch=name, error="payload: has 5000 bytes"))
    shown = api.get(path(device)).json()

    assert (too_long.status_code, too_long.json()["errors"][0]["path"]) == (422, "desired")
    assert "the limit is 4096" in too_long.json()["errors"][0]["reason"]
    assert bad == [422] * 4
    assert (shown["version"], shown["desired"], shown["pending"]) == (3, {"c": "c"}, [])
    refused = api.get("/api/v1/events", params={"device": device}).json()["items"][0]
    assert (refused["type"], refused["data"]["error"]) == ("twin.refused", "payload: has 5000 bytes")


async def test_a_gateway_with_a_new_stream_is_told_all_that_it_may_have_lost(fleet, api, device):
    old, new = Owner(fleet), Owner(fleet)
    await old.tell(desired(device, 7, {"led": 1}))
    patch(api, device, {"interval": 500})
    await old.hear(device)

    await new.tell(desired(device, 0, {}))
    (sent,) = await new.hear(device)
    await new.tell(desired(device, 8, {"led": 1, "interval": 500}, patch=sent["id"]))
    await Owner(fleet).tell(reported(device, 1, 7, {}))
    (known,) = await new.hear(device)

    assert (sent["version"], sent["values"], sent["changes"]) == (7, {"led": 1}, {"interval": 500})
    assert (known["version"], known["id"], known["values"]) == (8, None, {"led": 1, "interval": 500})


async def test_a_late_report_says_nothing_and_one_in_parts_is_one(fleet, api, device):
    owner = Owner(fleet)

    await owner.tell(
        reported(device, 5, 2, {"drivers": {"a": 1}}, more=True), reported(device, 6, 2, {"drivers": {"b": 2}})
    )
    await owner.tell(reported(device, 4, 1, {"old": 1}))

    shown = api.get(path(device)).json()
    assert (shown["reported_version"], shown["reported"]) == (2, {"drivers": {"a": 1, "b": 2}})
    assert shown["reported_at"] == "2026-09-21T14:13:20.006Z"


def test_patches_that_no_gateway_takes_are_bounded(api, device):
    answers = [patch(api, device, {"led": number}) for number in range(65)]

    assert {one.status_code for one in answers[:64]} == {202}
    assert (answers[64].status_code, answers[64].json()["title"]) == (429, "Too many requests")


def test_there_is_no_twin_of_nobody(api):
    assert api.get(path("nobody")).status_code == 404
    assert patch(api, "nobody", {}).status_code == 404
