"""Where a member lets gateways in that show a token, and out: HTTPS with both sides' certificates. (D3, ADR 58)

Here too members tell each other of commands. (D7, ADR 63)
"""

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from fieldloom_contract.errors import Rejected
from fieldloom_gateway.cluster.consensus.port import ConsensusFailed
from fieldloom_gateway.cluster.membership.errors import MembershipError
from fieldloom_gateway.cluster.membership.records import Software
from fieldloom_gateway.cluster.node import Node
from fieldloom_gateway.cluster.told import MAX_BYTES, Told, decode

log = structlog.get_logger()

ADMIT, ADD, LEAVE, COMMANDS = "/cluster/admit", "/cluster/add", "/cluster/leave", "/cluster/commands"
MAX_BODY_BYTES = 4096

Who = Callable[[bytes], str | None]
"""Returns whose a certificate is, DER, that the CA has signed; None if it is revoked."""
Take = Callable[[str, Told], Awaitable[None]]
"""Takes what a member tells; when it returns, that is on the disk. Raises Rejected."""


class Knock(msgspec.Struct, frozen=True):
    """What a gateway says that wants to join."""

    token: str
    address: str
    software: Software


class Added(msgspec.Struct, frozen=True):
    """What a gateway says that was admitted and listens."""

    token: str


class Welcome(msgspec.Struct, frozen=True):
    """What it needs to take part."""

    secret: str
    members: dict[str, str]


_knock = msgspec.json.Decoder(Knock)
_added = msgspec.json.Decoder(Added)


def door(node: Node, secret: str, who: Who, take: Take) -> Starlette:
    """Return the interface of a member; a request's `state.certificate` says who knocks."""

    async def admit(request: Request) -> JSONResponse:
        member = _member(request, who)
        knock = _knock.decode(await _body(request))
        known = await node.admission.admit(knock.token, member, knock.address, knock.software)
        log.info("gateway_admitted", member=member, address=knock.address)
        return JSONResponse(msgspec.to_builtins(Welcome(secret, {one.name: one.address for one in known})))

    async def add(request: Request) -> JSONResponse:
        member = _member(request, who)
        await node.admission.add(_added.decode(await _body(request)).token, member)
        log.info("gateway_added", member=member)
        return JSONResponse({"member": member})

    async def leave(request: Request) -> JSONResponse:
        member = _member(request, who)
        await node.admission.let_go(member)
        log.info("gateway_let_go", member=member)
        return JSONResponse({"member": member})

    async def hear(request: Request) -> JSONResponse:
        member = _member(request, who)
        if node.roster.record(member) is None:
            raise _Unknown(f"{member} is no member of this cluster")
        await take(member, decode(await _body(request, MAX_BYTES)))
        return JSONResponse({})

    acts = ((ADMIT, admit), (ADD, add), (LEAVE, leave), (COMMANDS, hear))
    routes = [Route(path, act, methods=["POST"]) for path, act in acts]
    return Starlette(routes=routes, exception_handlers=_HANDLERS)


class _Unknown(Exception):  # noqa: N818 - it reads as what somebody is
    """Who knocks shows no certificate that holds here."""


class _TooLong(Exception):  # noqa: N818 - it reads as what a body is
    """A body has more than it may."""


def _member(request: Request, who: Who) -> str:
    found = who(request.state.certificate)
    if found is None:
        raise _Unknown("this certificate is revoked")
    return found


async def _body(request: Request, most: int = MAX_BODY_BYTES) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise _TooLong(f"a request has at most {most} bytes")
    return body


def _told(status: int) -> Callable[[Request, Exception], JSONResponse]:
    def tell(request: Request, error: Exception) -> JSONResponse:
        log.warning("gateway_not_let_in", peer=request.client and request.client.host, reason=str(error))
        return JSONResponse({"status": status, "detail": str(error)}, status, media_type="application/problem+json")

    return tell


_HANDLERS: dict[Any, Any] = {
    _Unknown: _told(403),
    _TooLong: _told(413),
    MembershipError: _told(403),
    Rejected: _told(422),
    msgspec.MsgspecError: _told(422),
    ConsensusFailed: _told(503),
}
