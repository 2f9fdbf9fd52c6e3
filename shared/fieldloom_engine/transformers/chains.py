"""All chains of a gateway: each reading of a record goes through the first one that matches it. (T1, T2, T3)"""

from collections.abc import Callable
from typing import NamedTuple

from fieldloom_engine.definitions import Fault
from fieldloom_engine.transformers import definition
from fieldloom_engine.transformers.chain import Chain, Figures, build
from fieldloom_engine.transformers.reading import TAG_CHARACTERS, Device, Reading, StageFailed, Value, characters
from fieldloom_engine.transformers.window import Aggregate, Rule, Windows

DEVICES = 10_000  # whose ways are remembered
METRICS = 1_000  # of one device


class Failure(NamedTuple):
    """A value that a stage could do nothing with."""

    stage: str
    metric: str
    value: Value
    error: str


class Transformed(NamedTuple):
    """What becomes of a record's values; `tags` are by metric."""

    values: dict[str, Value]
    tags: dict[str, dict[str, str]]
    failures: list[Failure]
    closed: list[Aggregate]
    """What windows that the record closes have come to."""


class Seen(NamedTuple):
    """What one stage made of a reading, for who tries a chain."""

    stage: str
    outcome: str
    metric: str
    value: Value
    tags: dict[str, str]


class Chains:
    """Compiled chains. Not thread-safe; `windows` are whoever's who keeps them on a disk."""

    def __init__(self, chains: list[Chain]) -> None:
        self.chains = chains
        self._ways: dict[Device, dict[str, Chain | None]] = {}

    def transform(
        self, device: Device, ts: int, values: dict[str, Value], windows: Windows, *, now: int, in_order: bool
    ) -> Transformed:
        """Return what becomes of a record. `in_order`: nothing of its device before it is missing. Times in Unix ms."""
        kept: dict[str, Value] = {}
        tags: dict[str, dict[str, str]] = {}
        failures: list[Failure] = []
        room = TAG_CHARACTERS
        ways = self._ways_of(device)
        for metric, value in values.items():
            chain = ways[metric] if metric in ways else self._way(ways, device, metric)
            reading = Reading(device.id, metric, ts, value)
            try:
                if chain is not None and chain.apply(reading, windows, now) is not None:
                    continue
                if reading.metric in kept:
                    raise StageFailed(f"the record holds {reading.metric} already")
                room -= characters(reading.tags) if reading.tags else 0
                if room < 0:
                    raise StageFailed(f"the tags of the record have more than {TAG_CHARACTERS} characters")
            except StageFailed as error:
                stage = error.stage or (chain.id if chain else "")
                failures.append(Failure(stage, metric, value, str(error)))
                continue
            kept[reading.metric] = reading.value
            if reading.tags:
                tags[reading.metric] = reading.tags
        return Transformed(kept, tags, failures, windows.close(device.id, ts if in_order else None))

    def trial(self, device: Device, ts: int, values: dict[str, Value]) -> list[Seen]:
        """Return what each stage makes of a record, as the first of its device. (to try a chain)"""
        seen: list[Seen] = []
        for metric, value in values.items():
            chain = self._way({}, device, metric)
            reading = Reading(device.id, metric, ts, value)
            if chain is None:
                seen.append(Seen("no chain", "passed", metric, value, {}))
            else:
                seen += _steps(chain, reading)
        return seen

    def rules(self) -> dict[str, Rule]:
        """Return the windows of the chains that have one, by chain."""
        return {chain.id: chain.rule for chain in self.chains if chain.rule is not None}

    def figures(self) -> dict[str, Figures]:
        """Return what each stage has done, by its name."""
        return {step.name: step.figures for chain in self.chains for step in chain.steps}

    def forget(self) -> None:
        """Remember nothing of earlier readings, since what they became is not on the disk."""
        for chain in self.chains:
            chain.forget()

    def _ways_of(self, device: Device) -> dict[str, Chain | None]:
        ways = self._ways.get(device)
        if ways is None:
            if len(self._ways) >= DEVICES:
                self._ways.clear()
            ways = self._ways[device] = {}
        return ways

    def _way(self, ways: dict[str, Chain | None], device: Device, metric: str) -> Chain | None:
        found = next((chain for chain in self.chains if chain.matches(device, metric)), None)
        if len(ways) < METRICS:
            ways[metric] = found
        return found


def compiled(told: object, clock: Callable[[], int]) -> tuple[Chains | None, list[Fault]]:
    """Return the chains of a definition, or None and every fault; `clock` gives ns, for the figures alone."""
    defined, faults = definition.parse(told)
    if defined is None:
        return None, faults
    chains: list[Chain] = []
    for at, one in enumerate(defined.chains):
        chain, wrong = build(one, clock)
        faults += [Fault(("chains", at, *fault.path), fault.reason) for fault in wrong]
        if chain is not None:
            chains.append(chain)
    return (None, faults) if faults else (Chains(chains), [])


def _steps(chain: Chain, reading: Reading) -> list[Seen]:
    seen: list[Seen] = []

    def note(stage: str, outcome: str) -> None:
        seen.append(Seen(stage, outcome, reading.metric, reading.value, dict(reading.tags)))

    for name, stage, _ in chain.steps:
        if stage is None:
            note(name, "folded into its window")
            return seen
        try:
            goes_on = stage.apply(reading)
        except StageFailed as error:
            note(name, f"failed: {error}")
            return seen
        note(name, "passed" if goes_on else "left out")
        if not goes_on:
            return seen
    return seen
