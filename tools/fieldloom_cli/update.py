"""`fieldloom device update` and `rollback`: another release on a device, over the air. (F5)"""

import json
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from fieldloom_cli.api import Api
from fieldloom_cli.command import FINAL, show_command
from fieldloom_cli.errors import Unreachable
from fieldloom_cli.options import Data, Json
from fieldloom_contract import topics

POLL_S = 0.5
EVENTS = 20
PREFIX = "update."

app = typer.Typer()

Name = Annotated[str, typer.Argument(help="The device's id.")]
Wait = Annotated[bool, typer.Option("--wait", help="Tell how it goes until its end; exit code 1 unless it succeeds.")]
Within = Annotated[float, typer.Option(min=0.1, help="Minutes until the command expires, and --wait gives up.")]


@app.command(epilog="Example: fieldloom device update pump-7 --release esp32-generic-1.4.0 --wait")
def update(
    name: Name,
    release: Annotated[str, typer.Option(help="One of `fieldloom release list`.")],
    wait: Wait = False,
    within: Within = 60,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Have a device fetch a release and try it; it succeeds once it has run well, and else goes back by itself."""
    _run(Api(data), name, "update", {"release": release}, timedelta(minutes=within), wait=wait, as_json=as_json)


@app.command(epilog="Example: fieldloom device rollback pump-7 --wait")
def rollback(name: Name, wait: Wait = False, within: Within = 10, data: Data = None, as_json: Json = False) -> None:
    """Have a device go back to the release that it ran before, without a download."""
    _run(Api(data), name, "rollback", {}, timedelta(minutes=within), wait=wait, as_json=as_json)


def _run(
    api: Api, name: str, kind: str, parameters: dict[str, Any], life: timedelta, *, wait: bool, as_json: bool
) -> None:
    topics.device_id(name)
    seen = max((event["id"] for event in _events(api, name)), default=0) if wait else 0
    body = {"type": kind, "parameters": parameters, "expires": _iso(datetime.now(UTC) + life)}
    command = api.call("POST", f"/devices/{name}/commands", json=body)
    if wait:
        command = _followed(api, command, seen, time.monotonic() + life.total_seconds())
    show_command(command, as_json=as_json)
    if wait and command["status"] != "succeeded":
        raise typer.Exit(1)


def _followed(api: Api, command: dict[str, Any], seen: int, deadline: float) -> dict[str, Any]:
    """Print a command's way and what its device tells of the update, and return how it ended.

    A cloud that does not answer meanwhile is asked again.
    """
    status = ""
    while True:
        with suppress(Unreachable):
            for event in _events(api, command["device"]):
                if event["id"] > seen and event["type"].startswith(PREFIX):
                    _say(event["ts"], f"{event['type']} {_told(event['data'])}")
                seen = max(seen, event["id"])
            command = api.call("GET", f"/commands/{command['id']}")
        if command["status"] != status:
            status = command["status"]
            _say(_iso(datetime.now(UTC)), f"command {status}")
        if status in FINAL or time.monotonic() > deadline:
            return command
        time.sleep(POLL_S)


def _events(api: Api, device: str) -> list[dict[str, Any]]:
    """Return the newest events of a device, the oldest first."""
    page = api.call("GET", "/events", params={"device": device, "limit": EVENTS})
    return list(reversed(page["items"]))


def _told(data: dict[str, Any]) -> str:
    return " ".join(f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in data.items())


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _say(ts: str, text: str) -> None:
    print(ts, text, file=sys.stderr, flush=True)
