"""`fieldloom group`: devices that are meant together. (R3)"""

import json
import secrets
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from fieldloom_cli.api import Api
from fieldloom_cli.command import reasons, show_commands
from fieldloom_cli.filters import Where, read
from fieldloom_cli.options import Data, Json
from fieldloom_cli.output import show_json, show_table
from fieldloom_cli.twin import read_changes

COLUMNS = ("id", "name", "query", "version", "updated")

app = typer.Typer(no_args_is_help=True, help="Groups: make one of a query or of listed devices, change and show it.")

Name = Annotated[str, typer.Argument(metavar="GROUP", help="The group's id.")]
Devices = Annotated[list[str], typer.Argument(metavar="DEVICE...", help="Ids of devices.")]


@app.command("list", epilog="Example: fieldloom group list --json")
def list_groups(data: Data = None, as_json: Json = False) -> None:
    """List the groups."""
    found = list(Api(data).pages("/groups"))
    if as_json:
        show_json({"items": found, "next": None})
        return
    show_table([name.upper() for name in COLUMNS], ([_cell(one, name) for name in COLUMNS] for one in found))


@app.command(epilog="Example: fieldloom group show pumps --json")
def show(group: Name, data: Data = None, as_json: Json = False) -> None:
    """Show a group and the devices that are in it now."""
    api = Api(data)
    told = api.call("GET", f"/groups/{group}")
    devices = list(api.pages(f"/groups/{group}/devices"))
    if as_json:
        show_json({**told, "devices": devices})
        return
    _show(told, as_json=False)
    show_table(["DEVICE", "SITE", "TYPE", "STATUS"], ([d["id"], d["site"], d["type"], d["status"]] for d in devices))


@app.command(epilog="Example: fieldloom group create pumps --where type=pump --where tag=floor:2")
def create(
    group: Name,
    name: Annotated[str | None, typer.Option(help="For people; by default the id.")] = None,
    where: Where = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Make a group: of all devices that a filter finds at any time, or without one of those that are added to it."""
    body: dict[str, Any] = {
        "id": group,
        **({"name": name} if name else {}),
        **({"query": read(where)} if where else {}),
    }
    _show(Api(data).call("POST", "/groups", json=body), as_json=as_json)


@app.command(epilog="Example: fieldloom group add pumps pump-1 pump-2")
def add(group: Name, devices: Devices, data: Data = None, as_json: Json = False) -> None:
    """Put devices into a group that lists its members."""
    _each("PUT", group, devices, data, as_json=as_json)


@app.command(epilog="Example: fieldloom group remove pumps pump-1")
def remove(group: Name, devices: Devices, data: Data = None, as_json: Json = False) -> None:
    """Take devices out of a group that lists its members."""
    _each("DELETE", group, devices, data, as_json=as_json)


@app.command(epilog="Example: fieldloom group twin pumps --set interval=5000")
def twin(
    group: Name,
    wanted: Annotated[
        list[str],
        typer.Option(
            "--set", metavar="KEY=VALUE", help="As `fieldloom device twin` takes it; may be repeated, null for no more."
        ),
    ],
    key: Annotated[
        str | None, typer.Option(help="Sent again with the same key, it reaches nobody twice; by default a new one.")
    ] = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Change what is wanted of each device of a group; exit code 1 if one was refused.

    A patch is pending until the device's gateway has decided: `fieldloom device twin NAME` shows it.
    """
    body = {"desired": read_changes(wanted)}
    once = {"Idempotency-Key": key or secrets.token_hex(8)}
    told = Api(data).call("PATCH", f"/groups/{group}/twin", json=body, headers=once)
    if as_json:
        show_json(told)
    else:
        _show_twins(told["items"])
    if any(one["twin"] is None for one in told["items"]):
        raise typer.Exit(1)


@app.command(epilog="Example: fieldloom group update pumps --release esp32-generic-1.4.0")
def update(
    group: Name,
    release: Annotated[str, typer.Option(help="One of `fieldloom release list`.")],
    within: Annotated[float, typer.Option(min=0.1, help="Minutes until the commands expire.")] = 60,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Have each device of a group fetch a release and try it; exit code 1 if one was refused.

    `fieldloom command show ID` tells how it went.
    """
    expires = (datetime.now(UTC) + timedelta(minutes=within)).isoformat(timespec="milliseconds")
    body = {"type": "update", "parameters": {"release": release}, "expires": expires}
    told = Api(data).call("POST", f"/groups/{group}/commands", json=body)
    commands = [one["command"] for one in told["items"] if one["command"]]
    refused = [one for one in told["items"] if not one["command"]]
    show_commands(group, commands, refused, as_json=as_json)
    if refused:
        raise typer.Exit(1)


@app.command(epilog="Example: fieldloom group delete pumps")
def delete(group: Name, data: Data = None, as_json: Json = False) -> None:
    """Delete a group; its devices stay."""
    Api(data).call("DELETE", f"/groups/{group}")
    if as_json:
        show_json({"id": group, "deleted": True})
        return
    print(f"{group} is deleted; its devices stay.")


def _each(method: str, group: str, devices: list[str], data: Data, *, as_json: bool) -> None:
    api = Api(data)
    for device in devices:
        api.call(method, f"/groups/{group}/devices/{device}")
    _show(api.call("GET", f"/groups/{group}"), as_json=as_json)


def _show_twins(items: list[dict[str, Any]]) -> None:
    def row(one: dict[str, Any]) -> tuple[Any, ...]:
        twin = one["twin"]
        told = (None, None, reasons(one)) if twin is None else (twin["version"], len(twin["pending"]), None)
        return (one["device"], *told)

    show_table(["DEVICE", "VERSION", "PENDING", "REFUSED"], map(row, items))


def _show(group: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(group)
        return
    show_table(["FIELD", "VALUE"], ((name, _cell(group, name)) for name in (*COLUMNS, "created")))


def _cell(group: dict[str, Any], name: str) -> Any:
    value = group[name]
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value
