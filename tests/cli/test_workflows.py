"""`fieldloom workflow` without a server. (W1, W3, W4)"""

import json
from pathlib import Path

import jsonschema_rs
import pytest
import yaml
from typer.testing import CliRunner

from fieldloom_cli import workflow

EXAMPLES = sorted((Path(__file__).parents[2] / "examples" / "workflows").glob("*.yaml"))
FLUSH = next(path for path in EXAMPLES if path.stem == "nightly-flush")
FAULTY = """\
id: cool
initial_state: start
states:
  cool:
    type: task
    actions: [{shout: {}}]
    transitions:
      - {target: cool}
"""
DOUBTFUL = """\
id: cool
initial_state: cool
states:
  cool:
    type: task
    actions: [{log: {message: "{{ temprature }}"}}]
"""


def run(*arguments):
    return CliRunner().invoke(workflow.app, [*map(str, arguments)], env={"COLUMNS": "200"})


def written(folder, text, name="workflow.yaml"):
    (folder / name).write_text(text)
    return folder / name


def test_the_examples_are_workflows_that_bear_their_names_and_fit_the_schema():
    done = run("validate", "--json", *EXAMPLES)
    schema = jsonschema_rs.validator_for(json.loads(run("schema").stdout))

    items = json.loads(done.stdout)["items"]
    assert done.exit_code == 0
    assert [one["workflow"] for one in items] == [path.stem for path in EXAMPLES]
    assert [one["warnings"] for one in items] == [[]] * len(EXAMPLES)
    assert all(schema.is_valid(yaml.safe_load(path.read_text())) for path in EXAMPLES)


def test_each_fault_and_warning_is_told_with_its_line_and_path(tmp_path):
    faulty, doubtful = written(tmp_path, FAULTY), written(tmp_path, DOUBTFUL, "doubtful.yaml")

    done = run("validate", faulty, doubtful, tmp_path / "none.yaml")
    told = json.loads(run("validate", "--json", faulty, doubtful).stdout)["items"]

    assert done.exit_code == 1
    assert done.stderr.splitlines()[:3] == [
        f"{faulty}:6: states.cool.actions[0].shout: is not known here",
        f"{faulty}:2: initial_state: there is no state start here: there are cool",
        f"{faulty}:8: states.cool.transitions[0].target: leads round without a wait: cool → cool",
    ]
    assert "none.yaml: the file: can't be read" in done.stderr
    assert f"{doubtful}: cool 1.0.0 is a workflow; states: 1" in done.stdout
    assert f"warning: {doubtful}:6: states.cool.actions[0].log.message: nothing is known of temprature" in done.stdout
    assert [len(one["faults"]) for one in told] == [3, 0]
    assert told[1]["warnings"][0]["line"] == 6


def test_a_workflow_is_shown_as_a_diagram_as_a_drawing_and_as_json(tmp_path):
    diagram, drawing, told = (run("graph", FLUSH, *option).stdout for option in ([], ["--draw"], ["--json"]))

    assert diagram.startswith("stateDiagram-v2\n")
    assert "▶ flush  for each of valves, 2 at once\n" in drawing
    assert [node["id"] for node in json.loads(told)["nodes"]][-1] == "flush/*/done"
    assert run("graph", written(tmp_path, FAULTY)).exit_code == 1


def test_a_schedule_is_told_in_utc_and_in_its_zone(tmp_path):
    times = json.loads(run("schedule", FLUSH, "--count", 3, "--json").stdout)["items"]

    assert len({one["at"] for one in times}) == 3
    assert all("T02:30:00+0" in one["local"] and one["at"].endswith(":30:00Z") for one in times)
    assert "30 2 * * *" in run("schedule", FLUSH).stdout
    assert "cool has no schedule" in run("schedule", written(tmp_path, DOUBTFUL)).stdout


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_a_workflow_goes_from_yaml_to_json_and_back(path, tmp_path):
    as_json = written(tmp_path, run("convert", path, "--to", "json").stdout, "workflow.json")
    back = run("convert", as_json, "--to", "yaml").stdout

    assert json.loads(as_json.read_text()) == yaml.safe_load(back) == yaml.safe_load(path.read_text())
