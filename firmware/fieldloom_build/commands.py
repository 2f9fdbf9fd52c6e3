"""`fieldloom device build | flash | monitor`: from a bare board to one that the cloud has heard. (F6)"""

import re
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from fieldloom_build import check_in, configuration, console, esptool, flashing, package, release, whole
from fieldloom_build.errors import BuildFailed
from fieldloom_build.personal import CONFIGURATION_FILE, Identity, certificates, personal
from fieldloom_build.ports import Mpremote, choose
from fieldloom_cli.api import DEFAULT_DATA, Api
from fieldloom_cli.options import Data, Json
from fieldloom_cli.output import show_json, show_table
from fieldloom_contract import topics

app = typer.Typer()

Port = Annotated[str | None, typer.Option(help="The board's serial port; by default the only USB one.")]


@app.command(epilog="Example: fieldloom device build --board esp32-generic --out release.zip")
def build(
    board: Annotated[str, typer.Option(help="The board that it is for.")] = "esp32-generic",
    out: Annotated[Path | None, typer.Option(help="A new .zip, or a folder.", show_default="VERSION-BOARD.zip")] = None,
    as_json: Json = False,
) -> None:
    """Make a release: the .mpy files that a board gets, and a manifest with versions, sizes and SHA-256.

    The same sources make the same bytes. Releases are not signed yet.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,63}", board):
        raise BuildFailed(f"--board {board}: a board's name is of a-z, 0-9 and -, as esp32-generic")
    files = release.build()
    told = package.manifest(files, board)
    target = out or Path(f"fieldloom-{told['version']}-{board}.zip")
    package.write(files, told, target)
    if as_json:
        show_json({"release": str(target), **told})
        return
    size = sum(one["size"] for one in told["files"])
    rows = {"release": target, "version": told["version"], "board": board, "files": len(files), "bytes": size}
    show_table(["PART", "VALUE"], rows.items())


@app.command(
    epilog="Example: FIELDLOOM_WIFI_KEY=... fieldloom device flash --port /dev/ttyUSB0 --device pump-7 --wifi barn "
    "--gateway gw.site1=192.168.1.10:8883"
)
def flash(
    device: Annotated[str, typer.Option(help="Who it becomes: a name that `fieldloom device new` has made.")],
    port: Port = None,
    data: Data = None,
    config: Annotated[Path | None, typer.Option(help="A JSON file of settings; options come over it.")] = None,
    gateway: Annotated[
        list[str] | None, typer.Option(help="ID=HOST:PORT, the first choice first; by default a running demo's.")
    ] = None,
    wifi: Annotated[
        str | None, typer.Option(help=f"The network's name; its key is asked for, or {configuration.WIFI_KEY}.")
    ] = None,
    interval: Annotated[int | None, typer.Option(help="Milliseconds from one reading to the next.")] = None,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for the check-in; 0 needs no cloud.")] = 60,
    image: Annotated[
        Path | None, typer.Option(help="MicroPython's .bin: make one image of the whole flash with it, by esptool.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The image's file.", show_default="DEVICE.bin")] = None,
    as_json: Json = False,
) -> None:
    """Bring firmware, configuration and certificates to a board, start it, and wait until the cloud hears from it.

    Only what differs by content is copied. A board that has a configuration keeps it unless one is given here. With
    --image everything goes into one file, which esptool writes when there is a --port; it holds the device's key.
    """
    begun = time.monotonic()
    identity = _identity(data or DEFAULT_DATA, device)
    told = configuration.told(config, gateway or [], wifi, interval)
    cloud = check_in.Watch(Api(data), device) if wait and (port or not image) else None
    screen = Console(stderr=True, highlight=False)
    if image:
        files = release.build() | personal(identity, _complete(told, data))
        done = _flash_image(files, image, out or Path(f"{device}.bin"), port)
    else:
        done = _flash_files(screen, Mpremote(choose(port)), identity, told, data, cloud)
    if cloud:
        screen.print(f"waiting for {device} to check in")
        done |= {"checked_in": True, "firmware": cloud.wait(wait).firmware}
    done = {"device": device, **done, "seconds": round(time.monotonic() - begun, 1)}
    if as_json:
        show_json(done)
        return
    # Paths are for --json: a first flash has forty.
    shown = {part: len(value) if isinstance(value, list) else value for part, value in done.items()}
    show_table(["PART", "VALUE"], shown.items())


@app.command(
    epilog="Example: fieldloom device monitor --port /dev/ttyUSB0, or into a file: ... monitor | tee board.log"
)
def monitor(port: Port = None) -> None:
    """Show a board's console: what it prints, and its prompt after Ctrl-C. Ctrl-] ends.

    Without a terminal, as in a pipe, it prints what the board says until Ctrl-C. Attaching sends nothing to the board.
    """
    chosen = choose(port)
    if sys.stdin.isatty():
        raise typer.Exit(console.talk(chosen))
    console.listen(chosen)


def _identity(data: Path, device: str) -> Identity:
    topics.device_id(device)
    folder = data / "devices" / device
    parts = {part: folder / f"{part}.pem" for part in ("cert", "key", "ca")}
    for path in parts.values():
        if not path.exists():
            raise BuildFailed(f"{path} is missing: make the device by `fieldloom device new {device}`")
    return Identity(device, **parts)


def _complete(told: dict[str, Any], data: Path | None) -> dict[str, Any]:
    if not told.get("gateways"):
        told = told | {"gateways": configuration.of_demo(data or DEFAULT_DATA)}
    return configuration.complete(told)


def _flash_files(
    screen: Console,
    board: Mpremote,
    identity: Identity,
    told: dict[str, Any],
    data: Path | None,
    cloud: check_in.Watch | None,
) -> dict[str, Any]:
    screen.print(f"looking at the board at {board.port}")
    found = flashing.look(board)
    files = release.build()
    if told or CONFIGURATION_FILE not in found.files:
        files |= personal(identity, _complete(told, data))
    else:
        files |= certificates(identity)
    bar = Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=screen)
    with bar:
        task = bar.add_task("copying", total=None)
        done = flashing.bring(
            board,
            found,
            files,
            lambda path, number, total: bar.update(task, description=path, completed=number, total=total),
        )
        bar.update(task, description="copied and verified", total=len(done.copied), completed=len(done.copied))
    if cloud:
        cloud.begin()
    board.reset()
    return {"port": board.port, "copied": done.copied, "removed": done.removed, "unchanged": done.unchanged}


def _flash_image(files: dict[str, bytes], micropython: Path, out: Path, port: str | None) -> dict[str, Any]:
    try:
        layout, content = whole.join(micropython.read_bytes(), files)
    except OSError as error:
        raise BuildFailed(f"{micropython} can't be read ({error.strerror})") from None
    out.touch(mode=0o600)  # it holds the device's key
    out.chmod(0o600)
    out.write_bytes(content)
    mounted = whole.verify(out, layout, files)
    if port:
        esptool.write(out, layout.start, choose(port))
    return {
        "image": str(out),
        "bytes": len(content),
        "files": len(files),
        "mounted": mounted,
        "esptool": esptool.command_line(out, layout.start, port),
    }
