"""Rules over stored history, in virtual time: the engine that runs live, fed with what was. No I/O. (E6)"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fieldloom_engine.rules import Devices, Engine, Event, Firing, Rule, RuleSet

MAX_TOLD = 10_000  # firings of one version that are told; the rest is counted


class Trial(NamedTuple):
    """A version of a rule to try, and which devices it is for where it does not say all."""

    name: str
    rule: Rule
    devices: frozenset[str] | None


@dataclass
class Run:
    """Versions of a rule at work beside each other in a time that has passed."""

    trials: list[Trial]
    events: int = 0
    fired: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._engines = {trial.name: Engine(RuleSet([trial.rule], _targets(trial))) for trial in self.trials}
        self.fired = dict.fromkeys(self._engines, 0)
        self._found: dict[str, set[tuple[str, int, bool]]] = {name: set() for name in self._engines}

    def feed(self, events: Iterable[Event]) -> list[dict[str, Any]]:
        """Judge events that come in the order of their time, and return what fires."""
        told: list[dict[str, Any]] = []
        for event in events:
            self.events += 1
            for name, engine in self._engines.items():
                told += self._elapse(name, engine, event.ts)
                found = engine.step(event, event.ts)
                found += engine.advance(event.source, event.ts, event.ts)
                told += self._told(name, found)
        return told

    def end(self, now: int) -> list[dict[str, Any]]:
        """Let time go on to the end, Unix ms, and return what fires by that alone."""
        return [one for name, engine in self._engines.items() for one in self._elapse(name, engine, now)]

    def difference(self) -> Mapping[str, int]:
        """Return how many firings each version has that no other one has."""
        return {
            name: len(found - set().union(*(other for one, other in self._found.items() if one != name)))
            for name, found in self._found.items()
        }

    def _elapse(self, name: str, engine: Engine, until: int) -> Iterator[dict[str, Any]]:
        while (deadline := engine.next_deadline()) is not None and deadline <= until:
            yield from self._told(name, engine.elapse(deadline))

    def _told(self, name: str, firings: list[Firing]) -> list[dict[str, Any]]:
        told = []
        for firing in firings:
            self.fired[name] += 1
            if self.fired[name] <= MAX_TOLD:
                self._found[name].add((firing.event.source, firing.at, firing.holds))
                told.append(_shown(name, firing))
        return told


def _targets(trial: Trial) -> Any:
    def is_target(_: Devices, source: str) -> bool:
        return trial.devices is None or source in trial.devices

    return is_target


def _shown(name: str, firing: Firing) -> dict[str, Any]:
    effects = [{"kind": one.kind, "parameters": one.parameters, "withheld": one.withheld} for one in firing.effects]
    event = firing.event
    return {
        "of": name,
        "version": firing.version,
        "device": event.source,
        "at": firing.at,
        "holds": firing.holds,
        "values": firing.cause,
        "event": {"id": event.id, "type": event.type, "ts": event.ts},
        "effects": effects,
    }
