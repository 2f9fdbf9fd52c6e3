"""The audit log: every route that changes something leaves its row, in the change's own transaction. (A2, P8)

`CHANGES` has a row for each such route of the OpenAPI document; one without a row fails, and so does a row that is left
by nothing.
"""

import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text, update

from fieldloom_cli.identity import new_key_and_request
from fieldloom_cloud.alarms import service as alarms
from fieldloom_cloud.audit.keeper import DAY_MS, Keeper
from fieldloom_cloud.auth import service as auth
from fieldloom_cloud.discoveries import service as discoveries
from fieldloom_cloud.registry import service as registry
from fieldloom_cloud.trail import service as trail
from fieldloom_cloud.trail.models import AuditRow
from fieldloom_cloud.trail.origin import NOBODY, TOKEN, Origin
from fieldloom_cloud.trail.refusals import MAX_STRANGERS, Refusals
from fieldloom_runtime.records import Discovered
from fixtures.releases import release, zipped

READS = ("get", "head", "options")
QUESTIONS = {  # change nothing
    *(("POST", f"/api/v1/rules/{verb}") for verb in ("validate", "explain", "backtest")),
    ("POST", "/api/v1/workflows/validate"),
    ("POST", "/api/v1/workflows/{workflow_id}/check"),
}
NDJSON = {"Content-Type": "application/x-ndjson"}
ZIP = {"Content-Type": "application/zip"}


