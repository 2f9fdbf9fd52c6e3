"""Chains against a naive interpreter, windows over restarts, and definitions whose faults are all told. (T1, T2, T3)"""

import itertools
import json
import subprocess
import sys

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fieldloom_engine.definitions import shown
from fieldloom_engine.transformers import definition
from fieldloom_engine.transformers.chains import compiled
from fieldloom_engine.transformers.reading import Device
from fieldloom_engine.transformers.window import Windows

PUMP = Device("pump-1", "pump", (("floor", "2"),))
BASE = 1_790_000_040_000  # a whole minute


def chains(*stages, **match):
    return built({"chains": [{"id": "c", "match": match, "stages": list(stages)}]})


def built(told):
    ticks = itertools.count()
    found, faults = compiled(told, lambda: next(ticks))
    assert faults == []
    return found


def run(found, *values, device=PUMP, step=1000):
    """What comes out of one metric's values, a step of ms apart: value, or what closed windows came to."""
    windows, out = Windows(), []
    for at, value in enumerate(values):
        became = found.transform(device, BASE + at * step, {"t": value}, windows, now=0, in_order=True)
        out += [one.values for one in became.closed]
        out += list(became.values.values()) + [failure.error for failure in became.failures]
    return out


@pytest.mark.parametrize(
    ("stage", "values", "expected"),
    [
        ({"clean": {"min": 0, "max": 9}}, [1, 10, -1, 2], [1, 2]),
        ({"clean": {"max": 9, "outliers": None}}, [1, 10], [1, None]),
        ({"clean": {"max": 9, "outliers": "last"}}, [10, 1, 10, None, "text", True], [1, 1, None, "text", True]),
        ({"clean": {"max": 9, "outliers": {"value": 5}}}, [10], [5]),
        ({"clean": {"missing": "skip"}}, [None, 1], [1]),
        ({"clean": {"missing": "last"}}, [None, 1, None], [1, 1]),
        ({"clean": {"missing": {"value": 0}}}, [None], [0]),
        ({"deadband": {"change": 1}}, [1, 2, 2.5, True, True, "a", "a", None, None, 1], [1, 2.5, True, "a", None, 1]),
        ({"deadband": {"percent": 10}}, [100, 110, 111, 100], [100, 111]),
        ({"deadband": {"change": 5, "repeat_after": "2s"}}, [1, 1, 1, 1, 1], [1, 1, 1]),
        ({"convert": {"scale": 2, "offset": -1}}, [3, None], [5, None]),
        ({"convert": {"from": "degF", "to": "degC"}}, [212], [pytest.approx(100)]),
        ({"convert": {"from": "km/h", "to": "m/s"}}, [3.6], [pytest.approx(1)]),
        ({"convert": {"expression": "value > 2.0 ? value * 10.0 : null"}}, [1, 3], [None, 30]),
        ({"duplicates": {"within": "3s"}}, [1, 1, 1, 1, True, 1], [1, 1, True, 1]),
        ({"rate_limit": {"every": "2s"}}, [1, 2, 3, 4], [1, 3]),
        ({"window": {"every": "2s"}}, [1, 3, 5, None, True], [{"t": 2}, {"t": 5}]),
        (
            {"window": {"every": "2s", "aggregates": ["mean", "min", "max", "count"]}},
            [1, 4, 0],
            [{"t.mean": 2.5, "t.min": 1, "t.max": 4, "t.count": 2}],
        ),
    ],
)
def test_a_stage_does_what_it_says(stage, values, expected):
    assert run(chains(stage), *values) == expected


@pytest.mark.parametrize(
    ("stage", "value", "error"),
    [
        ({"convert": {"scale": 2}}, "warm", "'warm' is no number, it can't be converted"),
        ({"convert": {"scale": 2}}, True, "True is a boolean, it can't be converted"),
        ({"convert": {"scale": 1e300}}, 1e300, "the result is no finite number"),
        ({"convert": {"expression": "value / 0.0"}}, 1, "the result holds a number that is not finite"),
        ({"convert": {"expression": "value + value"}}, "x" * 600, "has a text of more than 1024 characters"),
        ({"convert": {"expression": "18446744073709551615u"}}, 1, "of more than 64 bits"),
        ({"convert": {"expression": "[value]"}}, 1, "the expression gives a list, no number, boolean, text or null"),
        ({"convert": {"expression": "value * 2.0"}}, "a", "Unsupported operation"),
        ({"window": {"every": "1m"}}, "warm", "can't be aggregated"),
    ],
)
def test_what_a_stage_can_do_nothing_with_is_told_and_counted(stage, value, error):
    found = chains(stage)

    (told,) = run(found, value)

    assert error in told
    (figures,) = found.figures().values()
    assert (figures.received, figures.processed, figures.failed, figures.skipped) == (1, 0, 1, 0)


