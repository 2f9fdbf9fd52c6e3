"""The twins of a site's devices on the gateway's disk: it alone writes what is wanted of those that it owns. (R4)"""

import json
import sqlite3
from collections.abc import Callable
from typing import Any, NamedTuple

from fieldloom_contract import messages
from fieldloom_engine import twin
from fieldloom_engine.ports import Alone, Ownership
from fieldloom_engine.twin import Desired, Patch, Reported
from fieldloom_runtime import records

NOTHING = Reported()


class Behind(NamedTuple):
    """A device that does not have the newest version; `payload` tells it."""

    device: str
    version: int
    payload: bytes


class Twins:
    """On the gateway's database; all that changes something belongs into a transaction of its caller.

    `add(record)` puts a record into the outbox.
    """

    def __init__(
        self, connection: sqlite3.Connection, add: Callable[[records.Record], None], ownership: Ownership | None = None
    ) -> None:
        self._db = connection
        self._add = add
        self._ownership = ownership or Alone()

    def take(self, device: str, patch: Patch, now: int) -> str | None:
        """Apply a patch and tell the cloud what is wanted now; return why it was refused, if it was."""
        if not self._ownership.owns(device):
            return None
        before = self.desired(device)
        desired, refused = twin.apply(before, patch, self.seen(device) or 0)
        if patch.id is not None or desired != before:
            self._write(device, desired)
            self._tell(device, desired, now, patch.id, refused)
        return refused

    def meet(self, device: str, version: int, now: int) -> None:
        """Take note of the version that a device says it has."""
        before, seen = self.desired(device), self.seen(device)
        if seen is None and self._ownership.owns(device):
            desired = twin.meet(before, version)
            if desired != before:
                self._write(device, desired)
                self._tell(device, desired, now)
        if seen != version:
            self._write_reported(device, version, self.reported(device))

    def hear(self, device: str, told: dict[str, Any], now: int) -> None:
        """Take a device's report."""
        report = Reported(told["version"], told["values"], told["errors"], told["more"])
        self.meet(device, max(report.version, self.seen(device) or 0), now)
        self._write_reported(device, self.seen(device) or 0, twin.hear(self.reported(device), report))

    def desired(self, device: str) -> Desired:
        """Return what is wanted of a device."""
        query = "SELECT version, body, applied FROM twin_desired WHERE device = ?"
        row = self._db.execute(query, (device,)).fetchone()
        return Desired(row[0], json.loads(row[1]), tuple(json.loads(row[2]))) if row else Desired()

    def reported(self, device: str) -> Reported:
        """Return what a device has reported last."""
        row = self._db.execute("SELECT body FROM twin_reported WHERE device = ?", (device,)).fetchone()
        return Reported(*json.loads(row[0])) if row else NOTHING

    def seen(self, device: str) -> int | None:
        """Return the version that a device has, None if it was never heard of here."""
        row = self._db.execute("SELECT seen FROM twin_reported WHERE device = ?", (device,)).fetchone()
        return row[0] if row else None

    def behind(self, device: str | None = None) -> list[Behind]:
        """Return who of the devices that are online has to be told what is wanted; of one, online or not, whether."""
        # One that has just been heard of need not have told of its presence yet, as after a loss of this disk.
        query = (
            "SELECT device, wanted.version, wanted.body "
            "FROM twin_desired AS wanted JOIN twin_reported AS told USING (device) LEFT JOIN device USING (device) "
            "WHERE told.seen < wanted.version AND (device = ? OR (? IS NULL AND online)) ORDER BY device"
        )
        rows = self._db.execute(query, (device, device))
        return [Behind(name, version, messages.desired(version, json.loads(body))) for name, version, body in rows]

    def _write(self, device: str, desired: Desired) -> None:
        row = (device, desired.version, json.dumps(desired.values), json.dumps(desired.applied))
        self._db.execute("INSERT OR REPLACE INTO twin_desired VALUES (?, ?, ?, ?)", row)

    def _write_reported(self, device: str, seen: int, reported: Reported) -> None:
        row = (device, seen, json.dumps(reported))
        self._db.execute("INSERT OR REPLACE INTO twin_reported VALUES (?, ?, ?)", row)

    def _tell(
        self, device: str, desired: Desired, now: int, patch: str | None = None, refused: str | None = None
    ) -> None:
        told = records.Desired(device=device, ts=now, at=now, version=desired.version, values=desired.values)
        told.patch, told.error = patch, refused
        self._add(told)
