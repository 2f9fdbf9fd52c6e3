"""`fieldloom board`: the boards that the firmware knows, a check of one's own, and projects for simulators."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from fieldloom_build import boards, flash, release, wokwi
from fieldloom_build.personal import Identity, personal
from fieldloom_contract import topics
from fieldloom_contract.errors import Rejected

app = typer.Typer(no_args_is_help=True, help="Boards: pins, drivers and flash layout, in a TOML file each.")

Name = Annotated[
    str, typer.Argument(metavar="BOARD", help="One of `fieldloom board list`, or the path of a TOML file.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
ACCESS_POINT = {"ssid": "Wokwi-GUEST"}  # the simulator's own, open


@app.command("list", epilog="Example: fieldloom board list --json")
def list_boards(as_json: Json = False) -> None:
    """List the boards that come with the firmware."""
    known = [boards.load(name) for name in boards.names()]
    if as_json:
        print(json.dumps({"items": [{"name": one.name, "chip": one.chip, "title": one.title} for one in known]}))
        return
    for one in known:
        print(f"{one.name:<20} {one.of_chip.name:<10} {one.title}")


@app.command(epilog="Example: fieldloom board check my-board.toml")
def check(board: Name, as_json: Json = False) -> None:
    """Check a board's file, and show the configuration that it makes."""
    configuration = boards.load(board).configuration()
    print(json.dumps(configuration, indent=None if as_json else 2))


@app.command(
    "wokwi",
    epilog="Example: fieldloom board wokwi esp32-generic --out wokwi --micropython ESP32_GENERIC-v1.25.0.bin "
    "--device data/devices/wokwi-1 --gateway gw.site1=host.wokwi.internal:8883",
)
def make_wokwi(
    board: Name,
    out: Annotated[Path, typer.Option(file_okay=False, help="Where the project goes; its old files are replaced.")],
    micropython: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="MicroPython's .bin for the board's chip.")
    ] = None,
    device: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="The folder of `fieldloom device new`.")
    ] = None,
    gateway: Annotated[str | None, typer.Option(metavar="ID=HOST:PORT", help="Where the device connects.")] = None,
    as_json: Json = False,
) -> None:
    """Make a Wokwi project and QEMU's command line; with --micropython, --device and --gateway the flash image too.

    The image holds the device's key, and Wokwi simulates on its own servers: use a device made for this.
    """
    told = boards.load(board)
    project = wokwi.project(told)
    image = _image(told, micropython, device, gateway)
    out.mkdir(parents=True, exist_ok=True)
    for name, content in project.files.items():
        (out / name).write_text(content)
    (out / "qemu.sh").chmod(0o755)
    if image is not None:
        target = out / wokwi.FLASH_FILE
        target.touch(mode=0o600)
        target.chmod(0o600)
        target.write_bytes(image)
    _show(out, project, image is not None, as_json)


def _image(board: boards.Board, micropython: Path | None, device: Path | None, gateway: str | None) -> bytes | None:
    if micropython is None and device is None and gateway is None:
        return None
    if micropython is None or device is None or gateway is None:
        raise Rejected("--micropython, --device, --gateway", "an image needs all three")
    identity = Identity(device.name, *(device / f"{part}.pem" for part in ("cert", "key", "ca")))
    configuration = board.configuration() | {"wifi": ACCESS_POINT, "gateways": [_gateway(gateway)]}
    return flash.compose(board, micropython.read_bytes(), release.build() | personal(identity, configuration))


def _gateway(told: str) -> dict[str, Any]:
    name, _, address = told.partition("=")
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise Rejected("--gateway", f"{told} is not ID=HOST:PORT, as gw.site1=192.168.1.5:8883")
    return {"id": topics.gateway_id(name), "host": host, "port": int(port)}


def _show(out: Path, project: wokwi.Project, has_image: bool, as_json: bool) -> None:
    files = [*project.files, *([wokwi.FLASH_FILE] if has_image else [])]
    if as_json:
        print(json.dumps({"out": str(out), "files": files, "left_out": project.left_out}))
        return
    print(f"{out}: {', '.join(files)}")
    for name, reason in project.left_out.items():
        print(f"Not in the diagram: {name} ({reason}).")
    if not has_image:
        print(f"{wokwi.FLASH_FILE} is missing: say --micropython, --device and --gateway to make it.")
