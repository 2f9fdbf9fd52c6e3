"""Rules over HTTP: deployed, listed, put to work, explained, told to gateways. (E2, E5, E9, E10, A1)"""

import itertools
import json

import jsonschema_rs
import pytest

from fieldloom_cloud.automation import distribution
from fieldloom_cloud.dispatch import service as dispatch
from fieldloom_cloud.registry import service as registry
from fieldloom_runtime.records import Event

numbers = itertools.count(1)
HOT = {"and": [{"event_type": "device.telemetry"}, {"property_range": {"property": "temperature", "min": 80}}]}
COOL = {"command": {"type": "cooling", "parameters": {"mode": "max"}}}
AT = 1_790_000_000_000


@pytest.fixture
def rule():
    """A rule of a name that no other test has."""
    return {"id": f"rule-{next(numbers)}", "placement": "cloud", "fire": "on_change", "when": HOT, "do": [COOL]}


@pytest.fixture
def gateways(served, api):
    """Two gateways, each at a site of its own; all rules are gone at the end."""
    names = [f"gw.rules-{next(numbers)}" for _ in range(2)]
    for name, site in zip(names, ("default", "other"), strict=True):
        served.within(lambda session, name=name, site=site: registry.add_gateway(session, name, site))
    served.within(distribution.distribute)
    yield names
    for one in api.get("/rules", params={"limit": 500}).json()["items"]:
        api.delete(f"/rules/{one['id']}")


def put(api, rule, mode="active", **headers):
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return api.put(f"/rules/{rule['id']}", json={"document": rule, "mode": mode}, headers=told)


def faults(answer):
    assert answer.status_code == 422, answer.text
    return {one["path"]: one["reason"] for one in answer.json()["errors"]}


def test_a_rule_is_deployed_listed_and_shown(api, rule):
    deployed = put(api, rule)
    again = put(api, rule)

    assert deployed.status_code == 200, deployed.text
    assert (deployed.headers["ETag"], again.headers["ETag"]) == ('"1"', '"1"')
    shown = api.get(f"/rules/{rule['id']}").json()
    assert shown == deployed.json()
    assert (shown["version"], shown["mode"], shown["placement"]) == ("1.0.0", "active", "cloud")
    assert (shown["document"], [one["version"] for one in shown["versions"]]) == (rule, ["1.0.0"])
    items = api.get("/rules", params={"limit": 500}).json()["items"]
    assert [one["version"] for one in items if one["id"] == rule["id"]] == ["1.0.0"]


def test_every_fault_is_told_with_its_path(api, rule):
    wrong = rule | {"cooldown": "soon", "when": {"propertyrange": {}}, "do": [{"command": {}}, {"dance": {}}]}

    found = faults(put(api, wrong))

    assert {"document.cooldown", "document.when.propertyrange", "document.do[0].command.type"} <= found.keys()
    assert found["document.do[1].dance"] == "is not known here"
    validated = api.post("/rules/validate", json={"document": wrong}).json()
    assert (validated["valid"], {one["path"] for one in validated["errors"]}) == (False, found.keys())
    assert api.get(f"/rules/{rule['id']}").status_code == 404


@pytest.mark.parametrize(
    ("changes", "path", "reason"),
    [
        ({"id": "another"}, "document.id", "must be"),
        ({"id": "schema"}, "document.id", "must not be one of"),
        ({"engine": 99}, "document.engine", "needs engine 99"),
        ({"devices": {"group": "nobody"}}, "document.devices.group", "there is no group nobody"),
        ({"do": [{"publish": {"topic": "a", "payload": 1}}]}, "document.do[0].publish", "placement: edge"),
        ({"cases": [{"name": "cold", "events": [{"at": 0, "data": {"temperature": 1}}], "fires": [{"at": 0}]}]},
         "document.cases", "cold: does not fire at 0s"),
    ],
)  # fmt: skip
def test_what_could_not_work_is_refused_at_deploy(api, rule, changes, path, reason):
    answer = api.put(f"/rules/{rule['id']}", json={"document": rule | changes})

    assert reason in faults(answer)[path]


def test_a_version_never_changes_and_one_goes_back_to_it(api, rule):
    put(api, rule)
    other = rule | {"do": [{"log": {"message": "hot"}}]}

    assert "raise it" in faults(put(api, other))["document.version"]
    second = put(api, other | {"version": "1.1.0"}, If_Match='"1"')
    stale = put(api, rule, If_Match='"1"')
    shadow = api.post(f"/rules/{rule['id']}/activate", json={"version": "1.0.0", "mode": "shadow"})
    missing = api.post(f"/rules/{rule['id']}/activate", json={"version": "9.0.0"})

    assert (second.status_code, second.headers["ETag"], stale.status_code) == (200, '"2"', 412)
    assert (shadow.json()["version"], shadow.json()["mode"], shadow.headers["ETag"]) == ("1.0.0", "shadow", '"3"')
    assert missing.status_code == 404
    assert api.get(f"/rules/{rule['id']}", params={"version": "1.1.0"}).json()["document"]["do"] == other["do"]
    assert api.delete(f"/rules/{rule['id']}").status_code == 204
    assert api.get(f"/rules/{rule['id']}").status_code == 404


def test_who_writes_the_same_actuator_is_named(api, rule):
    put(api, rule)
    same = rule | {"id": f"rule-{next(numbers)}"}
    apart = same | {"do": [{"command": {"type": "heating"}}, COOL | {"command": {**COOL["command"], "type": "dim"}}]}

    warned = [one for one in put(api, same).json()["warnings"] if one["rule"] == rule["id"]]

    assert [(one["path"], one["reason"]) for one in warned] == [
        ("document.do[0].command", f"rule {rule['id']} writes it too: command cooling")
    ]
    validated = api.post("/rules/validate", json={"document": apart}).json()
    assert (validated["valid"], validated["warnings"]) == (True, [])


