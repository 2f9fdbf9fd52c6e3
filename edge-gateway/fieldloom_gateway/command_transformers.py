"""`fieldloom gateway transformers`: check chains, try them on a record, take them into use. (T1, T2, T3)"""

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from fieldloom_contract import messages, topics
from fieldloom_contract.errors import Rejected
from fieldloom_engine.transformers import definition
from fieldloom_engine.transformers.chains import Chains
from fieldloom_engine.transformers.reading import Device
from fieldloom_gateway.client import Data, Json, NotDone, call, end
from fieldloom_gateway.transformers import BadChains, compile_text

app = typer.Typer(no_args_is_help=True, help="Chains of transformers: check, try, reload.")

File = Annotated[Path, typer.Argument(metavar="FILE", help="A file as DATA/transformers.yaml.")]


@app.command(epilog="Example: fieldloom gateway transformers check transformers.yaml")
def check(file: File, as_json: Json = False) -> None:
    """Check a file, without a gateway: every fault with its line and path (exit code 1 if there is any)."""
    try:
        chains = _chains(file)
        count, faults = len(chains.chains) if chains else 0, list[str]()
    except BadChains as error:
        count, faults = 0, error.faults
    if as_json:
        typer.echo(json.dumps({"chains": count, "faults": faults}))
    elif not faults:
        typer.echo(f"{file}: {count} chains, no fault")
    for fault in [] if as_json else faults:
        typer.echo(f"{file}: {fault}", err=True)
    if faults:
        raise typer.Exit(1)


@app.command("try", epilog="""Example: fieldloom gateway transformers try transformers.yaml --record '{"t": 68.5}'""")
def try_record(
    file: File,
    record: Annotated[str, typer.Option(help="A record as a device sends it, or its values alone.")],
    device: Annotated[str, typer.Option(help="The device's id.")] = "device-1",
    kind: Annotated[str | None, typer.Option("--type", help="The type that it tells of itself.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="KEY:VALUE that it tells of itself; may be repeated.")] = None,
    as_json: Json = False,
) -> None:
    """Show what chains do with a record, stage by stage, as with the first one of its device."""
    try:
        chains = _chains(file)
        told = messages.parse_records(topics.TELEMETRY, _record(record))[0][0]
        tags = tuple(sorted((key, value) for key, _, value in (one.partition(":") for one in tag or [])))
        who = Device(topics.device_id(device), kind, tags)
    except BadChains as error:
        end("\n  ".join([f"{file} has faults", *error.faults]))
    except Rejected as error:
        end(f"--record: {error}", 2)
    seen = [one._asdict() for one in (chains or Chains([])).trial(who, told["ts"] or _now(), told["values"])]
    if as_json:
        typer.echo(json.dumps({"items": seen}))
        return
    for one in seen:
        tags_told = f"  {json.dumps(one['tags'])}" if one["tags"] else ""
        typer.echo(f"{one['stage']:32}  {one['outcome']:24}  {one['metric']} = {json.dumps(one['value'])}{tags_told}")


@app.command(epilog="Example: fieldloom gateway transformers reload --data /var/lib/fieldloom")
def reload(data: Data, as_json: Json = False) -> None:
    """Have the running gateway take DATA/transformers.yaml into use; with a fault in it all stays as it was."""
    try:
        told = call(data, "POST", "/transformers/reload")
    except NotDone as error:
        end(str(error))
    if as_json:
        typer.echo(json.dumps(told))
        return
    typer.echo(f"{len(told['stages'])} stages are in use, {told['open_windows']} windows are open")


@app.command(epilog="Example: fieldloom gateway transformers schema > transformers.schema.json")
def schema() -> None:
    """Print the JSON Schema of the file, for editors."""
    typer.echo(json.dumps(definition.schema(), indent=2))


def _chains(file: Path) -> Chains | None:
    try:
        return compile_text(file.read_text())
    except (OSError, UnicodeDecodeError) as error:
        end(f"{file} can't be read: {error}", 2)


def _record(text: str) -> bytes:
    """Return a record as a device would send it; values alone are made one."""
    try:
        told: Any = json.loads(text)
    except ValueError as error:
        raise Rejected("payload", f"is not JSON: {error}") from None
    if isinstance(told, dict) and "values" not in told:
        told = {"values": told}
    return messages.dumps(told)


def _now() -> int:
    return time.time_ns() // 1_000_000
