"""What a transaction changes that somebody may watch: told after its commit, and never if it is undone. (A1)"""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, NamedTuple

from sqlalchemy.ext.asyncio import AsyncSession

_KEY = "changes"


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
