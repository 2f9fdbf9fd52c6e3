"""`fieldloom device build | flash | monitor`: from a bare board to one that the cloud has heard. (F6)"""

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from fieldloom_build import (
    boards,
    check_in,
    configuration,
    console,
    esptool,
    flashing,
    package,
    release,
    release_keys,
    romfs,
    whole,
)
from fieldloom_build.errors import BuildFailed
from fieldloom_build.personal import CONFIGURATION_FILE, ROOT_FILE, Identity, certificates, personal
from fieldloom_build.ports import Mpremote, choose
from fieldloom_cli.api import DEFAULT_DATA, Api
from fieldloom_cli.options import Data, Json
from fieldloom_cli.output import show_json, show_table
from fieldloom_contract import topics
from fieldloom_contract.release import release_id

DAY_S = 86_400

app = typer.Typer()

Port = Annotated[str | None, typer.Option(help="The board's serial port; by default the only USB one.")]


@app.command(
    epilog="Example: fieldloom device build --board esp32-generic --version 1.4.0 --key keys/release-1 --out releases"
)
def build(
    key: Annotated[Path, typer.Option(file_okay=False, help="The folder of `fieldloom release-key new`.")],
    board: Annotated[str, typer.Option(help="One of `fieldloom board list`, or the path of a TOML file.")],
    version: Annotated[
        str | None, typer.Option(help="Three numbers, as 1.4.0.", show_default="the firmware's own")
    ] = None,
    out: Annotated[
        Path, typer.Option(file_okay=False, help="The folder that gets BOARD-VERSION/ and its .zip.")
    ] = Path("releases"),
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long boards may install it.")] = 365,
    floor: Annotated[
        str, typer.Option(metavar="VERSION", help="Once it runs well, boards install nothing below this.")
    ] = "0.0.0",
    as_json: Json = False,
) -> None:
    """Make a signed release for updates over the air: .mpy files, a manifest, signatures and a bill of materials.

    The .zip is what `fieldloom release upload` takes. The same sources make the same files.
    """
    number = version or release.own_version()
    told = boards.load(board)
    head = package.head(told, number, floor, int(time.time()) + days * DAY_S)
    contents = package.of_slot(release.build(number))
    made = package.make(head, contents, release_keys.load_key(key), told.micropython)
    name = release_id(head)
    packed = package.write(made, out / name)
    size = sum(len(content) for content in contents.values())
    done = {"release": name, "folder": str(out / name), "zip": str(packed), "files": len(contents), "bytes": size}
    done |= {"expires": head.expires, "floor": floor}
    if as_json:
        show_json(done)
        return
    show_table(["PART", "VALUE"], done.items())


@app.command(epilog="Example: fieldloom device rom --out pump.romfs, then: mpremote romfs deploy pump.romfs")
def rom(
    version: Annotated[
        str | None, typer.Option(help="Three numbers, as 1.4.0.", show_default="the firmware's own")
    ] = None,
    out: Annotated[Path, typer.Option(dir_okay=False, help="The image's file.")] = Path("fieldloom.romfs"),
    as_json: Json = False,
) -> None:
    """Make an image of the firmware for a board's ROM, where it runs in place and leaves more of the heap free.

    It takes a MicroPython of your own with a `romfs` partition; no ESP32 build of micropython.org has one.
    `fieldloom device flash --in-rom` brings the rest to the board. Updates over the air go to the flash, as everywhere.
    """
    files, _ = romfs.parted(release.build(version))
    content = romfs.rom_image(files)
    out.write_bytes(content)
    done = {"image": str(out), "bytes": len(content), "files": len(files), "mpremote": f"mpremote romfs deploy {out}"}
    if as_json:
        show_json(done)
        return
    show_table(["PART", "VALUE"], done.items())


@app.command(
    epilog="Example: FIELDLOOM_WIFI_KEY=... fieldloom device flash --port /dev/ttyUSB0 --device pump-7 --wifi barn "
    "--board esp32-generic --release-root root.pub --gateway gw.site1=192.168.1.10:8883"
)
def flash(
    device: Annotated[str, typer.Option(help="Who it becomes: a name that `fieldloom device new` has made.")],
    port: Port = None,
    data: Data = None,
    board: Annotated[
        str | None, typer.Option(help="What it is, of `fieldloom board list` or a TOML file: its drivers and settings.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="A JSON file of settings, over those of --board; options come over both.")
    ] = None,
    gateway: Annotated[
        list[str] | None, typer.Option(help="ID=HOST:PORT, the first choice first; by default a running demo's.")
    ] = None,
    wifi: Annotated[
        str | None, typer.Option(help=f"The network's name; its key is asked for, or {configuration.WIFI_KEY}.")
    ] = None,
    interval: Annotated[int | None, typer.Option(help="Milliseconds from one reading to the next.")] = None,
    release_root: Annotated[
        Path | None, typer.Option(dir_okay=False, help="root.pub of `fieldloom release-key root`: lets it be updated.")
    ] = None,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for the check-in; 0 needs no cloud.")] = 60,
    image: Annotated[
        Path | None, typer.Option(help="MicroPython's .bin: make one image of the whole flash with it, by esptool.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The image's file.", show_default="DEVICE.bin")] = None,
    in_rom: Annotated[
        bool, typer.Option("--in-rom", help="The firmware is in the board's ROM (`device rom`): bring the rest.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Bring firmware, configuration and certificates to a board, start it, and wait until the cloud hears from it.

    Only what differs by content is copied. A board that has a configuration keeps it unless one is given here. With
    --image everything goes into one file, which esptool writes when there is a --port; it holds the device's key.
    """
    begun = time.monotonic()
    identity = _identity(data or DEFAULT_DATA, device)
    told = (boards.load(board).configuration() if board else {}) | configuration.told(
        config, gateway or [], wifi, interval
    )
    root = {ROOT_FILE: release_keys.load_root(release_root)} if release_root else {}
    cloud = check_in.Watch(Api(data), device) if wait and (port or not image) else None
    screen = Console(stderr=True, highlight=False)
    if image:
        files = _firmware(in_rom) | root | personal(identity, _complete(told, data))
        done = _flash_image(files, image, out or Path(f"{device}.bin"), port)
    else:
        done = _flash_files(screen, Mpremote(choose(port)), identity, told, root, data, cloud, in_rom)
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


def _firmware(in_rom: bool) -> dict[str, bytes]:
    """Return the firmware's files, of which a ROM may have a part already."""
    files = release.build()
    return romfs.parted(files)[1] if in_rom else files


def _complete(told: dict[str, Any], data: Path | None) -> dict[str, Any]:
    if not told.get("gateways"):
        told = told | {"gateways": configuration.of_demo(data or DEFAULT_DATA)}
    return configuration.complete(told)


def _flash_files(
    screen: Console,
    board: Mpremote,
    identity: Identity,
    told: dict[str, Any],
    root: dict[str, bytes],
    data: Path | None,
    cloud: check_in.Watch | None,
    in_rom: bool,
) -> dict[str, Any]:
    screen.print(f"looking at the board at {board.port}")
    found = flashing.look(board)
    if in_rom:
        flashing.check_rom(board)
    files = _firmware(in_rom) | root
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
