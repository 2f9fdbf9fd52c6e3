"""Who writes the same actuator, of rules and workflows. (E9)"""

from fieldloom_engine import rules, workflows
from fieldloom_engine.writes import clashes, of_rule, of_workflow


def command(type_, device=None, **parameters):
    return {"command": {"type": type_, "parameters": parameters} | ({"device_id": device} if device else {})}


def rule(*actions, id_="r", **more):
    return of_rule(rules.parse({"id": id_, "when": {"event_type": "a"}, "do": [*actions], **more}))


def task(*actions, **more):
    return {"type": "task", "actions": [*actions], **more}


def workflow(states, id_="w", **more):
    first = next(iter(states))
    return of_workflow(workflows.parse({"id": id_, "initial_state": first, "states": states, **more}))


def found(own, *others):
    return [(clash.other.id, clash.own.what) for clash in clashes(own, others)]


def test_all_that_a_workflow_does_counts_wherever_it_stands():
    inner = {"initial_state": "a", "states": {"a": task(command("fan"))}}
    states = {
        "both": {
            "type": "parallel",
            "branches": [inner],
            "actions": [{"group_command": {"group": "g", "type": "horn"}}],
            "transitions": [{"target": "each"}],
        },
        "each": {"type": "map", "items": "listed", "iterator": inner, "transitions": [{"target": "last"}]},
        "last": task({"set_twin": {"desired": {"led": 1}}}, compensate=[command("write", name="valve", value=0)]),
    }
    handler = {"action": command("siren")}

    own = workflow(states, variables=[{"name": "listed", "type": "array"}], error_handler=handler)

    assert [(one.path, one.what) for one in own.writes] == [
        (("states", "both", "actions", 0, "group_command"), "command horn"),
        (("states", "last", "actions", 0, "set_twin"), "twin led"),
        (("states", "last", "compensate", 0, "command"), "command write valve"),
        (("states", "both", "branches", 0, "states", "a", "actions", 0, "command"), "command fan"),
        (("states", "each", "iterator", "states", "a", "actions", 0, "command"), "command fan"),
        (("error_handler", "action", "command"), "command siren"),
    ]


def test_a_rule_and_a_workflow_that_may_move_the_same_are_told_of_each_other():
    opens = rule(command("write", "pump-1", name="valve", value=True), id_="same")
    closes = workflow({"close": task(command("write", name="valve", value=False))}, id_="same")
    other = workflow({"close": task(command("write", "pump-2", name="valve"))}, id_="other")

    assert found(opens, opens, closes, other) == [("same", "command write valve")]
    assert found(closes, opens, closes, other) == [("same", "command write valve"), ("other", "command write valve")]
    assert clashes(opens, [closes])[0].reason == "workflow same writes it too: command write valve"


def test_what_a_twin_sets_of_its_drivers_is_what_a_command_writes():
    by_twin = rule({"set_twin": {"desired": {"drivers": {"valve": False}, "interval": 5}}}, id_="by-twin")
    by_command = rule(command("write", name="valve", value=True))

    assert found(by_twin, by_command) == [("r", "command write valve")]


def test_what_moves_nothing_or_is_told_by_a_template_is_not_known():
    nothing = (command("identify"), command("{{ data.type }}"), command("write", name="{{ data.name }}"))
    twin = {"set_twin": {"desired": "{{ data.desired }}"}}

    assert rule(*nothing, twin, otherwise=[command("reboot")], fire="on_change").writes == ()
