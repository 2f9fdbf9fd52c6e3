"""`fieldloom device holds|hold|release`: who holds the actuators of a device. (E9)

While the cloud is away, at the gateway: FIELDLOOM_API=http://127.0.0.1:8090, FIELDLOOM_TOKEN from its local.token.
"""

import json
import secrets
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from fieldloom_cli.api import Api
from fieldloom_cli.command import parameters_of
from fieldloom_cli.errors import CommandFailed
from fieldloom_cli.moments import duration
from fieldloom_cli.options import Data, Json
from fieldloom_cli.output import show_json, show_table

POLL_S = 0.2

Name = Annotated[str, typer.Argument(help="The device's id.")]


def holds(name: Name, data: Data = None, as_json: Json = False) -> None:
    """Show who holds the actuators of a device, and who waits behind him: of each the first acts.

    Last of each is who has set it, as far as the cloud was told.
    """
    _show(Api(data).call("GET", f"/devices/{name}/holds"), as_json=as_json)


def hold(
    name: Name,
    what: Annotated[str, typer.Argument(help="ACTUATOR=VALUE, which writes it, or a command's type.")],
    parameters: Annotated[str, typer.Option("--parameters", "-p", help="Of a command's type, a JSON object.")] = "{}",
    reason: Annotated[str, typer.Option(help="Why, for those who wonder.")] = "",
    lasts: Annotated[
        str | None, typer.Option("--for", help="How long, as 30m or 2h; by default until it is released.")
    ] = None,
    safety: Annotated[bool, typer.Option("--safety", help="Above all people; for admins.")] = False,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait until the gateway has decided.")] = 0,
    data: Data = None,
    as_json: Json = False,
) -> None:
    """Hold an actuator against people, workflows and rules; with --wait, exit code 1 unless the hold acts."""
    api = Api(data)
    body: dict[str, Any] = {**_command(what, parameters), "reason": reason}
    body["priority"] = "safety" if safety else "person"
    if lasts is not None:
        body["expires"] = (datetime.now(UTC) + duration("--for", lasts)).isoformat()
    path = f"/devices/{name}/holds"
    made = api.call("POST", path, json=body, headers={"Idempotency-Key": secrets.token_hex(8)})
    told = api.call("GET", path)
    deadline = time.monotonic() + wait
    while _place(told, made["id"]) is None and time.monotonic() < deadline:
        time.sleep(POLL_S)
        told = api.call("GET", path)
    _show(told, as_json=as_json)
    if wait and _place(told, made["id"]) != 0:
        raise typer.Exit(1)


def release(
    name: Name,
    actuator: Annotated[str, typer.Argument(help="As `fieldloom device holds NAME` shows it.")],
    priority: Annotated[str, typer.Option(help="safety, person, workflow, rule or schedule.")] = "person",
    data: Data = None,
) -> None:
    """Have a slot of an actuator held no more, whoever holds it: what waits highest acts then."""
    Api(data).call("DELETE", f"/devices/{name}/holds/{actuator}", params={"priority": priority})
    print(f"The slot {priority} of {actuator} is released once the gateway has heard it.")


def _command(what: str, parameters: str) -> dict[str, Any]:
    actuator, equals, value = what.partition("=")
    if not equals:
        return {"type": what, "parameters": parameters_of(parameters)}
    if not actuator or parameters != "{}":
        raise CommandFailed("hold either ACTUATOR=VALUE, as relay=true, or a command's type with --parameters")
    return {"type": "write", "parameters": {"name": actuator, "value": _value(value)}}


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _place(told: dict[str, Any], command: str) -> int | None:
    """Return how many slots are before a hold's, None if it has none."""
    places = (place for one in told["items"] for place, held in enumerate(one["holds"]) if held["id"] == command)
    return next(places, None)


def _show(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        show_json(told)
        return
    rows = [row for one in told["items"] for row in _rows(one)]
    show_table(["ACTUATOR", "", "PRIORITY", "OWNER", "COMMAND", "PARAMETERS", "SINCE", "UNTIL", "REASON"], rows)


def _rows(actuator: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    for place, held in enumerate(actuator["holds"]):
        until = (held["since"], held["expires"] or "released", held["reason"])
        yield (actuator["actuator"], "waits" if place else "acts", *_asked(held), *until)
    last = actuator.get("set_by")  # a gateway does not keep it
    if last is not None:
        yield (actuator["actuator"], "set", *_asked(last), last["at"], "", "")


def _asked(one: dict[str, Any]) -> tuple[str, ...]:
    return one["priority"], one["owner"], one["type"], json.dumps(one["parameters"], ensure_ascii=False)
