"""What a scenario may say. (F7)"""

import re
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from fieldloom_cli.errors import CommandFailed

UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
OURS = files("fieldloom_sim.scenario") / "scenarios"


class InvalidScenario(CommandFailed):
    """A scenario can't be used; the text names the field and the reason."""

    exit_code = 2


def seconds(value: Any) -> Any:
    """Return the seconds of "250ms", "5s", "10m" or "1h"."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h)", value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("must be a number with a unit: 250ms, 5s, 10m or 1h")
    return float(found[1]) * UNITS_S[found[2]]


def span(value: Any) -> Any:
    """Return [least, most] seconds of a duration or of a list of two."""
    ends = value if isinstance(value, list) else [value, value]
    if len(ends) != 2 or seconds(ends[0]) > seconds(ends[1]):
        raise ValueError("must be a duration or two, the shorter one first")
    return tuple(seconds(end) for end in ends)


Duration = Annotated[float, BeforeValidator(seconds), Field(gt=0)]
Span = Annotated[tuple[float, float], BeforeValidator(span)]
Share = Annotated[float, Field(ge=0, le=1)]


class Part(BaseModel):
    """A part of a scenario: unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Latency(Part):
    """A share of the boards has a slow link, from the start to the end."""

    fault: Literal["latency"]
    share: Share = 1.0
    delay: Duration
    jitter: Duration | None = None


class ClockSkew(Part):
    """A share of the boards has an oscillator that is wrong, fast or slow, by up to so many millionths."""

    fault: Literal["clock_skew"]
    share: Share = 1.0
    ppm: Annotated[int, Field(gt=0, le=100_000)]


class Stroke(Part):
    """What strikes a share of the boards again and again, each at a moment of its own within `every`."""

    share: Share = 1.0
    every: Duration


class LinkLoss(Stroke):
    """Nothing passes for a while, and nobody is told."""

    fault: Literal["link_loss"]
    lasts: Span = Field(alias="for")


class LinkReset(Stroke):
    """The connection is reset."""

    fault: Literal["link_reset"]


class PowerCut(Stroke):
    """No power for a while."""

    fault: Literal["power_cut"]
    lasts: Span = Field(alias="for")


class BrownOut(Stroke):
    """The supply dips several times in a row, so that the board is hit while it starts."""

    fault: Literal["brown_out"]
    dips: Annotated[int, Field(ge=1, le=100)] = 3


Fault = Annotated[Latency | ClockSkew | LinkLoss | LinkReset | PowerCut | BrownOut, Field(discriminator="fault")]


class Waveform(Part):
    """What a metric does; the fields of the firmware's driver `waveform`."""

    shape: Literal["sine", "square", "sawtooth", "random_walk", "noise"] = "sine"
    mean: float = 0
    amplitude: float = 1
    period: Duration = 60.0
    noise: float = 0
    step: float | None = None

    def driver(self, metric: str, seed: int) -> dict[str, Any]:
        """Return the driver's entry in a board's configuration."""
        entry = {"driver": "waveform", "name": metric, "seed": seed, **self.model_dump(exclude_none=True)}
        return entry | {"period": round(self.period * 1000)}


class Scenario(Part):
    """A whole scenario."""

    seed: int = 1
    duration: Duration
    interval: Duration = 1.0
    waveforms: Annotated[dict[str, Waveform], Field(min_length=1, max_length=16)]
    faults: list[Fault] = []


def load(name: str) -> Scenario:
    """Return a scenario by the path of its file, or by the name of one of ours. Raises InvalidScenario."""
    path = Path(name)
    try:
        text = path.read_bytes() if path.exists() else (OURS / path.name).read_bytes()
    except OSError:
        ours = ", ".join(sorted(entry.name for entry in OURS.iterdir()))
        raise InvalidScenario(f"{name}: there is no such file; those that come with Fieldloom are {ours}") from None
    try:
        return Scenario.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise InvalidScenario(f"{name}: is no YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, one['loc'])) or 'it'}: {one['msg']}" for one in error.errors()]
        raise InvalidScenario(f"{name}: {'; '.join(faults)}") from None
