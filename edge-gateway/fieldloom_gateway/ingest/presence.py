"""Which devices are there, as far as they have told: online, asleep until a wake, or gone. (F9)"""

import sqlite3
from typing import Any

from fieldloom_gateway.ingest.sleepers import Sleepers
from fieldloom_runtime.records import State

SHOWN = ("id", "online", "boot", "session", "seen", "wakes_by", "status")


class Presence:
    """On the gateway's database; all that changes something belongs into a transaction of its caller."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection
        self._sleepers = Sleepers(connection)

    def online(self) -> list[str]:
        """Return the devices that are online."""
        return [row[0] for row in self._db.execute("SELECT device FROM device WHERE online ORDER BY device")]

    def devices(self) -> list[dict[str, Any]]:
        """Return what is known of each device's presence."""
        query = """
            SELECT device, online, boot, session, seen, wakes_by,
              CASE WHEN online THEN 'online' WHEN wakes_by IS NULL THEN 'offline' ELSE 'asleep' END
            FROM device LEFT JOIN sleeper USING (device) ORDER BY device"""
        return [dict(zip(SHOWN, row, strict=True)) for row in self._db.execute(query)]

    def boot(self, device: str) -> int | None:
        """Return the boot that a device has told last, None if it never did."""
        row = self._db.execute("SELECT boot FROM device WHERE device = ?", (device,)).fetchone()
        return row[0] if row else None

    def started_at(self, device: str, boot: int | None) -> int | None:
        """Return when a boot began by this clock, Unix ms, None if its device did not tell in it or does not know."""
        query = "SELECT started_at FROM device WHERE device = ? AND boot = ?"
        row = self._db.execute(query, (device, boot)).fetchone()
        return row[0] if row else None

    def take(self, device: str, state: dict[str, Any], now: int) -> State | None:
        """Keep a device's parsed `state`, and return what the cloud is told of it, None for what is over already."""
        known = self._db.execute("SELECT session, began FROM device WHERE device = ?", (device,)).fetchone()
        is_same = known is not None and known[0] == state["session"]
        if not state["online"] and known is not None and not is_same:
            return None  # the last will of an earlier session says nothing about this one
        began = known[1] if is_same else now if state["online"] else None
        self._keep(device, state, now, began)
        facts = {name: value for name, value in state.items() if name not in ("online", "boot", "session")}
        if state["online"]:
            self._sleepers.awake(device, state.get("sleep"))
        elif (wakes_by := self._sleepers.gone(device, state.get("sleep"), now)) is not None:
            facts["wakes_by"] = wakes_by
        told = State(device, now, now, state["boot"], online=state["online"], session=state["session"])
        told.facts, told.began = facts, began
        return told

    def late(self, now: int) -> list[State]:
        """Return what the cloud is told of devices that should be back by now."""
        return [
            State(device, now, now, boot, online=False, session=session, began=began)
            for device, boot, session, began in self._sleepers.late(now)
        ]

    def miss(self, device: str) -> None:
        """Take note that a device has not come back: that is told once."""
        self._sleepers.miss(device)

    def _keep(self, device: str, state: dict[str, Any], now: int, began: int | None) -> None:
        online, boot, up = state["online"], state["boot"], state.get("up")
        started_at = now - up if up is not None else self.started_at(device, boot)
        row = (device, online, boot, state["session"], started_at, now, began)
        self._db.execute("INSERT OR REPLACE INTO device VALUES (?, ?, ?, ?, ?, ?, ?)", row)
