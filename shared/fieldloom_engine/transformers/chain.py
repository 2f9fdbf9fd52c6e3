"""One chain, compiled from its definition: which readings it takes, and the stages they go through. (T1)"""

from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import translate
from re import compile as compiled
from typing import Any, NamedTuple, Protocol

from fieldloom_engine.definitions import Fault
from fieldloom_engine.transformers import definition
from fieldloom_engine.transformers.changes import Renaming, Tagging, conversion
from fieldloom_engine.transformers.filters import Change, Cleaning, Limit, Repeats
from fieldloom_engine.transformers.reading import Device, Reading, StageFailed
from fieldloom_engine.transformers.window import Rule, Windows

WINDOW = "window"


class Stage(Protocol):
    """One step of a chain."""

    def apply(self, reading: Reading) -> bool:
        """Change a reading, and say whether it goes on. Raises StageFailed."""
        ...

    def forget(self) -> None:
        """Remember nothing of earlier readings."""
        ...


BUILDERS: dict[str, Callable[[Any], Stage]] = {
    "clean": Cleaning,
    "deadband": Change,
    "convert": conversion,
    "duplicates": Repeats,
    "rate_limit": Limit,
    "tags": Tagging,
    "rename": Renaming,
}


@dataclass(slots=True)
class Figures:
    """What a stage has done since it was compiled; `ns` is the time that it took."""

    processed: int = 0
    failed: int = 0
    skipped: int = 0
    ns: int = 0

    @property
    def received(self) -> int:
        """How many readings came to the stage."""
        return self.processed + self.failed + self.skipped


class Step(NamedTuple):
    """A stage of a chain, and what it has done."""

    name: str
    """As `pump-temperature.0.clean`: chain, place and kind."""
    stage: Stage | None
    """None for a window, which folds readings and lets none go on."""
    figures: Figures


class Chain:
    """The stages that matching readings go through; `clock` gives ns, for the figures alone."""

    def __init__(self, told: definition.Chain, stages: list[Stage], clock: Callable[[], int]) -> None:
        self.id = told.id
        self._match = told.match
        self._device = compiled(translate(told.match.device or "*"))
        self._metric = compiled(translate(told.match.metric or "*"))
        self._clock = clock
        kinds = [stage.kind for stage in told.stages]
        names = [f"{told.id}.{at}.{kind}" for at, kind in enumerate(kinds)]
        padded = [*stages, *[None] * (len(kinds) - len(stages))]
        self.steps = [Step(name, stage, Figures()) for name, stage in zip(names, padded, strict=True)]
        window = told.stages[-1].window
        self.rule = Rule(window.every, tuple(window.aggregates), window.idle or window.every) if window else None

    def matches(self, device: Device, metric: str) -> bool:
        """Whether readings of a metric of a device go this way."""
        match = self._match
        if match.type is not None and match.type != device.type:
            return False
        if match.tags is not None and not match.tags.items() <= set(device.tags):
            return False
        return bool(self._device.match(device.id) and self._metric.match(metric))

    def apply(self, reading: Reading, windows: Windows, now: int) -> Step | None:
        """Take a reading through the stages and return the one that kept it, None when it goes on. Raises StageFailed.

        `now` is the gateway's clock, Unix ms.
        """
        began = self._clock()
        for step in self.steps:
            name, stage, figures = step
            goes_on = False
            try:
                if stage is not None:
                    goes_on = stage.apply(reading)
                else:
                    self._fold(reading, windows, now)
            except StageFailed as error:
                figures.failed += 1
                error.stage = name
                raise
            except Exception as error:
                # What nobody foresaw must not stop the stream either.
                figures.failed += 1
                failed = StageFailed(f"{type(error).__name__}: {error}")
                failed.stage = name
                raise failed from error
            ended = self._clock()
            figures.ns += ended - began
            began = ended
            if goes_on or stage is None:
                figures.processed += 1
            else:
                figures.skipped += 1
            if not goes_on:
                return step
        return None

    def forget(self) -> None:
        """Remember nothing of earlier readings."""
        for step in self.steps:
            if step.stage is not None:
                step.stage.forget()

    def _fold(self, reading: Reading, windows: Windows, now: int) -> None:
        if self.rule is not None and reading.value is not None:  # a null says nothing about its window
            windows.fold(self.id, self.rule, reading, now)


def build(told: definition.Chain, clock: Callable[[], int]) -> tuple[Chain | None, list[Fault]]:
    """Return a compiled chain, or None and what its stages can't be made of; paths begin at the chain."""
    stages: list[Stage] = []
    faults: list[Fault] = []
    for at, stage in enumerate(told.stages):
        if stage.kind == WINDOW:
            continue
        try:
            stages.append(BUILDERS[stage.kind](stage.content))
        except ValueError as error:
            faults.append(Fault(("stages", at, stage.kind), str(error)))
    return (None, faults) if faults else (Chain(told, stages, clock), [])
