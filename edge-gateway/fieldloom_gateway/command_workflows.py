"""`fieldloom gateway workflows` and `instances`: what runs at a site, with its cloud or without it. (W4, W5, W7)"""

import json
from typing import Annotated, Any

import typer

from fieldloom_gateway.client import Data, Json, ask, end, moment

app = typer.Typer(no_args_is_help=True, help="Workflows at work in a gateway: seen, started, read from its folder.")
instances = typer.Typer(no_args_is_help=True, help="Instances of workflows in a gateway: seen and terminated.")

Workflow = Annotated[str, typer.Argument(help="Its id.")]
Instance = Annotated[str, typer.Argument(help="Its id, as `list` shows it.")]


@app.command("list", epilog="Example: fieldloom gateway workflows list --data /var/lib/fieldloom")
def list_workflows(data: Data, as_json: Json = False) -> None:
    """List the workflows, those too that only still run and those of which no version was good."""
    told = ask(data, "GET", "/workflows")
    if as_json:
        typer.echo(json.dumps(told))
        return
    for one in told["items"]:
        refused = f"  refused: {one['refused']['version']}" if one["refused"] else ""
        typer.echo(f"{one['id']:32}  {one['version'] or '-':8}  {one['origin']:6}{refused}")


@app.command(epilog="Example: fieldloom gateway workflows show cooling --data /var/lib/fieldloom")
def show(workflow: Workflow, data: Data, as_json: Json = False) -> None:
    """Show a workflow: the version at work, those that still run, and what is wrong with a refused one."""
    told = ask(data, "GET", f"/workflows/{workflow}")
    if as_json:
        typer.echo(json.dumps(told))
        return
    typer.echo(f"{told['id']} {told['version'] or '-'}, from the {told['origin']}; kept: {', '.join(told['versions'])}")
    for fault in (told["refused"] or {}).get("faults", []):
        typer.echo(f"refused  {told['refused']['version']}: {fault['path']}: {fault['reason']}")


@app.command(epilog="Example: fieldloom gateway workflows reload --data /var/lib/fieldloom")
def reload(data: Data, as_json: Json = False) -> None:
    """Have the running gateway read DATA/workflows/*.yaml; of a file with a fault the last good version stays."""
    told = ask(data, "POST", "/workflows/reload")
    at_work = sum(one["version"] is not None for one in told["items"])
    typer.echo(json.dumps(told) if as_json else f"{at_work} workflows are at work")


@app.command(
    epilog="Example: fieldloom gateway workflows start cooling --set device_id=pump-1 --set limit=80 "
    "--data /var/lib/fieldloom"
)
def start(
    workflow: Workflow,
    data: Data,
    variables: Annotated[
        list[str], typer.Option("--set", help="NAME=VALUE, the value as JSON or as a text; may come again.")
    ] = [],  # noqa: B006 - typer's
    as_json: Json = False,
) -> None:
    """Start an instance, and print its id."""
    body = {"variables": dict(_variable(one) for one in variables)}
    told = ask(data, "POST", f"/workflows/{workflow}/start", body)
    typer.echo(json.dumps(told) if as_json else told["id"] + (" waits for others to end" if told["queued"] else ""))


@instances.command("list", epilog="Example: fieldloom gateway instances list --status failed --data /var/lib/fieldloom")
def list_instances(
    data: Data,
    workflow: Annotated[str | None, typer.Option(help="Of this workflow alone.")] = None,
    status: Annotated[str | None, typer.Option(help="running, waiting, succeeded, failed or terminated.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 100,
    as_json: Json = False,
) -> None:
    """List instances, those that changed last first."""
    told = ask(data, "GET", "/instances", workflow=workflow, status=status, limit=limit)
    if as_json:
        typer.echo(json.dumps(told))
        return
    for one in told["items"]:
        where = ", ".join(one["states"]) or (one["failure"] or {}).get("message", "") or one["reason"] or ""
        head = f"{one['id']}  {one['workflow']:24}  {one['version']:8}  {one['status']:10}"
        typer.echo(f"{head}  {moment(one['created'])}  {one['device'] or '-':20}  {where}")


@instances.command("show", epilog="Example: fieldloom gateway instances show 4f9c... --data /var/lib/fieldloom")
def show_instance(instance: Instance, data: Data, as_json: Json = False) -> None:
    """Show an instance: where it is, its variables, and how it came there."""
    told = ask(data, "GET", f"/instances/{instance}")
    if as_json:
        typer.echo(json.dumps(told))
        return
    typer.echo(f"{told['workflow']} {told['version']}, {told['status']}: {', '.join(told['states']) or '-'}")
    typer.echo(f"variables {json.dumps(told['variables'])}")
    for one in told["history"]:
        failure = (one.get("failure") or {}).get("message", "")
        outcome = one.get("outcome", "succeeded") if one["kind"] == "state" else ""
        typer.echo(f"{moment(one['at'])}  {one['kind']:12}  {one.get('state') or '':24}  {outcome:10}  {failure}")


@instances.command(
    epilog="Example: fieldloom gateway instances terminate 4f9c... --reason 'the pump is out' --data /var/lib/fieldloom"
)
def terminate(
    instance: Instance,
    data: Data,
    reason: Annotated[str, typer.Option(help="Kept with the instance.")],
    keep: Annotated[bool, typer.Option("--keep", help="Undo nothing of what it did.")] = False,
    as_json: Json = False,
) -> None:
    """Terminate an instance; what it did is undone by its compensations."""
    told = ask(data, "POST", f"/instances/{instance}/terminate", {"reason": reason, "undo": not keep})
    typer.echo(json.dumps(told) if as_json else f"{told['id']} is {told['status']}")


def _variable(told: str) -> tuple[str, Any]:
    name, is_pair, value = told.partition("=")
    if not name or not is_pair:
        end(f"{told!r} is not NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value
