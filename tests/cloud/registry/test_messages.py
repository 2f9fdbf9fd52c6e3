"""Messages on topics of sites start workflows of the cloud: gateways listen, and tell what they hear. (W4)"""

import itertools

import pytest

from cloud.registry.test_workflows_at_gateways import AT, Gateway, add_device, go_on, tell
from fieldloom_cloud.ingest.checked import parsed
from fieldloom_cloud.workflows import messages
from fieldloom_engine.rules import Event as Judged
from fieldloom_runtime import site_messages
from fieldloom_runtime.records import DeadLetter, encode

IN_SQLITE = pytest.mark.parametrize("new_database", ["sqlite"], indirect=True)
numbers = itertools.count(1)
TOPIC = "site/orders/+"
FLOW = {
    "variables": [{"name": "litres", "type": "number"}],
    "triggers": [{"message": {"topic": TOPIC}, "overlap": "allow", "late": "start"}],
    "initial_state": "done",
    "states": {"done": {"type": "succeed", "output": "{{ litres }} at {{ event.metadata.site }}"}},
}
NOBODY = {
    "path": "document.triggers[0].message",
    "reason": "no gateway is there to hear messages: they come by the broker of a gateway of each site that it is for",
}


class Listener(Gateway):
    """A gateway that is told to which topics it is to listen."""

    def take(self):
        return [one["filters"] for one in super().take(("topics",))]

    def listens(self, *topics):
        self.say("workflow.listening", topics=[*topics])

    def heard(self, id_, topic="site/orders/7", **payload):
        record = site_messages.record_of(Judged(id_, "message", "", AT, payload, {"topic": topic}), self.name)
        self.bring(record, record)  # as after a kill before the broker had its PUBACK


@pytest.fixture
def name():
    return f"orders-{next(numbers)}"


@pytest.fixture
def site(api):
    site = f"orders-{next(numbers)}"
    api.post("/sites", json={"id": site}).raise_for_status()
    yield site
    for one in api.get("/workflows", params={"limit": 500}).json()["items"]:
        api.delete(f"/workflows/{one['id']}")


@pytest.fixture
def gateway(served, site):
    return Listener(served, site)


def put(served, api, name, **changes):
    answer = api.put(f"/workflows/{name}", json={"document": {"id": name, **FLOW, **changes}})
    assert answer.status_code == 200, answer.text
    tell(served)
    return answer.json()


def outputs(served, api, name):
    go_on(served)
    found = api.get("/instances", params={"workflow": name}).json()["items"]
    return sorted(api.get(f"/instances/{one['id']}").json()["output"] for one in found)


def listener(api, name, gateway):
    return next(one for one in api.get(f"/workflows/{name}").json()["gateways"] if one["gateway"] == gateway.name)


def letters(api):
    return api.get("/dead-letters", params={"limit": 500}).json()["items"]


def test_a_message_at_a_site_starts_a_workflow_of_the_cloud_once(served, api, name, gateway):
    """(W4)"""
    other, elsewhere = Listener(served, gateway.site), Listener(served, "default")
    put(served, api, name)
    gateway.heard("m-1", litres=3)
    other.heard("m-1", litres=3)
    elsewhere.heard("m-1", litres=3)
    gateway.heard("m-2", litres=4)
    gateway.heard("m-3", topic="site/others", litres=5)

    assert outputs(served, api, name) == sorted([f"3 at {gateway.site}", "3 at default", f"4 at {gateway.site}"])
    api.delete(f"/workflows/{name}").raise_for_status()
    gateway.heard("m-4", litres=6)
    assert len(outputs(served, api, name)) == 3, "what is removed starts nothing any more"


@IN_SQLITE
def test_gateways_are_told_what_they_are_to_hear_and_say_that_they_do(served, api, name, gateway):
    """(W4)"""
    put(served, api, name)
    put(served, api, f"{name}-edge", placement="edge", triggers=[{"message": {"topic": "site/edge"}}])
    assert gateway.take() == [[TOPIC]]
    assert listener(api, name, gateway) == {
        "gateway": gateway.name,
        "version": "1.0.0",
        "status": "sent",
        "applied": None,
        "faults": [],
        "engine": None,
        "at": None,
    }
    gateway.listens("site/before")
    assert listener(api, name, gateway)["status"] == "sent", "that was its word on what it was told before"
    gateway.listens(TOPIC)
    assert (listener(api, name, gateway)["status"], listener(api, name, gateway)["applied"]) == ("applied", "1.0.0")
    put(served, api, f"{name}-2", triggers=[{"message": {"topic": TOPIC}}, {"message": {"topic": "site/#"}}])
    tell(served)
    assert gateway.take() == [["site/#", TOPIC]]

    api.delete(f"/workflows/{name}").raise_for_status()
    tell(served)
    assert gateway.take() == [], "another workflow hears the same"
    put(served, api, f"{name}-2", version="1.1.0", triggers=[{"message": {"topic": "site/b"}}])
    assert gateway.take() == [["site/b"]]
    api.delete(f"/workflows/{name}-2").raise_for_status()
    tell(served)
    assert gateway.take() == [[]]


