"""Workflows of the edge as the cloud deploys and follows them: told, shown, acted on, waited for. (W4 to W8)"""

import itertools
import json

import msgspec
import pytest

from fieldloom_cloud.automation.runtime import Runtime
from fieldloom_cloud.dispatch import service as dispatch
from fieldloom_cloud.guard import Incoming
from fieldloom_cloud.ingest.service import Records
from fieldloom_cloud.registry import service as registry
from fieldloom_cloud.workers.leases import AllSlots
from fieldloom_cloud.workflows.hearing import Hearing
from fieldloom_cloud.workflows.worker import clock
from fieldloom_engine.rules import Event as Happened
from fieldloom_engine.workflows import Program, Signalled, Started, Terminated, create, parse, step
from fieldloom_runtime.records import Event, State

IN_SQLITE = pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
numbers = itertools.count(1)
AT = 1_790_000_000_000
WAIT = {"type": "wait", "event": {"type": "go", "any_source": True}, "transitions": [{"target": "end"}]}
FLOW = {
    "placement": "edge",
    "variables": [{"name": "level", "type": "integer"}],
    "initial_state": "wait",
    "states": {"wait": WAIT, "end": {"type": "succeed", "output": {"level": "{{ level }}"}}},
}
OF_WORKFLOWS = ("workflow", "workflows", "start", "terminate", "signal", "retry")


class Gateway:
    """A gateway of a site: it takes what waits for it, and brings records."""

    def __init__(self, served, site):
        self.served, self.site = served, site
        self.name = f"gw.edge-{next(numbers)}"
        served.within(lambda session: registry.add_gateway(session, self.name, site))
        worker = served.app.state.workflows
        judge = Hearing(Runtime(served.database, AllSlots()), worker.definitions, worker.wake, clock)
        self.records = Records(served.database, None, AllSlots(), judge, lambda: None)
        self.begin()

    def begin(self):
        """Begin a stream, as on a new disk."""
        self.stream, self.sent = next(numbers).to_bytes(8, "big") * 2, 0
        self.say("gateway.begun")

    def take(self, kinds=OF_WORKFLOWS):
        """Take what waits for this gateway, as it would; return what is of some kinds."""

        async def take(session):
            waiting = [one for one in await dispatch.waiting(session, lambda _: True) if one.gateway == self.name]
            for one in waiting:
                await dispatch.acknowledged(session, one.gateway, one.stream, one.number)
            return [json.loads(one.body) for one in waiting]

        return [one for one in self.served.within(take) if one["kind"] in kinds]

    def bring(self, *records):
        self.sent += len(records)
        sent = Incoming(self.name, self.stream, self.sent - len(records) + 1, 1, [], list(records))
        self.served.client.portal.call(self.records.write, [sent])

    def say(self, type_, device=None, ts=AT, **data):
        self.bring(Event(device or self.name, ts, ts, type=type_, data=data))

    def apply(self, workflow, version="1.0.0"):
        self.say("workflow.applied", workflow=workflow, version=version)

    def recorded(self, instance, history, device=None, **more):
        """Return what is told of an instance, a record each."""
        told = {"instance": instance.id, "workflow": instance.workflow, "version": instance.version}
        told |= {"status": instance.status, "created": instance.created, "states": instance.active, **more}
        device = device or instance.variables.get("device_id", self.name)
        return [
            Event(device, one.at, one.at, type="workflow.recorded", data=msgspec.to_builtins({**told, "record": one}))
            for one in history
        ]


@pytest.fixture
def name():
    return f"edge-{next(numbers)}"


@pytest.fixture
def gateway(served, api):
    """A gateway at a site of its own; all workflows are gone at the end."""
    site = f"site-{next(numbers)}"
    api.post("/sites", json={"id": site}).raise_for_status()
    yield Gateway(served, site)
    for one in api.get("/workflows", params={"limit": 500}).json()["items"]:
        api.delete(f"/workflows/{one['id']}")
    tell(served)


def tell(served):
    return served.client.portal.call(served.app.state.workflows.tell_gateways)


def go_on(served):
    served.client.portal.call(served.app.state.workflows.go_on)


def put(served, api, name, **changes):
    answer = api.put(f"/workflows/{name}", json={"document": {"id": name, **FLOW, **changes}})
    assert answer.status_code == 200, answer.text
    tell(served)
    return answer.json()


def at_gateway(api, name, gateway):
    found = api.get(f"/workflows/{name}").json()["gateways"]
    return next((one for one in found if one["gateway"] == gateway.name), None)


def add_device(api, gateway, is_online=True):
    device = f"dev-{next(numbers)}"
    api.post("/devices", json={"id": device, "site": gateway.site}).raise_for_status()
    if is_online:
        gateway.bring(State(device, AT, AT, session="s", online=True, facts={}))
    return device


