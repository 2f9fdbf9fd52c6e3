"""`fieldloom device`: the devices of the fleet and their identities."""

import json
import time
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_group

from fieldloom_cli import credential, update
from fieldloom_cli.api import Api
from fieldloom_cli.certificate import Reason, revoke_all
from fieldloom_cli.filters import Where, read
from fieldloom_cli.hold import hold, holds, release
from fieldloom_cli.options import Data, Json
from fieldloom_cli.output import show_json, show_table
from fieldloom_cli.transfer import export_devices, import_devices
from fieldloom_cli.twin import twin
from fieldloom_contract import topics

PLUG_INS = "fieldloom.device"  # commands that other distributions bring: the firmware's build, flash and monitor
LOOK_EVERY_S = 1.0


class Devices(TyperGroup):
    """Imports the commands of other distributions when one of them is asked for: who lists devices builds nothing."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return all names, our own first."""
        self._plug_in()
        return super().list_commands(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of a name, None if there is none."""
        if cmd_name not in self.commands:
            self._plug_in()
        return super().get_command(ctx, cmd_name)

    def _plug_in(self) -> None:
        brought = typer.Typer()
        for plug_in in entry_points(group=PLUG_INS):
            brought.add_typer(plug_in.load())
        self.commands.update(get_group(brought).commands)


app = typer.Typer(
    cls=Devices, no_args_is_help=True, help="Devices: list them, make a new one, flash it, watch it, update it."
)


@app.command("list", epilog="Example: fieldloom device list --where type=pump --where tag=floor:2 --sort name")
def list_devices(
    data: Data = None,
    where: Where = None,
    q: Annotated[str | None, typer.Option(help="Free text.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="KEY:VALUE; may be repeated.")] = None,
    sort: Annotated[str | None, typer.Option(help="A field, as name; -name for descending.")] = None,
    as_json: Json = False,
) -> None:
    """List the devices."""
    params = read(where) | {key: value for key, value in (("q", q), ("tag", tag), ("sort", sort)) if value}
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
    from fieldloom_cli import identity  # noqa: PLC0415 - no other command makes keys, and cryptography is large

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


@app.command(epilog="Example: fieldloom device revoke pump-7 --reason key_compromise")
def revoke(
    name: Annotated[str, typer.Argument(help="The device's id.")],
    reason: Reason = "unspecified",
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Revoke all certificates and credentials of a device: it is cut off within seconds, until it has a new one."""
    api = Api(data)
    others = credential.revoke_all(api, topics.device_id(name), reason)
    revoke_all(api, name, reason, as_json=as_json, others=others)


@app.command(epilog="Example: fieldloom device remove pump-7")
def remove(
    name: Annotated[str, typer.Argument(help="The device's id.")],
    data: Data = None,
) -> None:
    """Remove a device with all its rights: it is revoked and cut off, and its waiting commands end.

    Its telemetry stays, and no site enters it again by itself.
    """
    Api(data).call("DELETE", f"/devices/{topics.device_id(name)}")


@app.command(epilog="Example: fieldloom device claim pump-7 --hours 2")
def claim(
    name: Annotated[str, typer.Argument(help="A device that is registered.")],
    hours: Annotated[int, typer.Option(min=1, max=168, help="How long the claim is good.")] = 24,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Make a one-time claim, by which the device fetches its certificate over EST (RFC 7030); it is shown this once.

    A claim that was made before is void.
    """
    made = Api(data).call("POST", "/claims", json={"id": topics.device_id(name), "hours": hours})
    if as_json:
        show_json(made)
        return
    show_table(["FIELD", "VALUE"], ((field, made[field]) for field in ("id", "claim", "expires")))


@app.command(epilog="Example: fieldloom device log pump-7 --follow")
def log(
    name: Annotated[str, typer.Argument(help="The device's id.")],
    data: Data = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many of the newest to begin with.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    as_json: Json = False,
) -> None:
    """Show what a device has told the cloud of itself, its events, oldest first; its console is `monitor`'s.

    With --json a line an event.
    """
    api = Api(data)
    api.call("GET", f"/devices/{name}")  # an unknown name is a fault, not a device without events
    for event in _events(api, name, limit, follow=follow):
        if as_json:
            show_json(event)
        else:
            print(event["ts"], event["type"], json.dumps(event["data"], ensure_ascii=False), flush=True)


def _events(api: Api, name: str, limit: int, *, follow: bool) -> Iterator[dict[str, Any]]:
    newest = 0
    while True:
        page = api.call("GET", "/events", params={"device": name, "limit": limit})["items"]
        fresh = [event for event in reversed(page) if event["id"] > newest]
        yield from fresh
        newest = max([newest, *(event["id"] for event in fresh)])
        if not follow:
            return
        time.sleep(LOOK_EVERY_S)


app.add_typer(update.app)
app.command(epilog="Example: fieldloom device holds pump-7")(holds)
app.command(epilog='Example: fieldloom device hold pump-7 relay=false --for 2h --reason "maintenance" --wait 10')(hold)
app.command(epilog="Example: fieldloom device release pump-7 relay")(release)
app.add_typer(credential.app, name="credential")
app.command(epilog="Example: fieldloom device twin pump-7 --set interval=5000 --set drivers.fan.speed=0.5 --wait 10")(
    twin
)
app.command("import", epilog="Example: fieldloom device import fleet.csv --dry-run")(import_devices)
app.command("export", epilog="Example: fieldloom device export --where site=north --output fleet.csv")(export_devices)
