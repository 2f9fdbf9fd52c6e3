"""Devices that sleep between wakes: asleep is not offline until a wake is missed. (F9)"""

import sqlite3
from typing import Any

GRACE_MS = 10_000  # for the network and the handshake, and a tenth of the period: clocks of sleeping boards are poor


class Sleepers:
    """On the gateway's database; all of it belongs into a transaction of its caller."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def awake(self, device: str, schedule: dict[str, Any] | None) -> None:
        """Take note of a device that is online, and of its schedule if it has one."""
        if schedule is None:
            self._db.execute("DELETE FROM sleeper WHERE device = ?", (device,))
        else:
            self._db.execute("INSERT OR REPLACE INTO sleeper VALUES (?, ?, NULL)", (device, schedule["every"]))

    def gone(self, device: str, schedule: dict[str, Any] | None, now: int) -> int | None:
        """Return by when a device that has left has to be back, None for one without a schedule."""
        row = self._db.execute("SELECT every FROM sleeper WHERE device = ?", (device,)).fetchone()
        if row is None:
            return None
        sleeps = (schedule or {}).get("for") or row[0]
        wakes_by = int(now + sleeps + row[0] // 10 + GRACE_MS)
        self._db.execute("UPDATE sleeper SET wakes_by = ? WHERE device = ?", (wakes_by, device))
        return wakes_by

    def late(self, now: int) -> list[tuple[str, int, str, int | None]]:
        """Return (device, boot, session, when that began) of those that should be back by now."""
        query = "SELECT device, boot, session, began FROM sleeper JOIN device USING (device) WHERE wakes_by <= ?"
        return self._db.execute(query, (now,)).fetchall()

    def miss(self, device: str) -> None:
        """Take note that a device has not come back."""
        self._db.execute("UPDATE sleeper SET wakes_by = NULL WHERE device = ?", (device,))
