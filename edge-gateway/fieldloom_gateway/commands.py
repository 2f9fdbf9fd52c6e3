"""`fieldloom gateway`: write a gateway's configuration, run it, ask it how it is."""

import asyncio
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer
from pydantic import ValidationError

from fieldloom_contract.errors import Rejected
from fieldloom_contract.topics import parse_device
from fieldloom_gateway import (
    command_discovery,
    command_joining,
    command_letters,
    command_rules,
    command_transformers,
    command_workflows,
)
from fieldloom_gateway.adapters import factory
from fieldloom_gateway.adapters.foreign.definition import Mapping
from fieldloom_gateway.adapters.foreign.reading import Canonical, Mappings
from fieldloom_gateway.adapters.foreign.sparkplug.nodes import Nodes
from fieldloom_gateway.deploy.folder import prepare
from fieldloom_gateway.settings import Settings, load
from fieldloom_runtime import logs, outgoing
from fieldloom_runtime.errors import StartFailed
from fieldloom_runtime.importing import uncollected

app = typer.Typer(no_args_is_help=True, help="The gateway of a site.")

app.add_typer(command_letters.app, name="dead-letters")
app.add_typer(command_transformers.app, name="transformers")
app.add_typer(command_rules.app, name="rules")
app.add_typer(command_workflows.app, name="workflows")
app.add_typer(command_workflows.instances, name="instances")
app.command(epilog="Example: fieldloom gateway alarms --data /var/lib/fieldloom")(command_rules.alarms)
app.command(epilog="Example: fieldloom gateway discover --data /var/lib/fieldloom --seconds 10")(
    command_discovery.discover
)
app.command(epilog="Example: fieldloom gateway find --json")(command_discovery.find)

Data = Annotated[Path, typer.Option("--data", help="The gateway's data folder.")]


@app.command(
    epilog="Example: fieldloom gateway init --data /var/lib/fieldloom --id gw.site1 --cloud-host cloud.example "
    "--ca ca.pem --cert gateway.pem --key gateway.key --crl crl.pem"
)
def init(
    data: Data,
    gateway_id: Annotated[str, typer.Option("--id", help="The gateway's name, with a dot, as gw.site1.")],
    ca: Annotated[Path, typer.Option(help="The CA's certificates, PEM.")],
    cert: Annotated[Path, typer.Option(help="The gateway's certificate, PEM.")],
    key: Annotated[Path, typer.Option(help="The gateway's key, PEM.")],
    crl: Annotated[Path, typer.Option(help="The CA's list of revoked certificates, PEM: the cloud's /crl.pem.")],
    cloud_host: Annotated[str, typer.Option()] = "127.0.0.1",
    cloud_port: Annotated[int, typer.Option()] = 8884,
    mqtt_host: Annotated[str, typer.Option(help="The address where devices connect.")] = "127.0.0.1",
    mqtt_port: Annotated[int, typer.Option()] = 8883,
    local_port: Annotated[int, typer.Option(help="The gateway's own way to its broker, on loopback.")] = 18883,
    http_port: Annotated[int, typer.Option(help="The status page, on loopback.")] = 8090,
    mdns: Annotated[bool, typer.Option("--mdns", help="Announce the gateway in the network of --mqtt-host.")] = False,
    cluster: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where the site's other gateways reach this one.")
    ] = "",
    admission_port: Annotated[int, typer.Option(help="Where --cluster lets others in by tokens.")] = 7421,
    join: Annotated[
        str, typer.Option(metavar="TOKEN", help="Join a cluster by a token of `fieldloom cluster invite`.")
    ] = "",
) -> None:
    """Write gateway.json and the configuration of the gateway's mosquitto.

    With --cluster it begins a cluster of gateways, to which others come by --join.
    """
    try:
        settings = Settings(
            id=gateway_id,
            ca=ca.resolve(),
            cert=cert.resolve(),
            key=key.resolve(),
            cloud_host=cloud_host,
            cloud_port=cloud_port,
            mqtt_host=mqtt_host,
            mqtt_port=mqtt_port,
            local_port=local_port,
            http_port=http_port,
            mdns=mdns,
        )
    except ValidationError as error:
        first = error.errors()[0]
        _end(f"--{first['loc'][0]}: {first['msg']}")
    try:
        settings = command_joining.clustered(settings, data, cluster, admission_port, join)
        broker = prepare(settings, data, crl)
    except StartFailed as error:
        _end(str(error))
    typer.echo(f"Run the broker by `mosquitto -c {broker}`, and the gateway by `fieldloom gateway run --data {data}`.")


@app.command(epilog="Example: fieldloom gateway run --data /var/lib/fieldloom")
def run(data: Data) -> None:
    """Run the gateway until SIGTERM or Ctrl-C."""
    with uncollected():
        from fieldloom_gateway.app import serve  # noqa: PLC0415 - a third of all modules, for this command alone

    logs.configure("gateway")
    try:
        asyncio.run(serve(data))
    except StartFailed as error:
        _end(str(error))


