"""`fieldloom telemetry`: what the devices measured, and whether all of it is there."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from fieldloom_cli.api import Api
from fieldloom_cli.moments import duration, moment
from fieldloom_cli.options import Data, Json
from fieldloom_cli.output import show_json, show_table

app = typer.Typer(no_args_is_help=True, help="Telemetry: query what the devices measured, and prove that all is there.")


@app.command(
    epilog="Example: fieldloom telemetry query --device board-1 --metric temperature --aggregate average --window 1m"
)
def query(
    device: Annotated[list[str], typer.Option(help="A device's id; may be repeated.")],
    metric: Annotated[list[str] | None, typer.Option(help="A metric's name; may be repeated.")] = None,
    start: Annotated[str | None, typer.Option(help="RFC 3339; by default a day ago.")] = None,
    end: Annotated[str | None, typer.Option(help="RFC 3339; by default now.")] = None,
    aggregate: Annotated[str | None, typer.Option(help="average, sum, min, max or count.")] = None,
    window: Annotated[str | None, typer.Option(help="As 10s, 1m, 1h.")] = None,
    limit: Annotated[int | None, typer.Option(help="The newest so many raw points.")] = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Query raw points or windows."""
    asked: dict[str, Any] = {
        "device": device,
        "metric": metric,
        "start": start,
        "end": end,
        "aggregate": aggregate,
        "window": window,
        "limit": limit,
    }
    answer = Api(data).call(
        "GET", "/telemetry", params={name: value for name, value in asked.items() if value is not None}
    )
    if as_json:
        show_json(answer)
        return
    rows = ((one["device"], one["metric"], ts, value) for one in answer["series"] for ts, value in one["points"])
    show_table(["DEVICE", "METRIC", "TIME", "VALUE"], rows)


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