def begun(name, variables, id_=None):
    """Return an instance that a gateway has begun, and its history."""
    program = Program(parse({"id": name, **FLOW}))
    instance = create(program.workflow, id_ or f"i-{next(numbers)}", variables, AT)
    done = step(program, instance, Started(), AT)
    return program, done.instance, done.history


def show(api, id_):
    answer = api.get(f"/instances/{id_}")
    assert answer.status_code == 200, answer.text
    return answer.json()


# --- definitions ------------------------------------------------------------------------------------------------------


def test_gateways_are_told_their_workflows_and_what_they_say_is_kept(served, api, name, gateway):
    other = Gateway(served, gateway.site)
    assert put(served, api, name)["placement"] == "edge"
    put(served, api, f"{name}-cloud", placement="cloud")
    again = tell(served)

    told, ids = gateway.take()
    assert (told["id"], told["version"], told["document"]["placement"]) == (name, "1.0.0", "edge")
    assert (ids, again) == ({"kind": "workflows", "ids": {name: "1.0.0"}}, 30)
    assert at_gateway(api, name, gateway)["status"] == "sent"
    gateway.apply(name)
    fault = {"path": "triggers[0].message", "reason": "no gateway listens to topics"}
    other.say("workflow.refused", workflow=name, version="1.0.0", faults=[fault], engine=0)
    other.say("workflow.applied", ts=AT - 1, workflow=name, version="1.0.0")  # overtaken
    assert (at_gateway(api, name, gateway)["status"], at_gateway(api, name, gateway)["applied"]) == ("applied", "1.0.0")
    assert (at_gateway(api, name, other)["status"], at_gateway(api, name, other)["faults"]) == ("refused", [fault])

    put(served, api, name, version="1.1.0")
    assert [one.get("version") for one in gateway.take()] == ["1.1.0", None]
    api.delete(f"/workflows/{name}", params={"version": "1.1.0"}).raise_for_status()
    tell(served)
    assert [one.get("version") for one in gateway.take()] == ["1.0.0", None], "the one before is at work again"
    api.delete(f"/workflows/{name}").raise_for_status()
    tell(served)
    assert gateway.take() == [{"kind": "workflows", "ids": {}}]


@IN_SQLITE
def test_a_gateway_that_is_away_or_new_gets_one_word_of_each(served, api, name, gateway):
    for version in ("1.0.0", "1.0.1", "1.0.2"):
        put(served, api, name, version=version)
    away = gateway.take()
    gateway.apply(name, "1.0.2")
    gateway.take()

    gateway.begin()
    gateway.apply(name, "1.0.2")

    assert [(one["kind"], one.get("version")) for one in away] == [("workflow", "1.0.2"), ("workflows", None)]
    assert [one["kind"] for one in gateway.take()] == ["workflow", "workflows"]
    assert at_gateway(api, name, gateway)["status"] == "applied"


@IN_SQLITE
def test_a_workflow_for_a_group_goes_where_its_devices_are(served, api, name, gateway):
    group, device = f"group-{next(numbers)}", add_device(api, gateway, is_online=False)
    api.post("/groups", json={"id": group}).raise_for_status()
    put(served, api, name, devices={"group": group})
    nobody = gateway.take()

    api.put(f"/groups/{group}/devices/{device}").raise_for_status()
    tell(served)

    assert nobody == []
    assert [one["devices"] for one in gateway.take() if one["kind"] == "workflow"] == [[device]]


# --- instances --------------------------------------------------------------------------------------------------------


def test_an_instance_of_a_gateway_is_listed_and_shown_with_its_history(served, api, name, gateway):
    device = add_device(api, gateway)
    put(served, api, name)
    program, instance, history = begun(name, {"device_id": device, "level": 3})

    gateway.bring(*gateway.recorded(instance, history, correlation=device))
    _, other, _ = begun(f"{name}-folder", {})
    gateway.bring(*gateway.recorded(other, history))
    shown = show(api, instance.id)
    broken = api.post(f"/workflows/{name}/check", json={"document": {"id": name, **FLOW, "variables": []}}).json()
    folder = {"id": other.workflow, **FLOW}
    unknown = api.post(f"/workflows/{other.workflow}/check", json={"document": folder}).json()
    done = step(program, instance, Signalled(Happened("e", "go", "x", AT + 9, {})), AT + 9)
    for _ in range(2):  # a gateway that takes over tells again
        gateway.bring(*reversed(gateway.recorded(done.instance, done.history)))

    assert (shown["status"], shown["states"], shown["gateway"]) == ("waiting", ["wait"], gateway.name)
    assert (shown["device"], shown["correlation"], shown["variables"]) == (device, device, dict(instance.variables))
    assert [one["breaks"][0]["reason"] for one in broken["items"]] == ["the variable level is gone"]
    assert "this cloud has no" in unknown["items"][0]["breaks"][0]["reason"], "it is of the gateway's folder"
    ended = show(api, instance.id)
    assert (ended["status"], ended["output"], ended["states"]) == ("succeeded", {"level": 3}, [])
    assert ended["variables"] == json.loads(json.dumps(dict(done.instance.variables)))
    assert [one["number"] for one in ended["history"]] == [1, 2, 3, 4]
    (listed,) = api.get("/instances", params={"workflow": name}).json()["items"]
    assert listed == {key: ended[key] for key in listed}
    assert api.get(f"/workflows/{name}").json()["versions"][0]["instances"] == {"succeeded": 1}


