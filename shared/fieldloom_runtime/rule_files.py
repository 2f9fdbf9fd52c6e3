"""Rules in files, worked out without a server: what the command shows of them, as JSON. (E2, E6, E10)

The command finds this by the entry point `fieldloom.rules`. Every answer has `faults`, each with its line and path; as
long as there are any, nothing else is in it.
"""

from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import AwareDatetime, Field, ValidationError

from fieldloom_engine import rules
from fieldloom_engine.definitions import Fault, Name, Part, faults_of, shown
from fieldloom_engine.rules.cases import compare
from fieldloom_engine.rules.compiling import Compiled
from fieldloom_runtime import definitions
from fieldloom_runtime.definitions import Faulty


class _File(NamedTuple):
    """A rule, and where it stands."""

    rule: rules.Rule
    read: definitions.Read


def check(path: Path) -> dict[str, Any]:
    """Return what a file says: `rule`, its id; `version`; `placement`; `document`; `cases`, how many it brings."""
    try:
        rule = _read(path).rule
    except Faulty as error:
        return {"faults": error.faults}
    return {
        "faults": [],
        "rule": rule.id,
        "version": rule.version,
        "placement": rule.placement,
        "document": dict(rule.document),
        "cases": len(rule.cases),
    }


def test(path: Path) -> dict[str, Any]:
    """Run the cases of a file in virtual time, and return `cases`: name, line, and what went otherwise."""
    try:
        rule, read = _read(path)
    except Faulty as error:
        return {"faults": error.faults}
    cases = [
        {
            "case": case.name,
            "line": read.line(("cases", at)),
            "failures": [one.reason for one in compare(case, rules.run([rule], case))],
        }
        for at, case in enumerate(rule.cases)
    ]
    return {"faults": [], "rule": rule.id, "version": rule.version, "cases": cases}


def explain(path: Path, event: dict[str, Any], now: int) -> dict[str, Any]:
    """Return what the rule of a file makes of an event, as the cloud's `/rules/explain` does; `now` is Unix ms.

    The event is the first one of its source. Its faults have no line.
    """
    try:
        rule = _read(path).rule
        asked = _event(event, now)
    except Faulty as error:
        return {"faults": error.faults}
    found = rules.explain(Compiled(rule), asked, None)
    return {"faults": [], **found.as_json()}


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a rule's file."""
    return rules.schema()


def _read(path: Path) -> _File:
    read = definitions.read_file(path)
    try:
        return _File(rules.parse(read.value), read)
    except rules.InvalidRule as error:
        raise Faulty([definitions.told(fault, read) for fault in error.faults]) from None


class _Event(Part):
    """An event as a question tells it, to the cloud too."""

    type: Name = rules.TELEMETRY
    source: Name = "device-1"
    ts: Annotated[AwareDatetime | None, Field(strict=False)] = None
    data: dict[str, Any] = {}  # noqa: RUF012 - frozen
    metadata: dict[str, Any] = {}  # noqa: RUF012 - frozen


def _event(told: dict[str, Any], now: int) -> rules.Event:
    try:
        asked = _Event.model_validate(told)
    except ValidationError as error:
        faults = [Fault(("event", *fault.path), fault.reason) for fault in faults_of(error)]
        raise Faulty([{"line": None, "path": shown(one.path), "reason": one.reason} for one in faults]) from None
    ts = now if asked.ts is None else round(asked.ts.timestamp() * 1000)
    return rules.Event("asked", asked.type, asked.source, ts, asked.data, asked.metadata)
