"""A board's TOML: its chip, its drivers and their pins, its flash; checked, and made into a configuration. (F1, F6)"""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from fieldloom_build import partitions, release
from fieldloom_build.chips import CHIPS, Chip
from fieldloom_build.options import DRIVERS, Bme280, Options
from fieldloom_build.partitions import Flash
from fieldloom_contract.errors import Rejected

Milliseconds = Annotated[int, Meta(ge=0, le=86_400_000)]


class Report(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """When a metric is reported; `fieldloom_agent.reporting` says what each means."""

    deadband: Annotated[float, Meta(ge=0)] | None = None
    deadband_percent: Annotated[float, Meta(ge=0)] | None = None
    min: Milliseconds | None = None
    max: Milliseconds | None = None


class Sleep(Struct, forbid_unknown_fields=True):
    """Deep sleep between wakes, as `fieldloom_agent.sleep` explains it."""

    every: Annotated[int, Meta(ge=2000, le=86_400_000)]
    awake: Annotated[int, Meta(ge=0, le=86_400_000)]


class Board(Struct, forbid_unknown_fields=True, kw_only=True):
    """A board as its TOML tells it."""

    title: str
    chip: Literal["esp32", "esp32c3", "esp32s3"]
    micropython: Annotated[str, Meta(min_length=1)]
    """The name of MicroPython's build for it, as on its download page."""
    type: Annotated[str, Meta(min_length=1, max_length=64)]
    flash: Flash
    interval: Milliseconds = 10_000
    led: int | None = None
    sleep: Sleep | None = None
    pages: Annotated[int, Meta(ge=2, le=1024)] | None = None
    """Pages of 2 KB in its flash log."""
    drop: Literal["oldest", "newest"] | None = None
    """Which records go when all is full."""
    drivers: list[dict[str, Any]] = []
    report: dict[str, Report] = {}
    name: str = ""

    @property
    def of_chip(self) -> Chip:
        """What its chip can do."""
        return CHIPS[self.chip]

    def options(self) -> list[Options | None]:
        """Return the options of its drivers, None for each driver of one's own."""
        return [_options(number, entry) for number, entry in enumerate(self.drivers)]

    def configuration(self) -> dict[str, Any]:
        """Return what goes into the board's config.json, beside who and where it is."""
        told: dict[str, Any] = {"board": self.name, "type": self.type}
        told |= {"interval": self.interval, "drivers": self.drivers}
        optional = {"led": self.led, "pages": self.pages, "drop": self.drop}
        told |= {name: value for name, value in optional.items() if value is not None}
        if self.sleep is not None:
            told["sleep"] = msgspec.to_builtins(self.sleep)
        return told | ({"report": msgspec.to_builtins(self.report)} if self.report else {})


def folder() -> Path:
    """Return the folder with our boards."""
    return release.folder() / "boards"


def names() -> list[str]:
    """Return the names of our boards."""
    return sorted(path.stem for path in folder().glob("*.toml"))


def load(board: str) -> Board:
    """Return one of our boards by its name, or one of a user's by the path of its TOML. Raises Rejected."""
    path = Path(board) if board.endswith(".toml") else folder() / f"{board}.toml"
    if not path.is_file():
        raise Rejected("board", f"{board} is neither a TOML file nor one of {', '.join(names())}")
    return parse(path.read_text(), path.stem)


def parse(text: str, name: str) -> Board:
    """Return the board that a TOML describes. Raises Rejected, which names the place in it and what is wrong."""
    try:
        told = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Rejected("TOML", str(error)) from None
    if isinstance(told.get("report"), dict):
        told["report"] = {metric: _convert(rule, Report, f"report.{metric}") for metric, rule in told["report"].items()}
    board: Board = _convert(told | {"name": name}, Board, "")
    partitions.check(board.flash)
    _check_pins(board)
    _check_names(board)
    for metric, rule in board.report.items():
        if rule.deadband is not None and rule.deadband_percent is not None:
            raise Rejected(f"report.{metric}", "has both deadband and deadband_percent")
        if (rule.min or 0) > (rule.max or rule.min or 0):
            raise Rejected(f"report.{metric}.min", f"is longer than max, {rule.max}")
    return board


def _options(number: int, entry: dict[str, Any]) -> Options | None:
    driver = entry.get("driver")
    if driver in DRIVERS:
        options: Options = _convert(entry, DRIVERS[driver], f"drivers[{number}]")
        return options
    own = {path.stem for path in (release.folder() / "fieldloom_agent" / "drivers").glob("*.py")}
    if driver not in own:
        raise Rejected(f"drivers[{number}].driver", f"{driver} is no file of drivers/ and none of {', '.join(DRIVERS)}")
    return None


def _convert(told: Any, kind: Any, place: str) -> Any:
    try:
        return msgspec.convert(told, kind)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        field = (place + path.rstrip("`")).lstrip(".")
        raise Rejected(field or "board", reason) from None


def _check_pins(board: Board) -> None:
    used: dict[int, tuple[str, bool]] = {}
    if board.led is not None:
        _check_pin(board, "led", board.led, "out")
        used[board.led] = ("led", False)
    for number, options in enumerate(board.options()):
        for field, use in options.PINS.items() if options else ():
            pin = getattr(options, field)
            if options is None or pin is None:
                continue
            place = f"drivers[{number}].{field}"
            _check_pin(board, place, pin, use)
            other, is_shared = used.get(pin, ("", True))
            if other and not (is_shared and options.SHARED and other.endswith(field)):
                raise Rejected(place, f"GPIO {pin} is taken by {other}")
            used[pin] = (place, options.SHARED)


def _check_pin(board: Board, place: str, pin: int, use: str) -> None:
    refusal = board.of_chip.refusal(pin, use)
    if refusal is not None:
        raise Rejected(place, refusal)


def _check_names(board: Board) -> None:
    drivers: dict[str, str] = {}
    chips: dict[tuple[int, int, int], str] = {}
    metrics: dict[str, str] = {}
    for number, (entry, options) in enumerate(zip(board.drivers, board.options(), strict=True)):
        place, name = f"drivers[{number}]", entry.get("name", entry["driver"])
        if name in drivers:
            raise Rejected(f"{place}.name", f"{name} is the name of {drivers[name]} too")
        drivers[name] = place
        if isinstance(options, Bme280):
            chip = (options.scl, options.sda, options.address)
            if chip in chips:
                raise Rejected(f"{place}.address", f"{options.address:#x} on this bus is {chips[chip]}'s")
            chips[chip] = place
        for metric in options.metrics() if options else ():
            if metric in metrics:
                raise Rejected(place, f"measures {metric}, as {metrics[metric]} does: give one another prefix or name")
            metrics[metric] = place
