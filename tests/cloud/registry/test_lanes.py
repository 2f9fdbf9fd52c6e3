"""Lanes of a gateway end the same in whatever order they come, kind by kind. (T5, ADR 32)"""

import pytest

from fieldloom_cloud.automation.runtime import Runtime
from fieldloom_cloud.guard import Guard, Incoming
from fieldloom_cloud.ingest.service import Records
from fieldloom_cloud.registry import service as registry
from fieldloom_cloud.workers.leases import AllSlots
from fieldloom_runtime.records import Desired, Event, Expired, Reported, Result, State, Telemetry

AT = 1_790_000_000_000


def moment(number):
    return {"ts": AT + number, "at": AT + number}


def numbered(device, seq):
    return {"device": device, "boot": 7, "seq": seq, **moment(seq)}


def lanes(device, command, patches):
    """Return what waited and what is new of a device, which left in the meantime."""
    old = [
        State(device=device, **moment(1), boot=7, online=True, session="new", began=AT + 1, facts={"rssi": -60}),
        Telemetry(**numbered(device, 2), values={"t": 1, "only": 1}),
        Result(**numbered(device, 3), id=command, status="accepted"),
        Reported(**numbered(device, 4), version=1, values={"led": 1}),
        Desired(device=device, **moment(5), version=1, values={"led": 1}, patch=patches[0]),
        Expired(device=device, **moment(5), id=command),
        Event(**numbered(device, 6), type="door.opened", data={}),
    ]
    new = [
        Telemetry(**numbered(device, 7), values={"t": 2}),
        Result(**numbered(device, 8), id=command, status="succeeded", result={"value": True}),
        Reported(**numbered(device, 9), version=2, values={"led": 2}),
        Desired(device=device, **moment(10), version=2, values={"led": 2}, patch=patches[1]),
        State(device=device, **moment(11), boot=7, online=False, session="new", began=AT + 1),
    ]
    return old, new


@pytest.fixture(scope="module")
def ends(served, api):
    """What the interface tells of two devices with the same history, whose lanes came in order and the other way."""
    return [end_of(served, api, "in-order", [0, 1]), end_of(served, api, "the-newer-first", [1, 0])]


def end_of(served, api, device, order):
    api.post("/devices", json={"id": device, "site": "default"})
    before = registry.Told("old", AT, "online", {}, AT)
    served.within(lambda session: registry.set_presence(session, device, before))
    command = api.post(f"/devices/{device}/commands", json={"type": "read"}).json()["id"]
    for led in (1, 2):
        pending = api.patch(f"/devices/{device}/twin", json={"desired": {"led": led}}).json()["pending"]
    records = Records(served.database, None, AllSlots(), Runtime(served.database, AllSlots()), lambda: None)
    both = lanes(device, command, [one["id"] for one in pending])
    streams = [device.encode().ljust(16, b"-")[:16], device.encode().ljust(16, b"+")[:16]]
    for lane in order:
        sent = Incoming("gw.one", streams[lane], 1, 1, [], both[lane])
        served.client.portal.call(records.write, [sent])
    return {
        "status": api.get(f"/devices/{device}").json()["status"],
        "latest": api.get(f"/devices/{device}/latest").json()["metrics"],
        "command": {name: api.get(f"/commands/{command}").json()[name] for name in ("status", "result")},
        "twin": {name: value for name, value in api.get(f"/devices/{device}/twin").json().items() if name != "device"},
        "events": sorted(
            (one["ts"], one["type"])
            for one in api.get("/events", params={"device": device}).json()["items"]
            if not one["type"].startswith("device.")
        ),
    }


@pytest.mark.parametrize("what", ["status", "latest", "command", "twin", "events"])
def test_the_order_of_lanes_does_not_matter(ends, what):
    in_order, reversed_ = ends

    assert reversed_[what] == in_order[what]


def test_the_end_is_the_one_of_what_happened_last(ends):
    end = ends[1]

    assert end["status"] == "offline"
    assert (end["latest"]["t"]["value"], end["latest"]["only"]["value"]) == (2, 1)
    assert end["command"] == {"status": "succeeded", "result": {"value": True}}
    assert (end["twin"]["version"], end["twin"]["reported"], end["twin"]["pending"]) == (2, {"led": 2}, [])


def test_a_gateway_that_a_device_has_left_still_says_so_in_vain(served, api):
    api.post("/devices", json={"id": "moved", "site": "default"})
    for word in (
        registry.Told("a", AT + 1, "online", {}, AT + 1),
        registry.Told("b", AT + 5, "online", {}, AT + 5),
        registry.Told("a", AT + 9, "offline", {}, AT + 1),
    ):
        served.within(lambda session, word=word: registry.set_presence(session, "moved", word))

    assert api.get("/devices/moved").json()["status"] == "online"


def test_a_further_stream_of_a_disk_is_no_new_disk():
    guard = Guard({b"disk-one" + b"a" * 8: 5}, {})

    assert guard.knows_disk(b"disk-one" + b"b" * 8)
    assert not guard.knows_disk(b"disk-two" + b"a" * 8)
