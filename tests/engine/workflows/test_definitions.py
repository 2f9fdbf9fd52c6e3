"""Workflows as they stand in files: what is well-formed is taken, each fault told with its path. (W1, W2, W3)"""

import copy

import jsonschema_rs
import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from engine.workflows import strategies
from fieldloom_engine.definitions import Fault, shown
from fieldloom_engine.workflows import InvalidWorkflow, parse, schema, warnings
from fieldloom_engine.workflows.model import Correlation, ErrorHandler, Retry, Transition, state_at
from fieldloom_runtime import definitions

SCHEMA = jsonschema_rs.validator_for(schema())
LOG = {"type": "task", "actions": [{"log": {"message": "here"}}]}
DONE = {"type": "succeed"}


def document(states, **others):
    return {"id": "w", "initial_state": next(iter(states)), "states": states, **others}


def faults(told, **others):
    with pytest.raises(InvalidWorkflow) as error:
        parse(told, **others)
    return {shown(fault.path): fault.reason for fault in error.value.faults}


@settings(max_examples=12, deadline=None)
@given(strategies.documents())
def test_what_is_well_formed_is_taken_and_goes_through_yaml_and_json(told):
    workflow = parse(told)

    assert workflow.document == told
    assert list(SCHEMA.iter_errors(told)) == []
    for format_ in ("yaml", "json"):
        assert parse(definitions.read(definitions.write(told, format_)).value) == workflow


def test_defaults_stand_where_a_file_says_nothing():
    states = {
        "a": LOG | {"retry": {"max_attempts": 3, "delay": "5s"}, "transitions": [{"target": "b"}]},
        "b": {"type": "wait", "event": {"type": "door.closed"}},
    }

    workflow = parse(document(states))

    assert (workflow.name, workflow.version, workflow.placement) == ("w", "1.0.0", "cloud")
    assert workflow.flow.states["a"].retry == Retry(max_attempts=3, delay=5000)
    assert workflow.flow.states["a"].transitions == (Transition(target="b"),)
    assert workflow.flow.states["b"].event.correlation == Correlation(value="{{ device_id }}")


def test_an_error_handler_ends_the_workflow_or_goes_on_at_a_state():
    states = {"a": LOG | {"transitions": [{"target": "b"}]}, "b": {"type": "fail"}}

    def handler(**told):
        return parse(document(states, error_handler=told)).error_handler

    assert handler() == ErrorHandler(ending="failed")
    assert handler(result_state="succeeded") == ErrorHandler(ending="succeeded")
    assert handler(result_state="b") == ErrorHandler(result_state="b")


def test_a_wait_ends_at_an_instant_however_it_is_written():
    for until in ("2026-12-24T18:00:00Z", "2026-12-24T19:00:00+01:00", 1_798_135_200_000):
        text = yaml.safe_dump(document({"a": {"type": "wait", "until": until}})).replace("'", "")
        workflow = parse(definitions.read(text).value)

        assert workflow.flow.states["a"].until == 1_798_135_200_000