@IN_SQLITE
def test_what_is_asked_of_an_instance_goes_to_its_gateway(served, api, name, gateway):
    put(served, api, name)
    program, instance, history = begun(name, {"level": 3})
    gateway.bring(*gateway.recorded(instance, history))
    gateway.take()

    answers = [
        api.post(f"/instances/{instance.id}/signal", json={"type": "go", "data": {"by": "Ann"}}),
        api.post(f"/instances/{instance.id}/terminate", json={"reason": "enough", "undo": False}),
    ]
    early = api.post(f"/instances/{instance.id}/retry", json={"state": "wait"})
    done = step(program, instance, Terminated("enough", undo=False), AT)
    gateway.bring(*gateway.recorded(done.instance, done.history))
    late = api.post(f"/instances/{instance.id}/terminate", json={"reason": "enough"})
    answers.append(api.post(f"/instances/{instance.id}/retry", json={"state": "wait", "variables": {"level": 4}}))

    assert ([one.status_code for one in answers], early.status_code, late.status_code) == ([202] * 3, 409, 409)
    requests = [one.json()["request"] for one in answers]
    assert gateway.take() == [
        {"kind": "signal", "id": requests[0], "instance": instance.id, "type": "go", "data": {"by": "Ann"}},
        {"kind": "terminate", "id": requests[1], "instance": instance.id, "reason": "enough", "undo": False},
        {"kind": "retry", "id": requests[2], "instance": instance.id, "state": "wait", "variables": {"level": 4}},
    ]

    stranger = Gateway(served, "other")
    stranger.say("workflow.answered", request=requests[0], instance=instance.id, refused="no")
    gateway.say("workflow.answered", request=requests[0], instance="another", refused="no")
    sent = [(one["kind"], one["about"], one["status"]) for one in reversed(show(api, instance.id)["requests"])]
    assert sent == [("signal", "go", "sent"), ("terminate", "enough", "sent"), ("retry", "wait", "sent")]
    gateway.say("workflow.answered", request=requests[0], instance=instance.id, refused=None)
    for _ in range(2):  # the first word counts
        gateway.say("workflow.answered", request=requests[2], instance=instance.id, refused="it waits already")
    gateway.say("workflow.answered", request=requests[2], instance=instance.id, refused="something else")
    answered = {one["id"]: (one["status"], one["refused"]) for one in show(api, instance.id)["requests"]}
    assert answered == dict(
        zip(requests, [("done", None), ("sent", None), ("refused", "it waits already")], strict=True)
    )


@IN_SQLITE
def test_what_a_gateway_with_a_new_disk_had_may_be_lost(served, api, name, gateway):
    put(served, api, name)
    found = [begun(name, {"level": 3}) for _ in range(2)]
    for _, instance, history in found:
        gateway.bring(*gateway.recorded(instance, history))
    (_, lost, _), (program, kept, _) = found

    gateway.begin()
    doubted = [show(api, one.id)["fault"] for one in (lost, kept)]
    request = api.post(f"/instances/{lost.id}/terminate", json={"reason": "enough"}).json()["request"]
    gateway.say("workflow.answered", request=request, instance=lost.id, refused=f"there is no instance {lost.id}")
    done = step(program, kept, Signalled(Happened("e", "go", "x", AT, {})), AT)
    gateway.bring(*gateway.recorded(done.instance, done.history))

    assert doubted == ["its gateway began anew, and may not have it any more"] * 2
    shown = [show(api, one.id) for one in (lost, kept)]
    assert [(one["status"], one["fault"]) for one in shown] == [("failed", None), ("succeeded", None)]
    assert shown[0]["failure"] == {"kind": "lost", "message": f"there is no instance {lost.id}", "state": ""}


