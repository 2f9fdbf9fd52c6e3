"""Twins at a real gateway process: patches of the cloud and of the site, and a device that is an MQTT client. (R4)"""

import asyncio
import contextlib
import itertools
import json
import os

import httpx2
import pytest

from fieldloom_contract import messages, topics
from fieldloom_gateway.ingest.patience import Patience
from fixtures.certificates import TestAuthority
from fixtures.processes import FIELDLOOM, wait_until_ready
from gateway.conftest import GATEWAY, Site, hear
from gateway.test_ingest import outbox, report
from gateway.test_uplink import cloud_client, command_down, down_ack, run_cloud_broker

numbers = itertools.count(1)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """One gateway for all tests, each with a device of its own."""
    folder = tmp_path_factory.mktemp("twins")
    authority = TestAuthority(folder / "pki")
    site = Site(folder, authority).start()
    broker = run_cloud_broker(site, authority)
    yield site
    site.stop()
    broker.stop()


@pytest.fixture
def twin(site):
    return Twin(site, f"dev-{next(numbers)}")


class Twin:
    """A device's twin at a gateway, from all sides."""

    def __init__(self, site, name):
        self.site, self.name = site, name
        self.stream, self.sent = os.urandom(16), 0

    @contextlib.asynccontextmanager
    async def device(self, version):
        """The device, just come online with a version of its twin."""
        async with self.site.device(self.name) as client:
            await client.subscribe(topics.device(self.name, "#"))
            await self.come_online(client, version)
            yield client

    async def come_online(self, client, version):
        state = messages.state(True, 7, "s", {"twin": version})
        await client.publish(topics.device(self.name, topics.STATE), state)
        await hear(client, "time")

    async def report(self, client, seq, version, **told):
        record = {"boot": 7, "seq": seq, "ts": 1_732_380_000_000 + seq, "version": version, **told}
        await report(client, self.name, record, verb=topics.REPORTED)
        await hear(client, "ack")

    async def patch_from_the_cloud(self, *patches, version=0, values=None):
        """Send (id, changes) down until they are acknowledged."""
        head = {"kind": "twin", "device": self.name, "version": version, "values": values or {}}
        records = [{**head, "id": name, "changes": changes} for name, changes in patches]
        first, self.sent = self.sent + 1, self.sent + len(records)
        async with cloud_client(self.site) as cloud, asyncio.timeout(30):
            await cloud.subscribe(topics.gateway(GATEWAY, "down/ack"))
            acked = (b"", 0)
            while acked != (self.stream, self.sent):
                await command_down(cloud, self.stream, first, *records)
                with contextlib.suppress(TimeoutError):
                    acked = await down_ack(cloud, 1.0)

    async def has_told(self, words):
        """Wait until the cloud is told so often what is wanted."""
        async with asyncio.timeout(30):
            while len(self.told_up) < words:  # noqa: ASYNC110 - it is decided in another process
                await asyncio.sleep(0.05)

    async def patch_here(self, desired, **headers):
        return await asyncio.to_thread(self.local, "PATCH", {"desired": desired}, **headers)

    def local(self, method="GET", body=None, **headers):
        token = (self.site.data / "local.token").read_text().strip()
        told = {"Authorization": f"Bearer {token}"}
        told |= {name.replace("_", "-"): value for name, value in headers.items()}
        url = f"http://127.0.0.1:{self.site.ports['http']}/api/v1/devices/{self.name}/twin"
        return httpx2.request(method, url, json=body, headers=told, timeout=10)

    @property
    def told_up(self):
        records = [one for one in outbox(self.site) if one["kind"] == "desired" and one["device"] == self.name]
        return [(one["version"], one["values"], one.get("patch"), one.get("error")) for one in records]


async def test_patches_of_the_cloud_wait_on_the_disk_for_a_device_that_is_off(site, twin):
    await twin.patch_from_the_cloud(("p-1", {"interval": 500, "led": 2}), ("p-2", {"led": None}))
    await twin.has_told(2)
    await twin.patch_from_the_cloud(("p-1", {"interval": 1, "led": 1}))
    site.gateway.kill()
    site.gateway.start()
    wait_until_ready(site.ports["http"])

    async with twin.device(0) as device:
        desired = (await hear(device, topics.DESIRED)).message
        await twin.has_told(3)

    assert desired == {"version": 2, "values": {"interval": 500}}
    assert twin.told_up == [
        (1, {"interval": 500, "led": 2}, "p-1", None),
        (2, {"interval": 500}, "p-2", None),
        (2, {"interval": 500}, "p-1", None),
    ]


async def test_a_device_is_told_until_it_has_the_version_and_not_after(twin):
    async with twin.device(0) as device:
        await twin.patch_from_the_cloud(("p-1", {"interval": 500}))
        told = [(await hear(device, topics.DESIRED, seconds=30)).message["version"] for _ in range(2)]

        await twin.report(device, 1, 1, values={"interval": 500})
        await twin.come_online(device, 1)
        with pytest.raises(TimeoutError):
            await hear(device, topics.DESIRED, seconds=1)
        await twin.come_online(device, 0)  # its flash was erased
        again = (await hear(device, topics.DESIRED)).message["version"]

    assert (told, again) == ([1, 1], 1)


