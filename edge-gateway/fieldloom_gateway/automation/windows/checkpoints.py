"""Checkpoints of windows in the map that a site's gateways share: a partition's owner alone writes them. (ADR 66)"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

import msgspec
import structlog

from fieldloom_gateway.automation.windows.homes import Change
from fieldloom_gateway.automation.windows.records import (
    PREFIX,
    Kept,
    below,
    kept_of,
    key_of,
    parts_of,
    place_of,
    taken_of,
)
from fieldloom_gateway.cluster.partitions.records import guard
from fieldloom_gateway.cluster.state.commands import Compare, Operation, Unmet
from fieldloom_gateway.cluster.state.errors import Conflict
from fieldloom_gateway.cluster.state.limits import PARTS, TRANSACTION_BYTES
from fieldloom_gateway.cluster.state.parts import part, whole, written
from fieldloom_gateway.cluster.state.store import Store

log = structlog.get_logger()

MOST_SOURCES = PARTS // 2 - 1
"""Of one transaction, which compares the assignment and the first part of each."""
MOST_BYTES = TRANSACTION_BYTES // 2
GONE_MS = 3_600_000
"""How long is kept that nothing is remembered of a source: until receivers have seen that."""


class Checkpoints:
    """On the map, on the event loop's thread."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._moved: set[str] = {entry.key for entry in store.below(PREFIX)}
        store.observe(PREFIX, self._moved.update)

    def read(self, partition: int) -> dict[str, Kept]:
        """Return the checkpoints of a partition, by source. Raises MsgspecError."""
        found = [[*parts] for _, parts in groupby(self._store.below(below(partition)), key=whole)]
        return {place_of(parts[0].key)[1]: kept_of(parts) for parts in found}

    async def write(self, changes: Sequence[Change], versions: Mapping[int, int]) -> None:
        """Do changes at once, fenced by the versions of their partitions.

        Raises Conflict if another owns one of them, or a write comes between that had seemed lost; Rejected, NoLeader
        and Unknown as the store does.
        """
        compares = [guard(partition, versions[partition]) for partition in {one.partition for one in changes}]
        operations: list[Operation] = []
        for one in changes:
            key = key_of(one.partition, one.source)
            had = self._store.below(f"{key}/")
            compares.append(Compare(part(key, 0), "modified", had[0].modified if had else 0))
            operations += written(key, parts_of(one.kept), len(had), 0 if one.kept.state else GONE_MS)
        outcome = await self._store.transaction(compares, operations)
        if isinstance(outcome, Unmet):
            raise Conflict(outcome.key, outcome.modified)

    def covered(self, stream: str) -> list[tuple[str, int]]:
        """Return up to which row of a stream new checkpoints cover each source, since it was asked last."""
        moved = {place_of(key) for key in self._moved}
        self._moved.clear()
        found = []
        for partition, source in moved:
            first = self._store.peek(part(key_of(partition, source), 0))
            if first is None:
                continue
            try:
                number = taken_of(first).get(stream)
            except msgspec.MsgspecError as error:  # of a newer gateway: the rows stay
                log.warning("checkpoint_not_read", source=source, reason=str(error))
                continue
            if number is not None:
                found.append((source, number))
        return found


def batches(changes: Iterable[Change]) -> Iterator[list[Change]]:
    """Give changes as they fit transactions."""
    batch: list[Change] = []
    parts = size = 0
    for one in changes:
        values = parts_of(one.kept)
        if batch and (
            len(batch) >= MOST_SOURCES or parts + len(values) > PARTS // 2 or size + len(one.kept.state) > MOST_BYTES
        ):
            yield batch
            batch, parts, size = [], 0, 0
        batch.append(one)
        parts += len(values)
        size += len(one.kept.state)
    if batch:
        yield batch
