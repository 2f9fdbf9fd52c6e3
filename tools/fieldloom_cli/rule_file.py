"""`fieldloom rule validate|test|explain|schema`: rules worked out here, by the engine that runs them. (E2, E6)"""

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from fieldloom_cli import definition_file
from fieldloom_cli.api import Api
from fieldloom_cli.definition_file import end_by_faults, placed
from fieldloom_cli.errors import CommandFailed
from fieldloom_cli.options import Data, Json
from fieldloom_cli.output import show_json, show_table

SUFFIXES = (".yaml", ".yml", ".json")
EVENT_KEYS = ("type", "source", "ts", "data", "metadata")

Files = Annotated[list[Path], typer.Argument(metavar="FILE...", help="Rules, a file each, YAML or JSON.")]


def engine() -> Any:
    """Return what works rules out. Raises CommandFailed where it is not installed."""
    return definition_file.engine("rules")


def document(file: Path) -> dict[str, Any]:
    """Return the rule of a file. Raises CommandFailed with each fault on a line."""
    told = engine().check(file)
    if told["faults"]:
        raise CommandFailed("\n  ".join([f"{file} is no rule:", *(placed(file, fault) for fault in told["faults"])]))
    found: dict[str, Any] = told["document"]
    return found


def is_file(rule: str) -> bool:
    """Whether what names a rule is a file, and not the id of one that is deployed."""
    return Path(rule).suffix in SUFFIXES or Path(rule).is_file()


def validate(files: Files, as_json: Json = False) -> None:
    """Check files without a server: every fault with its line and path (exit code 1 if there is any)."""
    items = [{"file": str(file), **engine().check(file)} for file in files]
    if as_json:
        show_json({"items": [{name: part for name, part in one.items() if name != "document"} for one in items]})
    for one in [] if as_json else items:
        if not one["faults"]:
            print(f"{one['file']}: {one['rule']} {one['version']} is a rule; cases: {one['cases']}")
    end_by_faults(items, silent=as_json)


def test(files: Files, as_json: Json = False) -> None:
    """Run the cases that files bring, in virtual time, without a server (exit code 1 if one fails)."""
    items = [{"file": str(file), **engine().test(file)} for file in files]
    cases = [(one, case) for one in items for case in one.get("cases", [])]
    failed = sum(bool(case["failures"]) for _, case in cases)
    if as_json:
        show_json({"items": items, "failed": failed})
    elif cases:
        rows = (
            (one["rule"], case["case"], "failed" if case["failures"] else "passed", "; ".join(case["failures"]))
            for one, case in cases
        )
        show_table(["RULE", "CASE", "RESULT", "WHY"], rows)
        print(f"{len(cases) - failed} passed, {failed} failed")
    if not as_json:
        for one in items:
            if not one["faults"] and not one["cases"]:
                print(f"{one['file']}: no cases; write some under `cases`")
    end_by_faults(items, silent=as_json)
    if failed:
        raise typer.Exit(1)


def explain(
    rule: Annotated[str, typer.Argument(metavar="FILE|ID", help="A file, or a rule that is deployed.")],
    event: Annotated[str, typer.Option(help="A file with an event or with values, JSON; - for standard input.")],
    device: Annotated[str | None, typer.Option(help="Whose event it is, where the event does not tell.")] = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Show which part of a rule holds for an event and which does not, with the values.

    A file is asked here, as if the event were the first one of its device; a deployed rule by what it remembers.
    """
    asked = _event(event)
    if device is not None:
        asked.setdefault("source", device)
    if is_file(rule):
        found = engine().explain(Path(rule), asked, time.time_ns() // 1_000_000)
        end_by_faults([{"file": rule, **found}], silent=False)
        del found["faults"]
    else:
        if "source" not in asked:
            raise CommandFailed("the event does not tell its `source`: say whose it is by --device")
        found = Api(data).call("POST", "/rules/explain", json={"rule": rule, "event": asked})
    if as_json:
        show_json(found)
        return
    print(f"{found['rule']} {found['version']} {'fires' if found['fires'] else 'does not fire'}: {found['reason']}")
    show_table(["CONDITION", "HOLDS", "VALUES"], _parts(found["condition"], 0))


def schema() -> None:
    """Print the JSON Schema of a rule's file, for editors."""
    print(json.dumps(engine().schema(), indent=2))


def values_shown(values: dict[str, Any]) -> str:
    """Return values as people read them."""
    return ", ".join(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items())


def _parts(part: dict[str, Any], depth: int) -> list[tuple[str, str, str]]:
    told = "" if part["parts"] or part["told"] is None else f" {_short(part['told'])}"
    holds = {True: "yes", False: "no", None: "not told"}[part["holds"]]
    rows = [("  " * depth + part["kind"] + told, holds, values_shown(part["values"]))]
    return rows + [row for one in part["parts"] for row in _parts(one, depth + 1)]


def _short(told: Any) -> str:
    """Return what stands under a key without what is not told."""
    if isinstance(told, dict):
        told = {name: value for name, value in told.items() if value is not None}
    return json.dumps(told, ensure_ascii=False)


def _event(where: str) -> dict[str, Any]:
    try:
        told = json.loads(sys.stdin.read() if where == "-" else Path(where).read_text())
    except (OSError, ValueError) as error:
        raise CommandFailed(f"--event {where} can't be read as JSON ({error})") from None
    if not isinstance(told, dict):
        raise CommandFailed(f"--event {where} must hold an object: an event, or values by their names")
    return told if any(name in told for name in EVENT_KEYS) else {"data": told}