def test_the_first_chain_that_matches_takes_a_reading_and_the_others_pass():
    found = built(
        {
            "chains": [
                {"id": "a", "match": {"device": "pump-*", "metric": "temp*"}, "stages": [{"convert": {"scale": 2}}]},
                {"id": "b", "match": {"type": "pump", "tags": {"floor": "2"}}, "stages": [{"tags": {"by": "b"}}]},
                {"id": "c", "match": {"metric": "temp"}, "stages": [{"rename": {"to": "{metric}.c"}}]},
            ]
        }
    )

    def through(device):
        became = found.transform(device, BASE, {"temp": 1, "rest": 1}, Windows(), now=0, in_order=True)
        return became.values, became.tags

    assert through(PUMP) == ({"temp": 2, "rest": 1}, {"rest": {"by": "b"}})
    assert through(Device("pump-2")) == ({"temp": 2, "rest": 1}, {})
    assert through(Device("fan-1", "pump", (("floor", "3"),))) == ({"temp.c": 1, "rest": 1}, {})


def test_a_name_that_grows_too_long_is_a_failure():
    for stage in ({"rename": {"to": "long-{metric}"}}, {"window": {"every": 1, "aggregates": ["min", "max"]}}):
        became = chains(stage).transform(PUMP, BASE, {"m" * 62: 1}, Windows(), now=0, in_order=True)

        assert "has more than 64 characters" in became.failures[0].error


def test_two_readings_never_take_one_name():
    became = chains({"rename": {"to": "x"}}).transform(PUMP, BASE, {"a": 1, "b": 2}, Windows(), now=0, in_order=True)

    assert became.values == {"x": 1}
    assert [(one.metric, one.value, one.error) for one in became.failures] == [("b", 2, "the record holds x already")]


# --- against a naive interpreter --------------------------------------------------------------------------------------

NUMBERS = st.integers(-20, 20) | st.floats(-20, 20) | st.none()
STAGES = st.one_of(
    st.fixed_dictionaries({"clean": st.just({"min": -10, "max": 10, "outliers": "last", "missing": "skip"})}),
    st.fixed_dictionaries({"deadband": st.builds(lambda change: {"change": change}, st.integers(1, 9))}),
    st.fixed_dictionaries({"convert": st.builds(lambda scale: {"scale": scale, "offset": 1}, st.integers(-3, 3))}),
    st.fixed_dictionaries({"duplicates": st.builds(lambda s: {"within": s}, st.integers(1, 9))}),
    st.fixed_dictionaries({"rate_limit": st.builds(lambda s: {"every": s}, st.integers(1, 9))}),
)
SERIES = st.lists(st.tuples(st.integers(1, 4000), st.sampled_from(["a", "b"]), NUMBERS), max_size=30)


def naive(stages, readings):
    """Each stage over the whole list of (ts, device, value), one after the other."""
    for stage in stages:
        ((kind, told),) = stage.items()
        last, out = {}, []
        for ts, device, value in readings:
            now = (ts, device, NAIVE[kind](told, value, ts, *last.get(device, (None, None))))
            if now[2] is not LEFT_OUT:
                last[device] = (ts, now[2])
                out.append(now)
        readings = out
    return readings


LEFT_OUT = object()


def cleaned(told, value, ts, before_ts, before):
    if value is None or (not -10 <= value <= 10 and before_ts is None):
        return LEFT_OUT
    return value if -10 <= value <= 10 else before


def changed(told, value, ts, before_ts, before):
    if before_ts is None:
        return value
    near = value == before if None in (value, before) else abs(value - before) <= told["change"]
    return LEFT_OUT if near else value


NAIVE = {
    "clean": cleaned,
    "deadband": changed,
    "convert": lambda told, value, *_: None if value is None else value * told["scale"] + 1,
    "duplicates": lambda told, value, ts, at, before: (
        LEFT_OUT if at is not None and value == before and ts - at < told["within"] * 1000 else value
    ),
    "rate_limit": lambda told, value, ts, at, _: (
        LEFT_OUT if at is not None and ts - at < told["every"] * 1000 else value
    ),
}


@settings(max_examples=60, deadline=None)
@given(st.lists(STAGES, min_size=1, max_size=4), SERIES)
def test_a_chain_gives_what_a_naive_interpreter_gives(stages, series):
    found, windows, ts, readings, out = chains(*stages), Windows(), BASE, [], []
    for step, device, value in series:
        ts += step
        readings.append((ts, device, value))
        became = found.transform(Device(device), ts, {"t": value}, windows, now=0, in_order=True)
        out += [(ts, device, value) for value in became.values.values()]

    assert out == naive(stages, readings)


