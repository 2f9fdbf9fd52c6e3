"""Alarms: one at a time, in whatever order their events come; acknowledged, muted, escalated. (E7, E8, A1)"""

import itertools
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.registry.conftest import told
from fieldloom_cloud.alarms import escalation, service
from fieldloom_cloud.automation import effects
from fieldloom_cloud.database import from_ms
from fieldloom_engine.alarms import SEVERITIES, Mark, episodes

START = 1_790_000_000_000
numbers = itertools.count(1)


@pytest.fixture
def device(api):
    name = f"alarmed-{next(numbers)}"
    assert api.post("/devices", json={"id": name, "site": "default", "type": "pump"}).status_code == 201
    return name


@pytest.fixture
def hear(served, device):
    """Take in an event of the device's alarm `overheat`, and return what is wrong with it."""

    def heard(effect, **word):
        data = {"alarm": "overheat", "effect": effect, "severity": "major", "rule": "hot", **word}
        return served.within(lambda session: service.told(session, device, data))

    return heard


def alarms(api, device, **params):
    items = api.get("/alarms", params={"device": device, "limit": 500, **params}).json()["items"]
    return sorted(items, key=lambda one: one["raised_at"])


def history(api, alarm):
    return [change["what"] for change in api.get(f"/alarms/{alarm['id']}").json()["history"]]


def test_an_alarm_is_there_once_while_it_is_active_and_again_after_it(api, device, hear):
    hear("e1", raised_at=START, message="81 degrees")
    hear("e1", raised_at=START, message="81 degrees")
    hear("e2", raised_at=START + 1000, severity="critical")
    (one,) = alarms(api, device)
    assert (one["name"], one["rule"], one["state"], one["severity"]) == ("overheat", "hot", "active", "critical")
    assert (one["count"], one["message"], one["cleared_at"]) == (2, "81 degrees", None)

    hear("e3", cleared_at=START + 2000)
    hear("e4", raised_at=START + 3000)
    first, second = alarms(api, device)
    assert (first["id"], first["state"], first["cleared_at"]) == (one["id"], "cleared", "2026-09-21T14:13:22.000Z")
    assert (second["state"], second["raised_at"]) == ("active", "2026-09-21T14:13:23.000Z")
    assert history(api, first) == ["raised", "cleared"]


def test_what_comes_late_amends_or_withdraws(api, device, hear):
    hear("e2", raised_at=START + 5000)
    (known,) = alarms(api, device)
    hear("e1", raised_at=START)
    (earlier,) = alarms(api, device)
    hear("e0", cleared_at=START + 1000)
    parted = alarms(api, device)
    hear("w2", withdrawn="e2")
    left = alarms(api, device, state=["active", "acknowledged", "cleared"])
    hear("e9", withdrawn="e8")  # before what it takes back
    hear("e8", raised_at=START + 9000)

    assert (earlier["id"], earlier["raised_at"]) == (known["id"], "2026-09-21T14:13:20.000Z")
    assert [(one["state"], one["cleared_at"] is None) for one in parted] == [("cleared", False), ("active", True)]
    assert [one["raised_at"] for one in left] == ["2026-09-21T14:13:20.000Z"]
    assert len(alarms(api, device)) == 2
    assert "amended" in history(api, known)
    (gone,) = alarms(api, device, state="withdrawn")
    assert history(api, gone)[-1] == "withdrawn"
    assert api.post(f"/alarms/{gone['id']}/acknowledge", json={}).status_code == 409


WORDS = st.lists(st.tuples(st.integers(0, 12), st.sampled_from(["raised_at", "cleared_at"])), max_size=8)