def rows(api, **asked):
    answer = api.get("/audit", params=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()["items"]


def verified(api):
    return api.get("/audit/verification").json()


def device(api, device_id, **fields):
    api.post("/devices", json={"id": device_id, "site": "default", **fields}).raise_for_status()
    return device_id


def group(api, name):
    api.post("/groups", json={"id": name}).raise_for_status()
    return name


def certificate(api, name):
    made = api.post("/certificates", json={"csr": new_key_and_request(device(api, name))[1].decode()})
    return made.json()["serial"]


def found(served, name):
    heard = [Discovered(name, 1, 1, adapter="broker")]
    served.within(lambda session: discoveries.meet(session, "gw.audit", heard))
    return name


def alarm(served, api, name):
    """An alarm of a new device."""
    word = {"alarm": "overheat", "effect": "e1", "raised_at": 1_790_000_000_000}
    device(api, name)
    served.within(lambda session: alarms.told(session, name, word))
    return api.get("/alarms", params={"device": name}).json()["items"][0]["id"]


def mute(api, name):
    wanted = {"device": device(api, name), "ends": "2099-01-01T00:00:00Z", "reason": "repair"}
    return api.post("/mutes", json=wanted)


def logged_in(served, call):
    """Answer of a call with a session of its own in place of the token."""
    client = served.client
    token = client.headers.pop("Authorization")
    secret, _ = served.within(lambda session: auth.add_login_link(session, "operator"))
    try:
        client.post("/session", json={"secret": secret}).raise_for_status()
        return call()
    finally:
        client.cookies.clear()
        client.headers["Authorization"] = token


def log_in(served, api):
    secret, _ = served.within(lambda session: auth.add_login_link(session, "operator"))
    answer = api.post("/session", json={"secret": secret})
    api.cookies.clear()
    return answer


RULE = {"id": "r-1", "when": {"event_type": "tick"}, "do": [{"log": {"message": "tick"}}]}
FLOW = {
    "id": "w-1",
    "initial_state": "wait",
    "states": {"wait": {"type": "wait", "event": {"type": "go", "any_source": True}}},
}
HOURLY = {"source": "t", "aggregate": "sum", "window": "1h", "target": "t_1h", "look_back": "1d"}
SAME = {"Sec-Fetch-Site": "same-origin"}


def act(served, api, verb, body, *, ended=False):
    """Do something with an instance that waits, or has ended."""
    id_ = api.post("/workflows/w-1/start", json={}).json()["id"]
    if ended:
        api.post(f"/instances/{id_}/terminate", json={"reason": "to begin again"})
    served.client.portal.call(served.app.state.workflows.go_on)
    return api.post(f"/instances/{id_}/{verb}", json=body)


# By route: what calls it, given the routes' client, and what its row is about: kind, object, subject.
CHANGES = {
    ("POST", "/devices"): (lambda s, a: a.post("/devices", json={"id": "a-1", "site": "default"}), "device a-1 "),
    ("POST", "/devices/import"): (
        lambda s, a: a.post("/devices/import", content='{"id": "a-2", "site": "default"}\n', headers=NDJSON),
        "device a-2 ",
    ),
    ("PATCH", "/devices/{device_id}"): (
        lambda s, a: a.patch(f"/devices/{device(a, 'a-3')}", json={"name": "North"}),
        "device a-3 ",
    ),
    ("DELETE", "/devices/{device_id}"): (lambda s, a: a.delete(f"/devices/{device(a, 'a-4')}"), "device a-4 "),
    ("PATCH", "/devices/{device_id}/twin"): (
        lambda s, a: a.patch(f"/devices/{device(a, 'a-5')}/twin", json={"desired": {"interval": 500}}),
        "twin a-5 ",
    ),
    ("POST", "/devices/{device_id}/commands"): (
        lambda s, a: a.post(f"/devices/{device(a, 'a-6')}/commands", json={"type": "read"}),
        "command * a-6",
    ),
    ("POST", "/devices/{device_id}/holds"): (
        lambda s, a: a.post(f"/devices/{device(a, 'a-21')}/holds", json={"type": "cooling", "reason": "a test"}),
        "command * a-21",
    ),
    ("DELETE", "/devices/{device_id}/holds/{actuator}"): (
        lambda s, a: a.delete(f"/devices/{device(a, 'a-22')}/holds/relay"),
        "hold relay a-22",
    ),
    ("POST", "/groups"): (lambda s, a: a.post("/groups", json={"id": "g-1"}), "group g-1 "),
    ("PATCH", "/groups/{group_id}"): (
        lambda s, a: a.patch(f"/groups/{group(a, 'g-2')}", json={"name": "North"}),
        "group g-2 ",
    ),
    ("DELETE", "/groups/{group_id}"): (lambda s, a: a.delete(f"/groups/{group(a, 'g-3')}"), "group g-3 "),
    ("POST", "/alarms/{alarm_id}/acknowledge"): (
        lambda s, a: a.post(f"/alarms/{alarm(s, a, 'l-1')}/acknowledge", json={}),
        "alarm * l-1",
    ),
    ("POST", "/alarms/{alarm_id}/clear"): (
        lambda s, a: a.post(f"/alarms/{alarm(s, a, 'l-2')}/clear", json={}),
        "alarm * l-2",
    ),
    ("POST", "/mutes"): (lambda s, a: mute(a, "l-3"), "mute * l-3"),
    ("DELETE", "/mutes/{mute_id}"): (
        lambda s, a: a.delete(f"/mutes/{mute(a, 'l-4').json()['id']}"),
        "mute * l-4",
    ),
    ("PUT", "/escalations/{escalation_id}"): (
        lambda s, a: a.put("/escalations/e-1", json={"after_s": 60, "recipient": "boss"}),
        "escalation e-1 ",
    ),
    ("DELETE", "/escalations/{escalation_id}"): (lambda s, a: a.delete("/escalations/e-1"), "escalation e-1 "),
    ("PUT", "/groups/{group_id}/devices/{device_id}"): (
        lambda s, a: a.put(f"/groups/{group(a, 'g-4')}/devices/{device(a, 'a-7')}"),
        "member g-4 a-7",
    ),
    ("DELETE", "/groups/{group_id}/devices/{device_id}"): (
        lambda s, a: a.delete("/groups/g-4/devices/a-7"),
        "member g-4 a-7",
    ),
    ("PATCH", "/groups/{group_id}/twin"): (
        lambda s, a: (
            a.put(f"/groups/{group(a, 'g-6')}/devices/{device(a, 'a-20')}"),
            a.patch("/groups/g-6/twin", json={"desired": {"interval": 500}}),
        )[1],
        "twin a-20 ",
    ),
    ("POST", "/groups/{group_id}/commands"): (
        lambda s, a: (
            a.put(f"/groups/{group(a, 'g-5')}/devices/{device(a, 'a-8')}"),
            a.post("/groups/g-5/commands", json={"type": "read"}),
        )[1],
        "command * a-8",
    ),
    ("PUT", "/types/{type_id}"): (lambda s, a: a.put("/types/t-1", json={}), "type t-1 "),
    ("DELETE", "/types/{type_id}"): (lambda s, a: a.delete("/types/t-1"), "type t-1 "),
    ("PUT", "/timeseries/rules/{rule_id}"): (
        lambda s, a: a.put("/timeseries/rules/t-1", json=HOURLY),
        "series_rule t-1 ",
    ),
    ("DELETE", "/timeseries/rules/{rule_id}"): (lambda s, a: a.delete("/timeseries/rules/t-1"), "series_rule t-1 "),
    ("PUT", "/timeseries/retention"): (
        lambda s, a: a.put("/timeseries/retention", json={"raw": "30d", "rolled": None}),
        "series_retention series ",
    ),
    ("PUT", "/rules/{rule_id}"): (lambda s, a: a.put("/rules/r-1", json={"document": RULE}), "rule r-1 "),
    ("POST", "/rules/{rule_id}/activate"): (
        lambda s, a: a.post("/rules/r-1/activate", json={"mode": "shadow"}),
        "rule r-1 ",
    ),
    ("DELETE", "/rules/{rule_id}"): (lambda s, a: a.delete("/rules/r-1"), "rule r-1 "),
    ("PUT", "/workflows/{workflow_id}"): (
        lambda s, a: a.put("/workflows/w-1", json={"document": FLOW}),
        "workflow w-1 ",
    ),
    ("POST", "/workflows/{workflow_id}/start"): (
        lambda s, a: a.post("/workflows/w-1/start", json={}),
        "instance * ",
    ),
    ("POST", "/instances/{instance_id}/signal"): (lambda s, a: act(s, a, "signal", {"type": "go"}), "instance * "),
    ("POST", "/instances/{instance_id}/terminate"): (
        lambda s, a: act(s, a, "terminate", {"reason": "a test"}),
        "instance * ",
    ),
    ("POST", "/instances/{instance_id}/retry"): (
        lambda s, a: act(s, a, "retry", {"state": "wait"}, ended=True),
        "instance * ",
    ),
    ("DELETE", "/workflows/{workflow_id}"): (lambda s, a: a.delete("/workflows/w-1"), "workflow w-1 "),
    ("POST", "/sites"): (lambda s, a: a.post("/sites", json={"id": "s-1"}), "site s-1 "),
    ("PATCH", "/sites/{site_id}"): (lambda s, a: a.patch("/sites/s-1", json={"automatic_entry": True}), "site s-1 "),
    ("POST", "/gateways"): (
        lambda s, a: a.post("/gateways", json={"id": "gw.audit", "site": "default"}),
        "gateway gw.audit ",
    ),
    ("POST", "/discoveries/{device_id}/approve"): (
        lambda s, a: a.post(f"/discoveries/{found(s, 'f-1')}/approve"),
        "device f-1 ",
    ),
    ("POST", "/discoveries/{device_id}/dismiss"): (
        lambda s, a: a.post(f"/discoveries/{found(s, 'f-2')}/dismiss"),
        "discovery f-2 f-2",
    ),
    ("POST", "/certificates"): (
        lambda s, a: a.post("/certificates", json={"csr": new_key_and_request(device(a, "a-9"))[1].decode()}),
        "certificate * a-9",
    ),
    ("POST", "/certificates/{serial}/revoke"): (
        lambda s, a: a.post(f"/certificates/{certificate(a, 'a-10')}/revoke", json={}),
        "certificate * a-10",
    ),
    ("POST", "/claims"): (lambda s, a: a.post("/claims", json={"id": device(a, "a-11")}), "claim a-11 "),
    ("POST", "/credentials"): (
        lambda s, a: a.post("/credentials", json={"device": device(a, "a-12"), "kind": "http"}),
        "credential * a-12",
    ),
    ("POST", "/credentials/{credential_id}/revoke"): (
        lambda s, a: a.post(
            f"/credentials/{a.get('/credentials', params={'device': 'a-12'}).json()['items'][0]['id']}/revoke", json={}
        ),
        "credential * a-12",
    ),
    ("POST", "/releases"): (
        lambda s, a: a.post("/releases", content=zipped(release("1.0.1", files={"main.py": b""})), headers=ZIP),
        "release esp32-generic-1.0.1 ",
    ),
    ("DELETE", "/releases/{release_id}"): (
        lambda s, a: a.delete("/releases/esp32-generic-1.0.1"),
        "release esp32-generic-1.0.1 ",
    ),
    ("POST", "/tokens"): (lambda s, a: a.post("/tokens", json={"name": "made"}), "token * "),
    ("DELETE", "/tokens/{token_id}"): (
        lambda s, a: a.delete(f"/tokens/{a.post('/tokens', json={'name': 'gone'}).json()['id']}"),
        "token * ",
    ),
    ("POST", "/login-links"): (lambda s, a: a.post("/login-links", json={}), "login_link  "),
    ("POST", "/session"): (log_in, "session * "),
    ("DELETE", "/session"): (
        lambda s, a: logged_in(s, lambda: a.delete("/session", headers=SAME)),
        "session * ",
    ),
}


@pytest.fixture(autouse=True)
def some_rows(api):
    """A log that holds something, whichever tests came before."""
    for number in range(verified(api)["newest"] or 0, 20):
        device(api, f"row-{number}")


def test_every_route_that_changes_something_is_in_the_table(served):
    described = served.app.openapi()["paths"]

    changing = {(method.upper(), path) for path in described for method in described[path] if method not in READS}
    assert changing - QUESTIONS == {(method, f"/api/v1{path}") for method, path in CHANGES}


def test_each_change_leaves_its_row(served, api):
    """One test, since some changes need those before them."""
    for (method, path), (call, about) in CHANGES.items():
        named = served.app.openapi()["paths"][f"/api/v1{path}"][method.lower()]["operationId"]

        answer = call(served, api)

        assert answer.is_success, f"{method} {path}: {answer.text}"
        found = rows(api, action=named, limit=1)
        assert found, f"{method} {path} has left no row"
        row = found[0]
        assert (row["method"], row["route"], row["outcome"], row["count"]) == (method, f"/api/v1{path}", "done", 1)
        assert re.fullmatch(about.replace("*", "[0-9a-z.-]+"), f"{row['kind']} {row['object']} {row['subject']}")
        by_person = path == "/session"
        assert row["actor"]["kind"] == ("session" if by_person else "token")
        assert row["actor"]["name"] == ("" if by_person else "test")
        assert row["actor"]["id"]


def keep(served, days=1):
    return Keeper(served.database, served.app.state.refusals, days)


def test_a_row_tells_the_fields_that_are_otherwise_and_no_secret(served, api):
    device(api, "told-1", name="North", tags={"floor": "1"})
    api.patch("/devices/told-1", json={"name": "North", "tags": {"floor": "2"}}).raise_for_status()
    wifi = {"ssid": "barn", "key": "hunter22", "more": [{"api_token": "hunter22"}]}
    api.post("/devices/told-1/commands", json={"type": "set_network", "parameters": {"wifi": wifi}}).raise_for_status()
    issued = api.post("/credentials", json={"device": "told-1", "kind": "http"}).json()

    credential, command, changed, made = rows(api, object="told-1")
    assert (made["before"], made["after"]["name"], made["after"]["tags"]) == (None, "North", {"floor": "1"})
    assert (changed["before"], changed["after"]) == ({"tags": {"floor": "1"}}, {"tags": {"floor": "2"}})
    hidden = {"ssid": "barn", "key": "***", "more": [{"api_token": "***"}]}
    assert command["after"]["parameters"] == {"wifi": hidden}
    assert credential["object"] == issued["id"]
    assert issued["secret"] not in str(rows(api, limit=500))


def test_what_is_undone_leaves_no_row_and_what_is_refused_is_counted(served, api):
    device(api, "odd-1")
    for _ in range(3):
        refused = api.delete("/devices/odd-1", headers={"If-Match": '"7"'})
        api.get("/devices/nobody")  # which would change nothing
    served.client.portal.call(keep(served).write)

    assert refused.status_code == 412
    row, made = rows(api, object="odd-1")
    assert (made["action"], row["action"], row["outcome"], row["status"]) == (
        "add_device",
        "remove_device",
        "refused",
        412,
    )
    assert (row["count"], row["reason"]) == (3, "device odd-1 is at version 1, not 7")
    assert (row["actor"]["name"], row["before"], row["after"]) == ("test", None, None)


def test_an_attacker_leaves_a_row_a_minute_and_is_counted(served, api):
    token = api.headers.pop("Authorization")
    try:
        for number in range(20):
            assert api.post("/devices", json={"id": f"evil-{number}"}).status_code == 401
            assert api.get("/tokens", headers={"Authorization": f"Bearer fl_{number}"}).status_code == 401
    finally:
        api.headers["Authorization"] = token
    viewer = api.post("/tokens", json={"name": "watches", "role": "viewer"}).json()["token"]
    for _ in range(2):
        assert api.get("/audit", headers={"Authorization": f"Bearer {viewer}"}).status_code == 403
    before = rows(api, limit=1)[0]["number"]
    served.client.portal.call(keep(served).write)

    forbidden, unknown = rows(api, limit=2)
    assert unknown["number"] == before + 1
    assert (unknown["actor"]["kind"], unknown["address"], unknown["count"]) == ("nobody", "testclient", 40)
    assert (forbidden["actor"]["name"], forbidden["count"], forbidden["status"]) == ("watches", 2, 403)
    assert served.app.state.refusals.counts[401] >= 40


def test_an_attacker_with_many_addresses_is_counted_together():
    refusals = Refusals()
    for number in range(10_000):
        refusals.add(Origin(NOBODY, address=f"192.0.2.{number}"), f"object-{number}", 401, "no token")

    refusals.add(Origin(TOKEN, "known", action="remove_device"), "pump-7", 403, "no role")

    *strangers, known = refusals.take()

    assert len(strangers) == MAX_STRANGERS + 1
    assert sum(one.times for one in strangers) == 10_000
    assert (known.origin.actor, known.object, known.times) == ("known", "pump-7", 1)
    assert refusals.take() == []


def test_a_strangers_words_are_kept_as_every_store_can_keep_them(served, api):
    odd = "\udcff\0" + "x" * 1000
    served.app.state.refusals.add(Origin(NOBODY, address=odd), odd, 401, odd)

    served.client.portal.call(keep(served).write)

    row = rows(api, limit=1)[0]
    assert [len(row[name]) for name in ("address", "object", "reason")] == [64, 200, 500]


def test_rows_come_by_filters_and_in_pages(served, api):
    begun = rows(api, limit=1)[0]["number"]
    for number in range(5):
        device(api, f"page-{number}")
    one = rows(api, object="page-2")[0]

    first = api.get("/audit", params={"limit": 3, "action": "add_device"}).json()
    second = api.get("/audit", params={"limit": 2, "action": "add_device", "cursor": first["next"]}).json()

    assert [row["object"] for page in (first, second) for row in page["items"]] == [
        f"page-{n}" for n in (4, 3, 2, 1, 0)
    ]
    assert [row["number"] for row in rows(api, limit=5)] == [begun + n for n in (5, 4, 3, 2, 1)]
    assert rows(api, actor="test", limit=1)[0]["object"] == "page-4"
    assert rows(api, actor=one["actor"]["id"], limit=1)[0]["object"] == "page-4"
    assert rows(api, actor="nobody else") == []
    assert one in rows(api, **{"from": one["at"]})
    assert one not in rows(api, to=one["at"], limit=500)
    assert api.get("/audit", params={"actor": "\0"}).status_code == 422


def test_what_a_gateway_brings_about_is_the_gateways(served, api):
    api.post("/sites", json={"id": "opened"}).raise_for_status()
    api.patch("/sites/opened", json={"automatic_entry": True}).raise_for_status()
    served.within(lambda session: registry.add_gateway(session, "gw.opened", "opened"))
    heard = [Discovered("entered-1", 1, 1, adapter="broker")]
    served.within(lambda session: discoveries.meet(session, "gw.opened", heard))

    (entered,) = rows(api, object="entered-1")
    assert (entered["action"], entered["kind"]) == ("automatic_entry", "device")
    assert entered["actor"] == {"kind": "gateway", "id": "gw.opened", "name": ""}
    assert rows(api, object="gw.opened")[0]["actor"] == {"kind": "cloud", "id": "", "name": ""}


def test_changes_at_once_make_one_chain(served, api):
    for number in range(5):
        device(api, f"once-{number}")
    begun = rows(api, limit=1)[0]["number"]

    def patch(number):
        return api.patch(f"/devices/once-{number % 5}", json={"name": f"name {number}"}).status_code

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(patch, range(24))) == [200] * 24

    assert rows(api, limit=1)[0]["number"] == begun + 24
    told = verified(api)
    assert (told["newest"], told["next"], told["faults"]) == (begun + 24, None, [])


