"""A version of a workflow as a graph, with the instances that are in its states. (W1, W5, A5)"""

from collections import Counter
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.errors import InUse, NotFound
from fieldloom_cloud.workflows import checking, edge
from fieldloom_cloud.workflows.models import InstanceRow, WorkflowRow, WorkflowVersion
from fieldloom_engine.workflows import UnreadableInstance, decode
from fieldloom_engine.workflows.graph import graph, node_of
from fieldloom_engine.workflows.instance import FINAL

MAX_COUNTED = 1000
"""Running instances that are looked at for one picture."""


async def picture(session: AsyncSession, workflow: str, version: str | None) -> dict[str, Any]:
    """Return the graph of a version, by default the one at work, and how many instances are in each state.

    Versions that are undeployed have one too: instances may still run them. Raises NotFound and InUse.
    """
    listed = await session.get(WorkflowRow, workflow)
    if version is None and listed is not None:
        version = listed.version
    found = None if version is None else await session.get(WorkflowVersion, (workflow, version))
    if found is None:
        raise NotFound(f"there is no such version of a workflow {workflow}")
    parsed = checking.parsed(found.document)
    if parsed is None:
        raise InUse(f"this cloud does not take {workflow} {version} any more")
    drawn = graph(parsed)
    of_it = (InstanceRow.workflow == workflow, InstanceRow.version == version, InstanceRow.status.not_in(FINAL))
    query = select(InstanceRow).where(*of_it).order_by(InstanceRow.created.desc()).limit(MAX_COUNTED + 1)
    rows = list(await session.scalars(query))
    counts: Counter[str] = Counter()
    for row in rows[:MAX_COUNTED]:
        counts.update({node_of(drawn, path) for path in _active(row)})
    return {**drawn.as_json(), "instances": dict(counts), "complete": len(rows) <= MAX_COUNTED}


def _active(row: InstanceRow) -> list[tuple[str | int, ...]]:
    try:
        return edge.mirror(row).active if row.gateway else decode(row.checkpoint).active
    except UnreadableInstance:
        return []  # its own page tells why it stands still
