"""What starts workflows, with what, and what becomes of it while others are active. (W4, decision 4)"""

import json

import pytest

from fieldloom_engine.rules import Event
from fieldloom_engine.workflows import parse
from fieldloom_engine.workflows.model import OnSchedule
from fieldloom_engine.workflows.overlap import MAX_QUEUED, Decision, decide
from fieldloom_engine.workflows.topics import matching
from fieldloom_engine.workflows.triggers import Start, Triggers, by_request, by_schedule

NOW = 1_767_225_600_000  # 2026-01-01T00:00:00Z
VARIABLES = [
    {"name": "device_id", "type": "string"},
    {"name": "temperature", "type": "number"},
    {"name": "level", "type": "integer", "default": 3},
    {"name": "order", "type": "string"},
]
HOT = {"event": {"type": "hot"}, "condition": {"property_range": {"property": "temperature", "min": 80}}}


def workflow(*triggers, id_="w", **others):
    states = {"a": {"type": "succeed"}}
    told = {"id": id_, "initial_state": "a", "states": states, "variables": VARIABLES, "triggers": [*triggers]}
    return parse(told | others)


def event(type_="hot", data=None, source="pump-1", ts=NOW, id_="e1", **metadata):
    return Event(id_, type_, source, ts, {"temperature": 81.5} if data is None else data, metadata)


def started(triggers, *events):
    return [one for told in events for one in triggers.by_event(told, NOW)]


def test_an_event_fills_what_is_declared_by_name_and_type_and_never_the_device():
    data = {"temperature": 81.5, "level": "low", "device_id": "pump-9", "event": 1, "humidity": 40}

    (start,) = started(Triggers([workflow(HOT)]), event(data=data))

    assert start.variables == {
        "device_id": "pump-1",
        "temperature": 81.5,
        "event": {"id": "e1", "type": "hot", "source": "pump-1", "ts": NOW, "data": data, "metadata": {}},
    }
    assert start.correlation == "pump-1"


def test_a_trigger_sets_variables_of_its_own_and_a_key():
    trigger = {
        "event": {"type": "order"},
        "variables": {"order": "{{ event.data.number }}/{{ device_id }}", "level": "{{ event.data.level }}"},
        "correlation": "{{ order }}",
    }
    triggers = Triggers([workflow(trigger)])

    (start,) = started(triggers, event("order", {"number": 7, "level": 2}))
    (typed, unknown) = started(triggers, event("order", {"number": 7, "level": "x"}), event("order", {"number": 7}))

    assert (start.variables["order"], start.variables["level"], start.correlation) == ("7/pump-1", 2, "7/pump-1")
    assert (typed.reason, unknown.reason) == ("level is no integer", "'level' is not known here")


def test_a_correlation_that_gives_no_text_starts_nothing():
    triggers = Triggers([workflow({"event": {"type": "order"}, "correlation": "{{ event.data.order }}"})])

    told = started(triggers, *(event("order", {"order": one}) for one in (7, None, {}, "", "x" * 257)))

    assert [isinstance(one, Start) and one.correlation for one in told] == ["7", False, False, False, False]
    assert "correlation gives no text" in told[1].reason


def test_an_event_starts_a_workflow_once_whoever_sees_it_however_often():
    both = workflow({"event": {"type": "hot"}, "variables": {"level": 1}}, HOT)

    (first,) = started(Triggers([both]), event())
    (again,) = started(Triggers([workflow(HOT, version="1.1.0")]), event())
    other, another = started(Triggers([both, workflow(HOT, id_="v")]), event(id_="e2"))

    assert first.variables["level"] == 1
    assert first.id == again.id
    assert len({first.id, other.id, another.id}) == 3


def test_conditions_hold_as_in_rules_and_the_unknown_starts_nothing():
    triggers = Triggers([workflow(HOT)])

    told = [event(data=data) for data in ({"temperature": 79}, {"humidity": 1}, {"temperature": "81"}, {})]

    assert started(triggers, *told, event("cold")) == []


def test_what_is_over_starts_nothing_unless_the_trigger_says_so():
    old = event(ts=NOW - 60_001)

    assert started(Triggers([workflow(HOT)]), old) == []
    assert len(started(Triggers([workflow(HOT)]), event(ts=NOW - 60_000))) == 1
    assert len(started(Triggers([workflow(HOT | {"late": "start"})]), old)) == 1