def test_the_time_between_two_attempts_doubles_up_to_five_minutes():
    patience = Patience()

    told = [now for now in range(0, 2_000_000, 1000) if patience.is_over("dev-1", 4, now)]

    assert [later - now for now, later in itertools.pairwise([0, *told])] == [
        *(5_000 * 2**step for step in range(6)),
        *[300_000] * 5,
    ]
    assert not patience.is_over("dev-1", 5, 2_000_000), "a new version has just been sent"


async def test_a_patch_of_the_site_works_without_the_cloud(twin):
    async with twin.device(0) as device:
        done = await twin.patch_here({"interval": 500}, Idempotency_Key="once")
        heard = (await hear(device, topics.DESIRED)).message
        again = await twin.patch_here({"interval": 500}, Idempotency_Key="once")
        stale = await twin.patch_here({"interval": 1}, If_Match='"0"')
        second = await twin.patch_here({"interval": 900, "led": 7}, If_Match='"1"')
        await twin.report(device, 1, 2, values={"interval": 900}, errors={"led": "is not there"})
        shown = await asyncio.to_thread(twin.local)

    assert heard == {"version": 1, "values": {"interval": 500}}
    assert (done.status_code, done.headers["ETag"], again.json()["version"]) == (200, '"1"', 1)
    assert (stale.status_code, stale.json()["detail"]) == (412, 'the twin is at version 1, not "0"')
    assert second.json()["delta"] == {"interval": 900, "led": 7}
    assert shown.json() == {
        "device": twin.name,
        "version": 2,
        "desired": {"interval": 900, "led": 7},
        "reported_version": 2,
        "reported": {"interval": 900},
        "errors": {"led": "is not there"},
        "delta": {"led": 7},
        "pending": [],
    }
    assert twin.told_up[0] == (1, {"interval": 500}, "once", None)


async def test_the_command_works_at_the_gateway_too(site, twin):
    address = f"http://127.0.0.1:{site.ports['http']}"
    environment = {"FIELDLOOM_API": address, "FIELDLOOM_TOKEN": (site.data / "local.token").read_text().strip()}
    async with twin.device(0) as device:
        command = [FIELDLOOM, "device", "twin", twin.name, "--set", "interval=500", "--wait", "20", "--json"]
        asked = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE)
        await hear(device, topics.DESIRED)
        await twin.report(device, 1, 1, values={"interval": 500})
        said, _ = await asked.communicate()

    assert asked.returncode == 0
    assert json.loads(said)["reported"] == {"interval": 500}


async def test_a_patch_that_makes_it_too_long_is_refused_and_told(twin):
    async with twin.device(0):
        here = await twin.patch_here({"a": "x" * 3000})
        too_long = await twin.patch_here({"b": "x" * 2000})
        await twin.patch_from_the_cloud(("p-1", {"b": "x" * 2000}))
        await twin.has_told(3)

    assert (here.status_code, too_long.status_code) == (200, 422)
    assert "payload: has 5" in too_long.json()["detail"]
    version, values, patch, error = twin.told_up[-1]
    assert (version, list(values), patch) == (1, ["a"], "p-1")
    assert error.endswith("the limit is 4096")


async def test_a_gateway_that_lost_its_disk_waits_for_what_the_cloud_knows(twin):
    async with twin.device(8) as device:
        behind = await twin.patch_here({"led": 1})
        await twin.patch_from_the_cloud((None, {}), version=7, values={"interval": 500})
        desired = (await hear(device, topics.DESIRED)).message
        then = await twin.patch_here({"led": 1})

    assert behind.status_code == 409
    assert "the device has version 8 and this gateway 0" in behind.json()["detail"]
    assert desired == {"version": 9, "values": {"interval": 500}}
    assert then.json()["desired"] == {"interval": 500, "led": 1}


async def test_only_who_can_read_the_token_gets_in_and_only_by_loopbacks_name(site, twin):
    async with twin.device(0):
        strangers = [await twin.patch_here({"a": 1}, Authorization=value) for value in ("", "Bearer", "Bearer x")]
        rebound = await twin.patch_here({"a": 1}, Host="evil.example")
        bodies = (None, [], {"a": 1}, {"desired": 1}, {"desired": {"a": "\0"}})
        bad = [await asyncio.to_thread(twin.local, "PATCH", body) for body in bodies]
        shown = await asyncio.to_thread(twin.local)

    assert [answer.status_code for answer in strangers] == [401] * 3
    assert "local.token" in strangers[0].json()["detail"]
    assert rebound.status_code == 400
    assert [answer.status_code for answer in bad] == [422] * 5
    assert (site.data / "local.token").stat().st_mode & 0o777 == 0o600
    assert shown.json()["version"] == 0


async def test_a_device_that_nobody_has_heard_of_has_no_twin(twin):
    answer = await twin.patch_here({"a": 1})

    assert answer.status_code == 404
    assert answer.json()["detail"] == f"no device {twin.name} has been heard of here"
