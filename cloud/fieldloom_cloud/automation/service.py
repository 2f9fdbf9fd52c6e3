"""Rules in SQL: versions, which of them is at work and in which mode, and what gateways say of them. (E5, E6)"""

from typing import Any, NamedTuple, cast

import structlog
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud import pages
from fieldloom_cloud.automation import checking, telling
from fieldloom_cloud.automation.checking import Mode
from fieldloom_cloud.automation.models import AT_GATEWAYS, Rule, RuleAtGateway, RuleVersion
from fieldloom_cloud.database import from_ms, iso, now
from fieldloom_cloud.errors import BadContent, NotFound, StaleVersion
from fieldloom_cloud.ingest import service as ingest
from fieldloom_cloud.outbox import service as outbox
from fieldloom_cloud.registry import search
from fieldloom_cloud.trail import service as trail
from fieldloom_engine import rules as engine
from fieldloom_engine.writes import Writer, of_rule

log = structlog.get_logger()


class Wish(NamedTuple):
    """What shall be at work; `revision` is the one that the caller has seen, None takes any."""

    mode: str
    revision: int | None
    token: str


class AtWork(NamedTuple):
    """A rule as it is at work."""

    rule: engine.Rule
    mode: Mode


async def deploy(session: AsyncSession, rule: engine.Rule, wish: Wish) -> dict[str, Any]:
    """Put a checked version of a rule to work; one that is there already only if it says the same.

    Raises StaleVersion, and BadContent for a group that is not known or a version that says something else.
    """
    await hold_group(session, rule)
    row = await session.get(Rule, rule.id)
    _hold_revision(rule.id, row, wish.revision)
    if row is None:
        row = Rule(id=rule.id, version=rule.version, mode=wish.mode, revision=0)
        session.add(row)
        await _flush(session, rule.id)
    had = await session.get(RuleVersion, (rule.id, rule.version))
    if had is None:
        document = dict(rule.document)
        session.add(RuleVersion(rule=rule.id, version=rule.version, document=document, fingerprint=rule.fingerprint))
    elif had.fingerprint != rule.fingerprint:
        reason = f"{rule.version} is deployed already and says something else: raise it"
        raise BadContent("A version never changes.", [{"path": "document.version", "reason": reason}])
    await _put_to_work(session, row, rule.version, wish)
    return await show(session, rule.id)


async def activate(session: AsyncSession, rule_id: str, version: str | None, wish: Wish) -> dict[str, Any]:
    """Put a version that is there to work, by default the one that is, in a mode. Raises NotFound and StaleVersion."""
    row = await _row(session, rule_id)
    _hold_revision(rule_id, row, wish.revision)
    found = await _version(session, row, version)
    await _put_to_work(session, row, found.version, wish)
    return await show(session, rule_id)


async def remove(session: AsyncSession, rule_id: str, revision: int | None) -> None:
    """Remove a rule with all its versions. Raises NotFound and StaleVersion."""
    row = await _row(session, rule_id)
    _hold_revision(rule_id, row, revision)
    await session.delete(row)
    await session.flush()
    trail.note(session, "rule", rule_id, _noted(row), None)
    outbox.leave(session, "rule.removed", {"id": rule_id, "version": row.version})


async def show(session: AsyncSession, rule_id: str, version: str | None = None) -> dict[str, Any]:
    """Return a rule with a version's document, by default the one at work. Raises NotFound."""
    row = await _row(session, rule_id)
    found = await _version(session, row, version)
    query = select(RuleVersion).where(RuleVersion.rule == rule_id).order_by(RuleVersion.created, RuleVersion.version)
    versions = [{"version": one.version, "created": iso(one.created)} for one in await session.scalars(query)]
    at_gateways = await telling.at_gateways(session, AT_GATEWAYS, rule_id)
    return {**_shown(row, found), "document": found.document, "versions": versions, "gateways": at_gateways}


async def listed(session: AsyncSession, asked: pages.Asked) -> tuple[list[dict[str, Any]], str | None]:
    """Return a page of rules, and the cursor of the next one."""
    rows, following = await pages.read(session, select(Rule).order_by(Rule.id), asked, [str])
    ids = [row.id for row in rows]
    counted: dict[str, dict[str, int]] = {one: {} for one in ids}
    query = select(RuleAtGateway.rule, RuleAtGateway.status, func.count()).where(RuleAtGateway.rule.in_(ids))
    for rule, status, count in await session.execute(query.group_by(RuleAtGateway.rule, RuleAtGateway.status)):
        counted[rule][status] = count
    fired = await ingest.last_firings(session)
    items = []
    for row in rows:
        found = await session.get_one(RuleVersion, (row.id, row.version))
        last = from_ms(fired[row.id]) if row.id in fired else None
        items.append({**_shown(row, found), "gateways": counted[row.id], "last_fired": last})
    return items, following