def spoil(served, statement, **values):
    """Do to the tables what no part of the cloud does, look at the log, and undo it; return its faults."""

    class Undo(Exception):  # noqa: N818 - it is none
        pass

    async def tried(session):
        await session.execute(statement, values)
        faults = (await trail.verify(session)).faults
        raise Undo(faults)

    with pytest.raises(Undo) as undone:
        served.within(tried)
    return undone.value.args[0]


def test_whatever_is_changed_in_a_row_shows(served, api):
    number = verified(api)["newest"] - 3
    changes = {"at": 1, "count": 7, "status": 200, "after": "{}", "before": "{}"}
    changes |= dict.fromkeys(trail._TEXTS, "other") | {"method": "GET", "outcome": "other", "reason": "other"}

    for name, value in (changes | {"sha256": "0" * 64}).items():
        faults = spoil(served, update(AuditRow).where(AuditRow.number == number).values({name: value}))
        assert faults[0] == f"row {number} is not what was written, or does not follow the row before it", name
    assert {*changes, "number"} == set(trail._HASHED)


def test_whatever_is_removed_shows(served, api):
    newest = verified(api)["newest"]
    remove = "DELETE FROM audit WHERE number BETWEEN :low AND :high"

    gone = {
        (5, 5): "row 5 is missing",
        (4, 9): "rows 4 to 9 are missing",
        (1, 2): "rows 1 to 2 are missing",
        (newest, newest): f"row {newest} is missing",
        (1, newest): f"rows 1 to {newest} are missing",
    }
    for (low, high), fault in gone.items():
        assert spoil(served, text(remove), low=low, high=high)[0] == fault
    assert verified(api)["faults"] == []


