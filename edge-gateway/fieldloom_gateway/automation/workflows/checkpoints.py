"""Instances and waiting starts in the map that the gateways of a site share: a transaction a step. (W6, W8)

A value of the map is short, so what is kept stands in parts, written and removed together.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

import msgspec
from msgspec import Struct

from fieldloom_engine.workflows import Instance, Record, decode, encode
from fieldloom_engine.workflows.model import Overlap
from fieldloom_gateway.cluster.state.commands import Compare, Delete, Operation, Set, Unmet
from fieldloom_gateway.cluster.state.entries import Entry
from fieldloom_gateway.cluster.state.errors import Conflict
from fieldloom_gateway.cluster.state.limits import TRANSACTION_BYTES
from fieldloom_gateway.cluster.state.store import Store

INSTANCES, QUEUE = "workflows/instances/", "workflows/queue/"
PART_BYTES = 60_000
MOST_PARTS = 60
"""Of one transaction, so that compares and operations are as many as it may have."""
MOST_BYTES = TRANSACTION_BYTES // 2


class Kept(Struct):
    """An instance, with those records of its history that nobody else may have yet."""

    instance: msgspec.Raw
    history: list[Record] = []


class Queued(Struct):
    """A start that waits until those with its key have ended."""

    number: int
    """The lower one goes first."""
    overlap: Overlap
    instance: msgspec.Raw
    """As it will begin."""


_encode = msgspec.json.Encoder().encode
_kept: Callable[[bytes], Kept] = msgspec.json.Decoder(Kept).decode
_queued: Callable[[bytes], Queued] = msgspec.json.Decoder(Queued).decode


class _Place(NamedTuple):
    """Where something stands."""

    modified: int
    parts: int


class Change(NamedTuple):
    """What is to stand under a key; None: nothing any more."""

    key: str
    body: bytes | None

    @property
    def parts(self) -> int:
        """How many entries it takes."""
        return 1 if self.body is None else -(-len(self.body) // PART_BYTES)


def instance_change(instance: Instance, history: Sequence[Record]) -> Change:
    """Return what keeps an instance and its newest records."""
    return Change(INSTANCES + instance.id, _encode(Kept(msgspec.Raw(encode(instance)), list(history))))


def queued_change(instance: Instance, number: int, overlap: Overlap) -> tuple[Change, Queued]:
    """Return what keeps a start that waits, and how it is kept."""
    queued = Queued(number, overlap, msgspec.Raw(encode(instance)))
    return Change(QUEUE + instance.id, _encode(queued)), queued


class Checkpoints:
    """On the map. Nobody else writes below its keys while this gateway is their owner: else Conflict."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._places: dict[str, _Place] = {}

    def read(self) -> tuple[list[tuple[Instance, list[Record]]], list[tuple[Instance, Queued]]]:
        """Return all instances, those changed last at the end, and all starts that wait. Raises UnreadableInstance."""
        self._places.clear()
        kept = sorted((self._places[key].modified, key, body) for key, body in self._bodies(INSTANCES))
        instances = [(decode(bytes(one.instance)), one.history) for _, _, body in kept for one in [_kept(body)]]
        queued = [_queued(body) for _, body in self._bodies(QUEUE)]
        return instances, [(decode(bytes(one.instance)), one) for one in queued]

    async def write(self, changes: Iterable[Change], guards: Iterable[tuple[str, int]] = ()) -> None:
        """Do all changes at once. Guards are keys, each with the index at which it has to be modified last.

        Raises Conflict if somebody else has changed something; Rejected, NoLeader and Unknown as the store does.
        """
        compares = [Compare(key, "modified", index) for key, index in guards]
        operations: list[Operation] = []
        changed = list(changes)
        for one in changed:
            place = self._places.get(one.key, _Place(0, 0))
            compares.append(Compare(_part(one.key, 0), "modified", place.modified))
            operations += _operations(one, place.parts)
        outcome = await self._store.transaction(compares, operations)
        if isinstance(outcome, Unmet):
            raise Conflict(outcome.key, outcome.modified)
        for one in changed:
            if one.body is None:
                self._places.pop(one.key, None)
            else:
                self._places[one.key] = _Place(outcome.index, one.parts)

    def _bodies(self, prefix: str) -> Iterator[tuple[str, bytes]]:
        for key, parts in groupby(self._store.below(prefix), key=_whole):
            entries = [*parts]
            self._places[key] = _Place(entries[0].modified, len(entries))
            yield key, b"".join(entry.value for entry in entries)


def _operations(change: Change, had: int) -> Iterator[Operation]:
    body, parts = change.body or b"", 0 if change.body is None else change.parts
    for number in range(parts):
        yield Set(_part(change.key, number), body[number * PART_BYTES : (number + 1) * PART_BYTES])
    for number in range(parts, had):
        yield Delete(_part(change.key, number))


def _part(key: str, number: int) -> str:
    return f"{key}/{number:02}"


def _whole(entry: Entry) -> str:
    return entry.key.rpartition("/")[0]
