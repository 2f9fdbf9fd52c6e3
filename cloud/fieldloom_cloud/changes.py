"""What a transaction changes that somebody may watch: told after its commit, and never if it is undone. (A1)"""

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
    session.info.setdefault(_KEY, []).append(Change(kind, device, told))


def announced(session: AsyncSession) -> list[Change]:
    """Return what was announced, in order."""
    changes: list[Change] = session.info.get(_KEY, [])
    return changes