def test_the_schema_takes_what_is_taken(api, rule):
    schema = api.get("/rules/schema").json()

    assert jsonschema_rs.is_valid(schema, rule)
    assert not jsonschema_rs.is_valid(schema, rule | {"do": []})


def test_a_rule_explains_what_it_makes_of_an_event(api, rule):
    put(api, rule)
    event = {"source": "dev-1", "data": {"temperature": 85}}

    deployed = api.post("/rules/explain", json={"rule": rule["id"], "event": event}).json()
    told = api.post("/rules/explain", json={"document": rule, "event": event | {"data": {"temperature": 1}}}).json()

    assert (deployed["fires"], deployed["reason"]) == (True, "it begins to hold")
    assert [(one["kind"], one["holds"]) for one in deployed["condition"]["parts"]] == [
        ("event_type", True), ("property_range", True),
    ]  # fmt: skip
    assert (told["fires"], told["condition"]["parts"][1]["values"]) == (False, {"temperature": 1})
    assert api.post("/rules/explain", json={"event": event}).status_code == 422


def test_a_viewer_may_read_and_not_deploy(served, api, rule):
    token = api.post("/tokens", json={"name": "viewer", "role": "viewer"})
    headers = {"Authorization": f"Bearer {token.json()['token']}"}

    assert api.get("/rules", headers=headers).status_code == 200
    assert api.put(f"/rules/{rule['id']}", json={"document": rule}, headers=headers).status_code == 403


def heard(served, gateway):
    """Take what waits for a gateway, as it would."""

    async def take(session):
        waiting = [one for one in await dispatch.waiting(session, lambda _: True) if one.gateway == gateway]
        for one in waiting:
            await dispatch.acknowledged(session, gateway, one.stream, one.number)
        return [json.loads(one.body) for one in waiting]

    return [one for one in served.within(take) if one["kind"] in ("rule", "rules")]


def say(served, gateway, kind, ts=AT, **data):
    word = Event(device=gateway, ts=ts, at=ts, type=kind, data=data)
    return served.within(lambda session: distribution.hear(session, gateway, word))


def at_gateway(api, rule, gateway):
    shown = api.get(f"/rules/{rule['id']}").json()
    return next((one for one in shown["gateways"] if one["gateway"] == gateway), None)


def test_gateways_are_told_their_rules_and_what_they_say_is_kept(served, api, rule, gateways):
    first, second = gateways
    edge = rule | {"placement": "edge"}
    put(api, edge)
    put(api, rule | {"id": f"rule-{next(numbers)}"})  # for the cloud alone
    served.within(distribution.distribute)
    unchanged = served.within(distribution.distribute)

    told, ids = heard(served, first)
    assert (told["id"], told["version"], told["mode"], told["document"]) == (rule["id"], "1.0.0", "active", edge)
    assert (ids, unchanged) == ({"kind": "rules", "ids": {rule["id"]: "1.0.0"}}, False)
    assert at_gateway(api, rule, first)["status"] == "sent"
    say(served, first, "rule.applied", rule=rule["id"], version="1.0.0", mode="active")
    fault = {"path": "do[0]", "reason": "is not known here"}
    say(served, second, "rule.refused", rule=rule["id"], version="1.0.0", faults=[fault], engine=0)
    say(served, second, "rule.applied", AT - 1, rule=rule["id"], version="1.0.0", mode="active")  # overtaken
    assert (at_gateway(api, rule, first)["status"], at_gateway(api, rule, first)["applied"]) == ("applied", "1.0.0")
    refused = at_gateway(api, rule, second)
    assert (refused["status"], refused["faults"], refused["engine"]) == ("refused", [fault], 0)

    api.delete(f"/rules/{rule['id']}")
    served.within(distribution.distribute)
    assert heard(served, first) == [{"kind": "rules", "ids": {}}]


def test_a_gateway_that_is_away_gets_the_newest_word_of_each_rule(served, api, rule, gateways):
    edge = rule | {"placement": "edge"}
    for version in ("1.0.0", "1.0.1", "1.0.2"):
        put(api, edge | {"version": version})
        served.within(distribution.distribute)
    put(api, edge | {"id": f"rule-{next(numbers)}"}, mode="shadow")
    served.within(distribution.distribute)

    told = heard(served, gateways[0])
    assert [(one["version"], one["mode"]) for one in told[:-1]] == [("1.0.2", "active"), ("1.0.0", "shadow")]
    assert len(told[-1]["ids"]) == 2

    served.within(lambda session: distribution.restore(session, gateways[0]))
    assert [one["kind"] for one in heard(served, gateways[0])] == ["rule", "rule", "rules"]


def test_a_rule_for_a_group_goes_where_its_devices_are(served, api, rule, gateways):
    group, device = f"group-{next(numbers)}", f"dev-{next(numbers)}"
    api.post("/groups", json={"id": group}).raise_for_status()
    api.post("/devices", json={"id": device, "site": "default"}).raise_for_status()
    put(api, rule | {"placement": "edge", "devices": {"group": group}}).raise_for_status()
    served.within(distribution.distribute)
    nobody = [heard(served, gateway) for gateway in gateways]

    api.put(f"/groups/{group}/devices/{device}").raise_for_status()
    served.within(distribution.distribute)

    assert nobody == [[], []]
    told = [one["devices"] for one in heard(served, gateways[0]) if one["kind"] == "rule"]
    assert (told, heard(served, gateways[1])) == ([[device]], [])
