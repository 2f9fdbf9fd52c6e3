"""What becomes of the patches that wait at a gateway for one device; nothing here waits or writes. (R4)"""

from collections.abc import Sequence
from typing import NamedTuple

from fieldloom_engine import twin
from fieldloom_engine.twin import Answer, Desired, Patch
from fieldloom_gateway.ingest.twins import Decided, Row


class Wanted(NamedTuple):
    """What the map has of a device."""

    desired: Desired = Desired()
    done: dict[str, tuple[Answer, ...]] = {}  # noqa: RUF012 - nothing here is changed in place
    """By gateway the rows of its inbox that it did with its last change: it may be killed before it forgets them."""
    modified: int = 0
    """The index of its last change in the map; 0 where nothing is kept."""


def decide(wanted: Wanted, gateway: str, rows: Sequence[Row]) -> tuple[Wanted, list[Decided]]:
    """Return what a gateway shall put into the map for rows of its inbox, and what becomes of each of them."""
    before = {answer.id: answer for answer in wanted.done.get(gateway, ())}
    desired, answers, decided = wanted.desired, [], []
    for row in rows:
        done = before.get(row.id)
        one = _take(desired, row) if done is None else Decided(row, desired, done.error, is_news=True)
        desired = one.desired
        answers.append(Answer(row.id, one.error))
        decided.append(one)
    if desired == wanted.desired:
        return wanted, decided
    return Wanted(desired, {**wanted.done, gateway: tuple(answers)}, wanted.modified), decided


def _take(desired: Desired, row: Row) -> Decided:
    if isinstance(row.told, Desired):
        after = twin.adopt(desired, row.told)
        return Decided(row, after, None, is_news=after.version > row.told.version)
    patch = row.told
    if row.expected not in (None, desired.version) and not _is_answered(desired, patch):
        return Decided(row, desired, None, is_news=False, is_late=True)
    after, error = twin.apply(desired, patch, row.seen)
    is_behind = patch.known is not None and patch.known.version < after.version
    return Decided(row, after, error, is_news=patch.id is not None or after.version > desired.version or is_behind)


def _is_answered(desired: Desired, patch: Patch) -> bool:
    return any(answer.id == patch.id for answer in desired.answers)
