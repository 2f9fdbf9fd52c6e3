"""Online and silent is stale: by the type's period or the told interval, and never for want of a link. (R6, A3)"""

import itertools

import pytest

from cloud.registry.conftest import told
from fieldloom_cloud.automation.runtime import Runtime
from fieldloom_cloud.guard import Incoming
from fieldloom_cloud.ingest import gateways
from fieldloom_cloud.ingest.service import Records
from fieldloom_cloud.ingest.staleness import promise
from fieldloom_cloud.workers.leases import AllSlots
from fieldloom_runtime.gateway_state import GatewayState
from fieldloom_runtime.records import Reported, State, Telemetry

AT = 1_790_000_000_000
STREAM = b"s" * 16
sites = itertools.count(1)
LIMIT = 70_000
"""A minute, and the sixth of it by which readings are noted."""


class Site:
    """A gateway and its devices, as the cloud hears of them; moments are ms after AT."""

    def __init__(self, served, api):
        self.served, self.api = served, api
        self.records = Records(served.database, None, AllSlots(), Runtime(served.database, AllSlots()), lambda: None)
        self.id = next(sites)
        self.number = 0

    def say(self, *records, gateway="gw.one"):
        self.number += len(records)
        stream = f"{self.id}.{gateway}".encode().ljust(16, b"-")
        first = self.number - len(records) + 1
        sent = Incoming(gateway, stream, first, 1, [], list(records))
        self.served.client.portal.call(self.records.write, [sent])

    def judge(self, moment, gateway="gw.one", **fields):
        """Have the gateway say that all is stored up to a moment, and judge."""
        word = GatewayState(online=True, at=AT + moment, stream=STREAM, numbered=0)
        for name, value in fields.items():
            setattr(word, name, value)
        self.served.within(lambda session: gateways.hear(session, gateway, word, AT))
        self.served.client.portal.call(self.records.judge, AT + 1)

    def status(self, device):
        return self.api.get(f"/devices/{device}").json()["status"]


def state(device, moment, *, online=True, session="s", **facts):
    at = AT + moment
    return State(device=device, ts=at, at=at, boot=1, online=online, session=session, began=at, facts=facts)


def read(device, moment):
    return Telemetry(device=device, ts=AT + moment, at=AT + moment, values={"t": 1.0})


def report(device, moment, **values):
    at = AT + moment
    return Reported(device=device, ts=at, at=at, boot=1, seq=moment + 1, version=1, values=values)


@pytest.fixture
def site(served, api):
    return Site(served, api)


@pytest.fixture
def add(api):
    def named(device, **fields):
        api.post("/devices", json={"id": device, "site": "default", **fields}).raise_for_status()
        return device

    return named


def test_a_device_whose_readings_stop_is_stale_until_it_reads_again(site, add, api):
    pump = add("stale-pump")
    site.say(state(pump, 0), report(pump, 1, interval=1000), read(pump, 2))
    site.judge(LIMIT - 1000)
    assert site.status(pump) == "online"

    site.judge(LIMIT + 1000)

    assert site.status(pump) == "stale"
    assert [one["id"] for one in api.get("/devices", params={"status": "stale"}).json()["items"]] == [pump]
    site.say(state(pump, LIMIT + 2000))
    assert site.status(pump) == "stale", "its word that it is there is no reading"
    site.say(read(pump, LIMIT + 3000))
    assert site.status(pump) == "online"
    kinds = told(api, ("device.stale", "device.reads_again"), 2, device=pump)
    assert [kind for kind, _ in kinds] == ["device.stale", "device.reads_again"]
    assert kinds[0][1]["last_reading"].startswith("2026-")


def test_a_period_of_the_type_is_waited_for_three_times(site, add, api):
    api.put("/types/hourly", json={"metrics": {"t": {"period": "1h"}, "other": {"period": "2h"}}}).raise_for_status()
    meter = add("stale-meter", type="hourly")
    site.say(state(meter, 0), read(meter, 1))

    site.judge(3 * 3_600_000)
    assert site.status(meter) == "online"
    site.judge(4 * 3_600_000)
    assert site.status(meter) == "stale"


def test_who_never_reads_is_stale_and_who_promises_nothing_is_not(site, add):
    mute, free, paused = add("stale-mute"), add("stale-free"), add("stale-paused")
    site.say(state(mute, 0), report(mute, 1, interval=1000), state(free, 1), read(free, 2))
    site.say(state(paused, 1), report(paused, 2, interval=0), read(paused, 3))

    site.judge(10 * LIMIT)

    assert [site.status(one) for one in (mute, free, paused)] == ["stale", "online", "online"]
    site.say(report(mute, 10 * LIMIT, interval=0))
    assert site.status(mute) == "online", "it was told to be silent"
    site.say(report(paused, 10 * LIMIT, interval=1000))
    site.judge(12 * LIMIT)
    assert site.status(paused) == "stale"


def test_who_has_gone_or_has_come_anew_is_not_stale(site, add):
    gone, back = add("stale-gone"), add("stale-back")
    for device in (gone, back):
        site.say(state(device, 0), report(device, 1, interval=1000), read(device, 2))
    site.say(state(gone, 3, online=False))
    site.judge(2 * LIMIT)
    assert (site.status(gone), site.status(back)) == ("offline", "stale")

    site.say(state(back, 2 * LIMIT + 1, session="t"))

    assert site.status(back) == "online"
    site.judge(3 * LIMIT - 1000)
    assert site.status(back) == "online", "it has as much time as any"
    site.judge(4 * LIMIT)
    assert site.status(back) == "stale"


def test_what_lies_in_a_gateway_is_not_missed(site, add):
    far = add("stale-far")
    site.say(state(far, 0), report(far, 1, interval=1000), read(far, 2), gateway="gw.one")
    site.judge(1000)

    site.judge(5 * LIMIT, numbered=10**6)  # it has told of records that are not stored
    assert site.status(far) == "online"
    site.judge(6 * LIMIT, online=False)
    assert site.status(far) == "online"

    site.say(read(far, 5 * LIMIT))
    site.judge(6 * LIMIT - 1000)
    assert site.status(far) == "online"


@pytest.mark.parametrize(
    ("reported", "interval"),
    [
        ({}, None),
        ({"interval": 5000}, 5000),
        ({"interval": True}, None),
        ({"interval": "soon"}, None),
        ({"interval": 5000, "report": {}}, 5000),
        ({"interval": 5000, "report": {"*": {"deadband": 1}}}, None),
        ({"interval": 5000, "report": {"*": {"deadband": 1, "max": 60_000}}}, 60_000),
        ({"interval": 0, "report": {"*": {"max": 60_000}}}, 0),
    ],
)
def test_what_a_twin_promises(reported, interval):
    assert promise(reported) == interval
