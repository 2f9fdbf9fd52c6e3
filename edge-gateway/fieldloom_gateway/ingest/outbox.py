"""The outbox as the store of a stream's sender: the uplink reads it over a connection of its own."""

import json
import sqlite3
from typing import Any, NamedTuple

from fieldloom_contract import batch
from fieldloom_contract.ranges import Ranges


class Segment(NamedTuple):
    """Records of one commit, `first` to `seq` of the stream. The first four are what a Sender reads."""

    life: bytes
    seq: int
    kind: str
    body: bytes
    """A line a record."""
    first: int
    covers: str
    """[[device, boot, first seq, last seq], ...] as JSON."""


class Outbox:
    """A Sender's store over the table `outbox`; what is acknowledged is deleted by `trim`, with the next group."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self.stream: bytes = self._one("SELECT value FROM meta WHERE key = 'stream'")
        oldest = self._one("SELECT min(first) FROM outbox")
        numbered = self._one("SELECT value FROM meta WHERE key = 'numbered'")
        self.acknowledged: int = numbered if oldest is None else oldest - 1

    def peek(self, after: tuple[bytes, int] | None, records: int, size: int) -> list[Segment]:
        """Return the segments after a place, as many as fit and at least one; `records` counts segments."""
        start = max(after[1] if after else 0, self.acknowledged)
        query = "SELECT first, last, covers, body FROM outbox WHERE last > ? ORDER BY last LIMIT ?"
        segments: list[Segment] = []
        for first, last, covers, body in self._db.execute(query, (start, records)):
            size -= len(body) + len(covers)
            if segments and size < 0:
                break
            segments.append(Segment(self.stream, last, "batch", body, first, covers))
        return segments

    def first(self, life: bytes) -> int | None:
        """Return the oldest number that is held; what a policy has given up is not."""
        if life != self.stream:
            return None
        query = "SELECT first FROM outbox WHERE last > ? ORDER BY last LIMIT 1"
        row = self._db.execute(query, (self.acknowledged,)).fetchone()
        return max(row[0], self.acknowledged + 1) if row else self.acknowledged + 1

    def discard(self, life: bytes, seq: int) -> int:
        """Take all up to seq as acknowledged."""
        if life != self.stream or seq <= self.acknowledged:
            return 0
        freed, self.acknowledged = seq - self.acknowledged, seq
        return freed

    def waiting(self) -> int:
        """Return how many records wait for the cloud, those that were given up among others included."""
        query = "SELECT coalesce(max(last) - max(min(first) - 1, ?1), 0) FROM outbox WHERE last > ?1"
        return int(self._one(query, self.acknowledged))

    def _one(self, query: str, *values: int) -> Any:
        return self._db.execute(query, values).fetchone()[0]


def encode(segments: list[Segment], first: int) -> bytes:
    """Return the batch of these segments, with the ranges of seq that they cover."""
    covered: dict[tuple[str, int], Ranges] = {}
    for segment in segments:
        for device, boot, low, high in json.loads(segment.covers):
            covered.setdefault((device, boot), Ranges()).add(low, high)
    covers: list[list[object]] = [
        [device, boot, *span] for (device, boot), ranges in covered.items() for span in ranges.spans
    ]
    lines = b"\n".join([segment.body for segment in segments]).split(b"\n")
    offset = segments[0].first
    return batch.pack(segments[0].life, offset, min(first, offset), covers, lines)