def test_a_device_that_changes_to_a_state_starts_it():
    gone = Triggers([workflow({"device_state": {"state": "offline", "device": "pump-1"}})])
    any_device = Triggers([workflow({"device_state": {"state": "offline"}}, devices={"type": "pump"})], of_type)

    events = [event("device.offline", {}, source) for source in ("pump-1", "pump-2", "fan-1")]

    assert [one.variables["device_id"] for one in started(gone, *events, event("device.online"))] == ["pump-1"]
    assert [one.correlation for one in started(any_device, *events)] == ["pump-1", "pump-2"]


def of_type(devices, source):
    return source.startswith(devices.type)


def test_a_message_starts_it_by_its_topic_and_names_no_device():
    triggers = Triggers([workflow({"message": {"topic": "site/+/alarm"}}, devices={"type": "pump"})])
    data = {"temperature": 1, "device_id": "pump-9"}

    (start,) = started(triggers, *(event("message", data, topic=one) for one in ("site/a/alarm", "site/a/b/alarm")))

    assert "device_id" not in start.variables
    assert (start.variables["temperature"], start.correlation) == (1, "w")


FILTERS = [
    ("a/b", ["a/b"], ["a", "a/b/c", "a/c", "A/b"]),
    ("a/+", ["a/b", "a/"], ["a", "a/b/c"]),
    ("a/#", ["a", "a/b", "a/b/c"], ["b", "ab"]),
    ("#", ["a", "a/b", "/"], ["$SYS/a"]),
    ("+/b", ["a/b", "/b"], ["$SYS/b"]),
    ("$SYS/#", ["$SYS/a"], ["a"]),
    ("+/+/c", ["a/b/c"], ["a/c"]),
]


@pytest.mark.parametrize(("told", "taken", "left"), FILTERS, ids=[told for told, _, _ in FILTERS])
def test_topic_filters_match_as_mqtt_says(told, taken, left):
    matches = matching(told)

    assert [one for one in taken + left if matches(one)] == taken


def test_a_schedule_starts_it_once_for_a_time():
    triggers = Triggers(
        [workflow(HOT, {"schedule": {"cron": "@daily"}, "variables": {"level": 5, "order": "{{ now | rfc3339 }}"}})]
    )
    (scheduled,) = triggers.schedules

    start, again, other = (by_schedule(scheduled, at) for at in (NOW, NOW, NOW + 1))

    assert scheduled.schedule == OnSchedule(cron="@daily")
    assert start == again
    assert start.id != other.id
    assert start.variables == {"level": 5, "order": "2026-01-01T00:00:00.000Z"}
    assert start.correlation == "w"


def test_who_asks_tells_declared_variables_and_the_device():
    told = workflow({"api": {}, "correlation": "{{ order }}", "overlap": "queue"})

    start = by_request(told, "i1", {"order": "o-7", "device_id": "pump-1"}, NOW)
    refused = [by_request(told, "i1", {name: 1}, NOW).reason for name in ("order", "other", "result", "event")]
    free = by_request(workflow(), "i1", {}, NOW)

    assert (start.id, start.correlation, start.trigger.overlap) == ("i1", "o-7", "queue")
    assert start.variables == {"order": "o-7", "device_id": "pump-1"}
    assert refused == ["order is no string", *(f"{one} is not declared" for one in ("other", "result", "event"))]
    assert free.correlation is None


def test_a_workflow_that_is_removed_or_changed_starts_by_its_old_triggers_no_more():
    before = Triggers([workflow(HOT), workflow({"schedule": {"cron": "@daily"}}, id_="v")])
    after = Triggers([workflow({"event": {"type": "cold"}})])

    assert before.types == {"hot"}
    assert (after.types, after.schedules, started(after, event())) == ({"cold"}, [], [])


def test_overlap_is_decided_by_policy():
    def decided(policy, active=(), queued=0):
        return decide(policy, active, queued)[:2]

    assert {decided(policy) for policy in ("allow", "skip", "queue", "replace")} == {("start", ())}
    assert decided("allow", ["i1"]) == ("start", ())
    assert decided("skip", ["i1"]) == ("skip", ())
    assert decided("replace", ["i1", "i2"]) == ("start", ("i1", "i2"))
    assert decided("queue", ["i1"]) == ("queue", ())
    assert decided("queue", [], 1) == ("queue", ())
    assert decide("queue", ["i1"], MAX_QUEUED) == Decision("skip", reason="100 starts wait already")


def test_what_starts_is_json():
    (start,) = started(Triggers([workflow(HOT)]), event(topic="a"))

    assert json.loads(json.dumps(start.variables))["event"]["metadata"] == {"topic": "a"}
