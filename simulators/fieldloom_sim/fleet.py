"""A fleet of virtual boards: their folders, and the loader process that runs them. (F7)"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fieldloom_build import image, release, romfs
from fieldloom_build.personal import ROOT_FILE, Identity, personal
from fieldloom_sim.lines import Servant, ServantFailed
from fieldloom_sim.loader import ACKS_FILE, CONSOLE_FILE, FLASH_FILE
from fieldloom_sim.rom import build_rom

ROM_FILE = "rom.img"
RELEASE_FILE = "release.romfs"
HEAP = "64wk"  # as much as 64 KB on an ESP32, whose words are half as wide
DRIVERS = [{"driver": "simulated", "name": "climate"}, {"driver": "switch", "name": "relay"}]


@dataclass(frozen=True)
class Gateway:
    """Where a board connects."""

    id: str
    host: str
    port: int


class Acknowledged:
    """What a board got acknowledgements for; only what was added since the last look is read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self._highest: dict[int, int] = {}

    def highest(self) -> dict[int, int]:
        """Return the highest seq by boot."""
        if not self._path.exists():
            return {}
        with self._path.open("rb") as file:
            file.seek(self._read)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._read += len(whole) + len(newline)
        for line in whole.splitlines():
            try:
                ack = json.loads(line)
            except ValueError:  # a board that was killed while it wrote
                continue
            self._highest[ack["boot"]] = max(self._highest.get(ack["boot"], 0), ack["seq"])
        return dict(self._highest)


