"""Cases: events, and when rules fire. A rule brings its own; they are run whenever it is deployed. (E5, E6)

The watermark of a case is as exact as that of a device's stream: when an event has come, nothing is missing up to the
first one of its source that has not. The clock goes on to each event's arrival, and to each deadline on the way.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from fieldloom_engine.rules.definition import Case, CaseEvent, Expected, Rule
from fieldloom_engine.rules.engine import Engine
from fieldloom_engine.rules.event import Event
from fieldloom_engine.rules.firing import Effect, Firing
from fieldloom_engine.rules.ruleset import RuleSet

BEGINNING = 1_767_225_600_000  # 2026-01-01T00:00:00Z, Unix ms: when cases begin


class Failure(NamedTuple):
    """A case that did not go as it says."""

    case: str
    reason: str

    def __str__(self) -> str:
        return f"{self.case}: {self.reason}"


def check(rule: Rule) -> list[Failure]:
    """Run the cases that a rule brings, and return what went otherwise."""
    return [failure for case in rule.cases for failure in compare(case, run([rule], case))]


def run(rules: Iterable[Rule], case: Case) -> list[Firing]:
    """Return how rules fire in a case; rules for groups or types take all its devices for theirs."""
    engine = Engine(RuleSet(rules, lambda _devices, _source: True))
    firings: list[Firing] = []
    arrivals = sorted(enumerate(case.events), key=lambda one: (_arrival(one[1]), one[0]))
    for place, (number, told) in enumerate(arrivals):
        now = BEGINNING + _arrival(told)
        firings += _elapsed(engine, now)
        firings += engine.step(_event(number, told), now)
        firings += engine.advance(told.source, BEGINNING + _complete(told.source, arrivals, place), now)
    if case.until is not None:
        firings += _elapsed(engine, BEGINNING + case.until)
    return firings


def compare(case: Case, firings: Sequence[Firing]) -> list[Failure]:
    """Return how firings differ from those that a case expects."""
    failures: list[Failure] = []
    left = list(firings)
    for expected in case.fires:
        reasons = [_difference(expected, firing) for firing in left]
        if None in reasons:
            del left[reasons.index(None)]
            continue
        near = next((reason for firing, reason in zip(left, reasons, strict=True) if _at(firing) == expected.at), None)
        failures.append(Failure(case.name, f"does not fire at {_shown(expected.at)}" + (f": {near}" if near else "")))
    return failures + [
        Failure(
            case.name,
            f"fires at {_shown(_at(one))}, which is not expected{': withdraws' * (one.amends == 'withdraws')}",
        )
        for one in left
    ]


def _elapsed(engine: Engine, until: int) -> list[Firing]:
    firings: list[Firing] = []
    while (deadline := engine.next_deadline()) is not None and deadline <= until:
        firings += engine.elapse(deadline)
    return firings


def _event(number: int, told: CaseEvent) -> Event:
    ts = BEGINNING + told.at
    return Event(f"{number:06}", told.type, told.source, ts, told.data, told.metadata)


def _arrival(told: CaseEvent) -> int:
    return told.at if told.arrives is None else told.arrives


def _complete(source: str, arrivals: Sequence[tuple[int, CaseEvent]], place: int) -> int:
    """Return up to when a source's events are complete once those up to a place have come."""
    come = [told.at for _, told in arrivals[: place + 1] if told.source == source]
    missing = [told.at for _, told in arrivals[place + 1 :] if told.source == source]
    return max((at for at in come if not missing or at < min(missing)), default=-1)


def _difference(expected: Expected, firing: Firing) -> str | None:
    """Return in what a firing is not what is expected, None if it is."""
    asked = {
        "at": (expected.at, _at(firing)),
        "rule": (expected.rule, firing.rule),
        "source": (expected.source, firing.event.source),
        "holds": (expected.holds, firing.holds),
        "late": (expected.late, firing.late),
        "amends": (expected.amends, firing.amends),
    }
    for name, (wanted, found) in asked.items():
        if wanted != found and not (wanted is None and name in {"rule", "source"}):
            return f"{name} is {found}, not {wanted}"
    return None if expected.effects is None else _effects_differ(expected.effects, firing.effects)


def _effects_differ(expected: list[dict[str, Any]], effects: tuple[Effect, ...]) -> str | None:
    if len(expected) != len(effects):
        return f"has {len(effects)} effects, not {len(expected)}"
    for wanted, effect in zip(expected, effects, strict=True):
        for kind, parameters in wanted.items():
            found = effect.withheld if kind == "withheld" else effect.parameters
            if kind not in {"withheld", effect.kind}:
                return f"does {effect.kind}, not {kind}"
            if not _holds(parameters, found):
                return f"{kind} is {found}, not {parameters}"
        if effect.withheld and "withheld" not in wanted:
            return f"{effect.kind} is withheld: {effect.withheld}"
    return None


def _holds(wanted: Any, found: Any) -> bool:
    """Whether what is wanted is there: of a mapping the keys that are asked, of a reason a part of it."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        return all(name in found and _holds(part, found[name]) for name, part in wanted.items())
    if isinstance(wanted, str) and isinstance(found, str):
        return wanted in found
    return bool(wanted == found)


def _at(firing: Firing) -> int:
    return firing.at - BEGINNING


def _shown(ms: int) -> str:
    return f"{ms / 1000:g}s"
