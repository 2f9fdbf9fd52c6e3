"""Workflows in files, worked out without a server: what the command shows of them, as JSON. (W1, W3, W4)

The command finds this by the entry point `fieldloom.workflows`. Every answer has `faults`, each with its line and path;
as long as there are any, nothing else is in it.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple
from zoneinfo import ZoneInfo

from fieldloom_engine import workflows
from fieldloom_engine.workflows import pictures, schedules
from fieldloom_engine.workflows.graph import graph
from fieldloom_engine.workflows.model import OnSchedule
from fieldloom_runtime import definitions
from fieldloom_runtime.definitions import Faulty


class _File(NamedTuple):
    """A workflow, and where it stands."""

    workflow: workflows.Workflow
    read: definitions.Read


def check(path: Path) -> dict[str, Any]:
    """Return what a file says: `workflow`, its id; `version`; `placement`; `document`; `states`; `warnings`."""
    try:
        workflow, read = _read(path)
    except Faulty as error:
        return {"faults": error.faults}
    return {
        "faults": [],
        "workflow": workflow.id,
        "version": workflow.version,
        "placement": workflow.placement,
        "document": dict(workflow.document),
        "states": len(graph(workflow).nodes),
        "warnings": [definitions.told(fault, read) for fault in workflows.warnings(workflow)],
    }


def draw(path: Path) -> dict[str, Any]:
    """Return the `graph` of a file as JSON, as a `mermaid` diagram, and as a `drawing` in text."""
    try:
        found = graph(_read(path).workflow)
    except Faulty as error:
        return {"faults": error.faults}
    return {
        "faults": [],
        "graph": found.as_json(),
        "mermaid": pictures.mermaid(found),
        "drawing": pictures.drawing(found),
    }


def upcoming(path: Path, after: int, count: int) -> dict[str, Any]:
    """Return the next `times` at which the schedules of a file come after an instant, Unix ms: `at` and `local`."""
    try:
        workflow = _read(path).workflow
    except Faulty as error:
        return {"faults": error.faults}
    told = [one.on for one in workflow.triggers if isinstance(one.on, OnSchedule)]
    found = sorted((at, one.cron, one.timezone) for one in told for at in _next(one, after, count))[:count]
    times = [{"at": _shown(at, "UTC"), "local": _shown(at, zone), "cron": cron} for at, cron, zone in found]
    return {"faults": [], "workflow": workflow.id, "times": times}


def convert(path: Path, to: Literal["yaml", "json"]) -> dict[str, Any]:
    """Return the `text` of a file as `yaml` or `json`."""
    try:
        read = _read(path).read
    except Faulty as error:
        return {"faults": error.faults}
    return {"faults": [], "text": definitions.write(read.value, to)}


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a workflow's file."""
    return workflows.schema()


def _read(path: Path) -> _File:
    read = definitions.read_file(path)
    try:
        return _File(workflows.parse(read.value), read)
    except workflows.InvalidWorkflow as error:
        raise Faulty([definitions.told(fault, read) for fault in error.faults]) from None


def _next(schedule: OnSchedule, after: int, count: int) -> list[int]:
    found: list[int] = []
    while len(found) < count and (at := schedules.following(schedule, found[-1] if found else after)) is not None:
        found.append(at)
    return found


def _shown(at: int, zone: str) -> str:
    shown = datetime.fromtimestamp(at / 1000, UTC).astimezone(ZoneInfo(zone)).isoformat(timespec="seconds")
    return shown.replace("+00:00", "Z")
