"""The entries of the map: by key, in the order of keys, with their holders and deadlines."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator

import msgspec

from fieldloom_gateway.cluster.state.deadlines import Deadlines


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """A value under a key. It does not change: what is written is a new one."""

    key: str
    value: bytes
    created: int
    """The index at which the key came to be; it stays while the entry is written."""
    modified: int
    """The index at which it was written last: no two writes of a map have the same. A fencing token."""
    version: int
    """How often it was written, from 1."""
    ttl_ms: int = 0
    deadline: int = 0
    """The cluster's time in ms from which on it expires, 0 for never."""
    holder: str = ""
    renewed: int = 0
    """The index at which its time to live began anew, by a write or a touch."""

    @property
    def size(self) -> int:
        """How many bytes of the map it takes."""
        return len(self.key.encode()) + len(self.value)


class Entries:
    """All entries. Nothing here decides anything: what is put or removed takes place."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self._of = {entry.key: entry for entry in entries}
        self._keys = sorted(self._of)
        self._held: dict[str, set[str]] = {}
        self._deadlines = Deadlines()
        self.bytes = 0
        for entry in self._of.values():
            self._count_in(entry)

    def __len__(self) -> int:
        return len(self._of)

    def __iter__(self) -> Iterator[Entry]:
        return (self._of[key] for key in self._keys)

    def get(self, key: str) -> Entry | None:
        """Return an entry, None if there is none of this key."""
        return self._of.get(key)

    def keys(self, prefix: str) -> list[str]:
        """Return the keys that begin with a prefix, in their order."""
        begin = bisect_left(self._keys, prefix)
        end = bisect_right(self._keys, prefix, begin, key=lambda key: key[: len(prefix)])
        return self._keys[begin:end]

    def below(self, prefix: str) -> list[Entry]:
        """Return the entries whose keys begin with a prefix, in the order of keys."""
        return [self._of[key] for key in self.keys(prefix)]

    def held_by(self, key: str) -> list[str]:
        """Return the keys of what an entry holds, in their order."""
        return sorted(self._held.get(key, ()))

    def put(self, entry: Entry) -> None:
        """Take an entry in place of the one of its key."""
        former = self._of.get(entry.key)
        if former is None:
            insort(self._keys, entry.key)
        else:
            self._count_out(former)
        self._of[entry.key] = entry
        self._count_in(entry)

    def remove(self, key: str) -> None:
        """Remove an entry that is there."""
        self._count_out(self._of.pop(key))
        del self._keys[bisect_left(self._keys, key)]

    def next_deadline(self) -> int | None:
        """Return the cluster's time in ms at which the next entry expires, None if none will."""
        return self._deadlines.next()

    def due(self, now: int) -> list[Entry]:
        """Return the entries that have lived their time, the earliest first."""
        return [self._of[key] for key in self._deadlines.due(now)]

    def _count_in(self, entry: Entry) -> None:
        self.bytes += entry.size
        if entry.holder:
            self._held.setdefault(entry.holder, set()).add(entry.key)
        if entry.deadline:
            self._deadlines.set(entry.key, entry.deadline)

    def _count_out(self, entry: Entry) -> None:
        self.bytes -= entry.size
        if entry.holder:
            held = self._held[entry.holder]
            held.discard(entry.key)
            if not held:
                del self._held[entry.holder]
        if entry.deadline:
            self._deadlines.drop(entry.key)