@app.command(epilog="Example: fieldloom gateway status --data /var/lib/fieldloom --json")
def status(
    data: Data, as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False
) -> None:
    """Ask a running gateway how it is."""
    told = _told(data)
    if as_json:
        typer.echo(json.dumps(told))
        return
    for name, value in told.items():
        typer.echo(f"{name:26}{json.dumps(value) if isinstance(value, dict) else value}")


@app.command(epilog="Example: fieldloom gateway adapters --data /var/lib/fieldloom --json")
def adapters(
    data: Data, as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False
) -> None:
    """Ask a running gateway what its adapters do."""
    told = _told(data)["adapters"]
    if as_json:
        typer.echo(json.dumps({"items": told, "next": None}))
        return
    for one in told:
        state = one["error"] or ("connected" if one["connected"] else "connecting")
        figures = " ".join(f"{what}={count}" for what, count in one["metrics"].items() if count)
        typer.echo(f"{one['name']:18}{one['protocol']:8}{state:14}{figures}")


@app.command(epilog="Example: fieldloom gateway check --data /var/lib/fieldloom")
def check(data: Data) -> None:
    """Hold gateway.json and adapters.yaml against what they may say; needs no running gateway."""
    try:
        load(data)
        found = factory.load(data)
    except StartFailed as error:
        _end(str(error))
    typer.echo(f"{factory.BROKER:18}mqtt")
    for one in found:
        typer.echo(f"{one.name:18}{one.settings.protocol}")


@app.command(
    name="map",
    epilog="""Example: fieldloom gateway map adapters.yaml --topic tele/plug/STATE --payload '{"POWER": "ON"}'""",
)
def show_mapped(
    file: Annotated[Path, typer.Argument(help="An adapters.yaml.")],
    topic: Annotated[str, typer.Option(help="Where a device sends.")],
    payload: Annotated[str, typer.Option(help="What it sends.")] = "",
    payload_file: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="A file with it, as for Sparkplug B.")
    ] = None,
) -> None:
    """Show what the mappings of a file make of a message; needs no running gateway."""
    content = payload.encode() if payload_file is None else payload_file.read_bytes()
    try:
        mapped = {one.name: getattr(one.settings, "mappings", []) for one in factory.read(file)}
        said = {name: _mapped(told, topic, content) for name, told in mapped.items()}
    except StartFailed as error:
        _end(str(error))
    except Rejected as error:
        _end(f"refused, to the dead letters: {error}")
    if all(lines is None for lines in said.values()):
        _end(f"no mapping names {topic}: it would be counted and not kept")
    for name, lines in said.items():
        for line in lines or []:
            typer.echo(f"{name:18}{line}")


def _mapped(told: Sequence[Mapping], topic: str, payload: bytes) -> list[str] | None:
    """Return what mappings make of a message, a line each, None if they name it not. Raises Rejected."""
    heard = Nodes(told).hear(topic, payload, 0)
    if heard is not None:
        for one in heard.messages:
            if one.fault is not None:
                raise Rejected(*one.fault)
        said = [(*parse_device(one.topic), one.payload) for one in heard.messages]
        return [f"{name}  {verb}  {content.decode()}" for name, verb, content in said]
    found = Mappings(told).find(topic)
    if found is None:
        return None
    canonicals = found.read(payload) or [Canonical("ignored", b"it holds nothing that is mapped")]
    return [f"{found.device}  {one.verb}  {one.payload.decode()}" for one in canonicals]


def _told(data: Path) -> dict[str, Any]:
    try:
        url = f"http://127.0.0.1:{load(data).http_port}/api/v1/status"
    except StartFailed as error:
        _end(str(error))
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return dict(json.load(answer))
    except (urllib.error.URLError, TimeoutError):
        _end(f"no gateway answers at {url}: run it by `fieldloom gateway run --data {data}`")


@app.command(epilog="Example: fieldloom gateway notify on-call --data /var/lib/fieldloom")
def notify(
    recipient: Annotated[str, typer.Argument(help="One of DATA/notifications.yaml.")],
    data: Data,
    message: Annotated[str, typer.Option(help="What to say.")] = outgoing.MESSAGE,
    importance: Annotated[Literal["low", "normal", "high"], typer.Option()] = "normal",
) -> None:
    """Tell a recipient something, to try its channels, here and now (exit code 1 if none takes it)."""
    try:
        told = outgoing.notify(data, recipient, message, importance)
    except outgoing.NotPerformed as error:
        _end(str(error))
    for line in told:
        typer.echo(line)


def _end(line: str) -> NoReturn:
    print(f"fieldloom: {line}", file=sys.stderr)
    raise typer.Exit(1)
