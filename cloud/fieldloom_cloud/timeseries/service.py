"""What SQL knows of time series: what waits for a server, rules of downsampling, retention. (S1, S3)"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from fieldloom_cloud.errors import BadContent, NotFound
from fieldloom_cloud.timeseries.downsampling import Rule
from fieldloom_cloud.timeseries.lengths import shown
from fieldloom_cloud.timeseries.models import SeriesPending, SeriesRetention, SeriesRule
from fieldloom_cloud.trail import service as trail

MOST_ROWS = 1000  # at once
ONE = 1  # the retention's row


async def leave(session: AsyncSession, lines: bytes, points: int) -> None:
    """Leave lines for a server."""
    session.add(SeriesPending(lines=lines, size=len(lines), points=points))


async def pending(session: AsyncSession, known: list[int], most_bytes: int) -> Sequence[SeriesPending]:
    """Return what was left and is not known, the oldest first: one at least, and no more than some bytes."""
    sizes = select(SeriesPending.id, SeriesPending.size).order_by(SeriesPending.id).limit(MOST_ROWS + len(known))
    wanted: list[int] = []
    total, sent = 0, set(known)
    for row, size in await session.execute(sizes):
        if row not in sent:
            total += size
            if wanted and total > most_bytes:
                break
            wanted.append(row)
    rows = select(SeriesPending).where(SeriesPending.id.in_(wanted)).order_by(SeriesPending.id)
    return (await session.scalars(rows)).all() if wanted else []


async def forget(session: AsyncSession, rows: list[int]) -> None:
    """Forget what a server has durably."""
    for at in range(0, len(rows), MOST_ROWS):
        await session.execute(delete(SeriesPending).where(SeriesPending.id.in_(rows[at : at + MOST_ROWS])))


async def waiting_bytes(session: AsyncSession) -> int:
    """Return how much waits for a server."""
    return await session.scalar(select(func.coalesce(func.sum(SeriesPending.size), 0))) or 0


class Retention(NamedTuple):
    """How long points are kept, in ms, None for ever; `note` is what the operator has to do himself."""

    is_set: bool
    raw_ms: int | None
    rolled_ms: int | None
    note: str | None


async def retention(session: AsyncSession) -> Retention:
    """Return how long points are kept."""
    row = await session.get(SeriesRetention, ONE)
    return Retention(False, None, None, None) if row is None else Retention(True, row.raw_ms, row.rolled_ms, row.note)


async def set_retention(session: AsyncSession, raw_ms: int | None, rolled_ms: int | None) -> Retention:
    """Set how long points are kept. Raises BadContent where a rule looks back further."""
    wanted = Retention(True, raw_ms, rolled_ms, None)
    known = await rules(session)
    for rule in known:
        kept_ms = kept_of(rule, known, wanted)
        if kept_ms is not None and rule.look_back_ms > kept_ms:
            path = "raw" if kept_ms == raw_ms else "rolled"
            reason = f"is shorter than rule {rule.id} looks back, which is {shown(rule.look_back_ms)}"
            raise BadContent("A rule would lose its points.", [{"path": path, "reason": reason}])
    before = await retention(session)
    trail.note(session, "series_retention", "series", _kept(before) if before.is_set else None, _kept(wanted))
    row = await session.get(SeriesRetention, ONE)
    if row is None:
        row = SeriesRetention(id=ONE)
        session.add(row)
    row.raw_ms, row.rolled_ms, row.note = raw_ms, rolled_ms, None
    return wanted


def kept_of(rule: Rule, known: list[Rule], retention: Retention) -> int | None:
    """Return how long a rule's source is kept, in ms: what another rule makes is kept as such."""
    is_rolled = any(other.target == rule.source for other in known)
    return retention.rolled_ms if is_rolled else retention.raw_ms


async def note_kept(session: AsyncSession, note: str | None) -> None:
    """Keep what the store has said of the retention."""
    await session.execute(update(SeriesRetention).values(note=note))


async def rules(session: AsyncSession) -> list[Rule]:
    """Return all rules; one that takes what another makes comes after it."""
    found = [_rule(row) for row in await session.scalars(select(SeriesRule).order_by(SeriesRule.id))]
    makers = {rule.target: rule for rule in found}
    return sorted(found, key=lambda rule: len(_chain(rule, makers)))


async def rule_of(session: AsyncSession, rule_id: str) -> Rule:
    """Return a rule. Raises NotFound."""
    row = await session.get(SeriesRule, rule_id)
    if row is None:
        raise NotFound(f"there is no rule {rule_id}")
    return _rule(row)


async def put_rule(session: AsyncSession, rule: Rule) -> Rule:
    """Make a rule or change it; one that is changed makes its look-back anew. Raises BadContent."""
    others = [other for other in await rules(session) if other.id != rule.id]
    makers = {other.target: other for other in others}
    if rule.target in makers:
        raise _fault("target", f"is made by rule {makers[rule.target].id} already")
    if rule.target in (rule.source, *(other.source for other in _chain(rule, makers))):
        raise _fault("source", "is made of the target: the rules would go round in a circle")
    kept_ms = kept_of(rule, others, await retention(session))
    if kept_ms is not None and rule.look_back_ms > kept_ms:
        raise _fault("look_back", f"is longer than its source is kept, which is {shown(kept_ms)}")
    row = await session.get(SeriesRule, rule.id)
    if row is not None and _rule(row)._replace(made_until=None) == rule:
        return _rule(row)
    before = None if row is None else _wanted(_rule(row))
    trail.note(session, "series_rule", rule.id, before, _wanted(rule))
    await session.merge(SeriesRule(**rule._asdict()))
    return rule


async def remove_rule(session: AsyncSession, rule_id: str) -> None:
    """Remove a rule; what it has made stays. Raises NotFound."""
    trail.note(session, "series_rule", rule_id, _wanted(await rule_of(session, rule_id)), None)
    await session.execute(delete(SeriesRule).where(SeriesRule.id == rule_id))


async def note_made(session: AsyncSession, rule: Rule, until: int) -> None:
    """Note how far a rule's windows are made, unless it was changed meanwhile."""
    same = (getattr(SeriesRule, name) == value for name, value in rule._asdict().items() if value is not None)
    await session.execute(update(SeriesRule).where(*same).values(made_until=until))


def _kept(told: Retention) -> dict[str, Any]:
    return {"raw_ms": told.raw_ms, "rolled_ms": told.rolled_ms}


def _wanted(rule: Rule) -> dict[str, Any]:
    """Return what a rule was told, without its id and how far it has come."""
    return {name: value for name, value in rule._asdict().items() if name not in ("id", "made_until")}


def _rule(row: SeriesRule) -> Rule:
    return Rule(*(getattr(row, name) for name in Rule._fields))


def _chain(rule: Rule, makers: dict[str, Rule]) -> list[Rule]:
    """Return the rules that make what a rule takes, and what those take, up to where it goes round."""
    chain: list[Rule] = []
    source = rule.source
    while source in makers and makers[source] not in chain:
        chain.append(makers[source])
        source = makers[source].source
    return chain


def _fault(path: str, reason: str) -> BadContent:
    return BadContent("The rule makes no sense.", [{"path": path, "reason": reason}])