async def version_of(session: AsyncSession, rule_id: str, version: str | None) -> engine.Rule:
    """Return a version of a rule, by default the one at work. Raises NotFound."""
    row = await _row(session, rule_id)
    found = await _version(session, row, version)
    rule = checking.parsed(found.document)
    if rule is None:
        raise NotFound(f"version {found.version} of rule {rule_id} is none that this cloud still takes")
    return rule


async def at_work(session: AsyncSession) -> list[AtWork]:
    """Return all rules as they are at work, in the order of their ids."""
    joined = (RuleVersion.rule == Rule.id) & (RuleVersion.version == Rule.version)
    query = select(Rule, RuleVersion).join(RuleVersion, joined).order_by(Rule.id)
    found = []
    for row, version in await session.execute(query):
        rule = checking.parsed(version.document)
        if rule is None:
            log.error("rule_not_readable", rule=row.id, version=row.version, way_out="deploy it again")
        else:
            found.append(AtWork(checking.at_work(rule, row.mode), cast("Mode", row.mode)))
    return found


async def writers(session: AsyncSession) -> list[Writer]:
    """Return what each rule at work writes."""
    return [of_rule(one.rule) for one in await at_work(session)]


async def matching(
    session: AsyncSession, devices: engine.Devices, site: str | None = None, among: set[str] | None = None
) -> set[str]:
    """Return which devices a rule's `devices` name: of one site or of all, among some or all."""
    tags = [f"{key}:{value}" for key, value in (devices.tags or {}).items()]
    wanted = search.DeviceQuery(site=site, group=devices.group, type=devices.type, tag=tags or None)
    return await search.those(session, wanted, among)


async def _put_to_work(session: AsyncSession, row: Rule, version: str, wish: Wish) -> None:
    if row.revision and (row.version, row.mode) == (version, wish.mode):
        return
    before = _noted(row) if row.revision else None
    row.version, row.mode, row.updated = version, wish.mode, now()
    row.revision += 1
    await session.flush()
    trail.note(session, "rule", row.id, before, _noted(row))
    told = {"id": row.id, "version": version, "mode": wish.mode, "revision": row.revision, "by": wish.token}
    outbox.leave(session, "rule.deployed", told)


async def hold_group(session: AsyncSession, rule: engine.Rule) -> None:
    """Refuse a rule for a group that is not there. Raises BadContent."""
    group = None if rule.devices is None else rule.devices.group
    if group is not None and not await search.is_group(session, group):
        reason = f"there is no group {group}"
        raise BadContent("The rule can't be taken.", [{"path": "document.devices.group", "reason": reason}])


def _hold_revision(rule_id: str, row: Rule | None, revision: int | None) -> None:
    had = 0 if row is None else row.revision
    if revision is not None and revision != had:
        raise StaleVersion(f"rule {rule_id} is at revision {had}, not {revision}")


async def _flush(session: AsyncSession, rule_id: str) -> None:
    try:
        await session.flush()
    except IntegrityError:
        raise StaleVersion(f"rule {rule_id} was changed meanwhile") from None


async def _row(session: AsyncSession, rule_id: str) -> Rule:
    row = await session.get(Rule, rule_id)
    if row is None:
        raise NotFound(f"there is no rule {rule_id}")
    return row


async def _version(session: AsyncSession, row: Rule, version: str | None) -> RuleVersion:
    wanted = row.version if version is None else version
    found = await session.get(RuleVersion, (row.id, wanted))
    if found is None:
        raise NotFound(f"there is no version {wanted} of rule {row.id}")
    return found


def _noted(row: Rule) -> dict[str, Any]:
    return {"version": row.version, "mode": row.mode}


def _shown(row: Rule, version: RuleVersion) -> dict[str, Any]:
    told = {name: getattr(row, name) for name in ("id", "version", "mode", "revision")}
    said = {"placement": version.document.get("placement", "both"), "description": version.document.get("description")}
    return {**told, **said, "updated": iso(row.updated)}
