"""The audit log: a change leaves its rows in its own transaction, and each row holds the hash of the one before. (A2)

The rows are written when all else of the transaction is: the lock on the log's end is the last one that is taken, so no
two transactions wait for each other, and it is held for moments only.
"""

import hashlib
import json
import time
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import delete, event, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from fieldloom_cloud import pages
from fieldloom_cloud.database import from_ms
from fieldloom_cloud.trail.models import AuditEnds, AuditRow
from fieldloom_cloud.trail.origin import Origin

DONE, REFUSED = "done", "refused"
AT_ONCE = 10_000
"""Rows that one transaction verifies or forgets."""
MAX_FAULTS = 100
"""Of one piece: of a log that somebody has written anew more says nothing more."""
HIDDEN = "***"
_ORIGIN, _NOTES = "origin", "notes"
_SECRET_WORDS = ("password", "passphrase", "secret", "token")
_SECRET_NAMES = ("key", "psk")
_TEXTS = ("actor_kind", "actor", "actor_name", "address", "action", "method", "route", "kind", "object", "subject")
_HASHED = ("number", "at", *_TEXTS, "before", "after", "outcome", "status", "reason", "count")
_SHOWN = ("number", "address", "action", "method", "route", "kind", "object", "subject")
_LENGTHS = {column.name: getattr(column.type, "length", None) for column in AuditRow.__table__.columns}


class Asked(NamedTuple):
    """Which rows; None takes any. `start` and `end` in UTC, `end` excluded."""

    actor: str | None = None
    """An id or a name."""
    object: str | None = None
    """The object's id, or the device or gateway that it belongs to."""
    action: str | None = None
    start: datetime | None = None
    end: datetime | None = None


class Verified(NamedTuple):
    """What is true of some rows of the log."""

    first: int
    """The oldest row that is kept."""
    newest: int
    sha256: str
    """Of the newest row."""
    following: int | None
    """The row to go on behind, None at the end."""
    faults: list[str]


def begin(session: AsyncSession, origin: Origin) -> None:
    """Say who makes the changes of a transaction from here on."""
    session.info[_ORIGIN] = origin


def identify(session: AsyncSession, kind: str, actor: str, name: str = "") -> Origin:
    """Say whose request a transaction answers, once that is known, and return the origin."""
    before: Origin = session.info.get(_ORIGIN, Origin())
    known = before._replace(actor_kind=kind, actor=actor, actor_name=name)
    begin(session, known)
    return known


def note(
    session: AsyncSession,
    kind: str,
    object_id: str,
    before: dict[str, Any] | None,
    after: dict[str, Any] | None,
    subject: str = "",
) -> None:
    """Leave a row of a change, if the transaction is committed: what was so and is otherwise now.

    `before` is None for what was made, `after` for what is gone; fields that stay as they are do not count, and secrets
    are hidden by their names. `subject` is the device or gateway that an object of another kind belongs to.
    """
    if before is not None and after is not None:
        changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
        before, after = ({name: one[name] for name in one if name in changed} for one in (before, after))
    told = {"kind": kind, "object": object_id, "subject": subject, "before": _text(before), "after": _text(after)}
    _leave(session, session.info.get(_ORIGIN, Origin()), {**told, "outcome": DONE, "count": 1})


def note_refusal(
    session: AsyncSession, origin: Origin, object_id: str, status: int, reason: str | None, count: int
) -> None:
    """Leave a row of requests that were refused alike; `object_id` and `reason` are those of the last one."""
    told = {"object": object_id, "status": status, "reason": reason, "count": count}
    _leave(session, origin, {**told, "outcome": REFUSED})


async def rows(session: AsyncSession, wanted: Asked, asked: pages.Asked) -> tuple[list[dict[str, Any]], str | None]:
    """Return a page of rows, the newest first, and the next page's cursor."""
    query = select(AuditRow).order_by(AuditRow.number.desc())
    if wanted.actor is not None:
        query = query.where(or_(AuditRow.actor == wanted.actor, AuditRow.actor_name == wanted.actor))
    if wanted.object is not None:
        query = query.where(or_(AuditRow.object == wanted.object, AuditRow.subject == wanted.object))
    if wanted.action is not None:
        query = query.where(AuditRow.action == wanted.action)
    if wanted.start is not None:
        query = query.where(AuditRow.at >= _ms(wanted.start))
    if wanted.end is not None:
        query = query.where(AuditRow.at < _ms(wanted.end))
    found, following = await pages.read(session, query, asked, [int])
    return [_shown(row) for row in found], following


