"""The writing half of the outbox: what a transaction sends up, numbered and cut into segments. (T4)"""

import json
import sqlite3
from collections.abc import Sequence

from fieldloom_contract.ranges import Ranges
from fieldloom_gateway.ingest.express import Express
from fieldloom_runtime.records import Record, encode

SEGMENT_BYTES = 32 * 1024  # with the record that passes it less than a batch of the uplink
CARRIED_SPANS = 500  # of seqs without a record, in one segment

LIVE, EXPRESS = "numbered", "express_numbered"
"""Under which key of `meta` the last number of a lane stands."""

Life = tuple[str, int]
"""(device, boot)"""


class Segments:
    """Records become rows of `outbox` by `write`, in the transaction of what brought them."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._pending: list[Record] = []
        self._numbered: dict[str, int] = {}
        self.express = Express()
        self._uncarried: dict[Life, Ranges] = {}
        self._touched: set[Life] = set()
        self.bytes = 0
        """How much waits for the cloud, what is acknowledged and not yet trimmed included."""
        self.written = 0
        """How much was ever written, since the start."""
        self._read()

    def add(self, record: Record) -> None:
        """Send a record up with this transaction."""
        self._pending.append(record)

    def cover(self, device: str, boot: int, seq: int) -> None:
        """Say with the next record that a seq was received, though no record has it."""
        self._uncarried.setdefault((device, boot), Ranges()).add(seq)
        self._touched.add((device, boot))

    def write(self) -> None:
        """Give the records their numbers and write them."""
        first, rest = self.express.split(self._pending, self.bytes)
        for lane, records in ((EXPRESS, first), (LIVE, rest)):
            if records:
                self._write_records(lane, records)
        self._pending.clear()
        if self._touched:
            self._write_uncarried()

    def forget(self) -> None:
        """Undo what memory took of a transaction that was rolled back."""
        self._pending.clear()
        self._touched.clear()
        self._read()

    def trim(self, number: int, after: int) -> None:
        """Forget what the cloud has: segments above `after`, up to a number, and with the last of them their lane."""
        span = (after, number)
        query = "SELECT coalesce(sum(length(body)), 0) FROM outbox WHERE last > ? AND last <= ?"
        freed = self._db.execute(query, span).fetchone()[0]
        self._db.execute("DELETE FROM outbox WHERE last > ? AND last <= ?", span)
        self.bytes -= freed
        self._db.execute("DELETE FROM lane WHERE last > ? AND last <= ?", span)

    def _write_records(self, lane: str, records: Sequence[Record]) -> None:
        lines: list[bytes] = []
        size, start = 0, 0
        for at, record in enumerate(records, 1):
            lines.append(encode(record))
            size += len(lines[-1])
            if size >= SEGMENT_BYTES or at == len(records):
                self._write_segment(lane, records[start:at], lines)
                lines, size, start = [], 0, at
        self._db.execute("UPDATE meta SET value = ? WHERE key = ?", (self._numbered[lane], lane))

    def _write_segment(self, lane: str, records: Sequence[Record], lines: list[bytes]) -> None:
        first = self._numbered[lane] + 1
        self._numbered[lane] += len(lines)
        body = b"\n".join(lines)
        row = (first, self._numbered[lane], json.dumps(_covers(records, self._carry())), body)
        self._db.execute("INSERT INTO outbox (first, last, covers, body) VALUES (?, ?, ?, ?)", row)
        self.bytes += len(body)
        self.written += len(body)

    def _carry(self) -> dict[Life, Ranges]:
        """Return seqs without a record of their own, for the segment that is being written."""
        carried: dict[Life, Ranges] = {}
        spans = 0
        while self._uncarried and spans < CARRIED_SPANS:
            life, ranges = self._uncarried.popitem()
            carried[life] = ranges
            spans += len(ranges.spans)
            self._touched.add(life)
        return carried

    def _write_uncarried(self) -> None:
        kept = [(*life, json.dumps(self._uncarried[life].spans)) for life in self._touched if life in self._uncarried]
        gone = [life for life in self._touched if life not in self._uncarried]
        self._db.executemany("INSERT OR REPLACE INTO uncarried VALUES (?, ?, ?)", kept)
        self._db.executemany("DELETE FROM uncarried WHERE device = ? AND boot = ?", gone)
        self._touched.clear()

    def _read(self) -> None:
        self.bytes = self._db.execute("SELECT coalesce(sum(length(body)), 0) FROM outbox").fetchone()[0]
        query = "SELECT key, value FROM meta WHERE key IN (?, ?)"
        self._numbered = dict(self._db.execute(query, (LIVE, EXPRESS)).fetchall())
        rows = self._db.execute("SELECT device, boot, spans FROM uncarried")
        self._uncarried = {(device, boot): Ranges(json.loads(spans)) for device, boot, spans in rows}


def _covers(records: Sequence[Record], covered: dict[Life, Ranges]) -> list[list[object]]:
    for record in records:
        if record.boot is not None and record.seq is not None:
            life = (record.device, record.boot)
            ranges = covered.get(life)
            if ranges is None:
                ranges = covered[life] = Ranges()
            ranges.add(record.seq)
    return [[device, boot, *span] for (device, boot), ranges in covered.items() for span in ranges.spans]
