"""A rule's document as the cloud takes it: parsed, tried by its own cases, and held against its neighbours. Pure."""

import dataclasses
import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from fieldloom_cloud.errors import BadContent
from fieldloom_engine import rules
from fieldloom_engine.definitions import Fault, Path, shown
from fieldloom_engine.holds import MOVES_NOTHING
from fieldloom_engine.rules.templates import is_template

Mode = Literal["active", "shadow"]
SHADOW = "shadow"
RESERVED = ("backtest", "explain", "schema", "validate")
"""No ids of rules: they are addresses of the interface."""


class Warned(NamedTuple):
    """What may be meant, and should be looked at: another rule that writes the same."""

    rule: str
    path: str
    reason: str


def checked(document: object) -> rules.Rule:
    """Return the rule of a document whose own cases pass. Raises BadContent with each fault and its path."""
    try:
        rule = rules.parse(document)
    except rules.InvalidRule as error:
        raise refused(error.faults) from None
    faults = [*_misplaced(rule), *(Fault(("cases",), str(failure)) for failure in rules.check(rule))]
    if rule.id in RESERVED:
        faults.append(Fault(("id",), f"must not be one of {', '.join(RESERVED)}"))
    if faults:
        raise refused(faults)
    return rule


def refused(faults: Iterable[Fault]) -> BadContent:
    """Return the refusal of a document, its faults by their paths in the body."""
    errors = [{"path": shown(("document", *fault.path)), "reason": fault.reason} for fault in faults]
    return BadContent("The rule can't be taken.", errors)


def at_work(rule: rules.Rule, mode: str) -> rules.Rule:
    """Return a rule in a mode. In shadow it is another one to the engine: what it remembers ends with the mode."""
    if mode != SHADOW or rule.shadow:
        return rule
    return dataclasses.replace(rule, shadow=True, fingerprint=f"{rule.fingerprint} {SHADOW}")


def warnings(rule: rules.Rule, others: Iterable[rules.Rule]) -> list[Warned]:
    """Return which other rules write an actuator that a rule writes. (E9)"""
    own = list(_written(rule))
    return [
        Warned(other.id, shown(("document", *path)), f"{other.id} writes it too: {mine.what}")
        for other in others
        if other.id != rule.id
        for path, mine in own
        if any(mine.is_same(theirs) for _, theirs in _written(other))
    ]


class _Actuator(NamedTuple):
    """What an action writes."""

    device: str | None
    """None for whichever a template names."""
    what: str

    def is_same(self, other: "_Actuator") -> bool:
        """Whether both may be the same."""
        return self.what == other.what and (None in (self.device, other.device) or self.device == other.device)


def _written(rule: rules.Rule) -> Iterator[tuple[Path, _Actuator]]:
    """Give what a rule's actions write, and where they stand; what only a template tells is not known."""
    for part, actions in (("do", rule.do), ("otherwise", rule.otherwise)):
        for at, action in enumerate(actions):
            for what in _targets(action):
                device = action.told.get("device_id")
                named = None if device is None or is_template(device) else device
                yield (part, at, action.kind), _Actuator(named, what)


def _targets(action: rules.Action) -> list[str]:
    told = action.told
    if action.kind == "command" and not is_template(told["type"]) and told["type"] not in MOVES_NOTHING:
        parameters = told.get("parameters")
        name = parameters.get("name") if told["type"] == "write" and isinstance(parameters, dict) else None
        return [f"command {told['type']}" + (f" {name}" if isinstance(name, str) else "")]
    if action.kind == "set_twin" and isinstance(told["desired"], dict):
        return [f"twin {name}" for name in told["desired"]]
    return []


def _misplaced(rule: rules.Rule) -> Iterator[Fault]:
    """Give those actions that can't be done where the rule may run."""
    for part, actions in (("do", rule.do), ("otherwise", rule.otherwise)):
        for at, action in enumerate(actions):
            if action.kind == "publish" and rule.placement != "edge":
                reason = "the cloud has no topics of devices: give the rule `placement: edge`"
                yield Fault((part, at, action.kind), reason)


def parsed(document: dict[str, Any]) -> rules.Rule | None:
    """Return the rule of a stored document, None when this version's engine does not take it any more."""
    return _parsed(json.dumps(document))


@lru_cache(maxsize=1024)
def _parsed(text: str) -> rules.Rule | None:
    try:
        return rules.parse(json.loads(text))
    except rules.InvalidRule:
        return None