# --- windows ----------------------------------------------------------------------------------------------------------

WINDOW = {"window": {"every": "5s", "aggregates": ["mean", "min", "max", "count"]}}
STREAM = st.lists(
    st.tuples(st.integers(1, 4000), st.sampled_from(["a", "b"]), st.integers(-9, 9), st.booleans(), st.booleans()),
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(STREAM)
def test_windows_that_are_kept_and_restored_at_any_point_come_to_the_same(stream):
    found = chains(WINDOW)
    whole, kept, disk, out, again, ts = Windows(), Windows(), {}, [], [], BASE
    for step, device, value, in_order, restarts in stream:
        ts += step
        out += found.transform(Device(device), ts, {"t": value}, whole, now=0, in_order=in_order).closed
        again += found.transform(Device(device), ts, {"t": value}, kept, now=0, in_order=in_order).closed
        rows, gone = kept.changes()
        for device_of, key in gone:
            del disk[device_of, *key]
        disk |= {(row.device, row.chain, row.metric, row.start): row for row in rows}
        if restarts:
            kept = Windows(disk.values())

    out += whole.close_idle(5000)
    again += kept.close_idle(5000)

    assert sorted(out) == sorted(again)
    readings = sum(one.values["t.count"] for one in out)
    assert readings == len(stream), "each reading is in exactly one window"


def test_a_gap_keeps_a_window_open_until_it_is_filled():
    found, windows = chains({"window": {"every": "1m", "aggregates": ["count"]}}), Windows()

    def take(at, *, in_order):
        return found.transform(PUMP, BASE + at, {"t": 1}, windows, now=0, in_order=in_order).closed

    assert take(0, in_order=True) == []
    assert take(70_000, in_order=False) == [], "what is missing may belong to the minute before"
    assert take(30_000, in_order=True) == []
    assert [one.values for one in take(80_000, in_order=True)] == [{"t": 2}]
    assert [one.values for one in windows.close_idle(60_000)] == [{"t": 2}]


def test_what_closes_together_fits_into_records_that_the_cloud_takes():
    stages = [
        {"tags": {"a" * 60: "b" * 64}},
        {"window": {"every": "1m", "aggregates": ["mean", "min", "max", "count"]}},
    ]
    for used, most in ((stages[1:], 256), (stages, 66)):
        found, windows = chains(*used), Windows()
        found.transform(PUMP, BASE, {f"m{n}": n for n in range(256)}, windows, now=0, in_order=True)
        closed = windows.close_idle(60_000)

        assert sum(len(one.values) for one in closed) == 4 * 256
        assert max(len(one.values) for one in closed) <= most


def test_the_tags_of_a_record_are_bounded():
    became = chains({"tags": {"a" * 60: "b" * 64}}).transform(
        PUMP, BASE, {f"m{n}": n for n in range(256)}, Windows(), now=0, in_order=True
    )
    also = chains(*[{"tags": {f"{n}-{m}": "x" for m in range(16)}} for n in range(2)])

    assert len(became.values) == 66
    assert "the tags of the record have more than 8192 characters" in became.failures[0].error
    assert run(also, 1) == ["the reading has more than 16 tags"]


def test_a_gap_that_is_never_filled_keeps_no_windows_without_end(monkeypatch):
    monkeypatch.setattr("fieldloom_engine.transformers.window.MAX_OPEN", 10)
    found, windows = chains({"window": {"every": "1s"}}), Windows()
    closed = [
        one
        for at in range(50)
        for one in found.transform(PUMP, BASE + at * 1000, {"t": at}, windows, now=0, in_order=False).closed
    ]

    assert [one.values["t"] for one in closed] == list(range(40))
    assert len(windows) == 10


def test_what_nobody_foresaw_is_a_failure_of_its_stage(monkeypatch):
    found = chains({"convert": {"scale": 2}})
    monkeypatch.setattr(found.chains[0].steps[0].stage, "_scale", "two")

    assert "TypeError" in run(found, 2.5)[0]


def test_windows_that_a_new_definition_does_not_have_are_closed():
    found, windows = chains({"window": {"every": "1m"}}), Windows()
    found.transform(PUMP, BASE, {"t": 3}, windows, now=0, in_order=True)

    assert windows.keep_only(chains({"window": {"every": "1m"}}).rules()) == []
    closed = windows.keep_only(chains({"window": {"every": "2m"}}).rules())

    assert [(one.ts, one.values) for one in closed] == [(BASE, {"t": 3})]
    assert len(windows) == 0


# --- definitions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "path", "reason"),
    [
        ({"clean": {"min": 5, "max": 1}}, "clean", "min is above max"),
        ({"clean": {}}, "clean", "does nothing"),
        ({"clean": {"min": "a"}}, "clean.min", "should be a valid number"),
        ({"clean": {"min": float("nan")}}, "clean.min", "finite"),
        ({"clean": {"min": 1, "outliers": {"value": "\ud800"}}}, "clean.outliers", "half a surrogate pair"),
        ({"clean": {"min": 1, "outliers": {"value": 10**400}}}, "clean.outliers", "more than 64 bits"),
        ({"tags": {"a": "\0"}}, "tags.a", "NUL"),
        ({"rename": {"to": "\ud800"}}, "rename.to", "valid"),
        ({"clean": {"min": 1, "outliers": "keep"}}, "clean.outliers", "must be one of skip, last, null"),
        ({"deadband": {}}, "deadband", "needs either change or percent"),
        ({"deadband": {"change": 0}}, "deadband.change", "greater than 0"),
        ({"convert": {"scale": 1, "expression": "value"}}, "convert", "needs one of"),
        ({"convert": {"from": "degF"}}, "convert", "needs both from and to"),
        ({"convert": {"from": "degF", "to": "m"}}, "convert", "Cannot convert"),
        ({"convert": {"from": "nonsense", "to": "m"}}, "convert", "not defined"),
        ({"convert": {"from": "m**9**9**9", "to": "m"}}, "convert", "is no unit"),
        ({"convert": {"from": "dBm", "to": "mW"}}, "convert", "no straight line"),
        ({"convert": {"expression": "vlue"}}, "convert", "Undefined variable"),
        ({"convert": {"expression": "value +"}}, "convert", "Syntax error"),
        ({"convert": {"expression": "value * 2"}}, "convert", "Unsupported operation"),
        ({"duplicates": {"within": "1x"}}, "duplicates.within", "must be a duration"),
        ({"rate_limit": {"every": 0}}, "rate_limit.every", "from 1 ms to 366 days"),
        ({"window": {"every": True}}, "window.every", "must be a duration"),
        ({"window": {"every": "1m", "aggregates": ["median"]}}, "window", "median is none of"),
        ({"rename": {"to": ""}}, "rename.to", "at least 1 character"),
        ({"tags": {"a": 1}}, "tags.a", "should be a valid string"),
        ({"colour": {}}, "colour", "is not known here"),
        ({}, "", "must have exactly one of the keys"),
        ({"tags": {"a": "b"}, "rename": {"to": "c"}}, "", "must have exactly one of the keys"),
    ],
)
def test_a_fault_names_its_path(stage, path, reason):
    found, faults = compiled({"chains": [{"id": "c", "stages": [stage]}]}, lambda: 0)

    assert found is None
    assert str(faults[0]).startswith(".".join(filter(None, ["chains[0].stages[0]", path])) + ":")
    assert reason in faults[0].reason


