"""Rules: what fires when an event comes, or when one does not. Pure. (E1 to E6, E8, E10; ADR 35)

    rule = parse(document)                     # or InvalidRule with every fault and its path
    engine = Engine(RuleSet([rule], targets))  # or with the state of a checkpoint
    firings = engine.step(event, now)          # each event, in whatever order it comes
    firings += engine.advance(source, watermark, now)   # once nothing up to there is missing
    firings += engine.elapse(now)              # at engine.next_deadline()

A tier performs the effects that are not withheld, each at least once: their ids make a second time harmless. It keeps
`engine.changes()` with the events that it has stepped; after a crash it steps those again that this does not cover.
`explain` tells why a rule fires, `check` runs the cases that a rule brings. Times are Unix ms, durations ms.
"""

from fieldloom_engine.rules.action_list import Action
from fieldloom_engine.rules.actions import KINDS, WITHDRAW, Kind
from fieldloom_engine.rules.cases import check, run
from fieldloom_engine.rules.definition import ENGINE, Devices, InvalidRule, Rule, parse, schema
from fieldloom_engine.rules.engine import Engine
from fieldloom_engine.rules.event import MADE_BY_RULES, TELEMETRY, Event
from fieldloom_engine.rules.explaining import Explanation, Part, explain
from fieldloom_engine.rules.firing import Effect, Firing
from fieldloom_engine.rules.ruleset import RuleSet
from fieldloom_engine.rules.source import UnreadableRecord

__all__ = [
    "ENGINE",
    "KINDS",
    "MADE_BY_RULES",
    "TELEMETRY",
    "WITHDRAW",
    "Action",
    "Devices",
    "Effect",
    "Engine",
    "Event",
    "Explanation",
    "Firing",
    "InvalidRule",
    "Kind",
    "Part",
    "Rule",
    "RuleSet",
    "UnreadableRecord",
    "check",
    "explain",
    "parse",
    "run",
    "schema",
]
