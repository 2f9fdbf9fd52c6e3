"""`fieldloom telemetry`: what the devices measured, and whether all of it is there."""

import csv
import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from fieldloom_cli.api import Api
from fieldloom_cli.errors import CommandFailed, NotFound
from fieldloom_cli.moments import duration, moment
from fieldloom_cli.options import Data, Json
from fieldloom_cli.output import show_json, show_table

COLUMNS = ("device", "metric", "tags", "time", "value")
DEFAULT_LIMIT = 1000  # raw points of a series, where the cloud is not told another one

app = typer.Typer(no_args_is_help=True, help="Telemetry: query what the devices measured, and prove that all is there.")


@app.command(
    epilog="Example: fieldloom telemetry query --device board-1 --aggregate average --window 1m --csv > day.csv"
)
def query(
    device: Annotated[list[str], typer.Option(help="A device's id; may be repeated.")],
    metric: Annotated[list[str] | None, typer.Option(help="A metric's name; may be repeated.")] = None,
    start: Annotated[str | None, typer.Option(help="RFC 3339; by default a day ago.")] = None,
    end: Annotated[str | None, typer.Option(help="RFC 3339; by default now.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(help="What a series carries, as area:north; may be repeated.")
    ] = None,
    aggregate: Annotated[
        str | None,
        typer.Option(help="average, sum, min, max, count, percentile, first, last, or one that the cloud knows."),
    ] = None,
    percentile: Annotated[
        float | None, typer.Option(min=0, max=1, help="With --aggregate percentile, as 0.95.")
    ] = None,
    window: Annotated[str | None, typer.Option(help="As 10s, 1m, 1h.")] = None,
    limit: Annotated[int, typer.Option(help="The newest so many raw points of each series.")] = DEFAULT_LIMIT,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Query raw points or windows, and say of each device whether all of its records in that range are stored.

    The mark is in the JSON, in a column of the CSV, and on standard error: complete, incomplete (what is missing will
    not come) or open (something may still come, or is not proven). `limited` in the JSON: a series was cut at --limit.
    """
    if as_csv and as_json:
        raise CommandFailed("--csv and --json exclude each other: give one")
    until = moment("--end", end) if end else datetime.now(UTC)
    since = moment("--start", start) if start else until - timedelta(days=1)
    asked: dict[str, Any] = {
        "device": device,
        "metric": metric,
        "start": since.isoformat(),
        "end": until.isoformat(),
        "tag": tag,
        "aggregate": aggregate,
        "percentile": percentile,
        "window": window,
        "limit": limit,
    }
    api = Api(data)
    answer = api.call("GET", "/telemetry", params={name: value for name, value in asked.items() if value is not None})
    marks = {name: _mark(api, name, since, until) for name in device}
    limited = aggregate is None and any(len(one["points"]) >= limit for one in answer["series"])
    if as_json:
        show_json({**answer, "completeness": list(marks.values()), "limited": limited})
        return
    rows = [
        (one["device"], one["metric"], _tags(one["tags"]), ts, value)
        for one in answer["series"]
        for ts, value in one["points"]
    ]
    if as_csv:
        lines = csv.writer(sys.stdout, lineterminator="\n")
        lines.writerow((*COLUMNS, "completeness"))
        lines.writerows((*row, marks[row[0]]["status"]) for row in rows)
    else:
        show_table([name.upper() for name in COLUMNS], rows)
    for mark in marks.values():
        print("; ".join((f"{mark['device']}: {mark['status']}", *mark["reasons"])), file=sys.stderr)
    if limited:
        print(f"only the newest {limit} points of a series: raise --limit, or ask for windows", file=sys.stderr)


@app.command(epilog="Example: fieldloom telemetry completeness pump-7 --since 1h")
def completeness(
    device: Annotated[str, typer.Argument(help="The device's id.")],
    since: Annotated[str, typer.Option(help="How far back: a number and one of s, m, h, d, as 1h.")] = "1d",
    until: Annotated[str | None, typer.Option(help="RFC 3339; by default now.")] = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Say whether all records of a device are stored, or which are missing and where they are.

    Exit code 1 if some were dropped or lost for good.
    """
    end = moment("--until", until) if until else datetime.now(UTC)
    asked = {"device": device, "start": (end - duration("--since", since)).isoformat(), "end": end.isoformat()}
    answer = Api(data).call("GET", "/completeness", params=asked)
    if as_json:
        show_json(answer)
    else:
        _show_verdict(answer)
    if answer["status"] == "incomplete":
        raise typer.Exit(1)


def _mark(api: Api, device: str, since: datetime, until: datetime) -> dict[str, Any]:
    """Return the cloud's verdict on a device's records in a range; of one that is gone nothing can be proven."""
    asked = {"device": device, "start": since.isoformat(), "end": until.isoformat()}
    try:
        verdict: dict[str, Any] = api.call("GET", "/completeness", params=asked)
    except NotFound:
        return {**asked, "status": "open", "settled": None, "reasons": ["the device is not registered"], "missing": []}
    return verdict


def _tags(tags: dict[str, str]) -> str:
    return " ".join(f"{name}:{value}" for name, value in tags.items())


def _show_verdict(answer: dict[str, Any]) -> None:
    print(f"{answer['device']}: {answer['status']} from {answer['start']} to {answer['end']}")
    if answer["status"] == "open" and answer["settled"]:
        print(f"complete until {answer['settled']}" if not answer["missing"] else f"final until {answer['settled']}")
    for reason in answer["reasons"]:
        print(f"  {reason}")
    if answer["unnumbered"]:
        print(f"  {answer['unnumbered']} records without a number were dropped")
    if answer["missing"]:
        columns = ("where", "boot", "first", "last", "records", "gateway", "reason")
        show_table([name.upper() for name in columns], ([one[name] for name in columns] for one in answer["missing"]))
