"""Rules on their way to the gateways, and what those say of them. (E5)

A gateway is told each rule that its site needs, and the whole set; what is at work is compared with what it was told
last, so that nothing is sent twice and nothing forgotten.
"""

from typing import Any, NamedTuple

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.automation import service
from fieldloom_cloud.automation.models import RuleAtGateway
from fieldloom_cloud.automation.service import AtWork
from fieldloom_cloud.dispatch import service as dispatch
from fieldloom_cloud.registry import service as registry
from fieldloom_runtime import down
from fieldloom_runtime.records import Event

SENT, APPLIED, REFUSED = "sent", "applied", "refused"
WORDS = {"rule.applied": APPLIED, "rule.refused": REFUSED}
MAX_DEVICES = 1000  # that one record names
MAX_FAULTS = 100


class _Meant(NamedTuple):
    """A rule for a gateway; `devices` are those of its site that it is for, None for all."""

    told: AtWork
    devices: list[str] | None


async def distribute(session: AsyncSession) -> bool:
    """Tell every gateway what has changed of its rules, and say whether there was anything."""
    at_work = await _at_edge(session)
    told: dict[str, dict[str, RuleAtGateway]] = {}
    for row in await session.scalars(select(RuleAtGateway)):
        told.setdefault(row.gateway, {})[row.rule] = row
    meant: dict[str, list[_Meant]] = {}
    changed = False
    for gateway in await registry.gateways(session) if at_work or told else []:
        site = gateway["site"]
        if site not in meant:
            meant[site] = await _meant(session, site, at_work)
        changed |= await _tell(session, gateway["id"], meant[site], told.get(gateway["id"], {}))
    return changed


async def restore(session: AsyncSession, gateway: str) -> None:
    """Send a gateway whose stream is new all of its rules: it may have lost them."""
    site = await registry.site_of(session, gateway)
    if site is not None:
        await session.execute(delete(RuleAtGateway).where(RuleAtGateway.gateway == gateway))
        await _tell(session, gateway, await _meant(session, site["id"], await _at_edge(session)), {})


async def hear(session: AsyncSession, gateway: str, word: Event) -> bool:
    """Take a gateway's word on a rule, and say whether it was one that counts; an older one does not."""
    rule = word.data.get("rule")
    row = await session.get(RuleAtGateway, (rule, gateway)) if isinstance(rule, str) else None
    if row is None or (row.at is not None and word.ts < row.at):
        return False
    version, mode = word.data.get("version"), word.data.get("mode")
    if word.type == "rule.applied":
        row.applied = str(version)[:20]
    if version == row.version and mode in (None, row.mode):
        row.status, row.at = WORDS[word.type], word.ts
        row.faults = told_faults(word.data.get("faults")) if row.status == REFUSED else []
        found = word.data.get("engine")
        row.engine = found if isinstance(found, int) and 0 <= found < 2**31 else None
    return True


async def carried(session: AsyncSession) -> set[tuple[str, str]]:
    """Return (gateway, rule) of all rules that gateways run."""
    query = select(RuleAtGateway.gateway, RuleAtGateway.rule).where(RuleAtGateway.applied.is_not(None))
    return {(gateway, rule) for gateway, rule in await session.execute(query)}


async def _at_edge(session: AsyncSession) -> list[AtWork]:
    return [one for one in await service.at_work(session) if one.rule.placement != "cloud"]


async def _meant(session: AsyncSession, site: str, at_work: list[AtWork]) -> list[_Meant]:
    """Return the rules for a site: those that name none of its devices are not for it."""
    found = []
    for one in at_work:
        named = None
        if one.rule.devices is not None:
            named = sorted(await service.matching(session, one.rule.devices, site))
        if named is None or named:
            found.append(_Meant(one, named))
    return found


async def _tell(session: AsyncSession, gateway: str, meant: list[_Meant], had: dict[str, RuleAtGateway]) -> bool:
    fresh = {one.told.rule.id for one in meant if _is_news(had.get(one.told.rule.id), one)}
    gone = had.keys() - {one.told.rule.id for one in meant}
    if not (fresh or gone):
        return False
    # What waits would be overtaken: it is said anew, so that a gateway that is away for long has one word of each.
    waiting = {_id_of(body) for body in await dispatch.withdraw(session, gateway, down.RULE)}
    await dispatch.withdraw(session, gateway, down.RULES)
    ids = {}
    for one in meant:
        rule = one.told.rule
        if rule.id in fresh:
            _note(session, gateway, had.get(rule.id), one)
        if one.devices is not None and len(one.devices) > MAX_DEVICES:
            continue
        ids[rule.id] = rule.version
        if rule.id in fresh | waiting:
            record = down.Rule(rule.id, rule.version, dict(rule.document), one.told.mode, one.devices)
            await dispatch.queue(session, gateway, down.RULE, down.encode(record))
    await dispatch.queue(session, gateway, down.RULES, down.encode(down.Rules(ids)))
    for rule_id in gone:
        await session.delete(had[rule_id])
    await session.flush()
    return True


def _is_news(row: RuleAtGateway | None, meant: _Meant) -> bool:
    if row is None:
        return True
    return (row.version, row.mode, row.devices) != (meant.told.rule.version, meant.told.mode, meant.devices)


def _note(session: AsyncSession, gateway: str, row: RuleAtGateway | None, meant: _Meant) -> None:
    """Take note of what a gateway is told, or that a rule is for too many of its devices to be told."""
    if row is None:
        row = RuleAtGateway(rule=meant.told.rule.id, gateway=gateway, applied=None)
        session.add(row)
    row.version, row.mode, row.devices = meant.told.rule.version, meant.told.mode, meant.devices
    row.status, row.faults, row.engine, row.at = SENT, [], None, None
    if meant.devices is not None and len(meant.devices) > MAX_DEVICES:
        reason = f"names {len(meant.devices)} devices of this site, and {MAX_DEVICES} is the most: name smaller groups"
        row.status, row.faults = REFUSED, [{"path": "devices", "reason": reason}]


def _id_of(body: bytes) -> str:
    told = down.decode(body)
    return told.id if isinstance(told, down.Rule) else ""


def told_faults(told: Any) -> list[dict[str, Any]]:
    """Return the faults that a gateway tells, as far as they are some."""
    faults = told if isinstance(told, list) else []
    return [
        {name: str(one.get(name, ""))[:1000] for name in ("path", "reason")}
        for one in faults[:MAX_FAULTS]
        if isinstance(one, dict)
    ]
