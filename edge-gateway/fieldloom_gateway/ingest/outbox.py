"""The outbox as the store of a stream's sender: the uplink reads it over a connection of its own."""

import sqlite3
from typing import NamedTuple

from fieldloom_contract import batch
from fieldloom_contract.ranges import Ranges


class OutboxItem(NamedTuple):
    """A record that waits for the cloud. The first four are what a Sender reads."""

    life: bytes
    seq: int
    kind: str
    body: bytes
    device: str
    boot: int | None
    device_seq: int | None


class Outbox:
    """A Sender's store over the table `outbox`; what is acknowledged is deleted by `trim`, with the next group."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self.stream: bytes = connection.execute("SELECT value FROM meta WHERE key = 'stream'").fetchone()[0]
        row = connection.execute("SELECT min(number) FROM outbox").fetchone()
        # AUTOINCREMENT never gives a number again, so an empty outbox goes on after the last one.
        last = connection.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'outbox'").fetchone()[
            0
        ]
        self.acknowledged: int = (row[0] or last + 1) - 1

    def peek(self, after: tuple[bytes, int] | None, records: int, size: int) -> list[OutboxItem]:
        """Return the items after a place, as many as fit and at least one."""
        start = max(after[1] if after else 0, self.acknowledged)
        rows = self._db.execute(
            "SELECT number, body, device, boot, seq FROM outbox WHERE number > ? ORDER BY number LIMIT ?",
            (start, records),
        )
        items: list[OutboxItem] = []
        for number, body, device, boot, seq in rows:
            size -= len(body)
            if items and size < 0:
                break
            items.append(OutboxItem(self.stream, number, "batch", body, device, boot, seq))
        return items

    def first(self, life: bytes) -> int | None:
        """Return the oldest number that is held."""
        return self.acknowledged + 1 if life == self.stream else None

    def discard(self, life: bytes, seq: int) -> int:
        """Take all up to seq as acknowledged."""
        if life != self.stream or seq <= self.acknowledged:
            return 0
        freed, self.acknowledged = seq - self.acknowledged, seq
        return freed

    def waiting(self) -> int:
        """Return how many records wait for the cloud."""
        query = "SELECT count(*) FROM outbox WHERE number > ?"
        return int(self._db.execute(query, (self.acknowledged,)).fetchone()[0])


def encode(items: list[OutboxItem], first: int) -> bytes:
    """Return the batch of these items, with the ranges of seq that they cover."""
    covered: dict[tuple[str, int], Ranges] = {}
    for item in items:
        if item.boot is not None and item.device_seq is not None:
            covered.setdefault((item.device, item.boot), Ranges()).add(item.device_seq)
    covers: list[list[object]] = [
        [device, boot, *span] for (device, boot), ranges in covered.items() for span in ranges.spans
    ]
    return batch.pack(items[0].life, items[0].seq, first, covers, [item.body for item in items])
