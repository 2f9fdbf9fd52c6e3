"""Groups: by a query or by listing, changed by one at a time, and sent to as one. (R3)"""

import pytest

from cloud.registry.conftest import told


@pytest.fixture(scope="module", autouse=True)
def fleet(api):
    for number in range(6):
        kind = "pump" if number % 2 else "valve"
        body = {"id": f"g-{number}", "site": "default", "type": kind, "tags": {"floor": str(number % 3)}}
        assert api.post("/devices", json=body).status_code == 201


def made(api, group, **fields):
    answer = api.post("/groups", json={"id": group, **fields})
    assert answer.status_code == 201, answer.text
    return answer


def members(api, group):
    return [one["id"] for one in api.get(f"/groups/{group}/devices").json()["items"]]


def test_a_dynamic_group_has_whoever_its_query_finds_now(api):
    shown = made(api, "pumps", query={"type": "pump", "tag": ["floor:1"], "created_from": "2020-01-01T00:00:00Z"})
    assert members(api, "pumps") == ["g-1"]

    api.patch("/devices/g-5", json={"tags": {"floor": "1"}})
    assert members(api, "pumps") == ["g-1", "g-5"]
    wider = api.patch("/groups/pumps", json={"query": {"type": "pump"}}, headers={"If-Match": shown.headers["ETag"]})
    assert (wider.json()["version"], wider.json()["name"]) == (2, "pumps")
    assert members(api, "pumps") == ["g-1", "g-3", "g-5"]
    found = api.get("/devices", params={"group": "pumps", "q": "g-3"}).json()["items"]
    assert [one["id"] for one in found] == ["g-3"]


def test_a_static_group_has_whom_it_lists_while_they_are_there(api):
    made(api, "listed", name="Night shift")
    api.post("/devices", json={"id": "g-gone", "site": "default"})
    for device in ("g-2", "g-0", "g-gone", "g-0"):
        assert api.put(f"/groups/listed/devices/{device}").status_code == 204
    assert members(api, "listed") == ["g-0", "g-2", "g-gone"]

    api.delete("/devices/g-gone")
    assert api.delete("/groups/listed/devices/g-2").status_code == 204
    assert members(api, "listed") == ["g-0"]
    assert api.get("/groups/listed").headers["ETag"] == '"5"', "each change of its members is one of the group"


def test_what_is_changed_meanwhile_or_makes_no_sense_is_refused(api):
    made(api, "odd", query={"type": "pump"})
    made(api, "plain")
    refused = [
        (api.post("/groups", json={"id": "odd"}), 409, None),
        (api.post("/groups", json={"id": "new", "query": {"group": "odd"}}), 422, "query.group"),
        (api.post("/groups", json={"id": "new", "query": {"tag": ["floor"]}}), 422, "query.tag"),
        (api.post("/groups", json={"id": "Not OK"}), 422, "id"),
        (api.patch("/groups/odd", json={"name": "x"}, headers={"If-Match": '"7"'}), 412, None),
        (api.delete("/groups/odd", headers={"If-Match": '"7"'}), 412, None),
        (api.patch("/groups/plain", json={"query": {}}), 422, "query"),
        (api.put("/groups/odd/devices/g-0"), 422, "group_id"),
        (api.put("/groups/plain/devices/nobody"), 404, None),
        (api.delete("/groups/plain/devices/g-0"), 404, None),
        (api.get("/groups/none/devices"), 404, None),
        (api.get("/devices?group=none"), 422, "group"),
    ]

    for answer, status, path in refused:
        assert (answer.status_code, [one["path"] for one in answer.json().get("errors", [])] or [None]) == (
            status,
            [path],
        ), answer.text


def test_its_changes_are_told(api):
    made(api, "told")
    api.put("/groups/told/devices/g-0")
    api.patch("/groups/told", json={"name": "Told"})
    api.delete("/groups/told")

    kinds = ("group.created", "group.updated", "group.updated", "group.removed")
    events = told(api, "group.", 4, about="told")
    assert [kind for kind, _ in events] == list(kinds)
    assert events[1][1] == {"id": "told", "version": 2, "changes": {"added": "g-0"}}


def test_a_command_goes_to_each_device_once(api):
    made(api, "sent", query={"tag": ["floor:2"]})
    send = {"url": "/groups/sent/commands", "headers": {"Idempotency-Key": "k1"}}
    first = api.post(**send, json={"type": "read"}).json()
    api.post("/devices", json={"id": "g-late", "site": "default", "tags": {"floor": "2"}})

    again = api.post(**send, json={"type": "read"})
    other = api.post(**send, json={"type": "reboot"}).json()

    assert [one["device"] for one in first["items"]] == ["g-2"]
    assert [(one["device"], one["command"]["status"]) for one in again.json()["items"]] == [
        ("g-2", "pending"),
        ("g-late", "pending"),
    ]
    assert (again.status_code, again.json()["items"][0]["command"]) == (202, first["items"][0]["command"])
    assert [one["errors"][0]["path"] for one in other["items"]] == ["Idempotency-Key"] * 2
    assert len(api.get("/devices/g-2/commands").json()["items"]) == 1


def test_a_device_that_can_not_take_it_does_not_keep_it_from_the_others(api):
    made(api, "mixed")
    for device in ("g-0", "g-1"):
        api.put(f"/groups/mixed/devices/{device}")

    answer = api.post("/groups/mixed/commands", json={"type": "write", "parameters": {"x": "y" * 5000}}).json()

    assert [(one["device"], one["command"]) for one in answer["items"]] == [("g-0", None), ("g-1", None)]
    assert answer["items"][0]["errors"][0]["reason"]


def test_a_patch_of_a_group_is_pending_for_each_device_once_and_refused_where_its_type_does(api):
    twin = {"type": "object", "properties": {"led": {"type": "integer"}}}
    api.put("/types/strict", json={"twin": twin}).raise_for_status()
    for device, kind in (("t-1", "strict"), ("t-2", "")):
        api.post("/devices", json={"id": device, "site": "default", "type": kind}).raise_for_status()
    made(api, "twins")
    for device in ("t-1", "t-2"):
        api.put(f"/groups/twins/devices/{device}")
    once = {"Idempotency-Key": "night"}

    first = api.patch("/groups/twins/twin", json={"desired": {"led": "on"}}, headers=once)
    again = api.patch("/groups/twins/twin", json={"desired": {"led": "on"}}, headers=once)

    assert first.status_code == 202, first.text
    refused, pending = first.json()["items"]
    assert (refused["device"], refused["twin"], refused["errors"][0]["path"]) == ("t-1", None, "desired.led")
    assert (pending["device"], pending["errors"]) == ("t-2", [])
    assert [one["desired"] for one in pending["twin"]["pending"]] == [{"led": "on"}]
    assert again.json()["items"][1] == pending
    assert api.get("/devices/t-2/twin").json()["pending"] == pending["twin"]["pending"]
    assert api.patch("/groups/nobody/twin", json={"desired": {}}).status_code == 404
    assert api.patch("/groups/twins/twin", json={"wanted": {}}).status_code == 422


def test_a_group_of_more_than_500_is_not_changed_at_once(api):
    rows = "".join(f'{{"id": "many-{number:03}", "site": "default", "type": "many"}}\n' for number in range(501))
    told = api.post("/devices/import", content=rows, headers={"Content-Type": "application/x-ndjson"})
    assert told.json()["created"] == 501
    made(api, "many", query={"type": "many"})

    for answer in (
        api.patch("/groups/many/twin", json={"desired": {"led": 1}}),
        api.post("/groups/many/commands", json={"type": "read"}),
    ):
        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, "group_id")
