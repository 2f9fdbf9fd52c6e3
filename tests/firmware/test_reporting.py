"""Report on change: a change is told, noise is not, silence has a limit; the same on both interpreters. (F4)"""

import json
import math
import random

from hypothesis import given
from hypothesis import strategies as st

from fieldloom_agent.reporting import Reporting
from firmware.vm import run

values = st.one_of(st.integers(-50, 50), st.floats(-50, 50), st.just(float("nan")), st.none(), st.booleans())
steps = st.lists(st.tuples(st.integers(1, 500), values), min_size=1, max_size=60)
deadbands = st.one_of(
    st.fixed_dictionaries({"deadband": st.floats(0, 20)}), st.fixed_dictionaries({"deadband_percent": st.floats(0, 50)})
)
limits = st.fixed_dictionaries({}, optional={"min": st.integers(0, 800), "max": st.integers(800, 3000)})
rules = st.builds(lambda deadband, limit: deadband | limit, deadbands, limits)


def reported(rule, trace):
    """Return (at, value, was reported) of each step."""
    reporting, now, seen = Reporting({"x": rule}), 0, []
    for wait, value in trace:
        now += wait
        seen.append((now, value, "x" in reporting.due({"x": value}, now)))
    return seen


def is_within(rule, last, value):
    """Whether a value differs too little from another to be told; NaN is told as null."""
    last, value = (None if isinstance(one, float) and math.isnan(one) else one for one in (last, value))
    if any(one is None or isinstance(one, bool) for one in (last, value)):
        return last == value
    band = rule["deadband"] if "deadband" in rule else abs(last) * rule["deadband_percent"] / 100
    return abs(value - last) <= band


@given(rules, steps)
def test_each_value_is_reported_exactly_when_the_rule_says(rule, trace):
    last = None

    for at, value, told in reported(rule, trace):
        if last is None:
            assert told
        elif at - last[0] < rule.get("min", 0):
            assert not told
        elif "max" in rule and at - last[0] >= rule["max"]:
            assert told
        else:
            assert told != is_within(rule, last[1], value)
        last = (at, value) if told else last


@given(steps)
def test_without_a_rule_all_is_reported_and_the_star_is_for_those_without(trace):
    reporting, now = Reporting({"*": {"deadband": 1000}, "own": {}}), 0
    plain = Reporting({"other": {}})

    for number, (wait, _) in enumerate(trace):
        now += wait
        told = reporting.due({"own": number, "x": 1}, now)
        assert ("own" in told, "x" in told) == (True, number == 0)
        assert plain.due({"x": 1}, now) == {"x": 1}


def test_boards_decide_as_the_host_does():
    rng = random.Random(4)
    traces = []
    for _ in range(60):
        rule = {rng.choice(["deadband", "deadband_percent"]): rng.randrange(20), "min": rng.randrange(600)}
        if rng.random() < 0.5:
            rule["max"] = 600 + rng.randrange(3000)
        pick = [lambda: rng.randrange(-400, 400) / 8, lambda: None, lambda: rng.random() < 0.5]
        trace = [[rng.randrange(1, 500), rng.choices(pick, [8, 1, 1])[0]()] for _ in range(50)]
        traces.append([rule, trace])
    script = f"""
decisions = []
for rule, trace in {traces}:
    reporting, now = Reporting({{"x": rule}}), 0
    for wait, value in trace:
        now += wait
        decisions.append("x" in reporting.due({{"x": value}}, now))
print(json.dumps(decisions))
"""

    on_the_board = json.loads(run("from fieldloom_agent.reporting import Reporting", script))

    assert on_the_board == [told for rule, trace in traces for _, _, told in reported(rule, trace)]


def test_a_board_refuses_rules_that_it_could_not_follow():
    script = """
told = []
for rule in ({"deadband": 1, "min": 0}, 5, {"deadband": "1"}, {"max": -1}, {"mim": 1}):
    try:
        told.append(report_rules({"report": {"x": rule}}) == {"x": rule})
    except Rejected as error:
        told.append(str(error))
print(json.dumps(told))
"""
    imports = "from fieldloom_agent.settings import report_rules\nfrom fieldloom_contract.errors import Rejected"

    assert json.loads(run(imports, script)) == [
        True,
        "x: must be an object",
        "report.x.deadband: must be a number from 0",
        "report.x.max: must be a number from 0",
        "report.x.mim: is not known",
    ]
