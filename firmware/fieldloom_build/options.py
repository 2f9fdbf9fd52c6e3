"""What the board's TOML may say of each driver; the drivers' own docstrings tell what it means. (F1)"""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Gpio = Annotated[int, Meta(ge=0, le=48)]
Share = Annotated[float, Meta(ge=0, le=1)]
Positive = Annotated[float, Meta(gt=0)]
ROM = r"^28[0-9a-f]{14}$"


class Options(Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What every driver takes. `PINS` names its options that are GPIOs, with what each does there."""

    PINS: ClassVar[dict[str, str]] = {}
    SHARED: ClassVar[bool] = False
    """Whether others may hang on the same pins."""

    driver: str
    name: Name | None = None

    def metrics(self) -> list[str]:
        """Return the metrics that it measures; those of an actuator are told by commands only."""
        return []


class Sensor(Options, kw_only=True):
    prefix: str = ""


class Bme280(Sensor, kw_only=True):
    PINS: ClassVar[dict[str, str]] = {"scl": "out", "sda": "out"}
    SHARED: ClassVar[bool] = True
    scl: Gpio
    sda: Gpio
    address: Literal[0x76, 0x77] = 0x76

    def metrics(self) -> list[str]:
        return [self.prefix + metric for metric in ("temperature", "humidity", "pressure")]


class Dht22(Sensor, kw_only=True):
    PINS: ClassVar[dict[str, str]] = {"pin": "out"}
    pin: Gpio

    def metrics(self) -> list[str]:
        return [self.prefix + metric for metric in ("temperature", "humidity")]


class Ds18b20(Options, kw_only=True):
    PINS: ClassVar[dict[str, str]] = {"pin": "out"}
    pin: Gpio
    metric: Name = "temperature"
    sensors: dict[Annotated[str, Meta(pattern=ROM)], Name] = {}

    def metrics(self) -> list[str]:
        return list(self.sensors.values()) or [self.metric]


class Adc(Options, kw_only=True):
    PINS: ClassVar[dict[str, str]] = {"pin": "adc"}
    pin: Gpio
    attenuation: float = 11
    scale: float = 1
    offset: float = 0
    samples: Annotated[int, Meta(ge=1, le=1000)] = 8

    def __post_init__(self) -> None:
        """Raise ValueError for an attenuation that the chips don't have."""
        if self.attenuation not in (0, 2.5, 6, 11):
            raise ValueError("attenuation must be 0, 2.5, 6 or 11 (dB)")

    def metrics(self) -> list[str]:
        return [self.name or "adc"]


class DigitalIn(Options, kw_only=True):
    PINS: ClassVar[dict[str, str]] = {"pin": "in"}
    pin: Gpio
    pull: Literal["up", "down"] | None = None
    active_low: bool = False
    debounce: Annotated[int, Meta(ge=0, le=10_000)] = 30

    def metrics(self) -> list[str]:
        return [self.name or "digital_in"]


class Switch(Options, kw_only=True):
    PINS: ClassVar[dict[str, str]] = {"pin": "out"}
    pin: Gpio | None = None
    active_low: bool = False
    start: bool = False


class Pwm(Options, kw_only=True):
    PINS: ClassVar[dict[str, str]] = {"pin": "out"}
    pin: Gpio
    frequency: Annotated[int, Meta(ge=1, le=40_000_000)] = 1000
    start: Share = 0


class Waveform(Options, kw_only=True):
    shape: Literal["sine", "square", "sawtooth", "random_walk", "noise"] = "sine"
    mean: float = 0
    amplitude: float = 1
    period: Positive = 60_000
    noise: float = 0
    step: float | None = None
    seed: int = 1

    def metrics(self) -> list[str]:
        return [self.name or "waveform"]


class Simulated(Options, kw_only=True):
    temperature: float = 21
    humidity: float = 45
    swing: float = 4

    def metrics(self) -> list[str]:
        return ["temperature", "humidity"]


DRIVERS: dict[str, type[Options]] = {
    "adc": Adc,
    "bme280": Bme280,
    "dht22": Dht22,
    "digital_in": DigitalIn,
    "ds18b20": Ds18b20,
    "pwm": Pwm,
    "simulated": Simulated,
    "switch": Switch,
    "waveform": Waveform,
}
