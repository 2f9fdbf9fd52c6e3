"""`fieldloom cluster`: the gateways of a site, as one of them that runs sees them. (D3, D4, D5)"""

import json
import shutil
from typing import Annotated, Any

import typer

from fieldloom_gateway.client import Data, Json, ask
from fieldloom_gateway.cluster.node import FOLDER
from fieldloom_gateway.settings import FILE, load
from fieldloom_runtime import files

app = typer.Typer(no_args_is_help=True, help="What the gateways of a site share, asked at one of them.")


@app.command(epilog="Example: fieldloom cluster status --data /var/lib/fieldloom --json")
def status(data: Data, as_json: Json = False) -> None:
    """Show who leads, whether anything shared can be written, and this gateway's partitions."""
    told = ask(data, "GET", "/cluster")
    if as_json:
        typer.echo(json.dumps(told))
        return
    parts = [told.pop(name) or {} for name in ("consensus", "map", "partitions")]
    for name, value in {key: value for part in (told, *parts) for key, value in part.items()}.items():
        typer.echo(f"{name:26}{_shown(value)}")


@app.command(epilog="Example: fieldloom cluster members --data /var/lib/fieldloom")
def members(data: Data, as_json: Json = False) -> None:
    """List the gateways with their states and what they run."""
    told = ask(data, "GET", "/cluster/members")
    if as_json:
        typer.echo(json.dumps(told))
        return
    typer.echo(f"{'GATEWAY':24}{'STATE':10}{'ADDRESS':24}{'RELEASE':10}{'HEARD OF':12}")
    for one in told["items"]:
        heard = "-" if one["silent_s"] is None else f"{one['silent_s']:.1f} s ago"
        leads = "leads" if one["leader"] else ""
        release = one["software"]["release"]
        typer.echo(f"{one['name']:24}{one['state']:10}{one['address']:24}{release:10}{heard:12}{leads}".rstrip())


@app.command(epilog="Example: fieldloom cluster services mqtt --data /var/lib/fieldloom")
def services(
    data: Data,
    name: Annotated[str, typer.Argument(help="Only those of this name.")] = "",
    healthy: Annotated[bool, typer.Option("--healthy", help="Only those that work.")] = False,
    as_json: Json = False,
) -> None:
    """List what the gateways of the site offer, and whether it works by its checks."""
    told = ask(data, "GET", "/services", name=name, healthy=healthy)
    if as_json:
        typer.echo(json.dumps(told))
        return
    typer.echo(f"{'SERVICE':14}{'GATEWAY':24}{'ADDRESS':24}STATUS")
    for one in told["items"]:
        own = one["service"]
        address = f"{own['host']}:{own['port']}"
        typer.echo(f"{own['name']:14}{one['member']:24}{address:24}{one['status']}  {one['fault']}".rstrip())


@app.command(epilog="Example: fieldloom cluster invite gw.site2 --data /var/lib/fieldloom")
def invite(
    gateway: Annotated[str, typer.Argument(help="The gateway that is to join.")],
    data: Data,
    minutes: Annotated[float, typer.Option(min=1, max=10_080, help="How long the token is good.")] = 60,
    as_json: Json = False,
) -> None:
    """Make a token by which one gateway may join, once: `fieldloom gateway init --cluster HOST:PORT --join TOKEN`."""
    told = ask(data, "POST", "/cluster/invitations", member=gateway, valid_s=minutes * 60)
    typer.echo(json.dumps(told) if as_json else told["token"])


@app.command(epilog="Example: fieldloom cluster leave --data /var/lib/fieldloom")
def leave(data: Data, as_json: Json = False) -> None:
    """Hand over what this gateway acts for, and take it out of the cluster; it is alone from its next start on."""
    told = ask(data, "POST", "/cluster/leave")
    files.write(data / FILE, load(data).model_copy(update={"cluster": None}).model_dump_json(indent=2) + "\n")
    shutil.rmtree(data / FOLDER)
    typer.echo(json.dumps(told) if as_json else f"{told['left']} has left: start it again, and it is alone")


@app.command(epilog="Example: fieldloom cluster remove gw.site3 --data /var/lib/fieldloom")
def remove(
    gateway: Annotated[str, typer.Argument(help="A gateway that is down and will not come back.")],
    data: Data,
    as_json: Json = False,
) -> None:
    """Take a gateway out of the cluster that is down for good; it comes back by a new token alone."""
    told = ask(data, "DELETE", f"/cluster/members/{gateway}")
    typer.echo(json.dumps(told) if as_json else f"{told['removed']} is no member any more")


@app.command(epilog="Example: fieldloom cluster partitions --data /var/lib/fieldloom --json")
def partitions(data: Data, as_json: Json = False) -> None:
    """List the partitions with their states here, what is done for them, their owners, and who is next."""
    told = ask(data, "GET", "/cluster/partitions")
    if as_json:
        typer.echo(json.dumps(told))
        return
    for one in told["items"]:
        typer.echo(f"{one['partition']:<6}{one['state']:14}{one['units_per_s']:>8g}/s  {' > '.join(one['replicas'])}")


@app.command(epilog="Example: fieldloom cluster move sensor.cellar gw.site2 --data /var/lib/fieldloom")
def move(
    device: Annotated[str, typer.Argument(help="A device; all of its partition move.")],
    heir: Annotated[str, typer.Argument(help="The gateway that is to act for it.")],
    data: Data,
    as_json: Json = False,
) -> None:
    """Have another gateway act for a device; the balance may move it again."""
    told = ask(data, "POST", "/cluster/moves", device=device, heir=heir)
    typer.echo(json.dumps(told) if as_json else f"partition {told['partition']} goes to {told['heir']}")


@app.command(epilog="Example: fieldloom cluster drain --data /var/lib/fieldloom")
def drain(
    data: Data,
    resume: Annotated[bool, typer.Option("--resume", help="Take part again.")] = False,
    as_json: Json = False,
) -> None:
    """Have others take over all that this gateway acts for, as before it is stopped."""
    told = ask(data, "POST", "/cluster/resume" if resume else "/cluster/drain")
    owned = told["partitions"]["owned"]
    typer.echo(json.dumps(told) if as_json else f"owns {owned} partitions now; `fieldloom cluster status` tells more")


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name}={count}" for name, count in value.items()) or "-"
    return ", ".join(value) if isinstance(value, list) else str(value)
