"""`fieldloom command`: commands to devices."""

import json
import time
from typing import Annotated, Any

import typer

from fieldloom_cli.api import Api
from fieldloom_cli.errors import CommandFailed
from fieldloom_cli.options import Data, Json
from fieldloom_cli.output import show_json, show_table

FINAL = ("succeeded", "failed", "rejected", "expired")
POLL_S = 0.2

app = typer.Typer(no_args_is_help=True, help="Commands: send one, see what became of it.")


@app.command(
    epilog='Example: fieldloom command send board-1 write --parameters \'{"name": "relay", "value": true}\' --wait 10'
)
def send(
    device: Annotated[str, typer.Argument(help="The device's id.")],
    kind: Annotated[
        str, typer.Argument(metavar="TYPE", help="For example read, write, identify, set_interval, reboot.")
    ],
    parameters: Annotated[str, typer.Option("--parameters", "-p", help="A JSON object.")] = "{}",
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for the result.")] = 0,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Send a command; with --wait, until the device's result is there (exit code 1 unless it succeeded)."""
    api = Api(data)
    command = api.call("POST", f"/devices/{device}/commands", json={"type": kind, "parameters": _object(parameters)})
    deadline = time.monotonic() + wait
    while wait and command["status"] not in FINAL and time.monotonic() < deadline:
        time.sleep(POLL_S)
        command = api.call("GET", f"/commands/{command['id']}")
    show_command(command, as_json=as_json)
    if wait and command["status"] != "succeeded":
        raise typer.Exit(1)


@app.command(epilog="Example: fieldloom command show 01JD --json")
def show(command_id: Annotated[str, typer.Argument(metavar="ID")], data: Data = None, as_json: Json = False) -> None:
    """Show a command and its result."""
    show_command(Api(data).call("GET", f"/commands/{command_id}"), as_json=as_json)


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise CommandFailed(f'--parameters is not JSON ({error}): write it as \'{{"name": "relay"}}\'') from None
    if not isinstance(value, dict):
        raise CommandFailed('--parameters must be a JSON object, as \'{"name": "relay"}\'')
    return value


def show_command(command: dict[str, Any], *, as_json: bool) -> None:
    """Show a command and what became of it."""
    if as_json:
        show_json(command)
        return
    fields = ("id", "device", "type", "status", "result", "error")
    show_table(["FIELD", "VALUE"], ((field, command.get(field)) for field in fields))
