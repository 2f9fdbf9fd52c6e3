"""Found devices in the cloud: listed, approved, dismissed, registered at once where a site wants that. (C8, R2)"""

import base64
import json

import pytest

from cloud.registry.conftest import told
from fieldloom_cloud.discoveries import service
from fieldloom_cloud.ingest.checked import allowed, parsed
from fieldloom_cloud.registry import service as registry
from fieldloom_runtime.records import DeadLetter, Discovered, encode

AT = 1_790_000_000_000
SAID = {"type": "pump", "board": "esp32-generic", "firmware": "1.4.0", "capabilities": ["relay", "temperature"]}
GATEWAYS = {"gw.found": "default", "gw.far": "other"}


@pytest.fixture(scope="module", autouse=True)
def gateways(served):
    for gateway, site in GATEWAYS.items():
        served.within(lambda session, one=gateway, where=site: registry.add_gateway(session, one, where))


def find(served, *devices, gateway="gw.found", at=AT, adapter="broker", **said):
    found = [Discovered(device, at, at, adapter=adapter, **said) for device in devices]
    served.within(lambda session: service.meet(session, gateway, found))


def listed(api, **params):
    return [one["device"] for one in api.get("/discoveries", params=params).json()["items"]]


def test_a_found_device_is_listed_and_registered_with_what_it_said(served, api):
    find(served, "new-1", **SAID)
    find(served, "new-1", at=AT + 5, adapter="http")
    find(served, "new-1", at=AT - 5, adapter="coap", type="late")

    (shown,) = [one for one in api.get("/discoveries").json()["items"] if one["device"] == "new-1"]
    approved = api.post("/discoveries/new-1/approve")

    where = {"site": "default", "gateway": "gw.found", "adapter": "http", "dismissed": None}
    times = {"first_seen": "2026-09-21T14:13:20.000Z", "last_seen": "2026-09-21T14:13:20.005Z"}
    assert shown == {"device": "new-1", **SAID, **where, **times}
    assert (approved.status_code, approved.headers["ETag"]) == (201, '"1"')
    device = api.get("/devices/new-1").json()
    assert {name: device[name] for name in (*SAID, "site")} == {**SAID, "site": "default"}
    assert "new-1" not in listed(api)
    assert api.post("/discoveries/new-1/approve").status_code == 404
    assert [kind for kind, _ in told(api, "device.", 2, device="new-1")] == ["device.discovered", "device.registered"]


def test_who_approves_may_tell_name_and_site(served, api):
    find(served, "named-1", **SAID)

    refused = api.post("/discoveries/named-1/approve", json={"site": "nowhere"})
    unknown = api.post("/discoveries/named-1/approve", json={"colour": "red"})
    approved = api.post("/discoveries/named-1/approve", json={"name": "North pump", "site": "other"})

    assert (refused.status_code, refused.json()["errors"][0]["path"]) == (422, "site")
    assert (unknown.status_code, unknown.json()["errors"][0]["path"]) == (422, "colour")
    shown = {name: approved.json()[name] for name in ("id", "name", "site", "type")}
    assert shown == {"id": "named-1", "name": "North pump", "site": "other", "type": SAID["type"]}


def test_who_is_registered_meanwhile_is_found_no_more(served, api):
    find(served, "mean-1", **SAID)
    api.post("/devices", json={"id": "mean-1", "site": "other"}).raise_for_status()

    assert "mean-1" not in listed(api)
    assert api.post("/discoveries/mean-1/approve").status_code == 409
    find(served, "mean-1", **SAID)
    assert api.post("/discoveries/mean-1/approve").status_code == 404
    assert api.get("/devices/mean-1").json()["site"] == "other"


def test_a_dismissed_device_stays_off_the_list_until_it_is_approved(served, api):
    find(served, "off-1", **SAID)

    dismissed = api.post("/discoveries/off-1/dismiss").json()["dismissed"]
    find(served, "off-1", at=AT + 1)

    assert dismissed
    assert api.post("/discoveries/off-1/dismiss").json()["dismissed"] == dismissed
    assert "off-1" not in listed(api)
    assert listed(api, dismissed=True) == ["off-1"]
    assert api.post("/discoveries/off-1/approve").status_code == 201
    assert listed(api, dismissed=True) == []
    assert api.post("/discoveries/nobody/dismiss").status_code == 404


def test_a_site_with_automatic_entry_registers_at_once_who_was_not_dismissed(served, api):
    find(served, "auto-0", gateway="gw.far")
    api.post("/discoveries/auto-0/dismiss").raise_for_status()
    changed = api.patch("/sites/other", json={"automatic_entry": True}).json()

    find(served, "auto-0", "auto-1", "auto-1", "auto-2", gateway="gw.far", **SAID)
    find(served, "auto-1", "auto-3", gateway="gw.far")
    api.patch("/sites/other", json={"automatic_entry": False}).raise_for_status()

    assert changed["automatic_entry"] is True
    devices = api.get("/devices", params={"site": "other", "q": "auto-"}).json()["items"]
    assert [(one["id"], one["type"]) for one in devices] == [("auto-1", "pump"), ("auto-2", "pump"), ("auto-3", "")]
    assert listed(api, site="other") == []
    assert api.patch("/sites/nowhere", json={"automatic_entry": True}).status_code == 404
    sites = {one["id"]: one["automatic_entry"] for one in api.get("/sites").json()["items"]}
    assert sites == {"default": False, "other": False}
    updates = told(api, "site.updated", 2)
    assert [data["changes"] for _, data in updates] == [{"automatic_entry": True}, {"automatic_entry": False}]


def test_they_come_in_pages_by_site(served, api):
    find(served, "page-3", "page-1", "page-2")
    find(served, "page-4", gateway="gw.far")
    find(served, "page-5", gateway="gw.unknown")

    first = api.get("/discoveries", params={"site": "default", "limit": 2}).json()
    second = api.get("/discoveries", params={"site": "default", "limit": 2, "cursor": first["next"]}).json()

    assert [one["device"] for page in (first, second) for one in page["items"]] == ["page-1", "page-2", "page-3"]
    assert second["next"] is None
    assert listed(api, site="other") == ["page-4"]


def test_a_gateway_can_not_fill_the_table(served, api, monkeypatch):
    monkeypatch.setattr(service, "MAX_OF_A_SITE", len(listed(api, site="default")) + 1)

    find(served, "flood-1", "flood-2")
    find(served, "flood-1", at=AT + 9, **SAID)

    assert [one for one in listed(api) if one.startswith("flood")] == ["flood-1"]


def test_what_a_gateway_tells_is_checked_and_claims_no_numbers():
    found = Discovered("new-1", AT, AT, 7, 9, adapter="broker", **SAID)
    for change in ({"device": "No Such"}, {"type": "t" * 65}, {"capabilities": ["c"] * 65}, {"adapter": ""}):
        text = json.dumps(json.loads(encode(found)) | change).encode()
        letter = parsed(text, AT)
        assert isinstance(letter, DeadLetter), change
        assert base64.b64decode(letter.payload) == text

    taken = allowed(parsed(encode(found), AT), set(), "gw.one")

    assert isinstance(taken, Discovered)
    assert (taken.device, taken.boot, taken.seq) == ("new-1", None, None)
