"""`fieldloom gateway rules` and `alarms`: what is at work at a site, with its cloud or without it. (E5, E7)"""

import json
from typing import Annotated

import typer

from fieldloom_gateway.client import Data, Json, ask, moment

app = typer.Typer(no_args_is_help=True, help="Rules at work in a gateway: seen, and read anew from its folder.")


@app.command("list", epilog="Example: fieldloom gateway rules list --data /var/lib/fieldloom")
def list_rules(data: Data, as_json: Json = False) -> None:
    """List the rules, those too of which no version was good."""
    told = ask(data, "GET", "/rules")
    if as_json:
        typer.echo(json.dumps(told))
        return
    for one in told["items"]:
        fired = (one["figures"] or {}).get("fired", 0)
        refused = f"  refused: {one['refused']['version']}" if one["refused"] else ""
        version = one["version"] or "-"
        typer.echo(f"{one['id']:32}  {version:8}  {one['mode']:6}  {one['origin']:6}  fired {fired}{refused}")


@app.command(epilog="Example: fieldloom gateway rules show overheat --data /var/lib/fieldloom")
def show(rule: Annotated[str, typer.Argument(help="Its id.")], data: Data, as_json: Json = False) -> None:
    """Show a rule with its last firings, why it fired, and what became of what it asked for."""
    told = ask(data, "GET", f"/rules/{rule}")
    if as_json:
        typer.echo(json.dumps(told))
        return
    typer.echo(f"{told['id']} {told['version'] or '-'}, {told['mode']}, from the {told['origin']}")
    for fault in (told["refused"] or {}).get("faults", []):
        typer.echo(f"refused  {told['refused']['version']}: {fault['path']}: {fault['reason']}")
    for one in told["firings"]:
        what = "fires" if one["holds"] else "ends"
        typer.echo(f"{what:8} {moment(one['at'])}  {one['device']:20}  {json.dumps(one['values'])}")
    for one in told["effects"]:
        typer.echo(f"{one['status']:8} {moment(one['asked'])}  {one['device']:20}  {one['kind']}  {one['error'] or ''}")


@app.command(epilog="Example: fieldloom gateway rules reload --data /var/lib/fieldloom")
def reload(data: Data, as_json: Json = False) -> None:
    """Have the running gateway read DATA/rules/*.yaml; of a file with a fault the last good version stays at work."""
    told = ask(data, "POST", "/rules/reload")
    if as_json:
        typer.echo(json.dumps(told))
        return
    typer.echo(f"{len(told['items'])} rules are at work")


def alarms(data: Data, as_json: Json = False) -> None:
    """List the alarms that are active at the site."""
    told = ask(data, "GET", "/alarms")
    if as_json:
        typer.echo(json.dumps(told))
        return
    for one in told["items"]:
        typer.echo(
            f"{one['severity']:8}  {moment(one['raised_at'])}  {one['device']:20}  {one['alarm']}  {one['message']}"
        )
