"""Up to when nothing of a device is missing, from what is received of its stream without a gap. (E8)"""

import sqlite3
from collections.abc import Callable

from fieldloom_runtime.records import Event, Record, Telemetry

MOST = 10_000  # records ahead of gaps, of all devices


class Watermarks:
    """On the gateway's database; all that changes something belongs into a transaction of its caller.

    `received` tells the last seq of a (device, boot) before which none is missing.
    """

    def __init__(self, connection: sqlite3.Connection, received: Callable[[str, int], int]) -> None:
        self._db = connection
        self._received = received
        self._ahead: dict[tuple[str, int], list[tuple[int, int]]] = {}
        """(seq, ts) of what came before what is missing."""
        self.forget()

    def of(self, record: Record) -> int | None:
        """Return the watermark of a record's device now that it has come, Unix ms; None where it can't be told."""
        if record.boot is None or record.seq is None:
            return record.ts if isinstance(record, (Telemetry, Event)) else None  # who numbers nothing sends in order
        if record.clock is not None:
            return None
        life = (record.device, record.boot)
        end = self._received(*life)
        if record.seq > end:
            self._keep(life, record.seq, record.ts)
            return None
        if life not in self._ahead:
            return record.ts
        return max(record.ts, self._reached(life, end))

    def forget(self) -> None:
        """Go back to what is on the disk."""
        self._ahead.clear()
        for device, boot, seq, ts in self._db.execute("SELECT device, boot, seq, ts FROM ahead"):
            self._ahead.setdefault((device, boot), []).append((seq, ts))

    def _keep(self, life: tuple[str, int], seq: int, ts: int) -> None:
        if sum(map(len, self._ahead.values())) >= MOST:  # of devices that have never sent what is missing
            self._ahead.clear()
            self._db.execute("DELETE FROM ahead")
        self._ahead.setdefault(life, []).append((seq, ts))
        self._db.execute("INSERT OR REPLACE INTO ahead VALUES (?, ?, ?, ?)", (*life, seq, ts))

    def _reached(self, life: tuple[str, int], end: int) -> int:
        """Return the newest time of what was ahead and is no more, 0 without any."""
        ahead = self._ahead.pop(life)
        if left := [one for one in ahead if one[0] > end]:
            self._ahead[life] = left
        self._db.execute("DELETE FROM ahead WHERE device = ? AND boot = ? AND seq <= ?", (*life, end))
        return max((ts for seq, ts in ahead if seq <= end), default=0)
