"""`fieldloom telemetry`: what the devices measured."""

from typing import Annotated, Any

import typer

from fieldloom_cli.api import Api
from fieldloom_cli.options import Data, Json
from fieldloom_cli.output import show_json, show_table

app = typer.Typer(no_args_is_help=True, help="Telemetry: query what the devices measured.")


@app.callback()
def telemetry() -> None:
    """Keep `query` a command of its own while the group has no other."""


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
