"""`fieldloom cloud`: prepare a cloud's data folder, serve it, migrate it."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated, Literal, NoReturn

import typer
from pydantic import ValidationError

from fieldloom_cloud import broker, setup
from fieldloom_cloud.database import migrate as migrate_database
from fieldloom_cloud.settings import MOST_WORKERS, SeriesBackend, Settings, load
from fieldloom_cloud.workers.sharing import spans
from fieldloom_runtime import logs, outgoing
from fieldloom_runtime.errors import StartFailed
from fieldloom_runtime.importing import uncollected

app = typer.Typer(no_args_is_help=True, help="The cloud tier.")

Data = Annotated[Path, typer.Option("--data", help="The cloud's data folder.")]


@app.command(
    epilog="Examples: fieldloom cloud init --data cloud --port 8080; fieldloom cloud init --data cloud "
    "--series victoriametrics --series-url http://127.0.0.1:8428"
)
def init(
    data: Data,
    port: Annotated[int, typer.Option(help="The API, on loopback.")] = 8080,
    mqtt_port: Annotated[int, typer.Option(help="Where gateways connect.")] = 8884,
    local_port: Annotated[int, typer.Option(help="The cloud's own way to its broker, on loopback.")] = 18884,
    est_port: Annotated[int, typer.Option(help="Where certificates are fetched over EST.")] = 8443,
    site: Annotated[str, typer.Option(help="The first site.")] = "default",
    database: Annotated[
        str | None,
        typer.Option(help="postgresql://USER@HOST/NAME in place of a file; the password from PGPASSFILE."),
    ] = None,
    release_root: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="The root's public part: uploads are verified by it."),
    ] = None,
    series: Annotated[
        SeriesBackend, typer.Option(help="Where time series are; influxdb is 1.x, influxdb2 is 2.x and 3.x.")
    ] = "duckdb",
    series_url: Annotated[
        str | None, typer.Option(help="Their server, as https://HOST:8086; http on loopback alone.")
    ] = None,
    series_database: Annotated[str, typer.Option(help="InfluxDB's database.")] = "fieldloom",
    series_organisation: Annotated[str | None, typer.Option(help="The organisation in InfluxDB 2.x.")] = None,
    series_user: Annotated[str | None, typer.Option(help="A user, whose password is in the token file.")] = None,
    series_token_file: Annotated[
        Path | None, typer.Option(help="A file with the token, which its owner alone can read.")
    ] = None,
    series_ca: Annotated[Path | None, typer.Option(help="The CA of the server's certificate, PEM.")] = None,
) -> None:
    """Create database, CA, the broker's configuration and an admin's token; what is there stays."""
    try:
        wanted = Settings.model_validate(
            {
                "port": port,
                "mqtt_port": mqtt_port,
                "local_port": local_port,
                "est_port": est_port,
                "database": database,
                "release_root": release_root and release_root.resolve(),
                "series": {
                    "backend": series,
                    "url": series_url,
                    "database": series_database,
                    "organisation": series_organisation,
                    "user": series_user,
                    "token_file": series_token_file and series_token_file.resolve(),
                    "ca": series_ca and series_ca.resolve(),
                },
            }
        )
        done = setup.init(data, wanted, site)
    except ValidationError as error:
        first = error.errors()[0]
        _end(f"{'.'.join(map(str, first['loc']))}: {first['msg'].removeprefix('Value error, ')}")
    except StartFailed as error:
        _end(str(error))
    typer.echo(f"The admin's token is in {done.token_file}, for its owner alone.")
    typer.echo(
        f"Run the broker by `mosquitto -c {done.broker}`, and the cloud by `fieldloom cloud serve --data {data}`."
    )


@app.command(
    epilog="Examples: fieldloom cloud serve --data cloud; a second process, on PostgreSQL and a server of series: "
    "fieldloom cloud serve --data cloud --worker 2 --port 8081 --est-port 0"
)
def serve(
    data: Data,
    worker: Annotated[
        int | None, typer.Option(min=1, max=MOST_WORKERS, help="Which one this is of several processes of a cloud.")
    ] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Its API, in place of cloud.json's.")] = None,
    est_port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Its EST, in place of cloud.json's; 0 for none.")
    ] = None,
) -> None:
    """Serve until SIGTERM or Ctrl-C."""
    with uncollected():
        from fieldloom_cloud import app as served  # noqa: PLC0415 - half of all modules, for this command alone

    logs.configure("cloud")
    told = {"worker": worker, "port": port, "est_port": est_port}
    try:
        asyncio.run(served.serve(data, {name: one for name, one in told.items() if one is not None}))
    except StartFailed as error:
        _end(str(error))


@app.command(epilog="Example: fieldloom cloud notify on-call --data cloud")
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


@app.command(epilog="Example: fieldloom cloud migrate --data cloud")
def migrate(data: Data) -> None:
    """Bring the database and the rights at the broker to this version; `serve` does it too."""
    try:
        migrate_database(load(data).sql(data))
        told = broker.renew(data)
    except StartFailed as error:
        _end(str(error))
    if told is not None:
        way_out = "" if told else " It reads them when it starts; if it runs as another user, send it a SIGHUP."
        typer.echo(f"The broker's rights were written anew.{way_out}")


@app.command("workers", epilog="Example: fieldloom cloud workers --data cloud --json")
def list_workers(data: Data, json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show which processes of this cloud live, and which slots of gateways each has, from the database itself."""
    try:
        found = setup.workers(data)
    except StartFailed as error:
        _end(str(error))
    if json_:
        typer.echo(json.dumps({"items": found}))
        return
    if not found:
        typer.echo("No process has leased a slot: none runs, or one alone by its settings (SQLite or DuckDB).")
    for one in found:
        leads = ", leads" if one["leads"] else ""
        since = f"since {one['started']}{leads}"
        typer.echo(f"worker {one['number']} at {one['host']} ({one['api']}) {since}: {spans(one['slots'])}")


@app.command(epilog="Example: fieldloom cloud login-link --data cloud --role operator")
def login_link(
    data: Data,
    role: Annotated[Literal["viewer", "operator", "admin"], typer.Option(help="What its user may do.")] = "admin",
    json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print a link that opens the console once, within ten minutes."""
    try:
        link, expires = setup.login_link(data, role)
    except StartFailed as error:
        _end(str(error))
    if json_:
        typer.echo(json.dumps({"link": link, "role": role, "expires": expires}))
    else:
        typer.echo(link)
        typer.echo(f"It is good once, until {expires}, for the role {role}.", err=True)


@app.command(epilog="Example: fieldloom cloud openapi > openapi.json")
def openapi() -> None:
    """Print the API's OpenAPI document; needs no data folder and no server."""
    with uncollected():
        from fieldloom_cloud.app import interface  # noqa: PLC0415 - as for serve

    typer.echo(json.dumps(interface().openapi(), indent=2))


def _end(line: str) -> NoReturn:
    print(f"fieldloom: {line}", file=sys.stderr)
    raise typer.Exit(1)
