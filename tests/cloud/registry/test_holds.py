"""Who holds an actuator and who has set it last, as gateways tell. (E9)"""

import itertools

import pytest

from fieldloom_cloud.automation.runtime import Runtime
from fieldloom_cloud.guard import Incoming
from fieldloom_cloud.ingest.service import Records
from fieldloom_cloud.workers.leases import AllSlots
from fieldloom_engine.holds import Source
from fieldloom_runtime.records import Event, Moved, Result

AT = 1_790_000_000_000
numbers = itertools.count(1)


@pytest.fixture
def bring(served):
    """Have a gateway bring records."""
    records = Records(served.database, None, AllSlots(), Runtime(served.database, AllSlots()), lambda: None)

    def bring(*told):
        stream = next(numbers).to_bytes(8, "big") * 2
        served.client.portal.call(records.write, [Incoming("gw.holds", stream, 1, 1, [], list(told))])

    return bring


@pytest.fixture
def device(api):
    name = f"held-{next(numbers)}"
    api.post("/devices", json={"id": name, "site": "default"}).raise_for_status()
    return name


def done(device, name, owner, at=0, **changes):
    moved = Moved("relay", "write", {"name": "relay", "value": name}, Source("rule", owner))
    told = {"status": "succeeded", "moved": moved, **changes}
    return Result(device, AT + at, AT + at, id=name, **told)


def shown(api, device):
    return api.get(f"/devices/{device}/holds").raise_for_status().json()["items"]


def test_who_has_set_an_actuator_last_is_shown_held_or_not(api, bring, device):
    bring(done(device, "c1", "dry"))
    bring(done(device, "c3", "hot", 2_000), done(device, "c2", "late", 1_000), done("nobody", "c9", "x"))
    bring(done(device, "c4", "failed", 3_000, status="failed", moved=None))
    (plain,) = shown(api, device)
    hold = {"id": "h1", "priority": "person", "owner": "anna", "type": "write", "parameters": {}, "since": AT}
    bring(Event(device, AT, AT, type="actuator.held", data={"actuator": "relay", "version": AT, "holds": [hold]}))
    (held,) = shown(api, device)
    bring(Event(device, AT, AT, type="actuator.released", data={"actuator": "relay", "version": AT + 1, "holds": []}))
    (released,) = shown(api, device)

    assert plain == {
        "actuator": "relay",
        "version": 0,
        "gateway": "gw.holds",
        "holds": [],
        "set_by": {
            "id": "c3",
            "priority": "rule",
            "owner": "hot",
            "type": "write",
            "parameters": {"name": "relay", "value": "c3"},
            "at": "2026-09-21T14:13:22.000Z",
        },
    }
    assert ([one["owner"] for one in held["holds"]], held["set_by"]) == (["anna"], plain["set_by"])
    assert (released["holds"], released["set_by"]) == ([], plain["set_by"])


def test_an_actuator_that_was_held_and_never_set_is_shown_while_it_is_held(api, bring, device):
    hold = {"id": "h1", "priority": "person", "owner": "anna", "type": "write", "parameters": {}, "since": AT}
    bring(Event(device, AT, AT, type="actuator.held", data={"actuator": "relay", "version": AT, "holds": [hold]}))
    (held,) = shown(api, device)
    bring(Event(device, AT, AT, type="actuator.released", data={"actuator": "relay", "version": AT + 1, "holds": []}))

    assert (held["set_by"], shown(api, device)) == (None, [])
