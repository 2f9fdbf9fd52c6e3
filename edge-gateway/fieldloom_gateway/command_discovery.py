"""`fieldloom gateway discover` and `find`: which devices, and which gateways, are there. (C8)"""

import asyncio
import json
from typing import Annotated

import typer

from fieldloom_gateway.client import Data, Json, NotDone, call, end
from fieldloom_gateway.discovery import ANSWER_S, MAX_SECONDS

FIND_S = 3


def discover(
    data: Data,
    seconds: Annotated[int, typer.Option(min=1, max=MAX_SECONDS, help="How long to wait for answers.")] = ANSWER_S,
    as_json: Json = False,
) -> None:
    """Have the running gateway ask now which devices are there, and list who answers; the cloud is told of all."""
    try:
        told = call(data, "POST", "/discovery", wait_s=seconds, seconds=seconds)
    except NotDone as error:
        end(str(error))
    if as_json:
        typer.echo(json.dumps(told))
        return
    for one in told["items"]:
        says = " ".join(f"{name}={one[name]}" for name in ("type", "board", "firmware") if one[name])
        typer.echo(f"{one['device']:32}{one['adapter']:18}{says}")


def find(
    seconds: Annotated[int, typer.Option(min=1, max=60, help="How long to wait for answers.")] = FIND_S,
    host: Annotated[str | None, typer.Option(help="Only on the network of this machine's address.")] = None,
    as_json: Json = False,
) -> None:
    """List the gateways that announce themselves in this machine's networks; that proves nothing of who they are."""
    from fieldloom_gateway import mdns  # noqa: PLC0415 - no other command speaks it

    network = host or mdns.EVERYWHERE
    try:
        found = asyncio.run(mdns.find(seconds, network))
    except (OSError, ValueError) as error:
        end(f"--host: multicast DNS does not work on {network} ({error})", 2)
    for reason in found.unreadable:
        typer.echo(f"fieldloom: an announcement can't be read: {reason}", err=True)
    if as_json:
        typer.echo(json.dumps({"items": [one._asdict() for one in found.gateways], "next": None}))
        return
    for one in found.gateways:
        typer.echo(f"{one.gateway:24}{' '.join(one.addresses)} {one.port}  ca {one.ca}")