@IN_SQLITE
def test_a_gateway_that_is_away_new_or_was_updated_is_told_what_counts_now(served, api, name, gateway):
    """(W4)"""
    for version, topic in (("1.0.0", "site/a"), ("1.0.1", "site/b")):
        put(served, api, name, version=version, triggers=[{"message": {"topic": topic}}])
    assert gateway.take() == [["site/b"]], "what still waited is overtaken"

    gateway.begin()
    assert gateway.take() == [["site/b"]]
    gateway.listens("site/b")
    gateway.say("workflow.listening", topics=None)
    tell(served)
    assert gateway.take() == [["site/b"]]
    assert listener(api, name, gateway)["status"] == "sent"


@IN_SQLITE
def test_a_workflow_for_some_devices_hears_at_their_sites_alone(served, api, name, gateway):
    """(W4)"""
    type_ = f"pump-{next(numbers)}"
    elsewhere = Listener(served, "default")
    shown = put(served, api, name, devices={"type": type_})
    assert shown["warnings"] == [NOBODY]
    device = add_device(api, gateway, is_online=False)
    api.patch(f"/devices/{device}", json={"type": type_}).raise_for_status()
    tell(served)
    elsewhere.heard("m-1", litres=3)
    gateway.heard("m-2", litres=4)

    assert (gateway.take(), elsewhere.take()) == ([[TOPIC]], [])
    assert outputs(served, api, name) == [f"4 at {gateway.site}"]
    assert api.get(f"/workflows/{name}").json()["warnings"] == []


@IN_SQLITE
def test_who_deploys_is_warned_if_nobody_is_there_to_hear(served, api, name, site):
    """(W4)"""
    document = {"id": name, **FLOW, "devices": {"tags": {"at": "nowhere"}}}

    validated = api.post("/workflows/validate", json={"document": document}).json()
    assert (validated["valid"], validated["warnings"]) == (True, [NOBODY])
    assert put(served, api, name, devices={"tags": {"at": "nowhere"}})["warnings"] == [NOBODY]


@IN_SQLITE
def test_only_a_gateway_tells_of_messages(served, api, name, gateway):
    """(W4)"""
    device = add_device(api, gateway)
    put(served, api, name)

    gateway.say("workflow.message", device, id="m-1", topic="site/orders/7", payload={"litres": 3})
    gateway.say("message", device, litres=3)

    assert outputs(served, api, name) == []


@IN_SQLITE
@pytest.mark.parametrize("told", [{"topic": "site/a", "payload": {}}, {"id": "m", "topic": "site/a", "payload": [1]}])
def test_what_is_no_message_is_a_dead_letter(served, api, name, gateway, told):
    """(W4, T1)"""
    put(served, api, name)

    gateway.say("workflow.message", **told)

    (letter,) = [one for one in letters(api) if one["device"] == gateway.name]
    assert letter["reason"].startswith("workflow.message: ")


@IN_SQLITE
def test_filters_without_end_become_one(served, api, name, gateway):
    """(W4)"""
    long = [{"message": {"topic": f"site/{'x' * 1000}/{n}"}} for n in range(32)]
    put(served, api, name, triggers=long)
    put(served, api, f"{name}-2", triggers=[{"message": {"topic": "site/" + "y" * 1000}}])
    assert gateway.take() == [messages.EVERYTHING]

    gateway.listens(*messages.EVERYTHING)

    assert listener(api, name, gateway)["status"] == "applied"


def test_what_a_gateway_sends_up_is_what_the_ingest_takes():
    """(W4, T1)"""
    deepest = {}
    for _ in range(14):
        deepest = {"in": deepest}
    event = Judged("m-1", "message", "", AT, deepest, {"topic": "site/a"})

    assert not isinstance(parsed(encode(site_messages.record_of(event, "gw.a")), AT), DeadLetter)