@settings(max_examples=60, deadline=None)
@given(words=WORDS, withdrawn=st.sets(st.integers(0, 7)), order=st.randoms(use_true_random=False))
def test_in_whatever_order_they_come_the_end_is_the_same(served, api, words, withdrawn, order):
    device = f"shuffled-{next(numbers)}"
    sent = [(f"e{number}", {kind: START + at}) for number, (at, kind) in enumerate(words)]
    sent += [(f"w{number}", {"withdrawn": f"e{number}"}) for number in withdrawn]
    order.shuffle(sent)

    async def take_in(session):
        for effect, word in sent:
            assert await service.told(session, device, {"alarm": "a", "effect": effect, **word}) is None

    served.within(take_in)

    marks = [
        Mark(START + at, f"e{number}", kind == "raised_at", severity="warning")
        for number, (at, kind) in enumerate(words)
    ]
    true = episodes(mark for number, mark in enumerate(marks) if number not in withdrawn)
    found = alarms(api, device, state=["active", "acknowledged", "cleared"])
    shown = [(one["raised_at"], one["cleared_at"], one["count"]) for one in found]
    assert sorted(shown, key=str) == sorted(
        (
            (from_ms(one.raised_at), None if one.cleared_at is None else from_ms(one.cleared_at), len(one.effects))
            for one in true
        ),
        key=str,
    )


def test_somebody_acknowledges_it_and_it_may_be_ended_by_hand(api, device, hear):
    hear("e1", raised_at=START)
    (one,) = alarms(api, device)

    seen = api.post(f"/alarms/{one['id']}/acknowledge", json={"note": "on my way"}).json()
    again = api.post(f"/alarms/{one['id']}/acknowledge", json={"note": "me too"}).json()
    ended = api.post(f"/alarms/{one['id']}/clear", json={"note": "mended"}).json()

    assert (seen["state"], again["history"], ended["state"]) == ("acknowledged", seen["history"], "cleared")
    assert [(change["what"], change["note"]) for change in ended["history"]] == [
        ("raised", ""),
        ("acknowledged", "on my way"),
        ("by hand", "mended"),
        ("cleared", ""),
    ]
    assert all(change["by"] for change in ended["history"][1:3])
    assert api.post(f"/alarms/{one['id']}/clear", json={}).status_code == 409
    assert api.post("/alarms/2147483647/acknowledge", json={}).status_code == 404
    hear("e2", raised_at=START + 1)  # that was before
    hear("e3", raised_at=time.time_ns() // 1_000_000 + 60_000)
    assert [one["state"] for one in alarms(api, device)] == ["cleared", "active"]


def test_what_a_mute_covers_is_recorded_and_marked(api, device, hear):
    api.post("/groups", json={"id": f"g-{device}", "query": {"id": device}})
    ends = "2099-01-01T00:00:00Z"
    told_of = {"device": device}, {"site": "default"}, {"group": f"g-{device}"}
    for at, target in enumerate(told_of):
        mute = api.post("/mutes", json={**target, "ends": ends, "reason": "painting"})
        assert mute.status_code == 201, mute.text
        hear(f"e{at}", raised_at=START + 10 * at)
        hear(f"c{at}", cleared_at=START + 10 * at + 1)
        assert mute.json()["id"] in [one["id"] for one in api.get("/mutes").json()["items"]]
        assert api.delete(f"/mutes/{mute.json()['id']}").status_code == 204
        assert api.delete(f"/mutes/{mute.json()['id']}").status_code == 404
    hear("e9", raised_at=START + 90)

    assert [one["muted"] for one in alarms(api, device)] == [True, True, True, False]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"ends": "2099-01-01T00:00:00Z", "reason": "x"}, "device"),
        ({"device": "a", "site": "default", "ends": "2099-01-01T00:00:00Z", "reason": "x"}, "device"),
        ({"site": "default", "ends": "2001-01-01T00:00:00Z", "reason": "x"}, "ends"),
        ({"site": "default", "ends": "2099-01-01T00:00:00Z", "reason": ""}, "reason"),
    ],
)
def test_a_mute_that_makes_no_sense_names_its_fault(api, body, path):
    answer = api.post("/mutes", json=body)

    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, path)
    assert (
        api.post("/mutes", json={"site": "nowhere", "ends": "2099-01-01T00:00:00Z", "reason": "x"}).status_code == 404
    )