def test_a_log_is_verified_in_pieces(served, api, monkeypatch):
    monkeypatch.setattr(trail, "AT_ONCE", 7)
    newest = verified(api)["newest"]
    seen, after = [], 0
    while after is not None:
        told = api.get("/audit/verification", params={"after": after}).json()
        assert told["faults"] == []
        seen.append(after)
        after = told["next"]

    assert seen == list(range(0, newest, 7))
    assert api.get("/audit/verification", params={"after": newest + 7}).json()["faults"] == []


def test_what_is_too_old_is_forgotten_from_the_oldest_on_and_the_rest_stays_verified(served, api, monkeypatch):
    monkeypatch.setattr(trail, "AT_ONCE", 7)
    now = time.time_ns() // 1_000_000
    newest = verified(api)["newest"]
    served.client.portal.call(keep(served).forget, now)
    untouched = verified(api)

    at = rows(api, limit=1)[0]["at"]
    before = [row["number"] for row in rows(api, to=at, limit=500)]
    kept = min(row["number"] for row in rows(api, **{"from": at}))
    moment = served.within(lambda session: _at(session, kept))
    served.client.portal.call(keep(served).forget, moment + DAY_MS)

    assert untouched["first"] == 1
    assert before
    told = verified(api)
    assert (told["first"], told["newest"]) == (kept, newest)
    assert min(row["number"] for row in rows(api, limit=500)) == kept
    served.client.portal.call(keep(served).forget, now + 9 * DAY_MS)
    assert rows(api) == []
    assert verified(api)["faults"] == []
    device(api, "after-all")
    assert (rows(api)[0]["number"], verified(api)["faults"]) == (newest + 1, [])


async def _at(session, number):
    return (await session.get(AuditRow, number)).at
