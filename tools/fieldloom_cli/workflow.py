"""`fieldloom workflow`: what is done step by step, from a file to the fleet. (W1, W3 to W5, W7)"""

import json
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from fieldloom_cli import definition_file, workflow_server
from fieldloom_cli.definition_file import end_by_faults, placed
from fieldloom_cli.options import Json
from fieldloom_cli.output import show_json, show_table

TIMES = 5

app = typer.Typer(no_args_is_help=True, help="Workflows: check, draw, deploy and see them at work.")

File = Annotated[Path, typer.Argument(metavar="FILE", help="A workflow, YAML or JSON.")]
Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Workflows, a file each, YAML or JSON.")]


app.command(epilog="Example: fieldloom workflow deploy workflows/*.yaml")(workflow_server.deploy)
app.command("list", epilog="Example: fieldloom workflow list nightly-flush --status waiting")(
    workflow_server.list_workflows
)
app.command(epilog="Example: fieldloom workflow start nightly-flush --device pump-1 --set litres=30 --wait 60")(
    workflow_server.start
)
app.command(epilog="Example: fieldloom workflow show nightly-flush")(workflow_server.show)
app.command(epilog="Example: fieldloom workflow terminate 7c0e --reason 'the valve is open by hand'")(
    workflow_server.terminate
)
app.command(epilog="Example: fieldloom workflow signal 7c0e approved --set by=Ann")(workflow_server.signal)
app.command(epilog="Example: fieldloom workflow retry 7c0e --state flush --set litres=10")(workflow_server.retry)
app.command(epilog="Example: fieldloom workflow check nightly-flush-2.yaml")(workflow_server.check)
app.command(epilog="Example: fieldloom workflow undeploy nightly-flush --version 1.0.0")(workflow_server.undeploy)


class Format(StrEnum):
    """How a workflow is written."""

    YAML = "yaml"
    JSON = "json"


@app.command(epilog="Example: fieldloom workflow validate workflows/*.yaml")
def validate(files: Files, as_json: Json = False) -> None:
    """Check files without a server: every fault with its line and path (exit code 1 if there is any), and warnings."""
    items = [{"file": str(file), **_engine().check(file)} for file in files]
    if as_json:
        show_json({"items": [{name: part for name, part in one.items() if name != "document"} for one in items]})
    for one in [] if as_json else items:
        if not one["faults"]:
            print(f"{one['file']}: {one['workflow']} {one['version']} is a workflow; states: {one['states']}")
            for warned in one["warnings"]:
                print(f"  warning: {placed(one['file'], warned)}")
    end_by_faults(items, silent=as_json)


@app.command(epilog="Example: fieldloom workflow graph device-monitoring.yaml --draw")
def graph(
    file: File,
    draw: Annotated[bool, typer.Option("--draw", help="Draw it here, in text.")] = False,
    as_json: Json = False,
) -> None:
    """Show a workflow's states and ways: a Mermaid diagram, which many editors and sites show as a picture."""
    found = _told(file, _engine().draw(file))
    if as_json:
        show_json(found["graph"])
        return
    print(found["drawing" if draw else "mermaid"], end="")


@app.command(epilog="Example: fieldloom workflow schedule backup.yaml --count 10")
def schedule(
    file: File,
    count: Annotated[int, typer.Option(min=1, max=1000, help="How many times.")] = TIMES,
    as_json: Json = False,
) -> None:
    """Show when a workflow's schedules come next, in UTC and in their time zones."""
    found = _told(file, _engine().upcoming(file, time.time_ns() // 1_000_000, count))
    if as_json:
        show_json({"workflow": found["workflow"], "items": found["times"]})
    elif found["times"]:
        show_table(["UTC", "LOCAL", "CRON"], ([one["at"], one["local"], one["cron"]] for one in found["times"]))
    else:
        print(f"{file}: {found['workflow']} has no schedule")


@app.command(epilog="Example: fieldloom workflow convert cool.yaml --to json > cool.json")
def convert(file: File, to: Annotated[Format, typer.Option(help="The format.")]) -> None:
    """Print a workflow as YAML or as JSON; comments are not kept."""
    print(_told(file, _engine().convert(file, to.value))["text"], end="")


@app.command(epilog="Example: fieldloom workflow schema > workflow.schema.json")
def schema() -> None:
    """Print the JSON Schema of a workflow's file, for editors."""
    print(json.dumps(_engine().schema(), indent=2))


def _engine() -> Any:
    return definition_file.engine("workflows")


def _told(file: Path, found: dict[str, Any]) -> dict[str, Any]:
    """Return what a file says, unless it has faults."""
    end_by_faults([{"file": str(file), **found}], silent=False)
    return found