@IN_SQLITE
def test_nobody_tells_of_instances_of_others(served, api, name, gateway):
    put(served, api, name)
    stranger = Gateway(served, "other")
    _, instance, history = begun(name, {})
    gateway.bring(*gateway.recorded(instance, history))
    put(served, api, f"{name}-cloud", placement="cloud")
    here = api.post(f"/workflows/{name}-cloud/start", json={}).json()["id"]
    go_on(served)

    lie = msgspec.structs.replace(history[0], number=7, kind="ended")
    stranger.bring(*stranger.recorded(instance, [lie]))
    gateway.bring(*gateway.recorded(msgspec.structs.replace(instance, id=here), [lie]))
    gateway.say("workflow.recorded", instance=instance.id, record={"number": 0})

    assert [show(api, one)["status"] for one in (instance.id, here)] == ["waiting", "waiting"]
    letters = [one["reason"] for one in api.get("/dead-letters", params={"limit": 3}).json()["items"]]
    assert all(one.startswith("workflow.recorded: ") for one in letters)
    assert sum("is no instance of this gateway" in one for one in letters) == 2


# --- starts -----------------------------------------------------------------------------------------------------------


def test_a_start_goes_to_the_gateway_of_its_device(served, api, name, gateway):
    device = add_device(api, gateway)
    other = Gateway(served, gateway.site)
    put(served, api, name)
    for one in (gateway, other):
        one.take()
    headers = {"Idempotency-Key": "k1"}
    body = {"variables": {"device_id": device, "level": 3}}

    first, again = (api.post(f"/workflows/{name}/start", json=body, headers=headers).json() for _ in range(2))
    nowhere = api.post(f"/workflows/{name}/start", json={})
    unknown = api.post(f"/workflows/{name}/start", json={"variables": {"device_id": "nobody"}})
    wrong = api.post(f"/workflows/{name}/start", json={"variables": {"level": "high"}})

    assert (first["outcome"], again["outcome"], again["id"]) == ("sent", "known", first["id"])
    assert gateway.take() == [{"kind": "start", "id": first["id"], "workflow": name, "variables": body["variables"]}]
    assert other.take() == []
    assert (nowhere.status_code, unknown.status_code, wrong.status_code) == (409, 409, 422)
    assert "gateways have" in nowhere.json()["detail"]
    assert (show(api, first["id"])["status"], show(api, first["id"])["gateway"]) == ("created", gateway.name)
    gateway.say("workflow.answered", request=first["id"], instance=first["id"], refused="another one is active")
    shown = show(api, first["id"])
    assert (shown["status"], shown["failure"]["message"]) == ("failed", "another one is active")


def waits_for(name):
    action = {"start_workflow": {"workflow": name, "variables": {"device_id": "{{ device_id }}", "level": 3}}}
    states = {
        "start": {"type": "task", "timeout": "1h", "actions": [action], "transitions": [{"target": "end"}]},
        "end": {"type": "succeed", "output": "{{ result }}"},
    }
    declared = [{"name": "device_id", "type": "string"}]
    return {"placement": "cloud", "variables": declared, "initial_state": "start", "states": states}


@IN_SQLITE
@pytest.mark.parametrize("how", ["succeeds", "is ended", "is refused", "is not waited for"])
def test_a_workflow_of_the_cloud_waits_for_one_at_a_gateway(served, api, name, gateway, how):
    device = add_device(api, gateway)
    put(served, api, name)
    put(served, api, f"{name}-global", **waits_for(name))
    gateway.take()
    parent = api.post(f"/workflows/{name}-global/start", json={"variables": {"device_id": device}}).json()["id"]
    go_on(served)
    (start,) = gateway.take()
    child = show(api, start["id"])
    assert (child["parent"], child["gateway"], show(api, parent)["status"]) == (parent, gateway.name, "running")
    program, instance, history = begun(name, start["variables"], start["id"])

    if how == "is not waited for":
        api.post(f"/instances/{parent}/terminate", json={"reason": "enough"}).raise_for_status()
        go_on(served)
        assert [(one["kind"], one["instance"]) for one in gateway.take()] == [("terminate", child["id"])]
        return
    if how == "is refused":
        gateway.say("workflow.answered", request=child["id"], instance=child["id"], refused="no room")
    else:
        gateway.bring(*gateway.recorded(instance, history))
        going = Signalled(Happened("e", "go", "x", AT, {})) if how == "succeeds" else Terminated("enough")
        done = step(program, instance, going, AT)
        gateway.bring(*gateway.recorded(done.instance, done.history))
    go_on(served)

    shown = show(api, parent)
    if how == "succeeds":
        assert (shown["status"], shown["output"]) == ("succeeded", {"level": 3})
    else:
        reason = "has terminated: enough" if how == "is ended" else "does not start: no room"
        assert (shown["status"], shown["failure"]["message"]) == ("failed", f"start_workflow: {name} {reason}")
