"""What a disk may show after its power was cut at any moment of a recorded run.

The rules, those of ext4 with data=ordered (Debian's default) on a disk that loses its cache:
- what was written to a file before a sync of it began is there once the sync has returned;
- of every later write nothing may be there, or all, or some sectors of 512 bytes, whatever became of its neighbours; a
  sector is old or new and never a mixture, and a write harms no byte beside it (SQLite names both assumptions "atomic
  sectors" and "powersafe overwrite", sqlite.org/atomiccommit.html and sqlite.org/psow.html);
- names (create, rename, unlink) go through the journal in their order: a sync of a file settles its own name and all
  that changed before, a sync of the folder settles all; of the rest any prefix may be there. POSIX promises less (a new
  name only after a sync of its folder): there DuckDB, which never syncs the folder, could lose a journal.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path

from powercut.trace import Mark, Name, Operation, Rename, Resize, Sync, Write

SECTOR = 512
EVERY_SUBSET = 6
"""Up to so many unsynced writes at a cut all subsets of them are tried; beyond, seeded ones."""


@dataclass(frozen=True)
class State:
    """A folder as it may be found, and what the process had said by then."""

    cut: int
    files: dict[str, bytes]
    said: tuple[Mark, ...]


class Disk:
    """Replays a run over the files that were there before it; `base` counts as safely on the disk."""

    def __init__(self, base: Path, operations: list[Operation]) -> None:
        names = sorted(path.name for path in base.iterdir())
        self._operations = operations
        self._files = {number: bytearray((base / name).read_bytes()) for number, name in enumerate(names)}
        self._names = {name: number for number, name in enumerate(names)}
        self._unsynced: list[tuple[int, Write | Resize]] = []
        self._unsettled: list[tuple[int, Name | Rename]] = []
        self._said: list[Mark] = []

    def states(self, rng: random.Random, subsets: int, every: int = 1) -> Iterator[State]:
        """Yield what may be found after each operation: nothing unsynced, each prefix, torn ends, and subsets.

        Of all these it is each `every`-th; only those are built.
        """
        number = 0
        for cut, operation in enumerate(self._operations):
            self._step(cut, operation)
            for chosen, names in self._choices(rng, subsets):
                if number % every == 0:
                    yield State(cut, self._build(chosen, names), tuple(self._said))
                number += 1

    def _step(self, cut: int, operation: Operation) -> None:
        match operation:
            case Mark():
                self._said.append(operation)
            case Write() | Resize():
                self._unsynced.append((cut, operation))
            case Name() | Rename():
                self._unsettled.append((cut, operation))
            case Sync():
                self._sync(operation)

    def _sync(self, sync: Sync) -> None:
        durable = [(at, one) for at, one in self._unsynced if one.file == sync.file and at < sync.since]
        for _, one in durable:
            _apply(self._files.setdefault(one.file, bytearray()), one)
        self._unsynced = [waiting for waiting in self._unsynced if waiting not in durable]
        settled = max((at for at, one in self._unsettled if at < sync.since and _concerns(one, sync.file)), default=-1)
        for at, one in self._unsettled:
            if at <= settled:
                _rename(self._names, one)
        self._unsettled = [(at, one) for at, one in self._unsettled if at > settled]

    def _choices(self, rng: random.Random, subsets: int) -> Iterator[tuple[list[Write | Resize], int]]:
        """Yield which unsynced writes, and how many of the unsettled names, have come to the disk."""
        writes, names = [one for _, one in self._unsynced], len(self._unsettled)
        moments = sorted([at for at, _ in self._unsynced + self._unsettled])
        yield [], 0
        for moment in moments:
            kept = [one for at, one in self._unsynced if at <= moment]
            yield kept, sum(at <= moment for at, _ in self._unsettled)
        if writes and isinstance(writes[-1], Write) and len(writes[-1].data) > SECTOR:
            for torn in _torn(writes[-1], rng):
                yield [*writes[:-1], *torn], names
        if len(writes) <= EVERY_SUBSET:
            every = product((False, True), repeat=len(writes))
            for keeps in islice(every, 2 ** len(writes) if subsets > 1 else 0):
                yield [one for one, keep in zip(writes, keeps, strict=True) if keep], rng.randint(0, names)
        for _ in range(subsets if writes else 0):
            yield [part for one in writes for part in _perhaps(one, rng)], rng.randint(0, names)

    def _build(self, chosen: list[Write | Resize], settled: int) -> dict[str, bytes]:
        names = dict(self._names)
        for _, one in self._unsettled[:settled]:
            _rename(names, one)
        touched = {one.file for one in chosen}
        files = {number: bytearray(self._files.get(number, b"")) for number in touched}
        for one in chosen:
            _apply(files[one.file], one)
        return {name: bytes(files.get(number, self._files.get(number, b""))) for name, number in names.items()}


def _apply(content: bytearray, one: Write | Resize) -> None:
    size = one.size if isinstance(one, Resize) else one.offset
    if isinstance(one, Resize):
        del content[size:]
    content.extend(bytes(max(0, size - len(content))))
    if isinstance(one, Write):
        content[one.offset : one.offset + len(one.data)] = one.data


def _concerns(one: Name | Rename, file: int | None) -> bool:
    return file is None or (isinstance(one, Name) and one.file == file)


def _rename(names: dict[str, int], one: Name | Rename) -> None:
    if isinstance(one, Rename):
        if one.source in names:
            names[one.target] = names.pop(one.source)
    elif one.file is None:
        names.pop(one.path, None)
    else:
        names[one.path] = one.file


def _sectors(write: Write) -> list[Write]:
    """Cut a write at the disk's borders."""
    parts, at = [], 0
    while at < len(write.data):
        end = at + SECTOR - (write.offset + at) % SECTOR
        parts.append(Write(write.file, write.offset + at, write.data[at:end]))
        at = end
    return parts


def _torn(write: Write, rng: random.Random) -> list[list[Write]]:
    """Return the front of a write, its back, and a random half of its sectors."""
    parts = _sectors(write)
    at = rng.randrange(1, len(parts)) if len(parts) > 1 else 0
    return [parts[:at], parts[at:], [part for part in parts if rng.random() < 0.5]]


def _perhaps(one: Write | Resize, rng: random.Random) -> list[Write | Resize]:
    """Return all of it, nothing, or some sectors."""
    luck = rng.random()
    if luck < 0.4 or (luck > 0.8 and isinstance(one, Resize)):
        return [one]
    if luck < 0.8 or isinstance(one, Resize):
        return []
    return [part for part in _sectors(one) if rng.random() < 0.5]


def without_syncs(operations: list[Operation], names: set[str]) -> list[Operation]:
    """Return the run as it would be if nobody had synced these files: a missing fsync."""
    files = {one.file for one in operations if isinstance(one, Name) and one.path in names}
    return [
        Sync(one.file, 0) if isinstance(one, Sync) and one.file in files else one  # its place stays: `since` counts
        for one in operations
    ]
