"""Twins of three gateway processes: whoever decides, one thing is wanted of a device, wherever it is. (R4, D4, D7)"""

import asyncio
import contextlib

import httpx2
import pytest

from fieldloom_contract import messages, topics
from gateway.conftest import GATEWAY, hear
from gateway.test_ingest import outbox, report
from gateway.test_rules_at_work import happened, local
from gateway.test_twins import Twin
from gateway.test_uplink import run_cloud_broker
from gateway.test_workflows_in_a_cluster import Member, cluster, soon, until

LAMP, SENSOR = "lamp-1", "sensor-1"
DARK = {
    "id": "dark",
    "when": {"event_type": "dark"},
    "do": [{"set_twin": {"device_id": LAMP, "desired": {"led": 5}}}],
}


class Gateway(Member):
    """One of the three; a rule at each wants something of the lamp, whoever has that."""

    documents = (("rules", DARK),)

    def twin(self):
        """Return the lamp's twin as this gateway has it, None while it has none or is not up."""
        try:
            answer = local(self, "GET", f"/devices/{LAMP}/twin")
        except httpx2.TransportError:
            return None
        return answer.json() if answer.status_code == 200 else None

    def wants(self, version):
        found = self.twin()
        return found if found is not None and found["version"] == version and not found["pending"] else None

    def words(self):
        """Return what this gateway has told the cloud of patches, (patch, version) each."""
        told = [one for one in outbox(self) if one["kind"] == "desired" and one["device"] == LAMP]
        return [(one.get("patch"), one["version"]) for one in told]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Three gateways, each with a broker; the first has a link to the cloud."""
    with cluster(tmp_path_factory.mktemp("cluster"), Gateway, (GATEWAY, "gw.b", "gw.c")) as members:
        cloud = run_cloud_broker(members[0], members[0].authority)
        until(lambda: all(one.is_led() for one in members))
        yield members
        cloud.stop()


@contextlib.asynccontextmanager
async def lamp(member, version):
    """The lamp, just come online at a gateway with a version of its twin."""
    async with member.device(LAMP) as client:
        await client.subscribe(topics.device(LAMP, "#"))
        state = messages.state(True, 7, f"s-{member.name}", {"twin": version})
        await client.publish(topics.device(LAMP, topics.STATE), state)
        await hear(client, topics.TIME, seconds=60)
        yield client


async def newest(client, version):
    """Return what a device is told, once it is of a version."""
    while (told := (await hear(client, topics.DESIRED, seconds=60)).message)["version"] < version:
        pass
    return told


async def patch_at(member, desired, **headers):
    return await asyncio.to_thread(Twin(member, LAMP).local, "PATCH", {"desired": desired}, **headers)


async def test_a_device_is_told_wherever_it_is_whoever_has_decided_and_is_killed_then(site):
    first, second, third = site
    async with lamp(second, 0) as there, first.device(SENSOR) as sensor:
        await Twin(first, LAMP).patch_from_the_cloud(("p-1", {"interval": 500}))
        of_the_cloud = await newest(there, 1)
        await report(sensor, SENSOR, happened(1, "dark"), verb=topics.EVENT)
        of_a_rule = await newest(there, 2)
        await soon(lambda: third.wants(2))
        stale = await patch_at(third, {"interval": 9}, If_Match='"1"')
        here = await patch_at(third, {"interval": 700}, If_Match='"2"', Idempotency_Key="once")
        again = await patch_at(second, {"interval": 700}, Idempotency_Key="once")
        of_a_person = await newest(there, 3)
        await soon(lambda: ("p-1", 1) in first.words() and len(first.words()) == 2)
        first.gateway.kill()

    async with lamp(third, 2) as moved:
        told_there = await newest(moved, 3)
        await soon(third.is_led)
        last = await patch_at(third, {"led": None})
        without_the_first = await newest(moved, 4)
    first.gateway.start()
    await soon(lambda: first.wants(4))
    await Twin(first, LAMP).patch_from_the_cloud(("p-1", {"interval": 500}))  # it comes again in another stream
    await soon(lambda: len(first.words()) == 3)
    shown = [one.twin() for one in site]

    assert of_the_cloud == {"version": 1, "values": {"interval": 500}}
    assert of_a_rule == {"version": 2, "values": {"interval": 500, "led": 5}}
    assert of_a_person == told_there == {"version": 3, "values": {"interval": 700, "led": 5}}
    assert without_the_first == {"version": 4, "values": {"interval": 700}}
    assert [one.status_code for one in (stale, here, again, last)] == [412, 200, 200, 200]
    assert (here.headers["ETag"], again.json()["version"]) == ('"3"', 3)
    assert [(one["version"], one["desired"]) for one in shown] == [(4, {"interval": 700})] * 3
    (of_rule,) = [one["data"] for one in outbox(first) if one.get("type") == "rule.action"]
    assert (of_rule["status"], of_rule["result"]) == ("done", {"version": 2})
    assert first.words() == [("p-1", 1), (of_rule["effect"], 2), ("p-1", 4)]
    assert second.words() == third.words()[:1] == [("once", 3)], "each answers what it was asked"
    assert [version for _, version in third.words()] == [3, 4]


async def test_without_a_majority_a_patch_waits_and_says_so(site):
    first, second, third = site
    await soon(lambda: all(one.is_led() for one in site))
    before = await soon(second.twin)
    for one in (first, third):
        one.gateway.kill()
    await soon(lambda: not second.is_led())
    async with lamp(second, before["version"]) as there:
        waits = await patch_at(second, {"interval": 900}, Idempotency_Key="waits")
        status = (await asyncio.to_thread(local, second, "GET", "/status")).json()
        third.gateway.start()
        told = await newest(there, before["version"] + 1)

    assert waits.status_code == 202
    assert waits.json()["version"] == before["version"]
    assert [(one["id"], one["desired"]) for one in waits.json()["pending"]] == [("waits", {"interval": 900})]
    assert status["twins"] == {"waiting": 1}
    assert "no leader" in status["cluster"]["fault"]
    assert told["values"] == {**before["desired"], "interval": 900}