def test_every_fault_is_told_at_once():
    told = {"chains": [{"stages": [{"clean": {"min": "a"}}, {"rename": {}}]}, {"id": "b", "stages": [], "more": 1}]}

    _, faults = compiled(told, lambda: 0)

    assert [shown(fault.path) for fault in faults] == [
        "chains[0].id",
        "chains[0].stages[0].clean.min",
        "chains[0].stages[1].rename.to",
        "chains[1].stages",
        "chains[1].more",
    ]


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"chains": [{"id": "a", "stages": [{"window": {"every": 1}}, {"tags": {"a": "b"}}]}]}, "must be the last one"),
        ({"chains": [{"id": "a", "stages": [{"tags": {"a": "b"}}]}] * 2}, "the id a is given twice"),
        (None, "should be a valid dictionary"),
        ([], "should be a valid dictionary"),
    ],
)
def test_what_does_not_fit_together_is_a_fault(told, reason):
    _, faults = compiled(told, lambda: 0)

    assert reason in faults[0].reason


def test_the_schema_takes_what_the_code_takes():
    validator = jsonschema_rs.validator_for(definition.schema())
    good = {
        "chains": [{"id": "a", "match": {"device": "x*"}, "stages": [{"clean": {"max": 1, "outliers": None}}, WINDOW]}]
    }
    bad = json.loads(json.dumps(good).replace('"max"', '"most"'))

    assert validator.is_valid(good)
    assert not validator.is_valid(bad)
    assert built(good) is not None


def test_units_and_expressions_are_loaded_by_those_who_name_them():
    probe = (
        "import sys\nfrom fieldloom_engine.transformers.chains import compiled\n"
        "compiled({'chains': [{'id': 'a', 'stages': [{'convert': {'scale': 2}}]}]}, lambda: 0)\n"
        "print(sorted({'pint', 'cel'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