def test_every_fault_is_told_at_once_with_its_path():
    branch = {"initial_state": "z", "states": {"q": LOG | {"transitions": [{"target": "q"}]}}}
    told = {
        "id": "Über",
        "version": "1.0",
        "triggers": [
            {"event": {"type": "a"}, "variables": {"device_id": "{{ event.data.id }}", "t": "{{ nothing }}"}},
            {"schedule": {"cron": "0 0 31 2 *", "timezone": "Europe/Bern", "missed": "twice"}},
            {"schedule": {"cron": "@daily"}, "condition": {"event_type": "a"}},
            {"message": {"topic": "site/#/a"}, "api": {}},
            {"message": {"topic": "site/a+"}, "correlation": "{{ cause }}"},
            {"message": {"topic": "fl/#"}},
        ],
        "variables": [
            {"name": "t", "type": "number", "default": "hot"},
            {"name": "t"},
            {"name": "result"},
            {"name": "device_id", "type": "number"},
            {"name": "in"},
        ],
        "initial_state": "start",
        "states": {
            "cool": {
                "type": "task",
                "actions": [{"command": {"typ": "x"}}, {"sms": {}}],
                "retry": {"max_attempts": 0, "delay": "1 minute", "jitter": 2},
                "assign": {"t": True, "unknown": 1, "device_id": "other"},
                "transitions": [{"target": "nowhere"}, {"target": "cool"}],
            },
            "both": {"type": "parallel", "branches": [branch]},
            "each": {"type": "map", "items": "t", "item_variable": "t", "iterator": branch},
            "b c": {"type": "wait", "for": "{{ now }"},
            "long": {"type": "wait", "for": "5m", "until": "{{ now }}"},
            "odd": {"type": "tusk"},
            "none": {},
            "ask": {"type": "choice", "transitions": []},
            "end": {"type": "succeed", "output": "{{ t * }}", "transitions": []},
        },
        "error_handler": {"action": {"log": {"message": "{% for a in b %}{% endfor %}"}}, "result_state": "nowhere"},
    }

    assert faults(told) == {
        "id": "String should match pattern '^[a-z0-9][a-z0-9_-]{0,63}$'",
        "version": r"String should match pattern '^\d{1,5}\.\d{1,5}\.\d{1,5}$'",
        "triggers[0].variables.device_id": "is the device as it was authenticated: no event names another",
        "triggers[0].variables.t": "template: 'nothing' is not known here: there are device_id, event, now",
        "triggers[1].schedule.cron": "is no time that ever comes: bad day-of-month",
        "triggers[1].schedule.timezone": "must be a time zone such as UTC or Europe/Berlin",
        "triggers[1].schedule.missed": "should be 'skip', 'once' or 'all'",
        "triggers[2]": "condition is over an event, and a schedule has none",
        "triggers[3].message.topic": "# stands alone, as the last level",
        "triggers[4].message.topic": "+ stands alone in its level",
        "triggers[5].message.topic": "must begin with site/: what devices send on their own topics are events",
        "triggers[4].correlation": "template: 'cause' is not known here: "
        "there are event, now, t, result, device_id, in",
        "variables[0].default": "is no number",
        "variables[1].name": "t is declared twice",
        "variables[2].name": "result is known without being declared",
        "variables[3].type": "device_id is of type string",
        "variables[4].name": "in means something else in a template",
        "initial_state": "there is no state start here: there are cool, both, each, b c, long, odd, none, ask, end",
        "states.cool.actions[0].command.type": "is missing",
        "states.cool.actions[0].command.typ": "is not known here",
        "states.cool.actions[1].sms": "is not known here",
        "states.cool.retry.max_attempts": "should be greater than or equal to 1",
        "states.cool.retry.delay": 'must be a duration such as "250ms", "5s", "10m", "2h", or a number of seconds',
        "states.cool.retry.jitter": "should be less than or equal to 1",
        "states.cool.assign.t": "is no number",
        "states.cool.assign.unknown": "is not declared under variables",
        "states.cool.assign.device_id": "can't be set",
        "states.cool.transitions[0].target": "there is no state nowhere here: "
        "there are cool, both, each, b c, long, odd, none, ask, end",
        "states.cool.transitions[1]": "is never taken: one before it has no condition",
        "states.cool.transitions[1].target": "leads round without a wait: cool → cool",
        "states.both.branches[0].initial_state": "there is no state z here: there are q",
        "states.both.branches[0].states.q.transitions[0].target": "leads round without a wait: q → q",
        "states.each.iterator.initial_state": "there is no state z here: there are q",
        "states.each.iterator.states.q.transitions[0].target": "leads round without a wait: q → q",
        "states.each.item_variable": "t means something else already",
        "states.each.items": "t is no array",
        "states.b c": "String should match pattern '^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$'",
        "states.long": "must have exactly one of for, until, event",
        "states.b c.for": "template: unexpected '}'",
        "states.odd": "type should be one of 'task', 'choice', 'parallel', 'map', 'wait', 'succeed', 'fail'",
        "states.none": "needs type",
        "states.ask.transitions": "List should have at least 1 item after validation, not 0",
        "states.end.transitions": "is not known here",
        "states.end.output": "template: unexpected 'end of print statement'",
        "error_handler.result_state": "there is no state nowhere: it is one of "
        "cool, both, each, b c, long, odd, none, ask, end, succeeded, failed",
        "error_handler.action.log.message": "template: for is not allowed in a template",
    }


def flows(flow, path=()):
    """Return each flow of a document with its path."""
    yield path, flow
    for name, state in flow["states"].items():
        for at, branch in enumerate(state.get("branches", [])):
            yield from flows(branch, (*path, "states", name, "branches", at))
        if "iterator" in state:
            yield from flows(state["iterator"], (*path, "states", name, "iterator"))


