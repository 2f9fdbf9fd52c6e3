"""`fieldloom command`: commands to devices."""

import json
import secrets
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
    words: Annotated[
        list[str],
        typer.Argument(metavar="[DEVICE] TYPE", help="The device's id, and as TYPE read, write, identify, reboot, ..."),
    ],
    parameters: Annotated[str, typer.Option("--parameters", "-p", help="A JSON object.")] = "{}",
    group: Annotated[str | None, typer.Option(help="To each device of a group, in place of DEVICE.")] = None,
    key: Annotated[
        str | None, typer.Option(help="Sent again with the same key, it reaches nobody twice; by default a new one.")
    ] = None,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for the result.")] = 0,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Send a command; with --wait, until the results are there (exit code 1 unless all have succeeded)."""
    device, kind = _names(words, group)
    api = Api(data)
    place = f"/devices/{device}/commands" if group is None else f"/groups/{group}/commands"
    body = {"type": kind, "parameters": parameters_of(parameters)}
    told = api.call("POST", place, json=body, headers={"Idempotency-Key": key or secrets.token_hex(8)})
    commands = [told] if group is None else [one["command"] for one in told["items"] if one["command"]]
    commands = _after(api, commands, wait)
    refused = [] if group is None else [one for one in told["items"] if not one["command"]]
    if group is None:
        show_command(commands[0], as_json=as_json)
    else:
        show_commands(group, commands, refused, as_json=as_json)
    if refused or (wait and any(command["status"] != "succeeded" for command in commands)):
        raise typer.Exit(1)


@app.command(epilog="Example: fieldloom command show 01JD --json")
def show(command_id: Annotated[str, typer.Argument(metavar="ID")], data: Data = None, as_json: Json = False) -> None:
    """Show a command and its result."""
    show_command(Api(data).call("GET", f"/commands/{command_id}"), as_json=as_json)


def _names(words: list[str], group: str | None) -> tuple[str, str]:
    """Return the device, empty for a group, and the command's type."""
    if len(words) != (2 if group is None else 1):
        raise CommandFailed("name DEVICE and TYPE, or --group GROUP and TYPE, as fieldloom command send board-1 read")
    return (words[0], words[1]) if group is None else ("", words[0])


def _after(api: Api, commands: list[dict[str, Any]], wait: float) -> list[dict[str, Any]]:
    """Return the commands as they are once all have ended, or after so many seconds."""
    deadline = time.monotonic() + wait
    while wait and any(one["status"] not in FINAL for one in commands) and time.monotonic() < deadline:
        time.sleep(POLL_S)
        commands = [one if one["status"] in FINAL else api.call("GET", f"/commands/{one['id']}") for one in commands]
    return commands


def show_commands(group: str, commands: list[dict[str, Any]], refused: list[dict[str, Any]], *, as_json: bool) -> None:
    """Show what became of a command to a group."""
    if as_json:
        show_json({"group": group, "commands": commands, "refused": refused})
        return
    rows: list[tuple[Any, ...]] = [
        (one["device"], one["id"], one["status"], one["result"], one["error"]) for one in commands
    ]
    rows += [(one["device"], None, "refused", None, reasons(one)) for one in refused]
    rows.sort(key=lambda row: str(row[0]))
    show_table(["DEVICE", "COMMAND", "STATUS", "RESULT", "ERROR"], rows)


def reasons(refused: dict[str, Any]) -> str:
    """Return why a device of a group gets nothing, in one line."""
    return "; ".join(f"{each['path']}: {each['reason']}" for each in refused["errors"])


def parameters_of(text: str) -> dict[str, Any]:
    """Return the parameters of a command, a JSON object. Raises CommandFailed."""
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
