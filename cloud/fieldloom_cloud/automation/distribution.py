"""The rules that gateways carry out: which each site needs, and which are at work where. (E5)"""

from functools import partial

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.automation import service, telling
from fieldloom_cloud.automation.models import AT_GATEWAYS, RuleAtGateway
from fieldloom_cloud.automation.service import AtWork
from fieldloom_runtime import down
from fieldloom_runtime.records import Event

WORDS = AT_GATEWAYS.words


async def distribute(session: AsyncSession) -> bool:
    """Tell every gateway what has changed of its rules, and say whether there was anything."""
    return await telling.tell_all(session, AT_GATEWAYS, partial(_for_site, session, await _at_edge(session)))


async def restore(session: AsyncSession, gateway: str) -> None:
    """Send a gateway whose stream is new all of its rules: it may have lost them."""
    await telling.restore(session, AT_GATEWAYS, gateway, partial(_for_site, session, await _at_edge(session)))


async def hear(session: AsyncSession, gateway: str, word: Event) -> bool:
    """Take a gateway's word on a rule, and say whether it was one that counts; an older one does not."""
    return await telling.hear(session, AT_GATEWAYS, gateway, word)


async def carried(session: AsyncSession) -> set[tuple[str, str]]:
    """Return (gateway, rule) of all rules that gateways run."""
    query = select(RuleAtGateway.gateway, RuleAtGateway.rule).where(RuleAtGateway.applied.is_not(None))
    return {(gateway, rule) for gateway, rule in await session.execute(query)}


async def _at_edge(session: AsyncSession) -> list[AtWork]:
    return [one for one in await service.at_work(session) if one.rule.placement != "cloud"]


async def _for_site(session: AsyncSession, at_work: list[AtWork], site: str) -> list[telling.Definition]:
    """Return the rules for a site: those that name none of its devices are not for it."""
    found: list[telling.Definition] = []
    for rule, mode in at_work:
        named = None if rule.devices is None else sorted(await service.matching(session, rule.devices, site))
        if named is None or named:
            found.append(down.Rule(rule.id, rule.version, dict(rule.document), mode, named))
    return found
