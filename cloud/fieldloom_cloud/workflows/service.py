"""Definitions of workflows in SQL: versions side by side, and which of them starts instances. (W7)"""

import time
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud import pages
from fieldloom_cloud.automation import telling
from fieldloom_cloud.database import iso, now
from fieldloom_cloud.errors import BadContent, NotFound, StaleVersion
from fieldloom_cloud.outbox import service as outbox
from fieldloom_cloud.registry import search
from fieldloom_cloud.trail import service as trail
from fieldloom_cloud.workflows import checking, messages, scheduling
from fieldloom_cloud.workflows.kinds import EDGE
from fieldloom_cloud.workflows.models import AT_GATEWAYS, InstanceRow, WorkflowRow, WorkflowVersion
from fieldloom_engine.workflows import Workflow
from fieldloom_engine.writes import Writer, of_workflow


async def deploy(session: AsyncSession, workflow: Workflow, revision: int | None) -> dict[str, Any]:
    """Deploy a checked version, which starts instances from now on; those that run go on with theirs.

    `revision` is the one that the caller has seen, None takes any. Raises StaleVersion, and BadContent for a group
    that is not known or a version that says something else.
    """
    await hold_group(session, workflow)
    row = await session.get(WorkflowRow, workflow.id)
    _hold_revision(workflow.id, row, revision)
    found = await session.get(WorkflowVersion, (workflow.id, workflow.version))
    if found is not None and found.fingerprint != workflow.fingerprint:
        reason = f"{workflow.version} was deployed already and says something else: raise it"
        raise BadContent("A version never changes.", [{"path": "document.version", "reason": reason}])
    if row is not None and row.version == workflow.version:
        return await show(session, workflow.id)
    before = None if row is None else _noted(row)
    if row is None:
        row = WorkflowRow(id=workflow.id, version=workflow.version, revision=0)
        session.add(row)
    if found is None:
        found = WorkflowVersion(workflow=workflow.id, version=workflow.version, document=dict(workflow.document))
        found.fingerprint = workflow.fingerprint
        session.add(found)
    found.deployed = found.changed = time.time_ns()
    row.version, row.updated = workflow.version, now()
    row.revision += 1
    try:
        await session.flush()
    except IntegrityError:
        raise StaleVersion(f"workflow {workflow.id} was changed meanwhile") from None
    trail.note(session, "workflow", workflow.id, before, _noted(row))
    outbox.leave(session, "workflow.deployed", {"id": workflow.id, "version": workflow.version})
    return await show(session, workflow.id)


async def undeploy(session: AsyncSession, workflow: str, version: str | None, revision: int | None) -> None:
    """Let a version, or all of them, start nothing any more; instances that run go on. Raises NotFound, StaleVersion.

    When it was the one at work, the one that was deployed last of the others is.
    """
    row = await _row(session, workflow)
    _hold_revision(workflow, row, revision)
    before = _noted(row)
    deployed = await _deployed(session, workflow)
    gone = [one for one in deployed if version in (None, one.version)]
    if not gone:
        raise NotFound(f"version {version} of workflow {workflow} is not deployed")
    for one in gone:
        one.deployed, one.changed = None, time.time_ns()
    left = [one for one in deployed if one.deployed is not None]
    if left:
        row.version, row.updated = left[0].version, now()
        row.revision += 1
        after: dict[str, Any] | None = _noted(row)
    else:
        await session.delete(row)
        await scheduling.forget(session, workflow)
        after = None
    await session.flush()
    trail.note(session, "workflow", workflow, before, after)
    for one in gone:
        outbox.leave(session, "workflow.undeployed", {"id": workflow, "version": one.version})


async def show(session: AsyncSession, workflow: str, version: str | None = None) -> dict[str, Any]:
    """Return a workflow with a version's document, by default the one at work. Raises NotFound."""
    row = await _row(session, workflow)
    found = await _version(session, workflow, version or row.version)
    versions = [
        {
            "version": one.version,
            "created": iso(one.created),
            "instances": await _counts(session, workflow, one.version),
        }
        for one in await _deployed(session, workflow)
    ]
    parsed = checking.parsed(found.document)
    if parsed is None or parsed.placement == EDGE:
        at_gateways = await telling.at_gateways(session, AT_GATEWAYS, workflow)
    else:
        at_gateways = await messages.listeners(session, parsed)
    return {**_shown(row, found), "document": found.document, "versions": versions, "gateways": at_gateways}


