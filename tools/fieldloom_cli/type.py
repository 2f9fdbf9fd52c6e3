"""`fieldloom type`: what devices of a type measure, take and want. (R6)"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from fieldloom_cli.api import Api
from fieldloom_cli.errors import CommandFailed
from fieldloom_cli.options import Data, Json
from fieldloom_cli.output import show_json, show_table

app = typer.Typer(no_args_is_help=True, help="Device types: what a kind of device measures, takes and wants.")

Name = Annotated[str, typer.Argument(metavar="TYPE", help="As in the `type` of a device.")]


@app.command("list", epilog="Example: fieldloom type list --json")
def list_types(data: Data = None, as_json: Json = False) -> None:
    """List the types, each in its newest version."""
    found = list(Api(data).pages("/types"))
    if as_json:
        show_json({"items": found, "next": None})
        return
    rows = (
        (one["id"], one["version"], ", ".join(one["definition"]["metrics"]), ", ".join(one["definition"]["commands"]))
        for one in found
    )
    show_table(["ID", "VERSION", "METRICS", "COMMANDS"], rows)


@app.command(epilog="Example: fieldloom type show pump --version 2 --json")
def show(
    name: Name,
    version: Annotated[int | None, typer.Option(min=1, help="By default the newest.")] = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Show a type."""
    params = {} if version is None else {"version": version}
    _show(Api(data).call("GET", f"/types/{name}", params=params), as_json=as_json)


@app.command(epilog="Example: fieldloom type put pump pump.json")
def put(
    name: Name,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The definition, as JSON.")],
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Make a definition the newest version of a type; if it is already, nothing changes."""
    try:
        definition = json.loads(file.read_text())
    except ValueError as error:
        raise CommandFailed(f"{file} is not JSON ({error})") from None
    _show(Api(data).call("PUT", f"/types/{name}", json=definition), as_json=as_json)


@app.command(epilog="Example: fieldloom type delete pump")
def delete(name: Name, data: Data = None, as_json: Json = False) -> None:
    """Delete a type with all its versions, if no device has it."""
    Api(data).call("DELETE", f"/types/{name}")
    if as_json:
        show_json({"id": name, "deleted": True})
        return
    print(f"{name} is deleted.")


def _show(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(told)
        return
    definition = told["definition"]
    rows = [("type", told["id"], f"version {told['version']}", definition["name"])]
    for metric, one in definition["metrics"].items():
        rows.append(("metric", metric, one["unit"], json.dumps({k: v for k, v in one.items() if v and k != "unit"})))
    for command, one in definition["commands"].items():
        rows.append(("command", command, one["description"], json.dumps(one["parameters"])))
    if definition["twin"] is not None:
        rows.append(("twin", "", "", json.dumps(definition["twin"])))
    show_table(["PART", "NAME", "WHAT", "HOW"], rows)
