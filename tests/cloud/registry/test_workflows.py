"""Workflows over HTTP: versions side by side, starts, what people do with instances, and the stream. (W3 to W7, A1)"""

import itertools

import pytest

IN_SQLITE = pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
numbers = itertools.count(1)
WAIT = {"type": "wait", "event": {"type": "go", "any_source": True}}


@pytest.fixture
def name():
    return f"flow-{next(numbers)}"


def document(name, states=None, **more):
    states = states or {"wait": WAIT}
    return {"id": name, "initial_state": next(iter(states)), "states": states, **more}


def put(api, told, status=200, **headers):
    answer = api.put(f"/workflows/{told['id']}", json={"document": told}, headers=headers)
    assert answer.status_code == status, answer.text
    return answer


def start(served, api, name, **body):
    answer = api.post(f"/workflows/{name}/start", json=body)
    assert answer.status_code == 202, answer.text
    go_on(served)
    return answer.json()["id"]


def go_on(served):
    served.client.portal.call(served.app.state.workflows.go_on)


def post(api, id_, verb, status=202, **body):
    answer = api.post(f"/instances/{id_}/{verb}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


def show(api, id_):
    return api.get(f"/instances/{id_}").json()


@IN_SQLITE
def test_every_fault_of_a_definition_is_told_with_its_path(api, name):
    states = {"wait": {**WAIT, "transitions": [{"target": "nowhere"}]}, "never": {"type": "succeed"}}
    told = document(name, states, triggers=[{"message": {"topic": "site/#"}}])
    faults = {one["path"]: one["reason"] for one in put(api, told, 422).json()["errors"]}
    assert {path.rpartition("states.")[2] for path in faults} == {"wait.transitions[0].target", "never"}

    for placement in ("cloud", "edge"):
        of_devices = document(name, placement=placement, triggers=[{"message": {"topic": "fl/#"}}])
        (fault,) = put(api, of_devices, 422).json()["errors"]
        assert (fault["path"], fault["reason"][:22]) == ("document.triggers[0].message.topic", "must begin with site/:")
    for placement, action in (("cloud", {"publish": {"topic": "a", "payload": 1}}), ("edge", {"group_command": {}})):
        there = {"a": {"type": "task", "actions": [action]}}
        validated = api.post("/workflows/validate", json={"document": document(name, there, placement=placement)})
        assert [one["reason"] for one in validated.json()["errors"]] == ["is not known here"]
    lost = document(name, devices={"group": "nobody"})
    assert put(api, lost, 422).json()["errors"][0]["reason"] == "there is no group nobody"
    assert put(api, document("schema"), 422).json()["errors"][0]["path"] == "document.id"


@IN_SQLITE
def test_who_writes_the_same_actuator_is_named_whether_rule_or_workflow(api, name):
    """(E9)"""
    horn = {"command": {"type": name, "device_id": "dev-1"}}
    rule = {"id": f"{name}-rule", "when": {"event_type": "tick"}, "do": [horn]}
    flow = document(name, {"blow": {"type": "task", "actions": [horn]}})
    other = document(f"{name}-edge", flow["states"], placement="edge")
    assert api.put(f"/rules/{rule['id']}", json={"document": rule}).json()["warnings"] == []

    first, second = (put(api, one).json()["warnings"] for one in (flow, other))
    path = "document.states.blow.actions[0].command"
    by_rule = {"path": path, "reason": f"rule {rule['id']} writes it too: command {name}"}
    assert first == [by_rule]
    assert second == [by_rule, {"path": path, "reason": f"workflow {name} writes it too: command {name}"}]
    assert api.post("/workflows/validate", json={"document": flow}).json()["warnings"][0] == by_rule
    warned = api.get(f"/rules/{rule['id']}").json()["warnings"]
    assert [(one["rule"], one["workflow"], one["path"]) for one in warned] == [
        (None, one, "document.do[0].command") for one in (name, other["id"])
    ]
    api.delete(f"/workflows/{name}").raise_for_status()
    assert [one["workflow"] for one in api.get(f"/rules/{rule['id']}").json()["warnings"]] == [other["id"]]


def test_instances_finish_on_the_version_that_they_began_with(served, api, name):
    put(api, document(name))
    old = start(served, api, name)
    changed = put(api, document(name, version="2.0.0", states={"rest": {"type": "wait", "for": "1h"}}))
    assert changed.headers["ETag"] == '"2"'
    new = start(served, api, name)
    by_name = start(served, api, name, version="1.0.0")

    assert [show(api, one)["states"] for one in (old, new, by_name)] == [["wait"], ["rest"], ["wait"]]
    put(api, document(name, states={"other": WAIT}), 422)
    post(api, old, "signal", type="go")
    go_on(served)
    assert show(api, old)["status"] == "succeeded"
    assert {one["version"]: one["instances"] for one in api.get(f"/workflows/{name}").json()["versions"]} == {
        "2.0.0": {"waiting": 1},
        "1.0.0": {"succeeded": 1, "waiting": 1},
    }


def test_what_is_undeployed_starts_nothing_and_the_version_before_is_at_work_again(served, api, name):
    put(api, document(name))
    put(api, document(name, version="2.0.0"))
    running = start(served, api, name)
    assert api.delete(f"/workflows/{name}", params={"version": "3.0.0"}).status_code == 404
    assert api.delete(f"/workflows/{name}", params={"version": "2.0.0"}).status_code == 204
    assert api.get(f"/workflows/{name}").json()["version"] == "1.0.0"
    assert api.post(f"/workflows/{name}/start", json={"version": "2.0.0"}).status_code == 404
    assert api.delete(f"/workflows/{name}", headers={"If-Match": '"1"'}).status_code == 412
    assert api.delete(f"/workflows/{name}").status_code == 204

    assert api.post(f"/workflows/{name}/start", json={}).status_code == 404
    post(api, running, "signal", type="go")
    go_on(served)
    assert show(api, running)["status"] == "succeeded"


@IN_SQLITE
def test_a_start_is_once_by_its_key_and_says_what_is_wrong_with_its_variables(served, api, name):
    put(api, document(name, variables=[{"name": "litres", "type": "number"}]))
    headers = {"Idempotency-Key": "k1"}
    body = {"variables": {"litres": 3}}
    first, again = (api.post(f"/workflows/{name}/start", json=body, headers=headers).json() for _ in range(2))
    assert (first["outcome"], again["outcome"], again["id"]) == ("created", "known", first["id"])

    other = api.post(f"/workflows/{name}/start", json={"variables": {"litres": 4}}, headers=headers)
    assert (other.status_code, other.json()["errors"][0]["path"]) == (422, "Idempotency-Key")
    for variables, reason in (({"litres": "3"}, "litres is no number"), ({"gallons": 1}, "gallons is not declared")):
        answer = api.post(f"/workflows/{name}/start", json={"variables": variables})
        assert (answer.status_code, answer.json()["errors"][0]["reason"]) == (422, reason)


@IN_SQLITE
def test_an_instance_is_shown_with_what_it_waits_for_and_its_history(served, api, name):
    states = {"told": {"type": "task", "actions": [{"log": {"message": "on"}}], "transitions": [{"target": "wait"}]}}
    put(api, document(name, states | {"wait": WAIT}))
    id_ = start(served, api, name)
    shown = show(api, id_)
    assert (shown["status"], shown["states"]) == ("waiting", ["wait"])
    assert shown["awaits"] == [{"type": "go", "property": None, "key": None}]

    post(api, id_, "signal", type="go", data={"by": "Ann"})
    go_on(served)

    shown = show(api, id_)
    assert shown["output"]["data"] == {"by": "Ann"}
    assert [(one["kind"], one["state"], one["next"]) for one in shown["history"]] == [
        ("started", None, None),
        ("state", "told", "wait"),
        ("state", "wait", None),
        ("ended", None, None),
    ]
    assert shown["history"][1]["actions"][0]["kind"] == "log"
    assert shown["history"][2]["took_ms"] >= 0
    assert show(api, f"{id_}?after=2")["history"] == shown["history"][2:]


def test_a_picture_shows_how_many_instances_are_in_each_state_of_a_version(served, api, name):
    each = {"type": "map", "items": "rooms", "iterator": {"initial_state": "wait", "states": {"wait": WAIT}}}
    rooms = [{"name": "rooms", "type": "array", "default": [1, 2, 3]}]
    put(api, document(name, {"each": each}, variables=rooms))
    put(api, document(name, version="2.0.0"))
    for version in ("1.0.0", "1.0.0", "2.0.0"):
        start(served, api, name, version=version)
    over = start(served, api, name, version="1.0.0")
    post(api, over, "terminate", reason="enough")
    go_on(served)
    assert api.delete(f"/workflows/{name}", params={"version": "1.0.0"}).status_code == 204

    first = api.get(f"/workflows/{name}/graph", params={"version": "1.0.0"}).json()
    assert (first["instances"], first["complete"]) == ({"each": 2, "each/*/wait": 2}, True)
    assert [node["id"] for node in first["nodes"]] == ["each", "each/*/wait"]
    at_work = api.get(f"/workflows/{name}/graph").json()
    assert (at_work["version"], at_work["instances"]) == ("2.0.0", {"wait": 1})
    assert api.get(f"/workflows/{name}/graph", params={"version": "9.0.0"}).status_code == 404
    assert api.get("/workflows/unknown/graph").status_code == 404
    valid = api.post("/workflows/validate", json={"document": document(name)}).json()
    assert [node["id"] for node in valid["graph"]["nodes"]] == ["wait"]


@IN_SQLITE
def test_instances_are_listed_by_workflow_status_and_device(served, api, name):
    variables = [{"name": "device_id", "type": "string"}]
    put(api, document(name, variables=variables))
    ids = [start(served, api, name, variables={"device_id": f"{name}-{number % 2}"}) for number in range(4)]
    post(api, ids[0], "terminate", reason="enough")
    go_on(served)

    def listed(**params):
        found, cursor = [], None
        while True:
            page = api.get("/instances", params={"limit": 2, **params, **({"cursor": cursor} if cursor else {})}).json()
            found += [one["id"] for one in page["items"]]
            if (cursor := page["next"]) is None:
                return set(found)

    assert listed(workflow=name) == set(ids)
    assert listed(workflow=name, status="terminated") == {ids[0]}
    assert listed(device=f"{name}-1") == {ids[1], ids[3]}


@IN_SQLITE
def test_what_people_can_not_do_with_an_instance_is_told_with_its_reason(served, api, name):
    put(api, document(name))
    id_ = start(served, api, name)
    assert "waits for go, and not" in post(api, id_, "signal", 409, type="stop")["detail"]
    assert "terminate it first" in post(api, id_, "retry", 409)["detail"]
    post(api, id_, "terminate", reason="enough")
    go_on(served)
    assert show(api, id_)["history"][-1]["reason"] == "enough"
    assert "has terminated already" in post(api, id_, "terminate", 409, reason="enough")["detail"]
    assert post(api, id_, "retry", 422)["errors"][0]["path"] == "state"
    assert post(api, id_, "retry", 422, state="nowhere")["errors"][0]["reason"] == "the workflow has no state nowhere"
    assert post(api, id_, "retry", 422, state="wait", variables={"odd": 1})["errors"][0]["path"] == "variables.odd"
    post(api, id_, "retry", state="wait")
    go_on(served)
    assert show(api, id_)["status"] == "waiting"
    assert post(api, "nobody", "signal", 404, type="go")["status"] == 404


def test_a_check_says_which_instances_a_version_would_break(served, api, name):
    put(api, document(name))
    id_ = start(served, api, name)
    new = document(name, {"rest": {"type": "wait", "for": "1h"}}, version="2.0.0")

    found = api.post(f"/workflows/{name}/check", json={"document": new}).json()

    assert found == {
        "checked": 1,
        "complete": True,
        "items": [{"instance": id_, "version": "1.0.0", "breaks": [{"state": "wait", "reason": "is gone"}]}],
    }
