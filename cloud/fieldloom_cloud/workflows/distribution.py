"""Workflows of the edge on their way to the gateways, and what those say of them. (W4, W7)

A gateway is told each workflow that its site needs, and the whole set; what is at work is compared with what it was
told last, so that nothing is sent twice and nothing forgotten.
"""

from typing import Any, NamedTuple

from sqlalchemy import delete, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.automation import service as rules
from fieldloom_cloud.automation.distribution import MAX_DEVICES, told_faults
from fieldloom_cloud.database import from_ms, is_sqlite
from fieldloom_cloud.dispatch import service as dispatch
from fieldloom_cloud.registry import service as registry
from fieldloom_cloud.workflows import starts
from fieldloom_cloud.workflows.definitions import Definitions
from fieldloom_cloud.workflows.models import WorkflowAtGateway
from fieldloom_engine.workflows import Workflow
from fieldloom_runtime import down
from fieldloom_runtime.records import Event

SENT, APPLIED, REFUSED = "sent", "applied", "refused"
WORDS = {"workflow.applied": APPLIED, "workflow.refused": REFUSED}
LOCK = 0x776F_726B
"""Who tells gateways holds this in PostgreSQL until the commit: of two at once each would tell them all."""


class _Meant(NamedTuple):
    """A workflow for a gateway; `devices` are those of its site that it is for, None for all."""

    workflow: Workflow
    devices: list[str] | None


async def distribute(session: AsyncSession, definitions: Definitions) -> bool:
    """Tell every gateway what has changed of its workflows, and say whether there was anything."""
    await _hold(session)
    await definitions.refresh(session)
    told: dict[str, dict[str, WorkflowAtGateway]] = {}
    for row in await session.scalars(select(WorkflowAtGateway)):
        told.setdefault(row.gateway, {})[row.workflow] = row
    meant: dict[str, list[_Meant]] = {}
    changed = False
    for gateway in await registry.gateways(session) if definitions.at_edge or told else []:
        site = gateway["site"]
        if site not in meant:
            meant[site] = await _meant(session, site, definitions)
        changed |= await _tell(session, gateway["id"], meant[site], told.get(gateway["id"], {}))
    return changed


async def restore(session: AsyncSession, definitions: Definitions, gateway: str) -> None:
    """Send a gateway whose stream is new all of its workflows: it may have lost them."""
    await definitions.refresh(session)
    site = await registry.site_of(session, gateway)
    if site is not None:
        await session.execute(delete(WorkflowAtGateway).where(WorkflowAtGateway.gateway == gateway))
        await _tell(session, gateway, await _meant(session, site["id"], definitions), {})


async def hear(session: AsyncSession, gateway: str, word: Event) -> None:
    """Take a gateway's word on a workflow; an older one than the last does not count."""
    workflow = word.data.get("workflow")
    row = await session.get(WorkflowAtGateway, (workflow, gateway)) if isinstance(workflow, str) else None
    if row is None or (row.at is not None and word.ts < row.at):
        return
    version = word.data.get("version")
    if word.type == "workflow.applied":
        row.applied = str(version)[:20]
    if version == row.version:
        row.status, row.at = WORDS[word.type], word.ts
        row.faults = told_faults(word.data.get("faults")) if row.status == REFUSED else []
        engine = word.data.get("engine")
        row.engine = engine if isinstance(engine, int) and 0 <= engine < 2**31 else None


async def at_gateways(session: AsyncSession, workflow: str) -> list[dict[str, Any]]:
    """Return what became of a workflow at each gateway that was told of it."""
    query = select(WorkflowAtGateway).where(WorkflowAtGateway.workflow == workflow)
    names = ("gateway", "version", "status", "applied", "faults", "engine")
    return [
        {**{name: getattr(row, name) for name in names}, "at": None if row.at is None else from_ms(row.at)}
        for row in await session.scalars(query.order_by(WorkflowAtGateway.gateway))
    ]


async def _hold(session: AsyncSession) -> None:
    if is_sqlite(session):
        await starts.hold_writers(session)
    else:
        await session.execute(select(func.pg_advisory_xact_lock(LOCK)))


async def _meant(session: AsyncSession, site: str, definitions: Definitions) -> list[_Meant]:
    """Return the workflows for a site: those that name none of its devices are not for it."""
    found = []
    for workflow in definitions.at_edge.values():
        named = None
        if workflow.devices is not None:
            named = sorted(await rules.matching(session, workflow.devices, site))
        if named is None or named:
            found.append(_Meant(workflow, named))
    return found


async def _tell(session: AsyncSession, gateway: str, meant: list[_Meant], had: dict[str, WorkflowAtGateway]) -> bool:
    fresh = {one.workflow.id for one in meant if _is_news(had.get(one.workflow.id), one)}
    gone = had.keys() - {one.workflow.id for one in meant}
    if not (fresh or gone):
        return False
    # What waits would be overtaken: it is said anew, so that a gateway that is away for long has one word of each.
    waiting = {_id_of(body) for body in await dispatch.withdraw(session, gateway, down.WORKFLOW)}
    await dispatch.withdraw(session, gateway, down.WORKFLOWS)
    ids = {}
    for one in meant:
        workflow = one.workflow
        if workflow.id in fresh:
            _note(session, gateway, had.get(workflow.id), one)
        if one.devices is not None and len(one.devices) > MAX_DEVICES:
            continue
        ids[workflow.id] = workflow.version
        if workflow.id in fresh | waiting:
            record = down.Workflow(workflow.id, workflow.version, dict(workflow.document), one.devices)
            await dispatch.queue(session, gateway, down.WORKFLOW, down.encode(record))
    await dispatch.queue(session, gateway, down.WORKFLOWS, down.encode(down.Workflows(ids)))
    for workflow_id in gone:
        await session.delete(had[workflow_id])
    await session.flush()
    return True


def _is_news(row: WorkflowAtGateway | None, meant: _Meant) -> bool:
    return row is None or (row.version, row.devices) != (meant.workflow.version, meant.devices)


def _note(session: AsyncSession, gateway: str, row: WorkflowAtGateway | None, meant: _Meant) -> None:
    """Take note of what a gateway is told, or that a workflow is for too many of its devices to be told."""
    if row is None:
        row = WorkflowAtGateway(workflow=meant.workflow.id, gateway=gateway, applied=None)
        session.add(row)
    row.version, row.devices = meant.workflow.version, meant.devices
    row.status, row.faults, row.engine, row.at = SENT, [], None, None
    if meant.devices is not None and len(meant.devices) > MAX_DEVICES:
        reason = f"names {len(meant.devices)} devices of this site, and {MAX_DEVICES} is the most: name smaller groups"
        row.status, row.faults = REFUSED, [{"path": "devices", "reason": reason}]


def _id_of(body: bytes) -> str:
    told = down.decode(body)
    return told.id if isinstance(told, down.Workflow) else ""
