"""Where a member lets gateways in that show a token, and out, and other members hand things over. (D3, ADR 58, 62, 63)

HTTPS with both sides' certificates.
"""

import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
import structlog
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fieldloom_contract.errors import Rejected
from fieldloom_gateway.cluster.consensus.port import ConsensusFailed
from fieldloom_gateway.cluster.membership.errors import MembershipError
from fieldloom_gateway.cluster.membership.records import Software
from fieldloom_gateway.cluster.node import Node

log = structlog.get_logger()

ADMIT, ADD, LEAVE = "/cluster/admit", "/cluster/add", "/cluster/leave"
MAX_BODY_BYTES = 4096
MAX_PARCEL_BYTES = 2**20

Who = Callable[[bytes], str | None]
"""Returns whose a certificate is, DER, that the CA has signed; None if it is revoked."""
Take = Callable[[str, bytes], Awaitable[bytes]]
"""Takes what a member, by name, hands over, and returns its answer. Raises MsgspecError, Rejected, sqlite3.Error."""


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


def door(node: Node, secret: str, who: Who, parcels: Mapping[str, Take]) -> Starlette:
    """Return the interface of a member; a request's `state.certificate` says who knocks.

    `parcels` are what takes things from other members, by the paths at which they are handed over.
    """

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

    def taking(take: Take) -> Callable[[Request], Awaitable[Response]]:
        async def hand_over(request: Request) -> Response:
            member = _member(request, who)
            if member not in node.names:
                raise _Unknown(f"{member} is no member of this cluster")
            return Response(await take(member, await _body(request, MAX_PARCEL_BYTES)), media_type="application/json")

        return hand_over

    routes = [Route(path, act, methods=["POST"]) for path, act in ((ADMIT, admit), (ADD, add), (LEAVE, leave))]
    routes += [Route(path, taking(take), methods=["POST"]) for path, take in parcels.items()]
    return Starlette(routes=routes, exception_handlers=_HANDLERS)


class _Unknown(Exception):  # noqa: N818 - it reads as what somebody is
    """Who knocks shows no certificate that holds here."""


class _TooLong(Exception):  # noqa: N818 - it reads as what a body is
    """A body has more bytes than are taken."""


def _member(request: Request, who: Who) -> str:
    found = who(request.state.certificate)
    if found is None:
        raise _Unknown("this certificate is revoked")
    return found


async def _body(request: Request, most: int = MAX_BODY_BYTES) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise _TooLong(f"a request has at most {most} bytes")
    return bytes(body)


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
    sqlite3.Error: _told(503),
}
