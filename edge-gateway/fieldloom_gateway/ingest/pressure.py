"""While the outbox is nearly full devices are asked, by their twins, to report less often; then as before. (T6)"""

import json
import sqlite3
from typing import Any

from fieldloom_engine.twin import Patch
from fieldloom_gateway.ingest.twins import Twins

HIGH, LOW = 0.8, 0.5  # of the outbox: above the one they are slowed down, below the other let go
INTERVAL = "interval"
LONGEST_MS = 3_600_000


class Pressure:
    """Changes what is wanted of devices by a factor, and remembers what was wanted before.

    What a person wants meanwhile stays. Used inside the store's transactions.
    """

    def __init__(self, connection: sqlite3.Connection, twins: Twins, factor: int) -> None:
        self._db = connection
        self._twins = twins
        self._factor = factor

    def look(self, fullness: float, now: int) -> int:
        """Slow devices down or let them go, as full as the outbox is (0 to 1); return how many of them."""
        if fullness >= HIGH:
            return self._slow_down(now)
        return self._let_go(now) if fullness <= LOW else 0

    def _slow_down(self, now: int) -> int:
        query = "SELECT device FROM device WHERE online AND device NOT IN (SELECT device FROM slowed) ORDER BY device"
        slowed = 0
        for (device,) in self._db.execute(query).fetchall():
            wanted = self._twins.expected(device).values.get(INTERVAL)
            interval = wanted or self._twins.reported(device).values.get(INTERVAL)
            if type(interval) is not int or not 0 < interval < LONGEST_MS:
                continue
            longer = min(interval * self._factor, LONGEST_MS)
            if self._want(device, longer, now) is None:
                self._db.execute("INSERT INTO slowed VALUES (?, ?, ?)", (device, json.dumps(wanted), longer))
                slowed += 1
        return slowed

    def _let_go(self, now: int) -> int:
        rows = self._db.execute("SELECT device, before, wanted FROM slowed ORDER BY device").fetchall()
        for device, before, wanted in rows:
            if self._twins.expected(device).values.get(INTERVAL) == wanted:
                self._want(device, json.loads(before), now)
            self._db.execute("DELETE FROM slowed WHERE device = ?", (device,))
        return len(rows)

    def _want(self, device: str, interval: Any, now: int) -> str | None:
        return self._twins.ask(device, Patch(f"pressure-{now}", {INTERVAL: interval}), now)
