"""Scenarios: what they may say, and that a seed repeats all that strikes. (F7)"""

import json
import subprocess
from collections import Counter
from io import StringIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from fieldloom_sim.scenario import definition, plan, table
from fieldloom_sim.scenario.plan import Event
from fieldloom_sim.scenario.weather import Weather
from fixtures.processes import FIELDLOOM

BOARDS = [f"board-{number}" for number in range(1, 41)]


def scenario(faults, duration="60s", seed=1):
    told = {"seed": seed, "duration": duration, "waveforms": {"temperature": {}}, "faults": faults}
    return definition.Scenario.model_validate(told)


@pytest.mark.parametrize("name", ["storm.yaml", "calm.yaml"])
def test_the_scenarios_that_come_with_it_are_good(name):
    assert plan.traits(definition.load(name), BOARDS).keys() == set(BOARDS)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("duration: 5", "duration: Value error, must be a number with a unit: 250ms, 5s, 10m or 1h"),
        ("duration: 0s", "duration: Input should be greater than 0"),
        ("waveforms: {}", "waveforms: Dictionary should have at least 1 item"),
        ("waveforms: {t: {shape: flat}}", "waveforms.t.shape: Input should be 'sine'"),
        ("faults: [{fault: hail}]", "faults.0: Input tag 'hail' found"),
        ("faults: [{fault: power_cut, every: 1s, for: [3s, 1s]}]", "faults.0.power_cut.for: Value error, must be"),
        ("faults: [{fault: link_loss, every: 1s}]", "faults.0.link_loss.for: Field required"),
        ("faults: [{fault: link_reset, every: 1s, share: 2}]", "faults.0.link_reset.share: Input should be less"),
        ("surprise: 1", "surprise: Extra inputs are not permitted"),
        ("- a", "it: Input should be a valid dictionary"),
        ("a: [", "is no YAML: while parsing"),
        ("a: \xff", "is no YAML: unacceptable character"),
    ],
)
def test_a_bad_scenario_is_told_by_field_and_reason(tmp_path, text, complaint):
    file = tmp_path / "bad.yaml"
    file.write_bytes(text.encode("latin-1"))

    with pytest.raises(definition.InvalidScenario) as told:
        definition.load(str(file))

    assert f"{file}: " in str(told.value)
    assert complaint in str(told.value)


def test_a_scenario_that_is_not_there_tells_which_are():
    with pytest.raises(
        definition.InvalidScenario, match=r"nope\.yaml: there is no such file; .* calm\.yaml, storm\.yaml"
    ):
        definition.load("nope.yaml")


@given(seed=st.integers(0, 2**32), share=st.floats(0.01, 1), every=st.integers(1, 90), dips=st.integers(1, 9))
def test_the_same_seed_plans_the_same_within_the_scenarios_time(seed, share, every, dips):
    faults = [
        {"fault": "latency", "share": share, "delay": "10ms"},
        {"fault": "clock_skew", "share": share, "ppm": 500},
        {"fault": "link_loss", "every": f"{every}s", "share": share, "for": ["1s", "9s"]},
        {"fault": "brown_out", "every": f"{every}s", "share": share, "dips": dips},
    ]
    one = scenario(faults, seed=seed)

    planned = plan.events(one, BOARDS)

    assert planned == plan.events(one, BOARDS) == sorted(planned)
    assert plan.traits(one, BOARDS) == plan.traits(one, BOARDS)
    assert all(event.at + event.lasts <= one.duration for event in planned)
    struck = sum(1 for traits in plan.traits(one, BOARDS).values() if traits.delay_s)
    assert struck == max(1, round(share * len(BOARDS)))


def test_another_seed_plans_otherwise():
    fault = {"fault": "power_cut", "every": "5s", "share": 0.2, "for": "1s"}

    assert plan.events(scenario([fault], seed=1), BOARDS) != plan.events(scenario([fault], seed=2), BOARDS)


class Told:
    """Takes the place of fleet and network."""

    def __init__(self):
        self.told = []

    def __getattr__(self, name):
        return lambda board: self.told.append((name, board))


def test_where_faults_overlap_the_last_end_counts():
    happened = Told()
    planned = [
        Event(1, "b", "power_cut", 5),
        Event(2, "b", "brown_out", 1),
        Event(2, "b", "link_loss", 2),
        Event(3, "b", "link_loss", 4),
        Event(9, "c", "link_reset"),
    ]
    weather = Weather(planned, happened, happened)

    for now, seen in [
        (1, [("off", "b")]),
        (2, [("lose", "b")]),
        (3.5, []),
        (4.5, []),
        (6.5, [("on", "b")]),
        (7.5, [("heal", "b")]),
        (9.5, [("reset", "c")]),
    ]:
        weather.blow(now)
        assert happened.told == seen
        happened.told.clear()

    assert weather.struck == weather.planned == Counter(power_cut=1, brown_out=1, link_loss=2, link_reset=1)


def test_cleared_weather_gives_back_what_it_took():
    happened = Told()
    weather = Weather([Event(1, "a", "power_cut", 50), Event(1, "b", "link_loss", 50)], happened, happened)
    weather.blow(1)
    assert (weather.dark, weather.deaf) == ({"a"}, {"b"})

    weather.clear()

    assert (weather.dark, weather.deaf) == (set(), set())
    assert sorted(happened.told) == [("heal", "b"), ("lose", "b"), ("off", "a"), ("on", "a")]


class Acknowledgements:
    def __init__(self):
        self.counts = {}

    def acknowledged(self, board):
        return {1: self.counts.get(board, 0)}


def test_the_picture_shows_every_board_and_every_fault():
    fleet, happened = Acknowledgements(), Told()
    weather = Weather([Event(1, "b", "power_cut", 50), Event(1, "c", "link_loss", 50)], happened, happened)
    observer = table.Observer(fleet, ["a", "b", "c"], weather)
    observer.look()
    weather.blow(1)
    fleet.counts = {"a": 7, "b": 2}

    look = observer.look()
    console = Console(width=100, record=True, file=StringIO())
    console.print(table.picture(look, weather, 60))
    drawn = console.export_text()

    assert look.states == {"a": "report", "b": "off", "c": "without link"}
    assert "■·□" in drawn
    assert "3 boards · 9 records acknowledged" in drawn
    assert "power_cut  1       1" in drawn
    assert "1 report, 1 without link, 1 off; 9 records acknowledged, 2 faults so far" in table.line(look, weather, 60)


def test_the_command_shows_the_plan():
    asked = [FIELDLOOM, "sim", "plan", "--devices", "5", "--scenario", "storm.yaml", "--duration", "2m"]
    runs = [
        subprocess.run([*asked, "--json"], capture_output=True, text=True, check=True, timeout=60) for _ in range(2)
    ]
    read = subprocess.run(asked, capture_output=True, text=True, check=True, timeout=60).stdout
    wrong = subprocess.run([*asked, "--duration", "5"], capture_output=True, text=True, check=False, timeout=60)

    planned = json.loads(runs[0].stdout)
    assert runs[0].stdout == runs[1].stdout
    assert len(read.splitlines()) == len(planned["events"]) + 1
    assert (wrong.returncode, wrong.stderr) == (
        2,
        "fieldloom: --duration: must be a number with a unit: 250ms, 5s, 10m or 1h\n",
    )
