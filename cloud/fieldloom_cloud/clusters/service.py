"""The gateways of a site and their cluster, as they have told last. (D3, A5)"""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.database import from_ms
from fieldloom_cloud.ingest import gateways
from fieldloom_cloud.ingest.gateways import Told
from fieldloom_cloud.registry import service as registry
from fieldloom_runtime.gateway_state import Cluster


async def of_site(session: AsyncSession, site: str, now: int) -> dict[str, Any]:
    """Return a site's gateways, and its cluster as the gateway says it that knows most. Raises NotFound."""
    await registry.site(session, site)
    names = await registry.gateways_of(session, site)
    told = await gateways.told(session, names, now)
    by = max((one for one in told if told[one].cluster is not None), key=lambda one: _trust(told[one]), default=None)
    cluster = None if by is None else told[by].cluster
    shown = None if by is None or cluster is None else _shown(by, told[by], cluster)
    return {"site": site, "cluster": shown, "items": [_gateway(one, told.get(one), cluster) for one in names]}


def _trust(told: Told) -> tuple[bool, bool, int]:
    """Order words: who is there knows more than who is away, who can write more than who can't, and then the newest."""
    return told.is_online, told.cluster is not None and not told.cluster.fault, told.heard


def _shown(by: str, told: Told, cluster: Cluster) -> dict[str, Any]:
    leader, fault = cluster.leader or None, cluster.fault or None
    return {"told_by": by, "at": from_ms(told.heard), "leader": leader, "fault": fault}


def _gateway(name: str, told: Told | None, cluster: Cluster | None) -> dict[str, Any]:
    member = next((one for one in cluster.members if one.name == name), None) if cluster is not None else None
    release = told.release if told is not None and told.release else member.release if member is not None else ""
    return {
        "id": name,
        "online": told is not None and told.is_online,
        "heard": None if told is None else from_ms(told.heard),
        "waiting": None if told is None else told.waiting,
        "release": release or None,
        "member": None if member is None else {"state": member.state, "partitions": member.partitions},
    }
