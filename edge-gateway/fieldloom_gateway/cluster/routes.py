"""The cluster over the gateway's own HTTP interface: it is operated while the cloud is away. (D3, D4, D5)"""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, FastAPI, Header, Query

from fieldloom_contract.errors import Rejected
from fieldloom_contract.limits import MAX_NAME
from fieldloom_gateway.cluster.member_routes import alone
from fieldloom_gateway.cluster.membership.errors import NotAMember
from fieldloom_gateway.cluster.node import Node
from fieldloom_gateway.cluster.partitions.partition import partition_of
from fieldloom_gateway.cluster.partitions.service import Partitions
from fieldloom_gateway.local import Refused, admit


def add_cluster(app: FastAPI, token: str, node: Node) -> None:
    """Add `/api/v1/cluster` and `/api/v1/services` to an interface."""
    router = APIRouter(prefix="/api/v1")

    @router.get("/cluster")
    async def show_cluster(authorization: Annotated[str, Header()] = "") -> dict[str, Any]:
        admit(authorization, token)
        return node.status()

    @router.get("/cluster/partitions")
    async def list_partitions(authorization: Annotated[str, Header()] = "") -> dict[str, Any]:
        admit(authorization, token)
        return {"items": _of(node).shown(), "next": None}

    @router.post("/cluster/drain")
    async def drain(authorization: Annotated[str, Header()] = "") -> dict[str, Any]:
        admit(authorization, token)
        _of(node).drain()
        return node.status()

    @router.post("/cluster/resume")
    async def resume(authorization: Annotated[str, Header()] = "") -> dict[str, Any]:
        admit(authorization, token)
        _of(node).resume()
        return node.status()

    @router.post("/cluster/moves")
    async def move(
        device: Annotated[str, Query(max_length=MAX_NAME)],
        heir: Annotated[str, Query(max_length=MAX_NAME)],
        authorization: Annotated[str, Header()] = "",
    ) -> dict[str, Any]:
        admit(authorization, token)
        partitions, partition = _of(node), partition_of(device)
        if node.roster.record(heir) is None:
            raise Refused(404, "Not found", str(NotAMember(heir)))
        try:
            await partitions.move(partition, heir)
        except Rejected as error:
            faults = [{"path": error.field, "reason": error.reason}]
            raise Refused(422, "Bad content", "the move can't be made", faults) from error
        return {"partition": partition, "heir": heir}

    @router.get("/services")
    async def list_services(
        name: Annotated[str, Query(max_length=MAX_NAME)] = "",
        healthy: bool = False,
        authorization: Annotated[str, Header()] = "",
    ) -> dict[str, Any]:
        admit(authorization, token)
        found = node.directory.discover(name, healthy=healthy)
        return {"items": [msgspec.to_builtins(one) for one in found], "next": None}

    app.include_router(router)


def _of(node: Node) -> Partitions:
    if node.partitions is None:
        raise alone()
    return node.partitions
