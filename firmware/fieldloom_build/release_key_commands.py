"""`fieldloom release-key`: the keys that boards trust releases by."""

import time
from pathlib import Path
from typing import Annotated

import typer

from fieldloom_build import release_keys
from fieldloom_cli.options import Json
from fieldloom_cli.output import show_json, show_table

DAY_S = 86_400

app = typer.Typer(no_args_is_help=True, help="Keys of releases: a root that stays offline, release keys that it signs.")


@app.command(epilog="Example: fieldloom release-key root --out /media/usb/root")
def root(
    out: Annotated[Path, typer.Option(file_okay=False, help="A new folder, best on a medium that is kept offline.")],
    as_json: Json = False,
) -> None:
    """Make the root: root.pem, which signs release keys and nothing else, and root.pub, which boards are given.

    Boards believe whoever has root.pem. It is needed once a year or so: keep it offline, and a copy of it elsewhere.
    """
    release_keys.new_root(out)
    _show(
        {"private": str(out / release_keys.ROOT_PRIVATE), "public": str(out / release_keys.ROOT_PUBLIC)},
        as_json=as_json,
    )


@app.command(
    epilog="Example: fieldloom release-key new --root /media/usb/root --serial 1 --out keys/release-1; when that one "
    "has leaked: ... --serial 2 --out keys/release-2"
)
def new(
    root: Annotated[Path, typer.Option(file_okay=False, help="The folder of the root.")],
    serial: Annotated[int, typer.Option(min=1, help="Higher than that of every key before: boards go by it.")],
    out: Annotated[Path, typer.Option(file_okay=False, help="A new folder for the key.")],
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long boards take releases of it.")] = 365,
    as_json: Json = False,
) -> None:
    """Make a release key, signed by the root. A board that has seen a serial takes no lower one any more."""
    key = release_keys.new_key(root, out, serial, int(time.time()) + days * DAY_S)
    _show({"key": str(out), "serial": key.serial, "expires": key.expires}, as_json=as_json)


@app.command(epilog="Example: fieldloom release-key show --key keys/release-1 --root /media/usb/root/root.pub")
def show(
    key: Annotated[Path, typer.Option(file_okay=False, help="The folder of the release key.")],
    root: Annotated[Path, typer.Option(dir_okay=False, help="The root's public part.")],
    as_json: Json = False,
) -> None:
    """Show a release key's serial and end, and whether boards with that root believe it."""
    found = release_keys.load_key(key)
    trusted = release_keys.is_of_root(found, release_keys.load_root(root))
    _show({"serial": found.told.serial, "expires": found.told.expires, "trusted": trusted}, as_json=as_json)


def _show(told: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        show_json(told)
        return
    if isinstance(end := told.get("expires"), int):
        told["expires"] = time.strftime("%Y-%m-%d", time.gmtime(end))
    show_table(["PART", "VALUE"], told.items())
