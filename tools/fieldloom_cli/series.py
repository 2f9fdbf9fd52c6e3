"""`fieldloom series`: rules of downsampling, and how long points are kept. (S3)"""

from typing import Annotated, Any

import typer

from fieldloom_cli.api import Api
from fieldloom_cli.options import Data, Json
from fieldloom_cli.output import show_json, show_table

FIELDS = ("id", "source", "aggregate", "percentile", "window", "target", "look_back", "made_until")
FOREVER = "forever"

app = typer.Typer(no_args_is_help=True, help="Time series: rules of downsampling, how long points are kept.")
rules = typer.Typer(no_args_is_help=True, help="Rules of downsampling: few points made of many.")
app.add_typer(rules, name="rule")

Name = Annotated[str, typer.Argument(metavar="RULE", help="The rule's id.")]


@rules.command("list", epilog="Example: fieldloom series rule list --json")
def list_rules(data: Data = None, as_json: Json = False) -> None:
    """List the rules, and up to when each has made its windows."""
    found = list(Api(data).pages("/timeseries/rules"))
    if as_json:
        show_json({"items": found, "next": None})
        return
    _show_rules(found)


@rules.command(
    "put",
    epilog="Example: fieldloom series rule put hourly --source temperature --aggregate average --window 1h "
    "--target temperature_1h --look-back 1d",
)
def put_rule(
    name: Name,
    source: Annotated[str, typer.Option(help="The metric that is made fewer points of.")],
    aggregate: Annotated[str, typer.Option(help="As in `fieldloom telemetry query`.")],
    window: Annotated[str, typer.Option(help="As 1m, 1h, 1d; aligned to the epoch.")],
    target: Annotated[str, typer.Option(help="The metric that is made.")],
    look_back: Annotated[str, typer.Option(help="How late a point may come and still count.")] = "1d",
    percentile: Annotated[
        float | None, typer.Option(min=0, max=1, help="With --aggregate percentile, as 0.95.")
    ] = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Make a rule or change it; what it has made already stays."""
    asked: dict[str, Any] = {"source": source, "aggregate": aggregate, "window": window, "target": target}
    asked |= {"look_back": look_back, "percentile": percentile}
    told = Api(data).call("PUT", f"/timeseries/rules/{name}", json=asked)
    if as_json:
        show_json(told)
        return
    _show_rules([told])


@rules.command("delete", epilog="Example: fieldloom series rule delete hourly")
def delete_rule(name: Name, data: Data = None, as_json: Json = False) -> None:
    """Delete a rule; what it has made stays."""
    Api(data).call("DELETE", f"/timeseries/rules/{name}")
    if as_json:
        show_json({"id": name, "deleted": True})
        return
    print(f"{name} is deleted.")


@app.command(
    epilog="Examples: fieldloom series retention; fieldloom series retention --raw 30d --rolled 730d",
)
def retention(
    raw: Annotated[str | None, typer.Option(help=f"How long points are kept, as 30d, or {FOREVER}.")] = None,
    rolled: Annotated[str | None, typer.Option(help="The same of what rules have made.")] = None,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Show how long points are kept, or set it: what is older is gone for good within the hour."""
    api = Api(data)
    told = api.call("GET", "/timeseries/retention")
    if raw is not None or rolled is not None:
        wanted = {name: told[name] if text is None else text for name, text in (("raw", raw), ("rolled", rolled))}
        wanted = {name: None if text == FOREVER else text for name, text in wanted.items()}
        told = api.call("PUT", "/timeseries/retention", json=wanted)
    if as_json:
        show_json(told)
        return
    show_table(["POINTS", "KEPT"], [(name, told[name] or FOREVER) for name in ("raw", "rolled")])
    if told["note"]:
        print(told["note"])


def _show_rules(found: list[dict[str, Any]]) -> None:
    show_table([name.upper() for name in FIELDS], ([one[name] for name in FIELDS] for one in found))
