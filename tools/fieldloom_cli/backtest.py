"""`fieldloom rule backtest`: when a rule would have fired, and another version beside it. (E6)"""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from fieldloom_cli.api import Api
from fieldloom_cli.chart import BOTH, Mark, chart
from fieldloom_cli.errors import CommandFailed
from fieldloom_cli.moments import duration, moment
from fieldloom_cli.options import Data, Json
from fieldloom_cli.output import show_json, show_table
from fieldloom_cli.rule_file import document, is_file, values_shown

SHOWN = 20  # firings in the table
SIGNS = {"rule": "●", "against": "○"}


class _Found(NamedTuple):
    """What a backtest has told."""

    firings: list[dict[str, Any]]
    summary: dict[str, Any]


def backtest(
    rule: Annotated[str, typer.Argument(metavar="FILE|ID", help="A file, or a rule that is deployed.")],
    since: Annotated[str, typer.Option(help="How long back, as 12h or 30d.")] = "7d",
    against: Annotated[Path | None, typer.Option(metavar="FILE", help="Compare with the rule of this file.")] = None,
    version: Annotated[str | None, typer.Option(help="Compare with this version, which is deployed.")] = None,
    device: Annotated[list[str] | None, typer.Option(help="Only this device; may be repeated.")] = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Replay what is stored through a rule, and show when it would have fired and by which values."""
    start = datetime.now(UTC) - duration("--since", since)
    if against is not None and version is not None:
        raise CommandFailed("--against and --version can't both be there: compare with one of them")
    api = Api(data)
    found = _run(api, {**_asked(api, rule, against, version), "since": since, "devices": device or []})
    if as_json:
        show_json({"firings": found.firings, "summary": found.summary})
        return
    _show(found, start)


def _asked(api: Api, rule: str, against: Path | None, version: str | None) -> dict[str, Any]:
    """Return which rule is to be tried, and which beside it."""
    if not is_file(rule):
        asked: dict[str, Any] = {"rule": rule, "against_version": version}
        asked["against"] = None if against is None else document(against)
        return {name: part for name, part in asked.items() if part is not None}
    asked = {"document": document(Path(rule))}
    if against is not None:
        asked["against"] = document(against)
    elif version is not None:
        asked["against"] = api.call("GET", f"/rules/{asked['document']['id']}", params={"version": version})["document"]
    return asked


def _run(api: Api, asked: dict[str, Any]) -> _Found:
    """Return what fires; how far it is stands on standard error, where that is a terminal."""
    firings: list[dict[str, Any]] = []
    summary = None
    with typer.progressbar(length=100, label="Replaying", file=sys.stderr) as bar:
        for line in api.lines("/rules/backtest", asked):
            if line["kind"] == "firing":
                firings.append(line)
            elif line["kind"] == "progress":
                bar.update(round(line["share"] * 100) - bar.pos)
            else:
                summary = line
    if summary is None:
        raise CommandFailed("the backtest ended before it was done: ask again")
    return _Found(firings, summary)


def _show(found: _Found, start: datetime) -> None:
    summary = found.summary
    versions = {one["of"]: one["version"] for one in found.firings}
    for name, fired in summary["fired"].items():
        alone = f", which the other does not: {summary['only'][name]}" if len(summary["fired"]) > 1 else ""
        known = f" {versions[name]}" if name in versions else ""
        print(f"{SIGNS[name]} {name}{known} fires: {fired}{alone}")
    print(f"events replayed: {summary['events']}{'' if summary['complete'] else ', and there are more than it takes'}")
    marks = [Mark(SIGNS[one["of"]], moment("at", one["at"]), one["values"]) for one in found.firings if one["holds"]]
    for line in chart(marks, start, datetime.now(UTC)):
        print(line)
    if not found.firings:
        return
    rows = _rows(found.firings)
    show_table(["", "AT", "DEVICE", "IT", "VALUES"], rows[:SHOWN])
    if len(rows) > SHOWN:
        print(f"and {len(rows) - SHOWN} more: --json has them all")


def _rows(firings: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Return a row a firing, one for both versions where both fire alike."""
    signs: dict[tuple[str, ...], str] = {}
    for one in firings:
        row = (one["at"], one["device"], "begins" if one["holds"] else "ends", values_shown(one["values"]))
        sign = SIGNS[one["of"]]
        signs[row] = sign if signs.get(row, sign) == sign else BOTH
    return [(sign, *row) for row, sign in signs.items()]