class Fleet:
    """Boards by name, each with a folder below one of the fleet's. Used from one thread.

    `wrapper` is a command that the loader runs under, as `["faketime", "2000-01-01"]`; `root` is a release root's
    public part, without which boards refuse updates.
    """

    def __init__(self, folder: Path, wrapper: tuple[str, ...] = (), root: bytes | None = None) -> None:
        self.folder = folder.resolve()
        self._wrapper = wrapper
        self._files = release.build() | ({ROOT_FILE: root} if root else {})
        self._release, self._beside = romfs.parted(self._files)
        self._added: dict[str, dict[str, Any]] = {}
        self._image = image.flash_image(self._files)
        self._acknowledged: dict[str, Acknowledged] = {}
        self._loader: Servant | None = None

    @property
    def pid(self) -> int | None:
        """The loader's process, None while there is none."""
        return None if self._loader is None else self._loader.pid

    def start(self) -> None:
        """Start the loader, and every board that was added before."""
        self.folder.mkdir(parents=True, exist_ok=True)
        own, theirs = self.folder / ROM_FILE, self.folder / RELEASE_FILE
        own.write_bytes(build_rom())
        theirs.write_bytes(romfs.rom_image(self._release))
        command = [*self._wrapper, sys.executable, "-m", "fieldloom_sim.loader", str(own), str(theirs)]
        self._loader = Servant("loader", command, self.folder / "loader.log")
        for request in self._added.values():
            self._ask(request)

    def stop(self) -> None:
        """End the loader and all boards."""
        if self._loader is not None:
            self._loader.stop()
        self._loader = None

    def add(
        self,
        identity: Identity,
        gateways: list[Gateway],
        heap: str = HEAP,
        skew_ppm: int = 0,
        in_rom: bool = False,
        **settings: Any,
    ) -> None:
        """Switch a board on: with a new flash, or with its old one brought up to date.

        `settings` go into its configuration; its drivers find the parts that they need on their pins. Its oscillator
        runs fast by `skew_ppm` millionths. With `in_rom` its release is in its ROM, as on a board with a `romfs`
        partition, and not on its flash.
        """
        flash = self.path(identity.device) / FLASH_FILE
        flash.parent.mkdir(parents=True, exist_ok=True)
        own = self._personal(identity, gateways, settings)
        if flash.exists():
            files = self._beside if in_rom else self._files
            self._write(identity.device, image.update_image(flash.read_bytes(), files | own))
        else:
            self._write(identity.device, self._new_image(own, in_rom))
        self._switch_on(identity.device, heap, settings.get("drivers", DRIVERS), skew_ppm, in_rom)

    def add_bare(self, board: str, heap: str = HEAP, in_rom: bool = False) -> None:
        """Switch a board on that has MicroPython and an empty file system, and with `in_rom` a release in its ROM."""
        folder = self.path(board)
        folder.mkdir(parents=True)
        self._write(board, image.flash_image({}))
        self._switch_on(board, heap, DRIVERS, in_rom=in_rom)

    def erase(self, identity: Identity, gateways: list[Gateway], **settings: Any) -> None:
        """Flash a board that is off anew: what it held is gone."""
        own = self._personal(identity, gateways, settings)
        self._write(identity.device, self._new_image(own, self._added[identity.device]["in_rom"]))

    def names(self) -> list[str]:
        """Return all boards that have a folder, those of earlier runs too."""
        return sorted(path.parent.name for path in self.folder.glob(f"*/{FLASH_FILE}"))

    def path(self, board: str) -> Path:
        """Return a board's folder."""
        return self.folder / board

    def off(self, board: str) -> None:
        """Cut a board's power."""
        self._ask({"do": "off", "board": board})

    def on(self, board: str) -> None:
        """Give it back."""
        self._ask({"do": "on", "board": board})

    def reset(self, board: str) -> None:
        """Press the reset button."""
        self._ask({"do": "reset", "board": board})

    def sensor(self, board: str, name: str, fault: str | None = None, **values: float) -> None:
        """Change what the part of a driver measures, and begin or end (None) its fault. Raises ValueError."""
        answer = self._ask({"do": "sensor", "board": board, "name": name, "values": values, "fault": fault})
        if "error" in answer:
            raise ValueError(answer["error"])

    def pins(self, board: str) -> dict[int, dict[str, Any]]:
        """Return what a board drives: {GPIO: {"level", "duty" (0 to 1, None without PWM)}}."""
        return {int(number): told for number, told in self._ask({"do": "pins", "board": board}).items()}

    def status(self) -> dict[str, Any]:
        """Return {board: {"pid", "starts", "serial"}}; pid is None while a board has no power. Raises ServantFailed."""
        return self._ask({"do": "status"})

    def acknowledged(self, board: str) -> dict[int, int]:
        """Return, by boot, up to which seq a board got an acknowledgement."""
        path = self.path(board) / ACKS_FILE
        return self._acknowledged.setdefault(board, Acknowledged(path)).highest()

    def serial(self, board: str) -> str:
        """Return the path of a board's serial port, which mpremote takes; it is the same until the loader ends."""
        return str(self.status()[board]["serial"])

    def console(self, board: str) -> str:
        """Return what a board has printed."""
        path = self.path(board) / CONSOLE_FILE
        return path.read_text(errors="replace") if path.exists() else ""

    def _new_image(self, own: dict[str, bytes], in_rom: bool) -> bytes:
        return image.flash_image(self._beside | own) if in_rom else image.update_image(self._image, own)

    def _personal(self, identity: Identity, gateways: list[Gateway], settings: dict[str, Any]) -> dict[str, bytes]:
        told = {"type": "climate", "interval": 1000, "drivers": DRIVERS, "wifi": {"ssid": "virtual"}}
        told |= {"gateways": [vars(gateway) for gateway in gateways], **settings}
        return personal(identity, told)

    def _switch_on(
        self, board: str, heap: str, drivers: list[dict[str, Any]], skew_ppm: int = 0, in_rom: bool = False
    ) -> None:
        request: dict[str, Any] = {"do": "add", "board": board, "folder": str(self.path(board)), "heap": heap}
        request |= {"drivers": drivers, "skew_ppm": skew_ppm, "in_rom": in_rom}
        self._added[board] = request
        self._ask(request)

    def _write(self, board: str, content: bytes) -> None:
        path = self.path(board) / FLASH_FILE
        path.touch(mode=0o600)
        with path.open("r+b") as file:  # in place: the loader shares this file as memory
            file.write(content)

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._loader is None:
            raise ServantFailed("the loader is not running")
        return self._loader.ask(request)