def test_what_nobody_acknowledges_escalates_once_and_what_is_muted_waits(served, api, device, hear):
    body = {"after_s": 60, "severity": "major", "raise_to": "critical", "recipient": "boss"}
    group = f"g-{device}"
    api.post("/groups", json={"id": group, "query": {"id": device}})
    assert api.put(f"/escalations/{group}", json={**body, "group": group}).status_code == 200
    hear("e1", raised_at=START)
    (one,) = alarms(api, device)

    def escalate(after_s):
        at = time.time_ns() // 1_000_000 + after_s * 1000
        served.within(lambda session: escalation.escalate(session, at, effects.notify))
        return alarms(api, device)[0]["severity"]

    assert escalate(50) == "major"
    mute = api.post("/mutes", json={"device": device, "ends": "2099-01-01T00:00:00Z", "reason": "x"}).json()
    assert escalate(70) == "major"
    api.delete(f"/mutes/{mute['id']}")
    assert [escalate(70), escalate(700)] == ["critical", "critical"]
    hear("e2", raised_at=START + 5)
    assert alarms(api, device)[0]["severity"] == "critical", "what it was raised to stays"

    assert history(api, one) == ["raised", "escalated"]
    (event,) = told(api, "alarm.escalated", 1, device=device)
    assert (event[1]["recipient"], event[1]["severity"], event[1]["id"]) == ("boss", "critical", one["id"])
    assert served.within(lambda session: effects.counts(session, group)) == {"waiting": 1}, "who is told"
    assert api.delete(f"/escalations/{group}").status_code == 204
    assert api.delete(f"/escalations/{group}").status_code == 404


def test_an_acknowledged_alarm_does_not_escalate(served, api, device, hear):
    api.put("/escalations/all", json={"after_s": 60, "raise_to": "critical"})
    hear("e1", raised_at=START)
    (one,) = alarms(api, device)
    api.post(f"/alarms/{one['id']}/acknowledge", json={})
    served.within(lambda session: escalation.escalate(session, time.time_ns() // 1_000_000 + 3_600_000, effects.notify))
    api.delete("/escalations/all")

    assert alarms(api, device)[0]["severity"] == "major"


def test_an_escalation_that_would_do_nothing_is_refused(api):
    answer = api.put("/escalations/idle", json={"after_s": 60})
    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (422, "raise_to")
    for wrong in ({"site": "nowhere"}, {"group": "nobody"}):
        assert api.put("/escalations/idle", json={"after_s": 60, "recipient": "x", **wrong}).status_code == 404
    assert "idle" not in [one["id"] for one in api.get("/escalations").json()["items"]]


def test_alarms_are_found_by_all_that_they_have(api, device, hear):
    hear("e1", raised_at=START, severity="minor")
    hear("e2", alarm="dry", raised_at=START + 1000)
    hear("e3", alarm="dry", cleared_at=START + 2000)

    def found(**params):
        return [one["name"] for one in alarms(api, device, **params)]

    assert found() == ["overheat", "dry"]
    assert found(name="dry") == found(state="cleared") == found(severity=["major", "critical"]) == ["dry"]
    assert found(site="default") == ["overheat", "dry"]
    assert found(site="other") == []
    assert found(raised_from="2026-09-21T14:13:21Z") == ["dry"]
    assert found(raised_to="2026-09-21T14:13:21Z") == ["overheat"]
    page = api.get("/alarms", params={"device": device, "limit": 1}).json()
    rest = api.get("/alarms", params={"device": device, "limit": 1, "cursor": page["next"]}).json()
    assert [page["items"][0]["name"], rest["items"][0]["name"], rest["next"]] == ["dry", "overheat", None]
    assert api.get("/alarms/counts").json()["minor"] >= 1


@pytest.mark.parametrize(
    ("word", "fault"),
    [
        ({"raised_at": START, "cleared_at": START}, "must have one of"),
        ({}, "must have one of"),
        ({"raised_at": "now"}, "raised_at"),
        ({"raised_at": START, "severity": "awful"}, "severity"),
        ({"raised_at": START, "alarm": ""}, "alarm"),
    ],
)
def test_an_event_that_can_not_be_used_says_why(hear, word, fault):
    assert fault in hear("e1", **word)


@given(st.permutations([Mark(at, f"e{at}", at % 3 != 2, severity=SEVERITIES[at % 5]) for at in range(7)]))
def test_episodes_do_not_depend_on_the_order(marks):
    assert episodes(marks) == episodes(sorted(marks))