async def writers(session: AsyncSession) -> list[Writer]:
    """Return what each workflow at work writes, here or at gateways."""
    joined = (WorkflowVersion.workflow == WorkflowRow.id) & (WorkflowVersion.version == WorkflowRow.version)
    documents = await session.scalars(
        select(WorkflowVersion.document).join(WorkflowRow, joined).order_by(WorkflowRow.id)
    )
    return [of_workflow(one) for document in documents if (one := checking.parsed(document)) is not None]


async def listed(session: AsyncSession, asked: pages.Asked) -> tuple[list[dict[str, Any]], str | None]:
    """Return a page of workflows that are deployed, and the cursor of the next one."""
    rows, following = await pages.read(session, select(WorkflowRow).order_by(WorkflowRow.id), asked, [str])
    items = []
    for row in rows:
        found = await _version(session, row.id, row.version)
        items.append({**_shown(row, found), "instances": await _counts(session, row.id)})
    return items, following


async def version_of(session: AsyncSession, workflow: str, version: str | None) -> Workflow:
    """Return a deployed version of a workflow to start, by default the one at work. Raises NotFound and BadContent."""
    row = await _row(session, workflow)
    found = await _version(session, workflow, version or row.version)
    parsed = None if found.deployed is None else checking.parsed(found.document)
    if parsed is None:
        raise NotFound(f"version {found.version} of workflow {workflow} is not deployed")
    if parsed.placement == EDGE and parsed.version != row.version:
        reason = f"must be {row.version}: gateways start the version that is at work"
        raise BadContent("The workflow can't start.", [{"path": "version", "reason": reason}])
    return parsed


async def hold_group(session: AsyncSession, workflow: Workflow) -> None:
    """Refuse a workflow for a group that is not there. Raises BadContent."""
    group = None if workflow.devices is None else workflow.devices.group
    if group is not None and not await search.is_group(session, group):
        reason = f"there is no group {group}"
        raise BadContent("The workflow can't be taken.", [{"path": "document.devices.group", "reason": reason}])


def _hold_revision(workflow: str, row: WorkflowRow | None, revision: int | None) -> None:
    had = 0 if row is None else row.revision
    if revision is not None and revision != had:
        raise StaleVersion(f"workflow {workflow} is at revision {had}, not {revision}")


async def _row(session: AsyncSession, workflow: str) -> WorkflowRow:
    row = await session.get(WorkflowRow, workflow)
    if row is None:
        raise NotFound(f"there is no workflow {workflow}")
    return row


async def _version(session: AsyncSession, workflow: str, version: str) -> WorkflowVersion:
    found = await session.get(WorkflowVersion, (workflow, version))
    if found is None:
        raise NotFound(f"there is no version {version} of workflow {workflow}")
    return found


async def _deployed(session: AsyncSession, workflow: str) -> list[WorkflowVersion]:
    """Return the versions that are deployed, the newest first."""
    query = select(WorkflowVersion).where(WorkflowVersion.workflow == workflow, WorkflowVersion.deployed.is_not(None))
    return list(await session.scalars(query.order_by(WorkflowVersion.deployed.desc())))


async def _counts(session: AsyncSession, workflow: str, version: str | None = None) -> dict[str, int]:
    """Return how many instances there are, by status."""
    query = select(InstanceRow.status, func.count()).where(InstanceRow.workflow == workflow)
    if version is not None:
        query = query.where(InstanceRow.version == version)
    return {row[0]: row[1] for row in await session.execute(query.group_by(InstanceRow.status))}


def _noted(row: WorkflowRow) -> dict[str, Any]:
    return {"version": row.version, "revision": row.revision}


def _shown(row: WorkflowRow, version: WorkflowVersion) -> dict[str, Any]:
    document = version.document
    told = {"id": row.id, "version": row.version, "revision": row.revision, "updated": iso(row.updated)}
    said = {"placement": document.get("placement", "cloud"), "description": document.get("description")}
    return {**told, **said, "name": document.get("name") or row.id}
