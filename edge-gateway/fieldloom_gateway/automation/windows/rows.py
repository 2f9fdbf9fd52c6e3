"""What was received here for rules that remember, until a checkpoint of their owner covers it. (D4, D7, ADR 66)"""

import json
import os
import sqlite3
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from fieldloom_gateway.automation.windows.parcel import Heard, Lot, Moved, Row, decode_told, encode
from fieldloom_gateway.cluster.partitions.partition import partition_of

MOST = 300_000
"""Rows that are kept: some 100 MB."""
PARCEL_ROWS, PARCEL_BYTES = 500, 512 * 1024
"""Of one parcel, but for its last row."""
ROW_BYTES = 384 * 1024
"""Of one row: with all others of a parcel it is no more than a door takes."""
STREAM = "windows"
TOPIC = "rules/windows"
SHOWN = 100

Bury = Callable[[str, bytes, str, int], None]
"""Keeps a dead letter, with the transaction that is open: topic, payload, reason, Unix ms."""


class Standing(NamedTuple):
    """The rows of a partition."""

    kept: int
    newest: int


class Rows:
    """On the gateway's database; all that changes something belongs into a transaction of its caller."""

    def __init__(self, connection: sqlite3.Connection, bury: Bury, most: int = MOST) -> None:
        self._db = connection
        self._bury = bury
        self._most = most
        self._fresh: list[tuple[int, int, str, bytes]] = []
        self._last = 0
        self._now = 0
        """When something was put last, Unix ms."""
        self.has_more = False
        """Whether something was put since it was set to False."""
        self.dropped = 0
        """Rows that were given up since they were too many, or too long."""
        self.standing: dict[int, Standing] = {}
        """By partition; of what is written."""
        self.forget()

    @property
    def stream(self) -> str:
        """The name of what is numbered here; empty before `begin`."""
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (STREAM,)).fetchone()
        return row[0] if row else ""

    def begin(self) -> None:
        """Draw the name of the stream: a database that is made anew numbers anew."""
        self._db.execute("INSERT INTO meta VALUES (?, ?)", (STREAM, os.urandom(8).hex()))

    def end(self, now: int) -> list[Heard | Moved]:
        """Forget all, and the stream; return what no checkpoint covers, the oldest first. `now` is Unix ms.

        What can't be read, as of another release, becomes a dead letter.
        """
        bodies = self._db.execute("SELECT body FROM rule_heard ORDER BY number").fetchall()
        self._db.execute("DELETE FROM rule_heard")
        self._db.execute("DELETE FROM meta WHERE key = ?", (STREAM,))
        self.standing.clear()
        found = []
        for (body,) in bodies:
            try:
                found.append(decode_told(body))
            except msgspec.MsgspecError as error:
                self._bury(TOPIC, body, str(error), now)
        return found

    def put(self, source: str, told: Heard | Moved, now: int) -> None:
        """Keep something for who owns a source's partition, unless it is too long. `now` is Unix ms."""
        self._now = now
        body = encode(told)
        if len(body) > ROW_BYTES:
            self._give_up([source], f"{len(body)} bytes are more than the {ROW_BYTES} that go to an owner at once")
            return
        self._last += 1
        self._fresh.append((self._last, partition_of(source), source, body))

    def write(self) -> None:
        """Write what was put, and give up the oldest where there is too much."""
        if not self._fresh:
            return
        self._db.executemany("INSERT INTO rule_heard VALUES (?, ?, ?, ?)", self._fresh)
        for number, partition, _, _ in self._fresh:
            kept = self.standing[partition].kept if partition in self.standing else 0
            self.standing[partition] = Standing(kept + 1, number)
        self._fresh.clear()
        self.has_more = True
        if self.kept > self._most:
            self._drop(self.kept - self._most + self._most // 100)

    def forget(self) -> None:
        """Undo what memory took of a transaction that was rolled back."""
        self._fresh.clear()
        row = self._db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'rule_heard'").fetchone()
        self._last = row[0] if row else 0
        self._count()

    @property
    def kept(self) -> int:
        """How many rows no checkpoint covers."""
        return sum(one.kept for one in self.standing.values())

    def waiting(self, cursors: Mapping[int, int]) -> int:
        """Return how many rows lie behind those numbers, by partition, up to which all was judged."""
        query = "SELECT count(*) FROM rule_heard WHERE partition = ? AND number > ?"
        behind = [(at, cursors.get(at, 0)) for at, one in self.standing.items() if one.newest > cursors.get(at, 0)]
        return sum(self._db.execute(query, one).fetchone()[0] for one in behind)

    def lots(self, partitions: Collection[int], cursors: Mapping[int, int], *, asks: bool) -> list[Lot]:
        """Return what is to be handed over next of some partitions, as much as goes together.

        `cursors` are the numbers up to which that was done. With `asks` there is a lot without rows for what was handed
        over and is still kept, by which an owner is asked that may have to begin anew.
        """
        lots: list[Lot] = []
        rows, room = PARCEL_ROWS, PARCEL_BYTES
        for partition in partitions:
            after, standing = cursors.get(partition, 0), self.standing.get(partition)
            if standing is None:
                continue
            if standing.newest > after and rows > 0 and room > 0:
                lot = Lot(partition, after, self._next(partition, after, rows, room))
                rows -= len(lot.rows)
                room -= sum(len(bytes(row.told)) for row in lot.rows)
                lots.append(lot)
            elif asks:
                lots.append(Lot(partition, after, []))
        return lots

    def cover(self, covered: Iterable[tuple[str, int]]) -> None:
        """Forget what checkpoints cover: the rows of each source up to a number."""
        for source, number in covered:
            partition = partition_of(source)
            if partition not in self.standing:
                continue
            query = "DELETE FROM rule_heard WHERE partition = ? AND number <= ? AND source = ?"
            gone = self._db.execute(query, (partition, number, source)).rowcount
            left = self.standing[partition].kept - gone
            if left:
                self.standing[partition] = self.standing[partition]._replace(kept=left)
            else:
                del self.standing[partition]

    def _next(self, partition: int, after: int, most: int, room: int) -> list[Row]:
        query = "SELECT number, source, body FROM rule_heard WHERE partition = ? AND number > ? ORDER BY number LIMIT ?"
        rows: list[Row] = []
        for number, source, body in self._db.execute(query, (partition, after, most)):
            room -= len(body)
            if rows and room < 0:
                break
            rows.append(Row(number, source, msgspec.Raw(body)))
        return rows

    def _drop(self, count: int) -> None:
        oldest = "SELECT number FROM rule_heard ORDER BY number LIMIT ?"
        gone = f"DELETE FROM rule_heard WHERE number IN ({oldest}) RETURNING source"  # noqa: S608 - no parameter in it
        sources = [source for (source,) in self._db.execute(gone, (count,)).fetchall()]
        self._count()
        self._give_up(sources, "no owner's checkpoint covers it, and there is no room for more")

    def _give_up(self, sources: Sequence[str], reason: str) -> None:
        self.dropped += len(sources)
        told = {"records": len(sources), "devices": sorted(set(sources))[:SHOWN]}
        self._bury(TOPIC, json.dumps(told).encode(), f"{reason}: windows of rules may lack it", self._now)

    def _count(self) -> None:
        query = "SELECT partition, count(*), max(number) FROM rule_heard GROUP BY partition"
        self.standing = {partition: Standing(*figures) for partition, *figures in self._db.execute(query)}


def is_full(lots: Iterable[Lot]) -> bool:
    """Whether lots are as much as goes together, so that there may be more behind them."""
    rows = [row for lot in lots for row in lot.rows]
    return len(rows) >= PARCEL_ROWS or sum(len(bytes(row.told)) for row in rows) > PARCEL_BYTES - ROW_BYTES