MUTATIONS = {
    "type": ({"type": "tusk"}, (), "type should be one of"),
    "key": ({"shape": "round"}, ("shape",), "is not known here"),
    "template": ({"assign": {"n": "{{ n + }}"}}, ("assign", "n"), "template: "),
    "variable": ({"assign": {"unheard": 1}}, ("assign", "unheard"), "is not declared"),
    "value": ({"assign": {"rounds": 1.5}}, ("assign", "rounds"), "is no integer"),
    "action": ({"actions": [{"log": {"message": "a"}}, {"sms": {}}]}, ("actions", 1, "sms"), "is not known here"),
    "retry": ({"retry": {"max_attempts": 2, "delay": "1m", "max_delay": "1s"}}, ("retry",), "max_delay is below"),
    "timeout": ({"timeout": "soon"}, ("timeout",), "must be a duration"),
    "target": ({"transitions": [{"target": "nowhere"}]}, ("transitions", 0, "target"), "there is no state nowhere"),
    "circle": (
        {"type": "choice", "transitions": [{"target": "s0"}]},
        ("transitions", 0, "target"),
        "leads round without a wait: s0 → s0",
    ),
}


@settings(max_examples=25, deadline=None)
@given(strategies.documents(), st.data())
def test_whatever_is_wrong_is_told_with_its_path(told, data):
    told = copy.deepcopy(told)
    path, flow = data.draw(st.sampled_from(list(flows(told))))
    change, where, reason = MUTATIONS[data.draw(st.sampled_from(list(MUTATIONS)))]
    name = "s0" if "s0" in reason else data.draw(st.sampled_from(list(flow["states"])))
    type_ = flow["states"][name]["type"]
    assume(type_ not in {"succeed", "fail"} or where == () or where[0] in {"shape", "assign", "actions"})

    flow["states"][name] |= change

    with pytest.raises(InvalidWorkflow) as error:
        parse(told)
    place = (*path, "states", name, *where)
    assert [one for one in error.value.faults if one.path == place and one.reason.startswith(reason)]


def test_a_state_that_is_never_reached_and_ways_that_are_never_taken():
    states = {
        "a": LOG | {"transitions": [{"target": "b"}, {"target": "c"}], "on_error": [{"target": "b"}, {"target": "b"}]},
        "b": DONE,
        "c": DONE,
        "d": LOG | {"transitions": [{"target": "b"}]},
    }

    assert faults(document(states)) == {
        "states.a.transitions[1]": "is never taken: one before it has no condition",
        "states.a.on_error[1]": "is never taken: one before it has no condition",
        "states.d": "is never reached",
    }


def test_a_state_may_be_reached_by_a_failure_alone():
    states = {"a": LOG | {"on_error": [{"target": "b"}], "transitions": [{"target": "c"}]}, "b": DONE, "c": DONE}

    parse(document(states))
    parse(document({"a": LOG, "b": DONE}, error_handler={"result_state": "b"}))


WAITS = {
    "for a time": ({"for": "5m"}, True),
    "for an event": ({"event": {"type": "a"}}, True),
    "until an instant that a template gives": ({"until": "{{ now + 60000 }}"}, True),
    "until an instant that passes once": ({"until": "2026-12-24T18:00:00Z"}, False),
}


@pytest.mark.parametrize(("wait", "lets_time_pass"), WAITS.values(), ids=list(WAITS))
def test_only_a_wait_in_which_time_passes_may_be_in_a_circle(wait, lets_time_pass):
    states = {
        "a": LOG | {"transitions": [{"target": "b"}]},
        "b": {"type": "wait", **wait, "transitions": [{"target": "c"}]},
        "c": LOG | {"transitions": [{"target": "a"}], "on_error": [{"target": "b"}]},
    }

    if lets_time_pass:
        parse(document(states))
    else:
        assert faults(document(states)) == {
            "states.c.transitions[0].target": "leads round without a wait: a → b → c → a",
            "states.c.on_error[0].target": "leads round without a wait: b → c → b",
        }


def test_conditions_on_variables_say_nothing_of_events():
    condition = {"and": [{"not": {"event_type": "a"}}, {"or": [{"source_match": "p"}]}, {"count_in_window": {}}]}

    told = faults(document({"a": LOG | {"transitions": [{"target": "b", "condition": condition}]}, "b": DONE}))

    assert told["states.a.transitions[0].condition.and[0].not.event_type"].startswith("is about an event")
    assert told["states.a.transitions[0].condition.and[1].or[0].source_match"].startswith("is about an event")
    assert "states.a.transitions[0].condition.and[2].count_in_window.at_least" in told


