"""Requests that were refused, counted until they are written: a row a minute, however often an attacker knocks. (A2)"""

from collections import Counter
from typing import NamedTuple

from fieldloom_cloud.trail.origin import NOBODY, Origin

MAX_STRANGERS, MAX_KNOWN = 16, 64
"""Rows of a minute; who is not known can't crowd the others out. The rest is counted together."""


class Refusal(NamedTuple):
    """Some requests that were refused alike; `object` and `reason` are those of the last one."""

    origin: Origin
    object: str
    status: int
    reason: str | None
    times: int


class Refusals:
    """What was refused since it was taken last, and the count of all by status."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str, str, str, int], Refusal] = {}
        self.counts: Counter[int] = Counter()

    def add(self, origin: Origin, object_id: str, status: int, reason: str | None) -> None:
        """Count one."""
        self.counts[status] += 1
        key = _key(origin, status)
        if key not in self._held and not self._has_room(origin):
            origin, object_id = Origin(NOBODY, actor_name="others"), ""
            key = _key(origin, status)
        before = self._held.get(key)
        self._held[key] = Refusal(origin, object_id, status, reason, 1 + (before.times if before else 0))

    def take(self) -> list[Refusal]:
        """Return what is held, and hold nothing any more."""
        taken = list(self._held.values())
        self._held.clear()
        return taken

    def _has_room(self, origin: Origin) -> bool:
        strangers = sum(one.origin.actor_kind == NOBODY for one in self._held.values())
        if origin.actor_kind == NOBODY:
            return strangers < MAX_STRANGERS
        return len(self._held) - strangers < MAX_KNOWN


def _key(origin: Origin, status: int) -> tuple[str, str, str, str, int]:
    # Who is not known is one by his address: he may try every route.
    action = "" if origin.actor_kind == NOBODY else origin.action
    return origin.actor_kind, origin.actor, origin.address, action, status
