"""From a scenario to what strikes which board when: a pure function of the scenario and the boards' names. (F7)"""

import random
import zlib
from dataclasses import dataclass
from math import ceil

from fieldloom_sim.scenario.definition import BrownOut, ClockSkew, Latency, LinkLoss, LinkReset, PowerCut, Scenario

DIP_S = (0.05, 0.4)
BETWEEN_DIPS_S = (0.05, 1.0)


@dataclass(frozen=True, order=True)
class Event:
    """A fault that begins `at` seconds after the start and lasts so long."""

    at: float
    board: str
    fault: str
    lasts: float = 0.0


@dataclass
class Traits:
    """What one board has all the time."""

    delay_s: float = 0.0
    jitter_s: float = 0.0
    skew_ppm: int = 0
    seed: int = 0
    """Of its waveforms."""


def traits(scenario: Scenario, boards: list[str]) -> dict[str, Traits]:
    """Return each board's."""
    drawn = {board: Traits(seed=zlib.crc32(f"{scenario.seed}/{board}".encode()) & 0x7FFFFFFF) for board in boards}
    for number, fault in enumerate(scenario.faults):
        draw = _draw(scenario, number)
        if isinstance(fault, Latency):
            for board in _struck(draw, fault.share, boards):
                drawn[board].delay_s, drawn[board].jitter_s = fault.delay, fault.jitter or 0.0
        elif isinstance(fault, ClockSkew):
            for board in _struck(draw, fault.share, boards):
                drawn[board].skew_ppm = draw.randint(-fault.ppm, fault.ppm)
    return drawn


def events(scenario: Scenario, boards: list[str]) -> list[Event]:
    """Return all that strikes, in order; what would not have ended by the end of the scenario is left out."""
    planned = [
        event
        for number, fault in enumerate(scenario.faults)
        if not isinstance(fault, Latency | ClockSkew)
        for event in _strokes(fault, _draw(scenario, number), scenario.duration, boards)
    ]
    return sorted(event for event in planned if event.at + event.lasts <= scenario.duration)


def _strokes(
    fault: LinkLoss | LinkReset | PowerCut | BrownOut, draw: random.Random, duration: float, boards: list[str]
) -> list[Event]:
    planned = []
    for turn in range(ceil(duration / fault.every)):
        for board in _struck(draw, fault.share, boards):
            at = (turn + draw.random()) * fault.every
            if isinstance(fault, BrownOut):
                planned += _dips(draw, at, board, fault.dips)
            else:
                lasts = 0.0 if isinstance(fault, LinkReset) else draw.uniform(*fault.lasts)
                planned.append(Event(round(at, 3), board, fault.fault, round(lasts, 3)))
    return planned


def _dips(draw: random.Random, at: float, board: str, count: int) -> list[Event]:
    dips = []
    for _ in range(count):
        dips.append(Event(round(at, 3), board, "brown_out", round(draw.uniform(*DIP_S), 3)))
        at += dips[-1].lasts + draw.uniform(*BETWEEN_DIPS_S)
    return dips


def _struck(draw: random.Random, share: float, boards: list[str]) -> list[str]:
    return draw.sample(boards, round(share * len(boards)) or int(share > 0))


def _draw(scenario: Scenario, number: int) -> random.Random:
    return random.Random(f"{scenario.seed}/{number}")  # noqa: S311 - repeatable, and no secret
