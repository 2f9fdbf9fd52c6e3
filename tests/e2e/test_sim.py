"""`fieldloom sim run`: a virtual fleet in bad weather, and nothing of it lost. (F7)"""

import json
import subprocess
from pathlib import Path

import pytest

from fieldloom_sim.scenario import definition, plan
from fixtures.processes import FIELDLOOM

SQUALL = Path(__file__).parent.parent / "simulators" / "squall.yaml"


def simulate(devices, scenario, seconds):
    asked = [FIELDLOOM, "sim", "run", "--devices", str(devices), "--scenario", str(scenario), "--json"]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=seconds, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout), done.stderr


@pytest.mark.parametrize(
    ("devices", "scenario", "seconds"),
    [
        (200, SQUALL, 280),
        pytest.param(1000, "storm.yaml", 1800, marks=[pytest.mark.chaos, pytest.mark.timeout(1900)]),
    ],
)
def test_a_fleet_in_a_storm_loses_nothing(capsys, devices, scenario, seconds):
    chosen = definition.load(str(scenario))
    planned = plan.events(chosen, [f"board-{number}" for number in range(1, devices + 1)])

    told, progress = simulate(devices, scenario, seconds)

    with capsys.disabled():
        print(f"\n{told}")
    assert (told["lost"], told["duplicated"], told["seed"]) == (0, 0, chosen.seed)
    # Half of what calm boards would have sent at the least: what faults hold up is sent after them.
    assert told["acknowledged"] > devices * chosen.duration / chosen.interval / 2
    assert told["faults"] == {
        fault: sum(1 for event in planned if event.fault == fault) for fault in sorted({e.fault for e in planned})
    }
    assert "faults so far" in progress
