"""`fieldloom cluster`: the gateways of a site, as one of them that runs sees them. (D3, D4, D5)"""

import json
from typing import Annotated, Any

import typer

from fieldloom_gateway.client import Data, Json, NotDone, call, end

app = typer.Typer(no_args_is_help=True, help="What the gateways of a site share, asked at one of them.")


@app.command(epilog="Example: fieldloom cluster status --data /var/lib/fieldloom --json")
def status(data: Data, as_json: Json = False) -> None:
    """Show who leads, whether anything shared can be written, and this gateway's partitions."""
    told = _ask(data, "GET", "/cluster")
    if as_json:
        typer.echo(json.dumps(told))
        return
    partitions = told.pop("partitions") or {}
    for name, value in {**told, **told.pop("map"), **partitions}.items():
        typer.echo(f"{name:26}{', '.join(value) if isinstance(value, list) else value}")


@app.command(epilog="Example: fieldloom cluster members --data /var/lib/fieldloom")
def members(data: Data, as_json: Json = False) -> None:
    """List the gateways with their states and what they run."""
    told = _ask(data, "GET", "/cluster/members")
    if as_json:
        typer.echo(json.dumps(told))
        return
    for one in told["items"]:
        typer.echo(f"{one['name']:24}{one['state']:10}{one['address']:24}{one['software']['release']}")


@app.command(epilog="Example: fieldloom cluster partitions --data /var/lib/fieldloom --json")
def partitions(data: Data, as_json: Json = False) -> None:
    """List the partitions with their owners, who is next, and their states here."""
    told = _ask(data, "GET", "/cluster/partitions")
    if as_json:
        typer.echo(json.dumps(told))
        return
    for one in told["items"]:
        typer.echo(f"{one['partition']:<6}{one['state']:14}{' > '.join(one['replicas'])}")


@app.command(epilog="Example: fieldloom cluster move sensor.cellar gw.site2 --data /var/lib/fieldloom")
def move(
    device: Annotated[str, typer.Argument(help="A device; all of its partition move.")],
    heir: Annotated[str, typer.Argument(help="The gateway that is to act for it.")],
    data: Data,
    as_json: Json = False,
) -> None:
    """Have another gateway act for a device; the balance may move it again."""
    told = _ask(data, "POST", "/cluster/moves", device=device, heir=heir)
    typer.echo(json.dumps(told) if as_json else f"partition {told['partition']} goes to {told['heir']}")


@app.command(epilog="Example: fieldloom cluster drain --data /var/lib/fieldloom")
def drain(
    data: Data,
    resume: Annotated[bool, typer.Option("--resume", help="Take part again.")] = False,
    as_json: Json = False,
) -> None:
    """Have others take over all that this gateway acts for, as before it is stopped."""
    told = _ask(data, "POST", "/cluster/resume" if resume else "/cluster/drain")
    owned = told["partitions"]["owned"]
    typer.echo(json.dumps(told) if as_json else f"owns {owned} partitions now; `fieldloom cluster status` tells more")


def _ask(data: Data, method: str, path: str, **query: Any) -> Any:
    try:
        return call(data, method, path, **query)
    except NotDone as error:
        end(str(error))