def test_a_wait_needs_to_know_whose_event_it_is_for():
    states = {"a": {"type": "wait", "event": {"type": "door.closed"}}}
    nightly = [{"schedule": {"cron": "@daily"}}]

    assert "states.a.event" in faults(document(states, triggers=nightly))
    assert parse(document(states, triggers=[{"event": {"type": "door.opened"}}]))
    assert parse(document(states, triggers=nightly, variables=[{"name": "device_id", "default": "door-1"}]))
    free = {"a": {"type": "wait", "event": {"type": "door.closed", "any_source": True}}}
    assert parse(document(free, triggers=nightly)).flow.states["a"].event.correlation is None


def test_what_is_mostly_a_mistake_is_warned_of():
    states = {
        "a": {
            "type": "map",
            "items": "rooms.list",
            "iterator": {
                "initial_state": "in",
                "states": {"in": LOG | {"assign": {"n": "{{ item.n + index + itme }}"}}},
            },
            "transitions": [
                {"target": "b", "condition": {"not": {"property_equals": {"property": "don.t", "value": 1}}}},
                {"target": "c", "condition": {"property_range": {"property": "n", "min": 1}}},
            ],
        },
        "b": {"type": "task", "actions": [{"command": {"type": "{{ item }}"}}]},
        "c": DONE,
    }

    workflow = parse(
        document(
            states,
            variables=[{"name": "n", "type": "number"}],
            triggers=[{"schedule": {"cron": "@daily"}}],
            error_handler={"action": {"log": {"message": "{{ error }} {{ eror }}"}}},
        )
    )

    assert {shown(fault.path): fault.reason for fault in warnings(workflow)} == {
        "error_handler.action.log.message": "nothing is known of eror: it is no variable",
        "states.a.items": "nothing is known of rooms: it is no variable",
        "states.a.iterator.states.in.assign.n": "nothing is known of itme: it is no variable",
        "states.a.transitions[0].condition.not.property_equals.property": "nothing is known of don: it is no variable",
        "states.a.transitions": "fails if none holds: the last one has a condition too",
        "states.b.actions[0].command.type": "nothing is known of item: it is no variable",
        "states.b.actions[0].command": "needs device_id: what starts the workflow tells no device",
    }


def test_a_tier_may_have_rules_of_its_own():
    def short(workflow):
        if len(workflow.flow.states) > 1:
            yield Fault(("states",), "is more than one")

    parse(document({"a": DONE}), further=[short])
    told = document({"a": LOG | {"transitions": [{"target": "b"}]}, "b": DONE})
    assert faults(told, further=[short]) == {"states": "is more than one"}


def test_what_needs_a_newer_engine_is_refused_before_all_else():
    assert list(faults({"id": "w", "engine": 9, "news": 1})) == ["engine"]


def test_flows_are_nested_so_deep_and_no_deeper():
    flow = {"initial_state": "a", "states": {"a": LOG}}
    for _ in range(9):
        flow = {"initial_state": "a", "states": {"a": {"type": "parallel", "branches": [flow]}}}

    assert list(faults({"id": "w", **flow}).values()) == ["is nested more than 8 deep"]


WORDS = st.sampled_from(
    ["id", "states", "type", "task", "initial_state", "a", "iterator", "{{ x", "transitions", "target"]
)
ANYTHING = st.recursive(
    WORDS | st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(WORDS | st.text(max_size=3), part, max_size=4),
    max_leaves=10,
)
KEYS = ["states", "triggers", "variables", "error_handler", "initial_state", "devices", "metadata"]


@settings(max_examples=40, deadline=None)
@given(
    ANYTHING, st.sampled_from(KEYS), st.sampled_from(["type", "actions", "transitions", "branches", "items", "event"])
)
def test_whatever_a_file_holds_it_is_a_workflow_or_has_faults(told, key, state_key):
    state = {"type": "parallel", "branches": [], state_key: told}
    for one in (told, document({"a": LOG}) | {key: told}, document({"a": state})):
        try:
            parse(one)
        except InvalidWorkflow as error:
            assert error.faults
            assert all(fault.reason for fault in error.faults)


def test_a_path_leads_to_a_state():
    flow = {"initial_state": "in", "states": {"in": LOG}}
    each = {"type": "map", "items": "rooms", "iterator": flow, "transitions": [{"target": "both"}]}
    states = {"each": each, "both": {"type": "parallel", "branches": [flow, flow]}}
    root = parse(document(states, variables=[{"name": "rooms"}])).flow

    assert state_at(root, ("each",)).type == "map"
    assert state_at(root, ("each", 17, "in")).name == "in"
    assert state_at(root, ("both", 1, "in")).name == "in"
    for nowhere in ((), ("in",), ("both", 2, "in"), ("both", 1, "out"), ("each", 0, "in", 0, "in")):
        assert state_at(root, nowhere) is None
