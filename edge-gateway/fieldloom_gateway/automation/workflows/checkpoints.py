"""Instances and waiting starts in the map that the gateways of a site share: a transaction a step. (W6, W8)

They stand by partition, so that a new owner finds its own. A value of the map is short, so what is kept stands in
parts, written and removed together.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

import msgspec
from msgspec import Struct

from fieldloom_engine.workflows import Instance, Record, Waiting, decode, encode
from fieldloom_engine.workflows.model import Overlap
from fieldloom_gateway.automation.workflows.index import Index
from fieldloom_gateway.cluster.partitions.records import guard
from fieldloom_gateway.cluster.state.commands import Compare, Operation, Unmet
from fieldloom_gateway.cluster.state.errors import Conflict
from fieldloom_gateway.cluster.state.limits import TRANSACTION_BYTES
from fieldloom_gateway.cluster.state.parts import PART_BYTES, part, split, whole, written
from fieldloom_gateway.cluster.state.store import Store

INSTANCES, QUEUE = "workflows/instances/", "workflows/queue/"
"""Below them the partition, the id, and the part."""
MOST_PARTS = 50
"""Of one transaction, so that compares, those of the partitions too, and operations are as many as it may have."""
MOST_BYTES = TRANSACTION_BYTES // 2


class Kept(Struct):
    """An instance, with those records of its history that nobody else may have yet, and what it awaits."""

    instance: msgspec.Raw
    history: list[Record] = []
    awaits: list[Waiting] = []


class Queued(Struct):
    """A start that waits until those with its key have ended."""

    number: int
    """The lower one goes first."""
    overlap: Overlap
    instance: msgspec.Raw
    """As it will begin."""


_encode = msgspec.json.Encoder().encode
decode_kept: Callable[[bytes], Kept] = msgspec.json.Decoder(Kept).decode
decode_queued: Callable[[bytes], Queued] = msgspec.json.Decoder(Queued).decode


class _Place(NamedTuple):
    """Where something stands."""

    modified: int
    parts: int


class Change(NamedTuple):
    """What is to stand under a key of a partition; None: nothing any more."""

    partition: int
    key: str
    body: bytes | None

    @property
    def parts(self) -> int:
        """How many entries it takes."""
        return 1 if self.body is None else -(-len(self.body) // PART_BYTES)


def instance_key(partition: int, name: str) -> str:
    """Return under which key an instance stands."""
    return f"{INSTANCES}{partition:03}/{name}"


def queue_key(partition: int, name: str) -> str:
    """Return under which key a start stands that waits."""
    return f"{QUEUE}{partition:03}/{name}"


def instance_change(
    partition: int, instance: Instance, history: Sequence[Record], waits: Collection[Waiting]
) -> Change:
    """Return what keeps an instance and its newest records."""
    body = _encode(Kept(msgspec.Raw(encode(instance)), list(history), sorted(waits, key=repr)))
    return Change(partition, instance_key(partition, instance.id), body)


def queued_change(partition: int, instance: Instance, number: int, overlap: Overlap) -> tuple[Change, Queued]:
    """Return what keeps a start that waits, and how it is kept."""
    queued = Queued(number, overlap, msgspec.Raw(encode(instance)))
    return Change(partition, queue_key(partition, instance.id), _encode(queued)), queued


class Stored(NamedTuple):
    """An instance as a partition holds it, or a start that waits."""

    modified: int
    """The greater, the later it has changed."""
    partition: int
    instance: Instance
    history: list[Record]
    queued: Queued | None


class Checkpoints:
    """On the map. Nobody else writes below a partition's keys while this gateway is its owner: else Conflict."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._places: dict[int, dict[str, _Place]] = {}

    def fill(self, index: Index) -> None:
        """Have an index know what there is, from now on whenever the map changes."""

        def moved(keys: Iterable[str]) -> None:
            for key, partition, name in {_named(key) for key in keys}:
                body = self._body(key)
                if key.startswith(QUEUE):
                    (index.queued.add if body else index.queued.discard)(name)
                elif body:
                    index.put(name, partition, decode_kept(body).awaits)
                else:
                    index.drop(name)

        for prefix in (INSTANCES, QUEUE):
            moved(entry.key for entry in self._store.below(prefix))
            self._store.observe(prefix, moved)

    def read(self, partition: int) -> list[Stored]:
        """Return what a partition holds. Raises UnreadableInstance."""
        places = self._places[partition] = {}
        found = []
        for key, body in self._bodies(f"{INSTANCES}{partition:03}/", places):
            kept = decode_kept(body)
            found.append(Stored(places[key].modified, partition, decode(bytes(kept.instance)), kept.history, None))
        for key, body in self._bodies(f"{QUEUE}{partition:03}/", places):
            queued = decode_queued(body)
            found.append(Stored(places[key].modified, partition, decode(bytes(queued.instance)), [], queued))
        return found

    def all(self) -> list[Instance]:
        """Return the instances of all partitions, those changed last at the end. Raises UnreadableInstance."""
        places: dict[str, _Place] = {}
        bodies = dict(self._bodies(INSTANCES, places))
        return [_instance(bodies[key]) for key in sorted(bodies, key=lambda key: (places[key].modified, key))]

    def one(self, partition: int, name: str) -> Instance | None:
        """Return an instance, None if there is none. Raises UnreadableInstance."""
        body = self._body(instance_key(partition, name))
        return _instance(body) if body else None

    async def write(self, changes: Iterable[Change], versions: Mapping[int, int]) -> int:
        """Do all changes at once, fenced by the versions of their partitions; return the index at which that was.

        Version 0: nobody else can own it. Raises Conflict if somebody else has changed something, or owns it; Rejected,
        NoLeader and Unknown as the store does.
        """
        changed = list(changes)
        owned = {one.partition: versions[one.partition] for one in changed}
        compares = [guard(partition, version) for partition, version in owned.items() if version]
        operations: list[Operation] = []
        for one in changed:
            place = self._places[one.partition].get(one.key, _Place(0, 0))
            compares.append(Compare(part(one.key, 0), "modified", place.modified))
            operations += written(one.key, [] if one.body is None else split(one.body), place.parts)
        outcome = await self._store.transaction(compares, operations)
        if isinstance(outcome, Unmet):
            raise Conflict(outcome.key, outcome.modified)
        for one in changed:
            places = self._places[one.partition]
            if one.body is None:
                places.pop(one.key, None)
            else:
                places[one.key] = _Place(outcome.index, one.parts)
        return outcome.index

    def _body(self, key: str) -> bytes:
        return b"".join(entry.value for entry in self._store.below(f"{key}/"))

    def _bodies(self, prefix: str, places: dict[str, _Place]) -> Iterator[tuple[str, bytes]]:
        for key, parts in groupby(self._store.below(prefix), key=whole):
            entries = [*parts]
            places[key] = _Place(entries[0].modified, len(entries))
            yield key, b"".join(entry.value for entry in entries)


def _instance(body: bytes) -> Instance:
    return decode(bytes(decode_kept(body).instance))


def _named(entry: str) -> tuple[str, int, str]:
    """Return the key of which an entry, by its own, is a part; its partition, and its id."""
    key = entry.rpartition("/")[0]
    _, _, partition, name = key.split("/", 3)
    return key, int(partition), name
