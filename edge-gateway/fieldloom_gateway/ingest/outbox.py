"""The outbox as the stores of its streams' senders: the uplink reads it over a connection of its own."""

import json
import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

from fieldloom_contract import batch
from fieldloom_contract.limits import MAX_NUMBER
from fieldloom_contract.ranges import Ranges
from fieldloom_gateway.ingest.express import AFTER
from fieldloom_gateway.ingest.segments import EXPRESS, LIVE
from fieldloom_runtime.compression import deflate

HELD_ROWS = 1000  # so many are looked through to tell what waits
HELD_SPANS = 2000  # in a message of some 100 KB


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


class Lane:
    """A stream of the outbox, as a Sender's store: the records above `after`, up to `last` where it is sealed.

    What is acknowledged is deleted by `Store.trim`, with the next group.
    """

    def __init__(self, connection: sqlite3.Connection, stream: bytes, after: int, last: int | None = None) -> None:
        self._db = connection
        self.stream = stream
        self.after = after
        self.last = last
        oldest = self._oldest(after)
        self.acknowledged: int = self.numbered() if oldest is None else oldest - 1
        self.trimmed = after
        """Up to where what is acknowledged is deleted, as far as this process knows."""

    def peek(self, after: tuple[bytes, int] | None, records: int, size: int) -> list[Segment]:
        """Return the segments after a place, as many as fit and at least one; `records` counts segments."""
        start = max(after[1] if after else 0, self.acknowledged)
        query = "SELECT first, last, covers, body FROM outbox WHERE last > ? AND last <= ? ORDER BY last LIMIT ?"
        segments: list[Segment] = []
        for first, last, covers, body in self._db.execute(query, (start, self._end, records)):
            size -= len(body) + len(covers)
            if segments and size < 0:
                break
            segments.append(Segment(self.stream, last, "batch", body, first, covers))
        return segments

    def first(self, life: bytes) -> int | None:
        """Return the oldest number that is held; what a policy has given up is not."""
        if life != self.stream:
            return None
        oldest = self._oldest(self.acknowledged)
        return self.acknowledged + 1 if oldest is None else max(oldest, self.acknowledged + 1)

    def discard(self, life: bytes, seq: int) -> int:
        """Take all up to seq as acknowledged."""
        if life != self.stream or seq <= self.acknowledged:
            return 0
        freed, self.acknowledged = seq - self.acknowledged, seq
        return freed

    def waiting(self) -> int:
        """Return how many records wait for the cloud, those that were given up among others included."""
        oldest = self._oldest(self.acknowledged)
        if oldest is None:
            return 0
        query = "SELECT last FROM outbox WHERE last <= ? ORDER BY last DESC LIMIT 1"
        newest: int = self._db.execute(query, (self._end,)).fetchone()[0]
        return newest - max(oldest - 1, self.acknowledged)

    @property
    def is_through(self) -> bool:
        """Whether it was sealed and all of it is acknowledged."""
        return self.acknowledged == self.last

    @property
    def _end(self) -> int:
        if self.last is not None:
            return self.last
        return AFTER if self.after < AFTER else MAX_NUMBER

    def _oldest(self, after: int) -> int | None:
        query = "SELECT first FROM outbox WHERE last > ? AND last <= ? ORDER BY last LIMIT 1"
        row = self._db.execute(query, (after, self._end)).fetchone()
        return row[0] if row else None

    def numbered(self) -> int:
        """Return the last number that was ever given in this lane."""
        if self.last is not None:
            return self.last
        key = LIVE if self.after < AFTER else EXPRESS
        return int(self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()[0])


class Outbox:
    """The lanes of the table `outbox`: the express one, the live one, and those that were sealed, the oldest first."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self.sealed: list[Lane] = []
        self.live: Lane
        self.express = Lane(connection, self._stream("express_stream"), AFTER)
        self.read()

    def read(self) -> None:
        """Find the lanes, after one was sealed."""
        after = 0
        self.sealed = []
        for last, stream in self._db.execute("SELECT last, stream FROM lane ORDER BY last").fetchall():
            self.sealed.append(Lane(self._db, stream, after, last))
            after = last
        self.live = Lane(self._db, self._stream("stream"), after)

    def _stream(self, key: str) -> bytes:
        return bytes(self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()[0])

    @property
    def lanes(self) -> list[Lane]:
        """All lanes, in the order in which they are sent: the express one, the live one, then the oldest."""
        return [self.express, self.live, *self.sealed]

    def settle(self) -> None:
        """Take sealed lanes of which nothing is left as acknowledged, and forget those that are deleted too."""
        for lane in self.sealed:
            if lane.last is not None and not lane.waiting():  # a policy may have given up the rest
                lane.acknowledged = lane.last
        self.sealed = [lane for lane in self.sealed if lane.trimmed != lane.last]

    def waiting(self) -> int:
        """Return how many records wait for the cloud, those that were given up among others included."""
        return sum(lane.waiting() for lane in self.lanes)

    def unsettled(self) -> int | None:
        """Return up to where the live stream has to be stored for all that is numbered now to be.

        0 if all of it is, None while another lane waits, of which that says nothing.
        """
        if any(lane.waiting() for lane in (self.express, *self.sealed)):
            return None
        return self.live.numbered() if self.live.waiting() else 0

    def held(self) -> list[tuple[str, int, int, int]]:
        """Return (device, boot, first seq, last seq) of the oldest of what waits for the cloud."""
        query = "SELECT covers FROM outbox WHERE last > ? ORDER BY last LIMIT ?"
        after = min(lane.acknowledged for lane in self.lanes)
        found = _covered(row[0] for row in self._db.execute(query, (after, HELD_ROWS)))
        spans = [(*life, first, last) for life, ranges in found.items() for first, last in ranges.spans]
        return spans[:HELD_SPANS]


def encode(segments: list[Segment], first: int) -> bytes:
    """Return the batch of these segments, compressed, with the ranges of seq that they cover."""
    covered = _covered(segment.covers for segment in segments)
    covers: list[list[object]] = [
        [device, boot, *span] for (device, boot), ranges in covered.items() for span in ranges.spans
    ]
    lines = b"\n".join([segment.body for segment in segments]).split(b"\n")
    offset = segments[0].first
    return batch.pack(segments[0].life, offset, min(first, offset), covers, lines, deflate)


def _covered(texts: Iterable[str]) -> dict[tuple[str, int], Ranges]:
    covered: dict[tuple[str, int], Ranges] = {}
    for text in texts:
        for device, boot, low, high in json.loads(text):
            covered.setdefault((device, boot), Ranges()).add(low, high)
    return covered
