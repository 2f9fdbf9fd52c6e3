"""The members of the cluster over the gateway's own HTTP interface: seen, invited, taken out. (D3)"""

import ssl
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Header, Query, Request
from fastapi.responses import JSONResponse

from fieldloom_contract.errors import Rejected
from fieldloom_contract.limits import MAX_NAME
from fieldloom_gateway.cluster.calling import NotLetIn, OutOfReach
from fieldloom_gateway.cluster.consensus.port import ConsensusFailed
from fieldloom_gateway.cluster.consensus.port import Refused as NotChanged
from fieldloom_gateway.cluster.joining import leave
from fieldloom_gateway.cluster.membership.admission import VALID_S
from fieldloom_gateway.cluster.membership.errors import MembershipError, NotAMember
from fieldloom_gateway.cluster.node import Node
from fieldloom_gateway.cluster.ticket import Ticket, write
from fieldloom_gateway.local import Refused, admit, told

Tls = Callable[[], ssl.SSLContext]


def add_members(app: FastAPI, token: str, node: Node, ca: str, tls: Tls) -> None:
    """Add `/api/v1/cluster/members` and what changes them to an interface.

    `ca` is the fingerprint of the CA, and `tls` makes what other members are asked by.
    """

    def let_in(authorization: Annotated[str, Header()] = "") -> None:
        admit(authorization, token)

    router = APIRouter(prefix="/api/v1/cluster", dependencies=[Depends(let_in)])

    @app.exception_handler(MembershipError)
    @app.exception_handler(NotChanged)
    @app.exception_handler(NotLetIn)
    async def _not_done(_: Request, error: Exception) -> JSONResponse:
        return told(Refused(409, "Conflict", str(error)))

    @app.exception_handler(ConsensusFailed)
    @app.exception_handler(OutOfReach)
    async def _not_now(_: Request, error: Exception) -> JSONResponse:
        return told(Refused(503, "Not now", str(error)))

    @router.get("/members")
    async def list_members() -> dict[str, Any]:
        return {"items": node.members(), "next": None}

    @router.post("/invitations")
    async def invite(member: Annotated[str, Query(max_length=MAX_NAME)], valid_s: float = VALID_S) -> dict[str, Any]:
        doors = in_cluster(node).doors()
        if not doors:
            raise Refused(503, "Not now", "no gateway lets others in yet: try again in a moment")
        try:
            secret = await node.admission.invite(member, valid_s)
        except Rejected as error:
            faults = [{"path": error.field, "reason": error.reason}]
            raise Refused(422, "Bad content", "nobody can be invited like this", faults) from error
        return {"member": member, "valid_s": valid_s, "token": write(Ticket(member, secret, doors, ca))}

    @router.post("/leave")
    async def go() -> dict[str, Any]:
        await leave(in_cluster(node), tls())
        return {"left": node.store.name}

    @router.delete("/members/{member}")
    async def remove(member: str) -> dict[str, Any]:
        await _remove(in_cluster(node), member)
        return {"removed": member}

    app.include_router(router)


async def _remove(node: Node, member: str) -> None:
    try:
        await node.admission.remove(member)
    except NotAMember as error:
        raise Refused(404, "Not found", str(error)) from None


def in_cluster(node: Node) -> Node:
    """Return a node that is in a cluster. Raises Refused."""
    if node.partitions is None:
        raise alone()
    return node


def alone() -> Refused:
    """Return why a gateway without a cluster refuses."""
    way_out = "begin a cluster by `fieldloom gateway init --cluster HOST:PORT`"
    return Refused(409, "Alone", f"this gateway is alone: {way_out}")
