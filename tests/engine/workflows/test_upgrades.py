"""Which running instances a new version would break, and where. (W7)"""

import pytest

from fieldloom_engine.workflows import parse
from fieldloom_engine.workflows.upgrades import breaks

LOG = {"type": "task", "actions": [{"log": {"message": "a"}}]}
IN = {"initial_state": "in", "states": {"in": LOG}}
STATES = {
    "cool": LOG | {"transitions": [{"target": "settle"}]},
    "settle": {"type": "wait", "for": "5m", "transitions": [{"target": "closed"}]},
    "closed": {"type": "wait", "event": {"type": "door.closed"}, "transitions": [{"target": "both"}]},
    "both": {"type": "parallel", "branches": [IN, IN], "transitions": [{"target": "each"}]},
    "each": {"type": "map", "items": "rooms", "iterator": IN, "transitions": [{"target": "done"}]},
    "done": {"type": "succeed"},
}
VARIABLES = [{"name": "rooms", "type": "array", "default": []}, {"name": "n", "type": "number"}]


def workflow(variables=None, placement="cloud", **states):
    told = {name: one for name, one in (STATES | states).items() if one is not None}
    return parse(
        {
            "id": "w",
            "placement": placement,
            "initial_state": "cool",
            "states": told,
            "variables": VARIABLES if variables is None else variables,
        }
    )


def found(new, *active, **variables):
    return list(map(str, breaks(workflow(), new, active, variables)))


def without(target, into):
    """Return the states of a version in which a state is gone and the one before leads on."""
    return {target: None, into: STATES[into] | {"transitions": STATES[target]["transitions"]}}


def test_what_no_instance_is_in_may_change():
    new = workflow(**without("settle", "cool"))

    assert found(new, ("cool",), ("both", 1, "in"), ("each", 9, "in"), n=3, event={"id": "e1"}, device_id="d") == []


BROKEN = {
    "gone": (("settle",), without("settle", "cool"), "settle: is gone"),
    "of another type": (
        ("settle",),
        {"settle": LOG | {"transitions": [{"target": "closed"}]}},
        "settle: was of type wait, and is of type task",
    ),
    "with other actions": (
        ("cool",),
        {"cool": STATES["cool"] | {"actions": [{"log": {"message": "b"}}]}},
        "cool: has other actions, and those of before may be under way",
    ),
    "that waits for another event": (
        ("closed",),
        {"closed": STATES["closed"] | {"event": {"type": "door.locked"}}},
        "closed: waits for another event: door.locked",
    ),
    "that waits for a time": (
        ("closed",),
        {"closed": {"type": "wait", "for": "5m", "transitions": [{"target": "both"}]}},
        "closed: does not wait for the same: an event, or a time",
    ),
    "in a branch that is gone": (
        ("both", 1, "in"),
        {"both": STATES["both"] | {"branches": [IN]}},
        "both: has no branch 1 any more",
    ),
    "in what is no map any more": (
        ("each", 4, "in"),
        {"each": {"type": "parallel", "branches": [IN], "transitions": [{"target": "done"}]}},
        "each: was of type map, and is of type parallel",
    ),
    "within an iterator": (
        ("each", 4, "in"),
        {"each": STATES["each"] | {"iterator": {"initial_state": "out", "states": {"out": LOG}}}},
        "each/4/in: is gone",
    ),
    "that its own version does not have": (("nowhere",), {}, "nowhere: is no state of the version that it runs"),
}


@pytest.mark.parametrize(("active", "states", "reason"), BROKEN.values(), ids=list(BROKEN))
def test_an_instance_is_in_a_state(active, states, reason):
    assert found(workflow(**states), active) == [reason]


def test_variables_that_are_gone_or_of_another_type_and_another_tier():
    states = {"each": STATES["each"] | {"items": "event.data.rooms"}}

    assert found(workflow([{"name": "n", "type": "string"}], "edge", **states), n=3, rooms=[]) == [
        "its placement is edge, and that of the instance is cloud",
        "the variable n is of type string now, and its value is none",
        "the variable rooms is gone",
    ]
