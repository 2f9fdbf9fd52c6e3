"""`fieldloom device`: the devices of the fleet and their identities."""

from pathlib import Path
from typing import Annotated, Any

import typer

from fieldloom_cli import identity
from fieldloom_cli.api import Api
from fieldloom_cli.options import Data, Json
from fieldloom_cli.output import show_json, show_table
from fieldloom_contract import topics

app = typer.Typer(no_args_is_help=True, help="Devices: list them, give a new one its identity.")


@app.command("list", epilog="Example: fieldloom device list --q pump --json")
def list_devices(
    data: Data = None,
    q: Annotated[str | None, typer.Option(help="Free text.")] = None,
    tag: Annotated[str | None, typer.Option(help="KEY:VALUE.")] = None,
    as_json: Json = False,
) -> None:
    """List the devices."""
    params: dict[str, Any] = {key: value for key, value in (("q", q), ("tag", tag)) if value}
    devices = list(Api(data).pages("/devices", **params))
    if as_json:
        show_json({"items": devices, "next": None})
        return
    show_table(
        ["ID", "SITE", "TYPE", "STATUS"], ([d["id"], d.get("site"), d.get("type"), d.get("status")] for d in devices)
    )


@app.command(epilog="Example: fieldloom device new pump-7 --data data --json")
def new(
    name: Annotated[str, typer.Argument(help="1 to 64 of a-z 0-9 - _.")],
    data: Data = None,
    site: Annotated[str | None, typer.Option(help="The site; by default the cloud's only one.")] = None,
    as_json: Json = False,
) -> None:
    """Register a device and issue its certificate; the files are written below DATA/devices/NAME."""
    api = Api(data)
    topics.device_id(name)
    folder: Path = api.data / "devices" / name
    key, csr = identity.new_key_and_request(name)
    api.call("POST", "/devices", json={"id": name, **({"site": site} if site else {})})
    issued = api.call("POST", "/certificates", json={"csr": csr.decode()})
    files = identity.write(folder, key, issued["certificate"], issued["ca"])
    told = {"id": name, **{part: str(path) for part, path in files.items()}}
    if as_json:
        show_json(told)
        return
    show_table(["PART", "FILE"], told.items())
