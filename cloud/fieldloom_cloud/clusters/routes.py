"""The gateways of a site and their cluster over HTTP."""

import time
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, Field

from fieldloom_cloud.auth.dependencies import Transaction, Viewer
from fieldloom_cloud.clusters import service
from fieldloom_cloud.strict import StrictRoute

router = APIRouter(prefix="/api/v1", tags=["registry"], route_class=StrictRoute)


class ClusterShown(BaseModel):
    told_by: str = Field(description="The gateway whose word this is.")
    at: str
    leader: str | None
    fault: str | None = Field(description="Why nothing that is shared can be written.")


class MemberShown(BaseModel):
    state: Literal["unknown", "joining", "active", "leaving", "down"]
    partitions: int = Field(description="For how many it acts.")


class GatewayShown(BaseModel):
    id: str
    online: bool = Field(description="Whether the cloud has heard of it within 90 s, and not that it has gone.")
    heard: str | None
    waiting: int | None = Field(description="Records that it had and the cloud had not, when it told last.")
    release: str | None
    member: MemberShown | None = Field(description="null: it is in no cluster, as far as is known.")


class SiteCluster(BaseModel):
    site: str
    cluster: ClusterShown | None = Field(description="null: no gateway has told of one.")
    items: list[GatewayShown]


@router.get("/sites/{site_id}/cluster")
async def show_cluster(site_id: str, transaction: Transaction, _: Viewer) -> SiteCluster:
    """Return a site's gateways, and their cluster as they have told of it within half a minute."""
    return SiteCluster.model_validate(await service.of_site(transaction, site_id, time.time_ns() // 1_000_000))
