"""A rule's document as the cloud takes it: parsed, tried by its own cases, and held against its neighbours. Pure."""

import dataclasses
import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from fieldloom_cloud.errors import BadContent
from fieldloom_engine import rules, writes
from fieldloom_engine.definitions import Fault, shown

Mode = Literal["active", "shadow"]
SHADOW = "shadow"
RESERVED = ("backtest", "explain", "schema", "validate")
"""No ids of rules: they are addresses of the interface."""


class Warned(NamedTuple):
    """What may be meant, and should be looked at: another rule or workflow that writes the same."""

    rule: str | None
    workflow: str | None
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


def warnings(rule: rules.Rule, others: Iterable[writes.Writer]) -> list[Warned]:
    """Return which other rules and workflows write an actuator that a rule writes. (E9)"""
    return [
        Warned(
            clash.other.id if clash.other.kind == "rule" else None,
            clash.other.id if clash.other.kind == "workflow" else None,
            shown(("document", *clash.own.path)),
            clash.reason,
        )
        for clash in writes.clashes(writes.of_rule(rule), others)
    ]


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
