"""`fieldloom device twin`: what is wanted of a device, what it reports, and what lies between."""

import json
import time
from typing import Annotated, Any

import typer

from fieldloom_cli.api import Api
from fieldloom_cli.errors import CommandFailed
from fieldloom_cli.options import Data, Json
from fieldloom_cli.output import show_json, show_table

POLL_S = 0.2


def twin(
    name: Annotated[str, typer.Argument(help="The device's id.")],
    wanted: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Want this; may be repeated. VALUE is JSON or a text, null for no more; KEY may be a path, as a.b.",
        ),
    ] = None,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait until the device has what is wanted.")] = 0,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Show a device's twin, or change what is wanted of it; with --wait, exit code 1 unless the device has it all.

    While the cloud is away, at the gateway: FIELDLOOM_API=http://127.0.0.1:8090, FIELDLOOM_TOKEN from its local.token.
    """
    api = Api(data)
    changes = read_changes(wanted or [])
    path = f"/devices/{name}/twin"
    told = api.call("PATCH", path, json={"desired": changes}) if changes else api.call("GET", path)
    deadline = time.monotonic() + wait
    while not _is_settled(told) and time.monotonic() < deadline:
        time.sleep(POLL_S)
        told = api.call("GET", path)
    _show(told, as_json=as_json)
    if wait and (told["delta"] or not _is_settled(told)):
        raise typer.Exit(1)


def _is_settled(told: dict[str, Any]) -> bool:
    """Whether the device has answered to all that was asked for."""
    return not told["pending"] and bool(told["reported_version"] >= told["version"])


def read_changes(wanted: list[str]) -> dict[str, Any]:
    """Return the merge patch of some KEY=VALUE. Raises CommandFailed."""
    changes: dict[str, Any] = {}
    for text in wanted:
        key, equals, value = text.partition("=")
        if not equals or not all(key.split(".")):
            raise CommandFailed(f"--set {text} is no KEY=VALUE: write it as --set interval=500")
        *parents, last = key.split(".")
        place = changes
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise CommandFailed(f"--set {text} lies within a value that another --set gives")
        place[last] = _value(value)
    return changes


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _show(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(told)
        return
    rows = [
        ("desired", f"version {told['version']}", told["desired"]),
        ("reported", f"version {told['reported_version']}", told["reported"]),
        ("delta", "", told["delta"]),
        *(("refused", path, reason) for path, reason in told["errors"].items()),
        *(("pending", one["id"], one["desired"]) for one in told["pending"]),
    ]
    show_table(
        ["HALF", "WHICH", "VALUE"],
        ((half, which, value if isinstance(value, str) else json.dumps(value)) for half, which, value in rows),
    )
