"""Messages on topics of sites, which start workflows of the cloud: who listens, and what was heard. (W4, ADR 65)"""

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.automation import service as rules
from fieldloom_cloud.automation.telling import APPLIED, SENT
from fieldloom_cloud.database import from_ms
from fieldloom_cloud.dispatch import service as dispatch
from fieldloom_cloud.ingest import service as ingest
from fieldloom_cloud.registry import service as registry
from fieldloom_cloud.workflows.definitions import Definitions
from fieldloom_cloud.workflows.models import TopicsAtGateway
from fieldloom_engine.rules import Event as Judged
from fieldloom_engine.workflows import Workflow
from fieldloom_engine.workflows.model import OnMessage
from fieldloom_engine.workflows.topics import REST, SITE
from fieldloom_engine.workflows.triggers import NotStarted, Start
from fieldloom_runtime import down, site_messages
from fieldloom_runtime.records import Event

MOST = 32_768
"""Topic filters of more characters are told as `EVERYTHING`."""
EVERYTHING = [SITE + REST]


def topics_of(workflow: Workflow) -> set[str]:
    """Return the topic filters of a workflow."""
    return {one.on.topic for one in workflow.triggers if isinstance(one.on, OnMessage)}


async def tell_all(session: AsyncSession, definitions: Definitions) -> bool:
    """Tell every gateway to which topics it is to listen from now on, and say whether there was anything to tell."""
    told = {row.gateway: row for row in await session.scalars(select(TopicsAtGateway))}
    meant: dict[str, list[str]] = {}
    changed = False
    for gateway in await registry.gateways(session):
        name, site = gateway["id"], gateway["site"]
        if site not in meant:
            meant[site] = await _for_site(session, definitions, site)
        row = told.get(name)
        if meant[site] != ([] if row is None else row.topics):
            await _tell(session, name, row, meant[site])
            changed = True
    return changed


async def restore(session: AsyncSession, definitions: Definitions, gateway: str) -> None:
    """Tell a gateway whose stream is new: it may have lost what it was told."""
    site = await registry.site_of(session, gateway)
    meant = [] if site is None else await _for_site(session, definitions, site["id"])
    row = await session.get(TopicsAtGateway, gateway)
    if row is not None or meant:
        await _tell(session, gateway, row, meant)


async def hear(session: AsyncSession, gateway: str, words: Sequence[Event]) -> list[Judged]:
    """Take what a gateway tells of messages, and return those that it has heard. What can't be is a dead letter."""
    for answer in (word for word in words if word.type == site_messages.LISTENING):
        await _take_answer(session, gateway, answer)
    told = [word for word in words if word.type == site_messages.HEARD]
    site = await registry.site_of(session, gateway) if told else None
    if site is None:
        return []
    return [event for word in told if (event := _heard(session, gateway, site["id"], word)) is not None]


async def started_by(
    session: AsyncSession, definitions: Definitions, messages: list[Judged], now: int
) -> list[Start | NotStarted]:
    """Return what messages of a site start: only workflows that are for it. `now` in Unix ms."""
    found = await definitions.started_by(session, messages, now)
    return [start for start in found if await _is_for(session, start.workflow, messages[0].metadata["site"])]


async def listeners(session: AsyncSession, workflow: Workflow) -> list[dict[str, Any]]:
    """Return which gateways are to listen for a workflow of the cloud, and whether each has said that it does."""
    rows = {row.gateway: row for row in await session.scalars(select(TopicsAtGateway))}
    return [_shown(workflow, name, rows.get(name)) for name in await _meant(session, workflow)]


async def warnings(session: AsyncSession, workflow: Workflow) -> list[dict[str, str]]:
    """Return that nobody is there to hear a workflow's messages, if that is so."""
    if not topics_of(workflow) or await _meant(session, workflow):
        return []
    at = next(number for number, one in enumerate(workflow.triggers) if isinstance(one.on, OnMessage))
    reason = "no gateway is there to hear messages: they come by the broker of a gateway of each site that it is for"
    return [{"path": f"document.triggers[{at}].message", "reason": reason}]


async def _for_site(session: AsyncSession, definitions: Definitions, site: str) -> list[str]:
    """Return the topic filters to which a site's gateways are to listen."""
    found: set[str] = set()
    for workflow in definitions.at_work.values():
        topics = topics_of(workflow)
        if topics and await _is_for(session, workflow, site):
            found |= topics
    return sorted(found) if sum(map(len, found)) <= MOST else EVERYTHING


async def _is_for(session: AsyncSession, workflow: Workflow, site: str) -> bool:
    """Whether a workflow is for a site: one that names none of its devices is not, as at the edge."""
    return workflow.devices is None or bool(await rules.matching(session, workflow.devices, site))


async def _meant(session: AsyncSession, workflow: Workflow) -> list[str]:
    """Return the gateways at whose sites a workflow wants to hear something."""
    if not topics_of(workflow):
        return []
    gateways = await registry.gateways(session)
    sites = {site for site in {one["site"] for one in gateways} if await _is_for(session, workflow, site)}
    return [one["id"] for one in gateways if one["site"] in sites]


async def _tell(session: AsyncSession, gateway: str, row: TopicsAtGateway | None, topics: list[str]) -> None:
    """Tell a gateway, in place of what still waits for it."""
    if row is None:
        row = TopicsAtGateway(gateway=gateway)
        session.add(row)
    row.topics, row.at = topics, None
    await dispatch.withdraw(session, gateway, down.TOPICS)
    await dispatch.queue(session, gateway, down.TOPICS, down.encode(down.Topics(topics)))
    await session.flush()


async def _take_answer(session: AsyncSession, gateway: str, word: Event) -> None:
    """Take to what a gateway listens; one that knows of nothing is told again, since an older one did not hear it."""
    row = await session.get(TopicsAtGateway, gateway)
    topics = word.data.get("topics")
    if row is not None and topics is None:
        await session.delete(row)
    elif row is not None and topics == row.topics:
        row.at = word.ts


def _heard(session: AsyncSession, gateway: str, site: str, word: Event) -> Judged | None:
    try:
        return site_messages.event_of(word, site)
    except msgspec.ValidationError as error:
        ingest.bury(session, gateway, word, f"{word.type}: {error}")
        return None


def _shown(workflow: Workflow, gateway: str, row: TopicsAtGateway | None) -> dict[str, Any]:
    at = None if row is None or not _takes(row.topics, workflow) else row.at
    status, applied, since = (SENT, None, None) if at is None else (APPLIED, workflow.version, from_ms(at))
    told: dict[str, Any] = {"gateway": gateway, "version": workflow.version, "faults": [], "engine": None}
    return {**told, "status": status, "applied": applied, "at": since}


def _takes(filters: list[str], workflow: Workflow) -> bool:
    return filters == EVERYTHING or topics_of(workflow) <= set(filters)