async def verify(session: AsyncSession, after: int = 0) -> Verified:
    """Hold the rows above `after` against the chain of their hashes, as many as are taken at once."""
    ends = (await session.scalars(select(AuditEnds).execution_options(populate_existing=True))).one()
    start = min(max(after, ends.first - 1), ends.number)
    chain = ends.before if start == ends.first - 1 else await _hash_of(session, start)
    query = select(AuditRow).where(AuditRow.number > start, AuditRow.number <= ends.number)
    found = list(await session.scalars(query.order_by(AuditRow.number).limit(AT_ONCE)))
    faults = [] if chain is not None else [f"row {start} is missing"]
    expected = start + 1
    for row in found:
        if row.number != expected:
            faults.append(_missing(expected, row.number - 1))
        elif chain is not None and row.sha256 != _link(chain, row):
            faults.append(f"row {row.number} is not what was written, or does not follow the row before it")
        chain, expected = row.sha256, row.number + 1
    following = expected - 1 if len(found) == AT_ONCE and expected <= ends.number else None
    if following is None and expected <= ends.number:
        faults.append(_missing(expected, ends.number))
    elif following is None and chain != ends.sha256:
        faults.append(f"row {ends.number} is not the one that was written last")
    if faults and await session.scalar(select(AuditEnds.first)) != ends.first:
        return await verify(session, after)  # old rows were forgotten meanwhile
    return Verified(ends.first, ends.number, ends.sha256, following, faults[:MAX_FAULTS])


async def forget(session: AsyncSession, before: int) -> int:
    """Forget the oldest rows, all of them of before a time in Unix ms; return how many, of those that go at once."""
    ends = (await session.scalars(select(AuditEnds).with_for_update())).one()
    kept = await session.scalar(select(func.min(AuditRow.number)).where(AuditRow.at >= before))
    last = min((kept or ends.number + 1) - 1, ends.first + AT_ONCE - 1)
    if last < ends.first:
        return 0
    forgotten = last + 1 - ends.first
    ends.before = await _hash_of(session, last) or ""
    ends.first = last + 1
    await session.execute(delete(AuditRow).where(AuditRow.number <= last))
    return forgotten


def _leave(session: AsyncSession, origin: Origin, told: dict[str, Any]) -> None:
    row = {"kind": "", "subject": "", "before": None, "after": None, "status": None, "reason": None, **told}
    row = {**row, **origin._asdict()}
    cut = {name: _plain(one)[: _LENGTHS[name]] if isinstance(one, str) else one for name, one in row.items()}
    session.info.setdefault(_NOTES, []).append(cut)


@event.listens_for(Session, "before_commit")
def _write(session: Session) -> None:
    """Write what a transaction has left, as the last of all that it does."""
    noted = session.info.pop(_NOTES, None)
    if not noted:
        return
    session.flush()
    count = update(AuditEnds).values(number=AuditEnds.number + len(noted)).returning(AuditEnds.number, AuditEnds.sha256)
    newest, chain = session.execute(count.execution_options(synchronize_session=False)).one()
    at = time.time_ns() // 1_000_000
    written = []
    for number, told in enumerate(noted, start=newest - len(noted) + 1):
        row = AuditRow(number=number, at=at, **told)
        chain = row.sha256 = _link(chain, row)
        written.append({"number": number, "at": at, "sha256": chain, **told})
    session.execute(insert(AuditRow), written)
    session.execute(update(AuditEnds).values(sha256=chain).execution_options(synchronize_session=False))


def _link(chain: str, row: AuditRow) -> str:
    told = json.dumps([chain, *(getattr(row, name) for name in _HASHED)], separators=(",", ":"))
    return hashlib.sha256(told.encode()).hexdigest()


async def _hash_of(session: AsyncSession, number: int) -> str | None:
    found: str | None = await session.scalar(select(AuditRow.sha256).where(AuditRow.number == number))
    return found


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)


def _missing(first: int, last: int) -> str:
    return f"row {first} is missing" if first == last else f"rows {first} to {last} are missing"


def _text(fields: dict[str, Any] | None) -> str | None:
    return None if fields is None else json.dumps(_open(fields), ensure_ascii=False, sort_keys=True)


def _open(value: Any) -> Any:
    """Return what of a value everybody may read who reads the log."""
    if isinstance(value, dict):
        return {name: HIDDEN if _is_secret(name) and one is not None else _open(one) for name, one in value.items()}
    return [_open(one) for one in value] if isinstance(value, list) else value


def _is_secret(name: str) -> bool:
    plain = name.lower()
    return plain in _SECRET_NAMES or any(word in plain for word in _SECRET_WORDS)


def _plain(text: str) -> str:
    """Return a stranger's text as every store can keep it."""
    return text.encode(errors="replace").decode().replace("\0", "�")


def _shown(row: AuditRow) -> dict[str, Any]:
    texts = {"before": row.before, "after": row.after}
    changed = {name: None if text is None else json.loads(text) for name, text in texts.items()}
    outcome = {name: getattr(row, name) for name in ("outcome", "status", "reason", "count", "sha256")}
    actor = {"kind": row.actor_kind, "id": row.actor, "name": row.actor_name}
    return {
        "at": from_ms(row.at),
        "actor": actor,
        **{name: getattr(row, name) for name in _SHOWN},
        **changed,
        **outcome,
    }
