"""How a gateway joins, and how it leaves, at the doors of the members. (D3, ADR 58)

It shows its token, gets the secret, and is added once it listens.
"""

import asyncio
import shutil
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import structlog

from fieldloom_contract.errors import Rejected
from fieldloom_gateway.cluster.calling import UNREACHABLE, NotLetIn, OutOfReach, connected, posted
from fieldloom_gateway.cluster.consensus.single import FILE as MAP
from fieldloom_gateway.cluster.door import ADD, ADMIT, LEAVE, Added, Knock, Welcome
from fieldloom_gateway.cluster.membership.records import Software
from fieldloom_gateway.cluster.node import FOLDER, Node
from fieldloom_gateway.cluster.ticket import Ticket, read, write
from fieldloom_gateway.settings import ClusterSettings
from fieldloom_runtime import files
from fieldloom_runtime.tls import client_context

log = structlog.get_logger()

SECRET_FILE = "secret"  # noqa: S105 - its name
TICKET_FILE = "join.token"
TIMEOUT_S = 10.0
AGAIN_S = 1.0
LEAVE_S = 10.0

Body = TypeVar("Body")


def joining_context(ca: Path, cert: Path, key: Path) -> ssl.SSLContext:
    """Return the TLS by which a gateway asks a member, who proves its name rather than its host's. Raises StartFailed.

    Members are reached by addresses that no certificate needs to hold.
    """
    context = client_context(ca, cert, key)
    context.check_hostname = False
    return context


def join(ticket: Ticket, address: str, software: Software, data: Path, tls: ssl.SSLContext) -> ClusterSettings:
    """Have a member admit this gateway, and return its settings; the secret and the ticket are then in its folder.

    Raises NotLetIn, OutOfReach.
    """
    welcome = _ask(ticket.doors, ADMIT, Knock(ticket.token, address, software), Welcome, tls)
    folder = data.resolve() / FOLDER
    for part in [*folder.glob(f"{MAP}*")]:
        part.replace(data / part.name)  # what has gone on here alone goes on in the cluster
    if folder.exists():
        shutil.rmtree(folder)  # of a cluster that it has left
    folder.mkdir(mode=0o700, parents=True)
    files.write(folder / SECRET_FILE, welcome.secret + "\n")
    files.write(folder / TICKET_FILE, write(ticket) + "\n")
    return ClusterSettings(address=address, members=welcome.members, secret=folder / SECRET_FILE)


async def be_added(node: Node, data: Path, tls: Callable[[], ssl.SSLContext]) -> None:
    """Have a gateway that was admitted take part, now that it listens; nothing is to do for one that does."""
    path = data / FOLDER / TICKET_FILE
    if not path.exists():
        return
    try:
        ticket, context = read(path.read_text()), tls()
    except Rejected as error:
        log.error("not_added", reason=f"{path}: {error.reason}", way_out="join by a new token")  # noqa: TRY400
        return
    while not node.is_led:
        try:
            await asyncio.to_thread(_ask, ticket.doors, ADD, Added(ticket.token), dict[str, Any], context)
        except OutOfReach as error:
            log.warning("not_added_yet", reason=str(error))
        except NotLetIn as error:
            log.error("not_added", reason=str(error), way_out="join by a new token")  # noqa: TRY400
            return
        await asyncio.sleep(AGAIN_S)
    path.unlink()


async def leave(node: Node, tls: ssl.SSLContext) -> None:
    """Hand over what this gateway acts for, and have another take it out; it is alone from its next start on.

    Raises MembershipError, ConsensusFailed, NotLetIn, OutOfReach; it is then `leaving`, and may be asked again.
    """
    doors = {name: address for name, address in node.doors().items() if name != node.store.name}
    await node.retire()
    end = asyncio.get_running_loop().time() + LEAVE_S
    while True:
        try:
            await asyncio.to_thread(_ask, doors, LEAVE, {}, dict[str, Any], tls)
        except OutOfReach:
            if asyncio.get_running_loop().time() > end:
                raise
            await asyncio.sleep(AGAIN_S)
        else:
            node.end("this gateway has left its cluster: start it again, and it is alone")
            return


def _ask(doors: dict[str, str], path: str, body: object, expected: type[Body], tls: ssl.SSLContext) -> Body:
    """Return the first answer of a door. Raises NotLetIn, OutOfReach."""
    faults = []
    for name, address in doors.items():
        try:
            return msgspec.json.decode(post(name, address, path, msgspec.json.encode(body), tls), type=expected)
        except (*UNREACHABLE, msgspec.MsgspecError) as error:
            faults.append(f"{name} at {address}: {error}")
    raise OutOfReach("; ".join(faults) or "no gateway is known that could be asked")


def post(name: str, address: str, path: str, body: bytes, tls: ssl.SSLContext) -> bytes:
    """Return the answer of one gateway's door, which has to prove its name before it is told anything.

    Raises NotLetIn, and one of UNREACHABLE. It waits: call it in a thread.
    """
    connection = connected(name, address, tls, TIMEOUT_S)
    try:
        return posted(connection, path, body)
    finally:
        connection.close()
