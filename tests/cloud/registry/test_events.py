"""Every change is told once, in the transaction that makes it, and only if it is made. (R2)"""

from cloud.registry.conftest import told
from fieldloom_cloud.registry import service as registry


def test_what_is_registered_changed_and_removed_is_told_in_order(api):
    api.post("/devices", json={"id": "told", "site": "default", "type": "pump", "tags": {"floor": "1"}})
    api.patch("/devices/told", json={"name": "North", "tags": {}})
    api.delete("/devices/told")

    (first, registered), updated, removed = told(api, "device.", 3, device="told")
    assert (first, registered["type"], registered["tags"], registered["version"]) == (
        "device.registered",
        "pump",
        {"floor": "1"},
        1,
    )
    assert updated == ("device.updated", {"version": 2, "changes": {"name": "North", "tags": {}}})
    assert removed == ("device.removed", {"version": 2, "site": "default"})


def test_sites_and_gateways_are_told_too(api):
    api.post("/sites", json={"id": "told-site"})
    api.post("/gateways", json={"id": "gw.told", "site": "told-site"})

    asked = [("site.registered", {"id": "told-site", "name": "told-site"})]
    assert told(api, "site.", 3)[-1:] == asked
    assert told(api, "gateway.", 1) == [("gateway.registered", {"id": "gw.told", "site": "told-site"})]


def test_what_is_refused_is_not_told(api):
    api.post("/devices", json={"id": "once", "site": "default"})
    refused = [api.post("/devices", json={"id": "once", "site": "default"})]
    refused += [api.patch("/devices/once", json={"name": "x"}, headers={"If-Match": '"7"'})]
    refused += [api.delete("/devices/once", headers={"If-Match": '"7"'})]
    api.patch("/devices/once", json={"name": "y"})

    assert [answer.status_code for answer in refused] == [409, 412, 412]
    assert [kind for kind, _ in told(api, "device.", 2, device="once")] == ["device.registered", "device.updated"]


def test_what_a_device_says_of_its_firmware_is_told_when_it_is_new(served, api):
    api.post("/devices", json={"id": "speaks", "site": "default"})
    for at, firmware in ((1, "1.4.0"), (2, "1.4.0"), (3, "1.5.0")):
        word = registry.Told("s", at, "online", {"firmware": firmware, "board": "esp32-generic"})
        served.within(lambda session, word=word: registry.set_presence(session, "speaks", word))

    changes = [data["changes"] for kind, data in told(api, "device.", 3, device="speaks") if kind == "device.updated"]
    assert changes == [{"firmware": "1.4.0", "board": "esp32-generic"}, {"firmware": "1.5.0"}]


def test_a_removed_device_takes_its_twin_along(api):
    api.post("/devices", json={"id": "twinned", "site": "default"})
    api.patch("/devices/twinned/twin", json={"desired": {"interval": 500}})
    api.delete("/devices/twinned")
    api.post("/devices", json={"id": "twinned", "site": "default"})

    again = api.get("/devices/twinned/twin").json()
    assert (again["version"], again["desired"], again["pending"]) == (0, {}, [])
