"""The workflows that gateways carry out: which each site needs, and which are at work where. (W4, W7)"""

from functools import partial

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.automation import service as rules
from fieldloom_cloud.automation import telling
from fieldloom_cloud.database import is_sqlite
from fieldloom_cloud.workflows import messages, starts
from fieldloom_cloud.workflows.definitions import Definitions
from fieldloom_cloud.workflows.models import AT_GATEWAYS
from fieldloom_runtime import down
from fieldloom_runtime.records import Event

WORDS = AT_GATEWAYS.words
LOCK = 0x776F_726B
"""Who tells gateways holds this in PostgreSQL until the commit: of two at once each would tell them all."""


async def distribute(session: AsyncSession, definitions: Definitions) -> bool:
    """Tell every gateway what has changed of its workflows and topics, and say whether there was anything."""
    if is_sqlite(session):
        await starts.hold_writers(session)
    else:
        await session.execute(select(func.pg_advisory_xact_lock(LOCK)))
    await definitions.refresh(session)
    has_told = await telling.tell_all(session, AT_GATEWAYS, partial(_for_site, session, definitions))
    return await messages.tell_all(session, definitions) or has_told


async def restore(session: AsyncSession, definitions: Definitions, gateway: str) -> None:
    """Send a gateway whose stream is new all of its workflows and topics: it may have lost them."""
    await definitions.refresh(session)
    await telling.restore(session, AT_GATEWAYS, gateway, partial(_for_site, session, definitions))
    await messages.restore(session, definitions, gateway)


async def hear(session: AsyncSession, gateway: str, word: Event) -> None:
    """Take a gateway's word on a workflow."""
    await telling.hear(session, AT_GATEWAYS, gateway, word)


async def _for_site(session: AsyncSession, definitions: Definitions, site: str) -> list[telling.Definition]:
    """Return the workflows for a site: those that name none of its devices are not for it."""
    found: list[telling.Definition] = []
    for one in definitions.at_edge.values():
        named = None if one.devices is None else sorted(await rules.matching(session, one.devices, site))
        if named is None or named:
            found.append(down.Workflow(one.id, one.version, dict(one.document), named))
    return found
