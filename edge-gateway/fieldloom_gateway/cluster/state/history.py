"""The last changes of the map, by the index at which they took place: what watches read. (D2)

It is no part of a snapshot: who asks for what was before the history begins lists anew.
"""

from bisect import bisect_right

import msgspec

from fieldloom_gateway.cluster.state.entries import Entry
from fieldloom_gateway.cluster.state.errors import Compacted

KEPT = 10_000
KEPT_BYTES = 8 * 1024 * 1024


class Change(msgspec.Struct, frozen=True, array_like=True):
    """An entry was written, or is gone."""

    key: str
    entry: Entry | None
    """None where it was deleted or has expired."""
    expired: bool = False


class Changes(msgspec.Struct, frozen=True, array_like=True):
    """All that one command changed, at its index."""

    index: int
    changes: tuple[Change, ...]

    def below(self, prefix: str) -> "Changes":
        """Return those of keys that begin with a prefix."""
        return Changes(self.index, tuple(one for one in self.changes if one.key.startswith(prefix)))

    @property
    def size(self) -> int:
        """How many bytes of the history they take."""
        return sum(len(one.key) + (len(one.entry.value) if one.entry else 0) for one in self.changes)


class History:
    """Changes after an index, as many as are kept."""

    def __init__(self, index: int, kept: int = KEPT, kept_bytes: int = KEPT_BYTES) -> None:
        self._kept = kept
        self._kept_bytes = kept_bytes
        self._bytes = 0
        self._indices: list[int] = []
        self._changes: list[Changes] = []
        self.after_index = index
        """Which changes are here: all after this index."""

    def add(self, changes: Changes) -> None:
        """Take the next changes; when there are too many the older half goes."""
        self._indices.append(changes.index)
        self._changes.append(changes)
        self._bytes += changes.size
        if len(self._indices) > self._kept or self._bytes > self._kept_bytes:
            self._forget(max(1, len(self._indices) // 2))

    def after(self, index: int) -> list[Changes]:
        """Return all changes after an index. Raises Compacted."""
        if index < self.after_index:
            raise Compacted(index, self.after_index)
        return self._changes[bisect_right(self._indices, index) :]

    def _forget(self, count: int) -> None:
        self.after_index = self._indices[count - 1]
        self._bytes -= sum(one.size for one in self._changes[:count])
        del self._indices[:count], self._changes[:count]
