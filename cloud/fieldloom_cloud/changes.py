"""What a transaction changes that somebody may watch: told after its commit, and never if it is undone. (A1)"""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

from sqlalchemy.ext.asyncio import AsyncSession

_KEY = "changes"
_HAS_LEFT_EVENT = "has_left_event"


class Change(NamedTuple):
    """One change of a device; `kind` and the fields of `told` are those of a stream's event."""

    kind: str
    device: str
    told: dict[str, Any]


def announce(session: AsyncSession, kind: str, device: str, told: dict[str, Any]) -> None:
    """Have a change told after the commit."""
    announce_all(session, (Change(kind, device, told),))


def announce_all(session: AsyncSession, changes: Iterable[Change]) -> None:
    """Have changes told after the commit; they are made only then, and only if somebody watches."""
    session.info.setdefault(_KEY, []).append(changes)


def announced(session: AsyncSession) -> Iterator[Change]:
    """Give what was announced, in order."""
    return chain.from_iterable(session.info.get(_KEY, ()))


def leave_event(session: AsyncSession) -> None:
    """Take note that a transaction has put an event into the outbox."""
    session.info[_HAS_LEFT_EVENT] = True


def has_left_event(session: AsyncSession) -> bool:
    """Whether a transaction has put an event into the outbox."""
    return _HAS_LEFT_EVENT in session.info
